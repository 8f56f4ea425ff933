"""`sagittal transcode` on files: folders, names of syntaxes, verification, lossy options, what fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner, Result
from denied import nobody_may_list

from sagittal.cli.images import batch
from sagittal.cli.images.batch import Place
from sagittal.cli.images.transcode import NAMES, command
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.errors import UsageError, WorkerLost
from sagittal.folders import Unfinished
from sagittal.pixels.codecs import encodes, video
from sagittal.workers.pool import Pool


def write(path: Path, pixels: Any) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.3", "2.25.9"
    made.NumberOfFrames, made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, 16, 12, 11
    made.PixelRepresentation, made.PhotometricInterpretation = 0, "MONOCHROME2"
    made.PixelData = pixels.tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def run(*words: Any) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words] + ["--jobs", "1"], standalone_mode=False)


@pytest.fixture
def pixels() -> Any:
    return np.random.default_rng(1).integers(0, 4095, (2, 20, 30), np.uint16)


# What PS3.6 calls the syntaxes of our names.
KEYWORDS = {
    "implicit": "ImplicitVRLittleEndian", "explicit": "ExplicitVRLittleEndian", "big-endian": "ExplicitVRBigEndian",
    "deflated": "DeflatedExplicitVRLittleEndian", "deflated-frame": "DeflatedImageFrameCompression",
    "rle": "RLELossless", "jpeg": "JPEGBaseline8Bit", "jpeg-extended": "JPEGExtended12Bit",
    "jpeg-lossless": "JPEGLosslessSV1", "jpeg-lossless-p14": "JPEGLossless", "jpeg-ls": "JPEGLSLossless",
    "jpeg-ls-near": "JPEGLSNearLossless", "jpeg2000": "JPEG2000Lossless", "jpeg2000-lossy": "JPEG2000",
    "htj2k": "HTJ2KLossless", "htj2k-rpcl": "HTJ2KLosslessRPCL", "htj2k-lossy": "HTJ2K",
    "jpeg-xl": "JPEGXLLossless", "jpeg-xl-jpeg": "JPEGXLJPEGRecompression", "jpeg-xl-lossy": "JPEGXL",
    "mpeg2": "MPEG2MPML", "mpeg2-high": "MPEG2MPHL", "h264": "MPEG4HP41", "h264-4.2": "MPEG4HP422D",
    "hevc": "HEVCMP51",
}  # fmt: skip


def test_names_are_those_of_the_syntaxes_that_they_say() -> None:
    assert {name: SYNTAXES[uid].keyword for name, uid in NAMES.items()} == KEYWORDS


def test_every_name_is_a_syntax_that_can_be_written() -> None:
    made = {uid for uid in SYNTAXES if encodes(uid)} | {"1.2.840.10008.1.2.4.111"} | video.CODINGS.keys()
    assert set(NAMES.values()) <= made


@pytest.mark.parametrize("name", ["rle", "jpeg2000", "deflated", "big-endian", "JPEGLSLossless"])
def test_pydicom_reads_the_same_pixels(tmp_path: Path, pixels: Any, name: str) -> None:
    done = run(write(tmp_path / "a.dcm", pixels), "-o", tmp_path / "b.dcm", "--to", name, "--verify", "--json")
    told = json.loads(done.stdout)
    assert done.return_value == 0 and told["lossy"] is False and not told.get("error_max")
    made = pydicom.dcmread(tmp_path / "b.dcm")
    assert SYNTAXES[made.file_meta.TransferSyntaxUID].keyword == KEYWORDS.get(name, name)
    assert made.SOPInstanceUID == "2.25.9"
    assert (made.pixel_array == pixels).all()


@pytest.mark.parametrize("name", ["mpeg2", "h264", "hevc"])
def test_into_a_video_and_out_of_it(tmp_path: Path, name: str) -> None:
    from interop.pictured import image

    columns = np.arange(64, dtype=np.uint8)[None, :, None] * 3
    frames = np.stack([np.broadcast_to(columns, (48, 64, 3)) + np.uint8(10 * n) for n in range(5)])
    held = image(1, frames, "7.4", FrameTime=40, NumberOfFrames=5)
    held.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    done = run(tmp_path / "a.dcm", "-o", tmp_path / "film.dcm", "--to", name, "--verify", "--json")
    told = json.loads(done.stdout)
    assert done.return_value == 0 and told["lossy"] and 0 < told["error_max"] < 40
    film = pydicom.dcmread(tmp_path / "film.dcm")
    assert film.file_meta.TransferSyntaxUID == NAMES[name] and film.SOPInstanceUID == told["sop_instance_uid"]
    assert (film.PhotometricInterpretation, film.SamplesPerPixel, film.NumberOfFrames) == ("YBR_PARTIAL_420", 3, 5)
    assert (film.LossyImageCompression, film.LossyImageCompressionMethod) == ("01", video.CODINGS[NAMES[name]].method)
    assert film.SourceImageSequence[0].ReferencedSOPInstanceUID == held.SOPInstanceUID
    (stream,) = pydicom.encaps.generate_fragments(film.PixelData[8:])
    assert len(stream) < frames.nbytes or name == "mpeg2"
    assert run(tmp_path / "film.dcm", "-o", tmp_path / "b.dcm", "--to", "rle", "--verify").return_value == 0
    back = pydicom.dcmread(tmp_path / "b.dcm")
    assert (back.PhotometricInterpretation, back.LossyImageCompression) == ("RGB", "01")
    assert back.SOPInstanceUID == film.SOPInstanceUID
    assert np.abs(back.pixel_array.astype(int) - frames).max() == told["error_max"]


def test_what_is_no_video(tmp_path: Path, pixels: Any) -> None:
    done = run(write(tmp_path / "a.dcm", pixels), "-o", tmp_path / "b.dcm", "--to", "h264")
    assert done.return_value == 1 and "8-bit" in done.stderr and not (tmp_path / "b.dcm").exists()


def test_folders_keep_their_shape_and_tell_what_fails(tmp_path: Path, pixels: Any) -> None:
    write(tmp_path / "in/one/a.dcm", pixels)
    write(tmp_path / "in/two/a.dcm", pixels)
    (tmp_path / "in/two/b.txt").write_text("no DICOM")
    done = run(tmp_path / "in", "-o", tmp_path / "out", "--to", NAMES["jpeg-ls"])
    assert done.return_value == 1 and "b.txt" in done.stderr
    made = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == [Path("one/a.dcm"), Path("two/a.dcm")]


def test_folders_that_cannot_be_listed_keep_nobody_from_the_rest(
    tmp_path: Path, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in/a.dcm", pixels)
    (tmp_path / "in/locked").mkdir()
    with monkeypatch.context() as patch:
        for name in (tmp_path / "in/deep", *["d" * 250] * 17):
            Path(name).mkdir()
            patch.chdir(name)
    nobody_may_list(monkeypatch, tmp_path / "in/locked")
    done = run(tmp_path / "in", "-o", tmp_path / "out", "--to", NAMES["rle"])
    assert done.return_value == 1 and (tmp_path / "out/a.dcm").is_file()
    assert "in/locked: Permission denied" in done.stderr and "dd: File name too long" in done.stderr


def test_nothing_but_the_result_is_touched(tmp_path: Path, pixels: Any) -> None:
    (tmp_path / "out.part").write_text("notes")
    assert run(write(tmp_path / "in", pixels), "-o", tmp_path / "out", "--to", "rle").return_value == 0
    assert (tmp_path / "out.part").read_text() == "notes"
    os.mkfifo(tmp_path / "pipe")
    done = run(tmp_path / "in", "-o", tmp_path / "pipe", "--to", "rle")
    assert done.return_value == 1 and "is there, and is no file" in done.stderr
    done = run(tmp_path / "pipe", "-o", tmp_path / "never", "--to", "rle")  # nobody writes to it
    assert done.return_value == 1 and "pipe: not a regular file" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.part", "pipe"]


def test_lossy_makes_another_instance(tmp_path: Path, pixels: Any) -> None:
    source = write(tmp_path / "a.dcm", pixels)
    done = run(source, "-o", tmp_path / "b.dcm", "--to", "jpeg-ls-near", "--near", 7, "--verify", "--json")
    told = json.loads(done.stdout)
    made = pydicom.dcmread(tmp_path / "b.dcm")
    assert told["lossy"] and 0 < told["error_max"] <= 7
    assert made.SOPInstanceUID == told["sop_instance_uid"] != "2.25.9"
    assert made.LossyImageCompression == "01" and made.SourceImageSequence[0].ReferencedSOPInstanceUID == "2.25.9"
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID


def test_what_can_not_be_carried_leaves_nothing(tmp_path: Path, pixels: Any) -> None:
    done = run(write(tmp_path / "a.dcm", pixels), "-o", tmp_path / "b.dcm", "--to", "jpeg")
    assert done.return_value == 1 and "8 bits" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm"]


def test_usage(tmp_path: Path, pixels: Any) -> None:
    with pytest.raises(UsageError):
        words = [str(write(tmp_path / "a.dcm", pixels)), "-o", "x", "--to", "png"]
        CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--to", "jpeg2000", "--ratio", "10"),
            "--ratio says nothing of JPEG 2000.*Lossless.*; it is for jpeg2000-lossy",
        ),
        (("--to", "rle", "--quality", "80"), "it is for jpeg, jpeg-extended"),
        (("--to", "jpeg-ls", "--near", "2"), "it is for jpeg-ls-near"),
        (("--to", "jpeg2000-lossy", "--ratio", "10", "--psnr", "40"), "give one of them"),
    ],
)
def test_an_option_that_says_nothing_of_the_syntax(
    tmp_path: Path, pixels: Any, words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        call = [str(write(tmp_path / "a.dcm", pixels)), "-o", str(tmp_path / "b.dcm"), *words]
        CliRunner().invoke(command, call, standalone_mode=False, catch_exceptions=False)


def test_no_result_takes_the_place_of_a_source_or_of_another_result(tmp_path: Path, pixels: Any) -> None:
    one, two = (write(tmp_path / folder / "a.dcm", pixels) for folder in ("one", "two"))
    before, link = one.read_bytes(), tmp_path / "link"
    link.symlink_to(tmp_path / "one")
    (tmp_path / "named.dcm").symlink_to(one)
    to = ("--to", "jpeg-ls-near", "-o")
    for words in (
        (one, *to, one),
        (one, *to, one.parent),
        (one.parent, *to, one.parent),
        (one.parent, *to, link),
        (one, *to, tmp_path / "named.dcm"),
    ):
        with pytest.raises(UsageError, match="one of the sources"):
            CliRunner().invoke(command, list(map(str, words)), standalone_mode=False, catch_exceptions=False)
    for words in ((one, two, *to, tmp_path / "out"), (one.parent, two.parent, *to, tmp_path / "out")):
        with pytest.raises(UsageError, match="would both become"):
            CliRunner().invoke(command, list(map(str, words)), standalone_mode=False, catch_exceptions=False)
    assert one.read_bytes() == before and not (tmp_path / "out").exists()


def test_the_file_that_a_worker_is_lost_with_fails_alone(
    tmp_path: Path, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(tmp_path / f"in/{number:02d}.dcm", pixels)
    (tmp_path / "in/03.dcm").write_bytes(b"lost")
    (tmp_path / "in/13.dcm").write_bytes(b"no DICOM")
    inner, calls = Pool.run, list[int]()

    async def run_(self: Pool, call: str, inputs: Any, **more: Any) -> Any:
        calls.append(len(inputs) // 2)
        if any(each.length == 4 for each in inputs[::2]):
            raise WorkerLost()
        return await inner(self, call, inputs, **more)

    monkeypatch.setattr(Pool, "run", run_)
    done = run(tmp_path / "in", "-o", tmp_path / "out", "--to", "rle", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.return_value == 1 and len(rows) == 20
    assert {Path(row["file"]).name for row in rows if "error" in row} == {"03.dcm", "13.dcm"}
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [f"{number:02d}.dcm" for number in range(20) if number not in (3, 13)]
    assert max(calls) > 1 and sorted(calls)[:5] == [1] * 5  # those with the lost one again, one by one


def test_a_worker_has_the_next_files_before_those_that_it_did_are_finished(
    tmp_path: Path, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(tmp_path / f"in/{number:02d}.dcm", pixels)
    asked, move, done = Pool._asked, Unfinished.move, list[str]()

    async def asked_(self: Pool, *given: Any) -> Any:
        done.append("asked")
        return await asked(self, *given)

    def move_(self: Unfinished) -> None:
        done.append("moved")
        move(self)

    monkeypatch.setattr(Pool, "_asked", asked_)
    monkeypatch.setattr(Unfinished, "move", move_)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--to", "rle").return_value == 0
    assert done[:2] == ["asked", "asked"] and done.count("moved") == 20


@pytest.mark.parametrize("jobs", [1, 2, 16])
@pytest.mark.parametrize("count", [0, 1, 7, 248])
def test_workers_get_fewer_files_at_once_towards_the_end(count: int, jobs: int) -> None:
    work = [Place(Path(str(n)), Path(str(n))) for n in range(count)]
    groups = batch._groups(work, jobs)
    sizes = [len(group) for group in groups]
    assert [place for group in groups for place in group] == work
    assert sizes == sorted(sizes, reverse=True) and max(sizes, default=1) <= 8
    assert sizes[-2 * jobs :] == [1] * min(2 * jobs, count)
