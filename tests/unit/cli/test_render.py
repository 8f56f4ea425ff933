"""`sagittal render` on files: formats, frames, folders, states, what fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sagittal.cli.images.render import command
from sagittal.errors import UsageError


def write(path: Path, frames: Any, sop_class: str = "1.2.840.10008.5.1.4.1.1.7.2", **more: Any) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    held = np.asarray(frames, np.uint8)
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, "2.25.9"
    if held.size:
        made.NumberOfFrames, made.Rows, made.Columns = held.shape
        made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, 8, 8, 7
        made.PixelRepresentation, made.PhotometricInterpretation = 0, "MONOCHROME2"
        made.WindowCenter, made.WindowWidth = 128, 256
        made.PixelData = held.tobytes()
    for name, value in more.items():
        setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)
    return path


def run(*words: Any) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words] + ["--jobs", "1"], standalone_mode=False)


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    levels = np.repeat(np.array([10, 120, 250], np.uint8), 16 * 24).reshape(3, 16, 24)
    return write(tmp_path / "cine.dcm", levels)


def test_a_file_beside(cine: Path) -> None:
    done = run(cine)
    assert done.return_value == 0 and done.stdout.strip() == f"{cine}.png"
    assert np.asarray(Image.open(f"{cine}.png")).tolist() == [[10] * 24] * 16


def test_a_frame_into_a_file(cine: Path, tmp_path: Path) -> None:
    assert run(cine, "--frame", 2, "-o", tmp_path / "x.png", "--viewport", "12,12").return_value == 0
    shown = np.asarray(Image.open(tmp_path / "x.png"))
    assert shown.shape == (8, 12) and shown[0, 0] == 120


def test_each_frame_and_all_as_one(cine: Path, tmp_path: Path) -> None:
    run(cine, "--frame", "each", "-o", tmp_path / "out")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"cine.dcm.{n}.png" for n in (1, 2, 3)]
    run(cine, "--frame", "all", "--format", "gif", "-o", tmp_path / "x.gif")
    assert getattr(Image.open(tmp_path / "x.gif"), "n_frames", 1) == 3


def test_a_folder_with_what_can_not_be_rendered(cine: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no DICOM")
    write(tmp_path / "report.dcm", [], "1.2.840.10008.5.1.4.1.1.88.11")
    done = run(tmp_path, "-o", tmp_path.parent / "pictures", "--json", "--format", "jpeg")
    rows = {Path(row["file"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.return_value == 1
    assert "error" in rows["note.txt"]
    assert rows["report.dcm"]["rendered"].endswith("report.dcm.html")
    assert rows["cine.dcm"]["rendered"].endswith("cine.dcm.jpg")


def test_reports_as_pdf(cine: Path, tmp_path: Path) -> None:
    write(tmp_path / "report.dcm", [], "1.2.840.10008.5.1.4.1.1.88.11")
    done = run(tmp_path, "-o", tmp_path.parent / "printed", "--json", "--format", "pdf")
    rows = {Path(row["file"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert Path(rows["report.dcm"]["rendered"]).read_bytes().startswith(b"%PDF-")
    assert done.return_value == 1 and "only reports" in rows["cine.dcm"]["error"]


def test_folders_keep_their_shape(cine: Path, tmp_path: Path) -> None:
    """Files of one name in two folders are two pictures; a folder with one file gives a folder."""
    for name in ("one", "two"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        (tmp_path / "scans" / name / "IM1").write_bytes(cine.read_bytes())
    done = run(tmp_path / "scans", "-o", tmp_path / "out", "--json")
    written = {json.loads(line)["rendered"] for line in done.stdout.splitlines()}
    assert written == {str(tmp_path / "out" / name / "IM1.png") for name in ("one", "two")}
    run(tmp_path / "scans" / "one", "-o", tmp_path / "single")
    assert [path.name for path in (tmp_path / "single").iterdir()] == ["IM1.png"]


def test_a_picture_beside_its_source_replaces_nothing(cine: Path, tmp_path: Path) -> None:
    before = cine.read_bytes()
    assert run(cine.parent, "-o", cine.parent).return_value == 0
    assert cine.with_name(f"{cine.name}.png").exists()
    with pytest.raises(UsageError, match="one of the sources"):
        CliRunner().invoke(command, [str(cine), "-o", str(cine)], standalone_mode=False, catch_exceptions=False)
    assert cine.read_bytes() == before


def test_window_and_state(cine: Path, tmp_path: Path) -> None:
    run(cine, "--window", "10,1", "-o", tmp_path / "x.png")
    assert np.asarray(Image.open(tmp_path / "x.png")).max() == 255
    state = write(tmp_path / "s.dcm", [], "1.2.840.10008.5.1.4.1.1.11.1", PresentationLUTShape="INVERSE")
    run(cine, "--state", state, "-o", tmp_path / "x.png")
    assert np.asarray(Image.open(tmp_path / "x.png"))[0, 0] == 245


def test_structures_and_segments_over_files(tmp_path: Path) -> None:
    from interop.pictured import objects

    held = objects()
    for name in ("ct", "structures", "segmentation", "labels", "state"):
        held[name].save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    run(tmp_path / "ct.dcm", "-o", tmp_path / "plain.png")
    plain = np.asarray(Image.open(tmp_path / "plain.png"))
    for name in ("structures", "segmentation", "labels"):
        done = run(tmp_path / "ct.dcm", "--over", tmp_path / f"{name}.dcm", "-o", tmp_path / "x.png")
        shown = np.asarray(Image.open(tmp_path / "x.png"))
        assert done.return_value == 0 and shown.shape == (48, 64, 3)
        assert shown[40, 40].tolist() == [plain[40, 40]] * 3 and (shown[:24] != plain[:24, :, None]).any()
    run(tmp_path / "labels.dcm", "--frame", "2", "-o", tmp_path / "x.png")
    alone = np.asarray(Image.open(tmp_path / "x.png"))
    assert alone[10, 10].any() and not alone[10, 30].any()


def test_documents_come_out_as_they_are(tmp_path: Path) -> None:
    body = b"%PDF-1.4 hello\n"
    more = {"EncapsulatedDocument": body + b"\0", "EncapsulatedDocumentLength": len(body)}
    held = write(tmp_path / "document.dcm", [], "1.2.840.10008.5.1.4.1.1.104.1", **more)
    assert run(held).stdout.strip() == f"{held}.pdf"
    assert Path(f"{held}.pdf").read_bytes() == body
    write(tmp_path / "empty.dcm", [], "1.2.840.10008.5.1.4.1.1.104.3")
    assert run(tmp_path / "empty.dcm").return_value == 1


@pytest.mark.parametrize("profile", ["srgb", "adobergb", "rommrgb"])
def test_color_profiles(tmp_path: Path, profile: str) -> None:
    from interop.pictured import objects

    objects()["color"].save_as(tmp_path / "color.dcm", enforce_file_format=True)
    run(tmp_path / "color.dcm", "--icc", profile, "-o", tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").info["icc_profile"]


@pytest.mark.parametrize(
    "words",
    [
        ("--frame", "0"), ("--frame", "x"), ("--window", "1"), ("--window", "1,2,x"), ("--window", "nan,5"),
        ("--window", "1,inf"), ("--window", "1e400,5"), ("--viewport", "4"), ("--viewport", "nan,3"),
        ("--viewport", "10,10,nan,0,1,1"), ("--viewport", "inf,3"), ("--viewport", "10,99999"),
        ("--viewport", "10,10,0,0,0,1"),
    ],
)  # fmt: skip
def test_usage(cine: Path, words: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(command, [str(cine), *words], standalone_mode=False, catch_exceptions=False)


def test_each_frame_wants_a_folder(cine: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"mine")
    words = [str(cine), "--frame", "each", "-o", str(tmp_path / "x.png")]
    with pytest.raises(UsageError, match="folder"):
        CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=False)
    assert (tmp_path / "x.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "kind"), [("x.jpg", "JPEG"), ("x.JPEG", "JPEG"), ("x.webp", "WEBP"), ("x.png", "PNG"), ("x.ima", "PNG")]
)
def test_the_name_of_a_file_says_its_format(cine: Path, tmp_path: Path, name: str, kind: str) -> None:
    assert run(cine, "-o", tmp_path / name).return_value == 0
    assert Image.open(tmp_path / name).format == kind


@pytest.mark.parametrize("name", ["x.bmp", "x.tiff", "x.html", "x.txt", "x.pdf"])
def test_a_name_that_says_what_is_not_made_is_refused(cine: Path, tmp_path: Path, name: str) -> None:
    done = run(cine, "-o", tmp_path / name)
    assert done.return_value == 1 and "rendered as" in done.stderr and not (tmp_path / name).exists()


def test_a_report_is_no_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "report.dcm", [], "1.2.840.10008.5.1.4.1.1.88.11", PatientName="DOE^JANE")
    made = {"r.html": b"<!doctype", "r.txt": b"Report\nPatient: DOE JANE\n", "r.pdf": b"%PDF", "r": b"<!doctype"}
    for name, begins in made.items():
        assert run(path, "-o", tmp_path / name).return_value == 0
        assert (tmp_path / name).read_bytes().startswith(begins), name
    done = run(path, "-o", tmp_path / "r.png")
    assert done.return_value == 1 and "text/html" in done.stderr and not (tmp_path / "r.png").exists()


def test_a_film_has_all_frames(cine: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    assert run(cine, "-o", tmp_path / "x.mp4").return_value == 0
    assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_format_goes_before_the_name(cine: Path, tmp_path: Path) -> None:
    assert run(cine, "-o", tmp_path / "x.jpg", "--format", "png").return_value == 0
    assert Image.open(tmp_path / "x.jpg").format == "PNG"


@pytest.mark.parametrize(
    "words", [["--quality", 50], ["--quality", 50, "--format", "gif"], ["-o", "x.pdf", "--quality", 9]]
)
def test_quality_of_what_loses_nothing_is_refused(cine: Path, words: list[Any]) -> None:
    assert isinstance(run(cine, *words).exception, UsageError)
    assert not list(cine.parent.glob("*.png"))
