"""`sagittal json` and `sagittal xml`: there and back, an object is what it was."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import build, opened
from click.testing import CliRunner
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from reading import explicit, item, sequence

from sagittal.cli import group
from sagittal.cli.models.objects import AVAILABLE_SYNTAX
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE

NATIVE = ["CT_small.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "rtplan.dcm", "reportsi.dcm"]
COMPRESSED = ["JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
CASES = [(name, bulk) for name in NATIVE for bulk in (False, True)] + [(name, True) for name in COMPRESSED]


def called(*arguments: object) -> str:
    done = CliRunner().invoke(group, [str(one) for one in arguments], standalone_mode=False)
    assert done.return_value in (None, 0), done.stderr
    assert done.exception is None, done.exception
    return done.stdout


@pytest.mark.parametrize("model", ["json", "xml"])
@pytest.mark.parametrize(("name", "bulk"), CASES)
def test_there_and_back(tmp_path: Path, model: str, bulk: bool, name: str) -> None:
    source = get_testdata_file(name)
    folder = ["--bulk", tmp_path / "bulk"] if bulk else []
    (tmp_path / "model").write_text(called(model, source, *folder))
    called(model, tmp_path / "model", "--to-dicom", "-o", tmp_path / "back.dcm", *folder)
    before, after = pydicom.dcmread(source), pydicom.dcmread(tmp_path / "back.dcm")
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    if "PixelData" in before:
        assert np.array_equal(before.pixel_array, after.pixel_array)
        del before.PixelData, after.PixelData
    for data_set in (before, after):
        data_set.pop("SpecificCharacterSet", None)
        data_set.remove_private_tags()
        data_set.pop(0xFFFCFFFC, None)  # padding is no attribute
        for element in data_set:
            if element.VR == "PN" and not str(element.value).strip("^="):
                element.value = ""  # XML has no empty components
    assert json.loads(before.to_json()) == json.loads(after.to_json())


def test_long_values_that_are_not_binary_are_values(tmp_path: Path) -> None:
    """Text is in the character set of its item; PS3.18 F.2.2 has no InlineBinary for numbers in text."""
    inside = explicit(0x00080005, "CS", b"ISO_IR 192") + explicit(0x0040A160, "UT", "山".encode() * 30_000)
    data = (
        explicit(0x00080005, "CS", b"ISO_IR 100") + explicit(0x00080016, "UI", b"1.2.3\0")
        + explicit(0x00080018, "UI", b"1.2.4\0") + sequence(0x0040A730, item(inside))
        + explicit(0x00420010, "ST", b"\xe9t\xe9 ") + explicit(0x00660129, "UC", b"a\\b " * 20_000)
        + explicit(0x00709002, "SV", b"\1\0\0\0\0\0\0\0" * 9_000)
    )  # fmt: skip
    (tmp_path / "a.dcm").write_bytes(meta_group("1.2.3", "1.2.4", EXPLICIT_LE) + data)
    told = json.loads(called("json", tmp_path / "a.dcm", "--bulk", tmp_path / "bulk"))
    assert told["0040A730"]["Value"][0]["0040A160"] == {"vr": "UT", "Value": ["山" * 30_000]}
    assert len(told["00660129"]["Value"]) == 20_001 and told["00709002"]["Value"] == [1] * 9_000
    assert not (tmp_path / "bulk").exists()
    (tmp_path / "model").write_text(json.dumps(told))
    called("json", tmp_path / "model", "--to-dicom", "-o", tmp_path / "back.dcm")
    assert json.loads(called("json", tmp_path / "back.dcm")) == told


def test_compressed_pixels_want_a_folder() -> None:
    done = CliRunner().invoke(group, ["json", get_testdata_file("JPEG2000.dcm")], standalone_mode=False)
    assert done.return_value == 1
    assert "--bulk" in done.stderr


def test_files_of_one_instance_do_not_share_their_bulk_data(tmp_path: Path) -> None:
    """The fragments of the second would have been mixed with those of the first."""
    files = [get_testdata_file(name) for name in ("MR_small_RLE.dcm", "MR_small.dcm")]
    told = called("json", *files, "--bulk", tmp_path / "bulk").splitlines()
    for name, line in zip(files, told, strict=True):
        (tmp_path / "model").write_text(line)
        called("json", tmp_path / "model", "--to-dicom", "-o", tmp_path / "back.dcm", "--bulk", tmp_path / "bulk")
        assert pydicom.dcmread(tmp_path / "back.dcm").PixelData[-600:] == pydicom.dcmread(name).PixelData[-600:]


def test_private_values_stay(tmp_path: Path) -> None:
    source = get_testdata_file("CT_small.dcm")
    (tmp_path / "model").write_text(called("json", source))
    called("json", tmp_path / "model", "--to-dicom", "-o", tmp_path / "back.dcm")
    before, after = pydicom.dcmread(source), pydicom.dcmread(tmp_path / "back.dcm")
    assert before[0x00091001].value == after[0x00091001].value
    assert before[0x00431028].value == after[0x00431028].value


def test_another_transfer_syntax(tmp_path: Path) -> None:
    told = json.loads(called("json", get_testdata_file("CT_small.dcm")))
    assert told[AVAILABLE_SYNTAX]["Value"] == ["1.2.840.10008.1.2.1"]
    (tmp_path / "model").write_text(json.dumps([told]))
    called("json", tmp_path / "model", "--to-dicom", "-o", tmp_path, "--syntax", "ImplicitVRLittleEndian")
    (back,) = tmp_path.glob("*.dcm")
    assert pydicom.dcmread(back).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert AVAILABLE_SYNTAX not in pydicom.dcmread(back).to_json_dict()


def test_nothing_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "bulk").mkdir()
    uids = {"00080016": {"vr": "UI", "Value": ["1.2.3"]}, "00080018": {"vr": "UI", "Value": ["1.2.4"]}}
    for uri in ("../secret", str(tmp_path / "secret"), f"file://{tmp_path}/secret"):
        (tmp_path / "model").write_text(json.dumps(uids | {"00420011": {"vr": "OB", "BulkDataURI": uri}}))
        arguments = ["json", str(tmp_path / "model"), "--to-dicom", "-o", str(tmp_path / "back.dcm")]
        done = CliRunner().invoke(group, [*arguments, "--bulk", str(tmp_path / "bulk")], standalone_mode=False)
        assert done.return_value == 1
        assert not (tmp_path / "back.dcm").exists()


def test_what_is_no_json_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xd8")
    done = CliRunner().invoke(group, ["json", str(tmp_path / "x"), "--to-dicom"], standalone_mode=False)
    assert (done.return_value, done.stderr.strip()) == (1, f"{tmp_path / 'x'}: not JSON: not UTF-8")


def test_json_that_begins_with_a_mark(tmp_path: Path) -> None:
    """RFC 8259 8.1: it may be ignored, and editors of Windows write it."""
    (tmp_path / "x").write_bytes(b'\xef\xbb\xbf{"00080018":{"vr":"UI","Value":["1.2.3"]},'
                                 b'"00080016":{"vr":"UI","Value":["1.2.4"]}}\r\n')  # fmt: skip
    arguments = ["json", str(tmp_path / "x"), "--to-dicom", "-o", str(tmp_path / "x.dcm")]
    done = CliRunner().invoke(group, arguments, standalone_mode=False)
    assert (done.return_value, done.stderr) == (0, "")


@pytest.mark.parametrize("tag", ["00080016", "00080018", "00083002"])
@pytest.mark.parametrize("member", [None, 5, "1.2", {"Value": 1.5}, {"Value": {}}, {"Value": [[]]}, {"Value": [7]}])
def test_json_as_nobody_should_write_it(tmp_path: Path, tag: str, member: object) -> None:
    """An odd transfer syntax counts as not said; UIDs have to be there."""
    obj = {each: {"vr": "UI", "Value": ["1.2.3"]} for each in ("00080016", "00080018")} | {tag: member}
    (tmp_path / "odd.json").write_text(json.dumps(obj))
    arguments = ["json", str(tmp_path / "odd.json"), "--to-dicom", "-o", str(tmp_path / "odd.dcm")]
    done = CliRunner().invoke(group, arguments, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0 if tag == "00083002" else 1)
    assert ("needs a SOP Class UID" in done.stderr) == (tag != "00083002")


def test_fragments_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    source, frames = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm")), [bytes([n] * 64) for n in range(12)]
    source.NumberOfFrames, source.PixelData = len(frames), encapsulate(frames)
    source.save_as(tmp_path / "in.dcm")
    (tmp_path / "model").write_text(called("json", tmp_path / "in.dcm", "--bulk", tmp_path / "bulk"))
    called("json", tmp_path / "model", "--to-dicom", "-o", tmp_path / "out.dcm", "--bulk", tmp_path / "bulk")
    assert list(generate_frames(pydicom.dcmread(tmp_path / "out.dcm").PixelData, number_of_frames=12)) == frames


def test_a_dump_as_json_is_one_line() -> None:
    (line,) = called("dump", "--json", get_testdata_file("reportsi.dcm")).splitlines()
    assert json.loads(line)["00080060"]["Value"] == ["SR"]


def test_a_folder_of_fragments_has_nothing_else(tmp_path: Path) -> None:
    source = get_testdata_file("JPEG2000.dcm")
    (tmp_path / "model").write_text(called("json", source, "--bulk", tmp_path / "bulk"))
    (fragment,) = (tmp_path / "bulk").rglob("1")
    (fragment.parent / ".DS_Store").write_bytes(b"")
    arguments = ["json", str(tmp_path / "model"), "--to-dicom", "-o", str(tmp_path / "x.dcm")]
    done = CliRunner().invoke(group, [*arguments, "--bulk", str(tmp_path / "bulk")], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 1)
    assert "is no fragment" in done.stderr and not (tmp_path / "x.dcm").exists()


@pytest.mark.parametrize("model", ["json", "xml"])
def test_no_object_takes_the_place_of_another(tmp_path: Path, model: str) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm"):
        (tmp_path / name).write_text(called(model, get_testdata_file(name)))
    sources = [str(tmp_path / "CT_small.dcm"), str(tmp_path / "MR_small.dcm")]
    arguments = [model, *sources, "--to-dicom", "-o", str(tmp_path / "one.dcm")]
    done = CliRunner().invoke(group, arguments, standalone_mode=False)
    assert (done.return_value, done.stdout) == (1, f"{tmp_path / 'one.dcm'}\n")
    assert done.stderr.startswith(sources[1]) and "name a folder for several objects" in done.stderr
    assert pydicom.dcmread(tmp_path / "one.dcm").Modality == "CT"
    done = CliRunner().invoke(group, [model, sources[0], "--to-dicom", "-o", sources[0]], standalone_mode=False)
    assert done.return_value == 1 and "is a source" in done.stderr


@contextmanager
def piped_in(data: bytes) -> Iterator[None]:
    """Standard input is a pipe with so little in it that nobody waits."""
    ours, kept = os.pipe(), os.dup(0)
    os.write(ours[1], data)
    os.close(ours[1])
    os.dup2(ours[0], 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(ours[0])


def test_a_dash_is_what_is_piped_in(tmp_path: Path) -> None:
    """As of dcm4che's commands, and of most that read files."""
    source = get_testdata_file("CT_small.dcm")
    for words in (["json"], ["xml"], ["dump", "--json"], ["dump"]):
        with piped_in(Path(source).read_bytes()):
            told = called(*words, "-")
        assert told == called(*words, source)
    with piped_in(called("json", source).encode()):
        called("json", "-", "--to-dicom", "-o", tmp_path / "back.dcm")
    assert called("json", tmp_path / "back.dcm") == called("json", source)


def test_a_list_is_piped_in(tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(build().part10)

    async def make() -> None:
        async with opened(tmp_path / "data"):
            pass

    asyncio.run(make())
    with piped_in(os.fsencode(tmp_path / "one.dcm")):
        told = called("store", tmp_path / "data", "--from", "-", "--json")
    assert json.loads(told)["status"] == "0000"
