"""`sagittal fix`: one broken file for every row of the table, read again by pydicom; what is right stays as it is."""

from __future__ import annotations

import json
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import build
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.data import get_testdata_file

from sagittal.cli.images.fix import command
from sagittal.convert.fixing.repairs import REPAIRS
from sagittal.dicom import elements
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, SYNTAXES
from sagittal.errors import UsageError

SC = "1.2.840.10008.5.1.4.1.1.7"


def run(*words: Any) -> Result:
    given = [*map(str, words), "--jobs", "1"]
    return CliRunner().invoke(command, given, standalone_mode=False, catch_exceptions=False)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    ended = run(tmp_path, "-o", tmp_path / "out")
    assert (ended.return_value, ended.stdout, ended.stderr) == (0, "", "no files are there\n")


def us(number: int) -> bytes:
    return struct.pack("<H", number)


def data_set(*more: tuple[int, str, bytes], pixels: bytes = b"\1\2" * 8, samples: int = 1, bits: int = 16) -> bytes:
    """A Secondary Capture of 2 x 4 pixels; elements given replace those it has."""
    made = {
        0x00080016: ("UI", SC.encode()), 0x00080018: ("UI", b"1.2.9"), 0x00280002: ("US", us(samples)),
        0x00280004: ("CS", b"RGB" if samples == 3 else b"MONOCHROME2"), 0x00280010: ("US", us(2)),
        0x00280011: ("US", us(4)), 0x00280100: ("US", us(bits)), 0x00280101: ("US", us(bits)),
        0x00280102: ("US", us(bits - 1)), 0x00280103: ("US", us(0)), 0x7FE00010: ("OW" if bits > 8 else "OB", pixels),
    }  # fmt: skip
    if samples == 3:
        made[0x00280006] = ("US", us(0))
    made |= {tag: (vr, value) for tag, vr, value in more}
    return elements.encode([(tag, *rest) for tag, rest in made.items()], SYNTAXES[EXPLICIT_LE])


def write(path: Path, data: bytes, uid: str = "1.2.9", syntax: str = EXPLICIT_LE) -> Path:
    path.write_bytes(meta_group(SC, uid, syntax) + data)
    return path


def fixed(path: Path, *words: str) -> tuple[Any, dict[str, str]]:
    """The file as pydicom reads it afterwards, and what was repaired; nothing is left to repair then."""
    done = run(path, "-o", path.with_suffix(".fixed"), "--json", *words)
    assert done.return_value == 0, done.output
    repairs = json.loads(done.stdout)["repairs"]
    assert json.loads(run(path.with_suffix(".fixed"), "--json").stdout)["repairs"] == {} or words
    return dcmread(path.with_suffix(".fixed")), repairs


def test_every_row_is_tested_here() -> None:
    tested = Path(__file__).read_text()
    assert not [name for name in REPAIRS if f'{{"{name}"' not in tested and f'== "{name}"' not in tested]


def test_a_meta_group(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(data_set())
    made, repairs = fixed(path)
    assert repairs.keys() == {"meta"} and made.file_meta.MediaStorageSOPInstanceUID == "1.2.9"
    assert made.file_meta.TransferSyntaxUID == EXPLICIT_LE


def test_uids(tmp_path: Path) -> None:
    made, repairs = fixed(write(tmp_path / "a", data_set(), uid="1.2.3"))
    assert repairs.keys() == {"uids"} and made.file_meta.MediaStorageSOPInstanceUID == "1.2.9"


def test_odd_lengths_and_group_lengths(tmp_path: Path) -> None:
    whole = data_set()
    odd = struct.pack("<HH2sH", 8, 0x1030, b"LO", 3) + b"abc"
    at = whole.index(struct.pack("<HH", 0x28, 2))
    made, repairs = fixed(write(tmp_path / "a", whole[:at] + odd + whole[at:]))
    assert repairs.keys() == {"lengths"} and made.StudyDescription == "abc"
    length = struct.pack("<HH2sHI", 8, 0, b"UL", 4, at)
    _, repairs = fixed(write(tmp_path / "b", length + whole))
    assert repairs == {}  # it is right
    made, repairs = fixed(write(tmp_path / "c", struct.pack("<HH2sHI", 8, 0, b"UL", 4, at + 2) + whole))
    assert repairs.keys() == {"group-lengths"} and 0x00080000 not in made


def test_unknown_vrs(tmp_path: Path) -> None:
    item = elements.encode([(0x00080100, "SH", b"abc")], SYNTAXES[IMPLICIT_LE])
    sequence = elements.encode_sequence([item], SYNTAXES[IMPLICIT_LE])
    more = ((0x00100010, "UN", b"Doe^Jane"), (0x00082218, "UN", sequence), (0x00281050, "UN", b"40\\50 "))
    made, repairs = fixed(write(tmp_path / "a", data_set(*more, (0x00091001, "UN", b"ab"), (0x00280120, "UN", us(7)))))
    assert repairs == {"unknown-vr": "4 elements"}
    assert made.PatientName == "Doe^Jane" and made.AnatomicRegionSequence[0].CodeValue == "abc"
    assert made.WindowCenter == [40, 50] and made.PixelPaddingValue == 7 and made[0x00091001].VR == "UN"


def test_a_sequence_in_un_that_is_none_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "a", data_set((0x00082218, "UN", b"nonsense")))
    run(path, "-o", tmp_path / "b")
    assert b"nonsense" in (tmp_path / "b").read_bytes() and dcmread(tmp_path / "b").Rows == 2


def test_wrong_vrs(tmp_path: Path) -> None:
    signed = ((0x00280103, "US", us(1)), (0x00280120, "US", b"\x00\x80"), (0x00281050, "LO", b"40"))
    made, repairs = fixed(write(tmp_path / "a", data_set(*signed, (0x7FE00010, "OB", b"\1\2" * 8))))
    assert repairs == {"wrong-vr": "3 elements"}
    assert made.PixelPaddingValue == -32768 and made.WindowCenter == 40 and made["PixelData"].VR == "OW"
    assert made.PixelData == b"\1\2" * 8


def test_bytes_of_big_endian_are_not_called_words(tmp_path: Path) -> None:
    big = "1.2.840.10008.1.2.2"
    made = [(0x00280100, "US", b"\0\x10"), (0x00080016, "UI", SC.encode()), (0x7FE00010, "OB", b"\1\2")]
    _, repairs = fixed(write(tmp_path / "a", elements.encode(made, SYNTAXES[big]), syntax=big))
    assert repairs == {}


def test_number_of_frames(tmp_path: Path) -> None:
    frames = (0x00280008, "IS", b"5")
    made, repairs = fixed(write(tmp_path / "a", data_set(frames, pixels=b"\1\2" * 24)))
    assert repairs == {"number-of-frames": "5 where there are 3"} and made.NumberOfFrames == 3
    assert made.pixel_array.shape == (3, 2, 4)
    made, repairs = fixed(write(tmp_path / "b", data_set(pixels=b"\1\2" * 24)))
    assert repairs.keys() == {"number-of-frames"} and made.NumberOfFrames == 3
    _, repairs = fixed(write(tmp_path / "c", data_set(frames, pixels=b"\1\2" * 25)))
    assert repairs == {}  # no whole frames: nothing is cut or made up
    _, repairs = fixed(write(tmp_path / "d", data_set((0x00280008, "IS", b"+3"), pixels=b"\1\2" * 24)))
    assert repairs == {}  # a sign may stand before a number (PS3.5 6.2, IS)


def test_frames_of_code_streams(tmp_path: Path) -> None:
    path = tmp_path / "a"
    source = dcmread(str(get_testdata_file("JPEG2000.dcm")))
    source.NumberOfFrames = 4
    source.save_as(path)
    made, repairs = fixed(path)
    assert repairs.keys() == {"number-of-frames"} and made.NumberOfFrames == 1
    assert made.PixelData == source.PixelData and made.pixel_array.shape == (1024, 256)


def test_subsampled(tmp_path: Path) -> None:
    pixels = bytes(range(24))
    more = (0x00280004, "CS", b"YBR_FULL_422")
    made, repairs = fixed(write(tmp_path / "a", data_set(more, pixels=pixels, samples=3, bits=8)))
    assert repairs.keys() == {"subsampled"} and made.PhotometricInterpretation == "YBR_FULL"
    _, repairs = fixed(write(tmp_path / "b", data_set(more, pixels=pixels[:16], samples=3, bits=8)))
    assert repairs == {}


@pytest.mark.parametrize("bits", [8, 16])
def test_planar_configuration(tmp_path: Path, bits: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(1).integers(0, 250, (2, 2, 4, 3)).astype(kind)
    planes = pixels.transpose(0, 3, 1, 2).tobytes()
    more = ((0x00280006, "US", us(1)), (0x00280008, "IS", b"2"))
    made, repairs = fixed(write(tmp_path / "a", data_set(*more, pixels=planes, samples=3, bits=bits)))
    assert repairs == {"planar-configuration": "by plane"} and made.PlanarConfiguration == 0
    assert made.PixelData == pixels.tobytes()


def test_character_set(tmp_path: Path) -> None:
    made, repairs = fixed(write(tmp_path / "a", data_set((0x00080005, "CS", b"ISO-IR 100"))))
    assert repairs.keys() == {"character-set"} and made.SpecificCharacterSet == "ISO_IR 100"


def test_in_place_and_only(tmp_path: Path) -> None:
    right = tmp_path / "right.dcm"
    right.write_bytes(build().part10)
    before = right.read_bytes()
    wrong = write(tmp_path / "wrong.dcm", data_set((0x00080005, "CS", b"ISO-IR 100"), (0x00100010, "UN", b"Doe")))
    was = wrong.read_bytes()
    done = run(tmp_path)
    assert wrong.read_bytes() == was and "unknown-vr: 1 elements" in done.stdout and "right.dcm" not in done.stdout
    run(tmp_path, "--in-place", "--only", "character-set")
    made = dcmread(wrong)
    assert made.SpecificCharacterSet == "ISO_IR 100" and made[0x00100010].VR == "PN"  # pydicom knows it
    assert b"UN" in wrong.read_bytes()
    assert right.read_bytes() == before and sorted(path.name for path in tmp_path.iterdir()) == [
        "right.dcm",
        "wrong.dcm",
    ]


def test_in_place_touches_no_other_file(tmp_path: Path) -> None:
    """Not one with a name as unfinished files have it, nor the link that leads to a file; nor who may read it."""
    folder = tmp_path / "in"
    folder.mkdir()
    wrong = data_set((0x00080005, "CS", b"ISO-IR 100"))
    private, other = write(folder / "a", wrong), write(folder / "a.part", wrong)
    other.write_bytes(build(7).part10)
    before = other.read_bytes()
    private.chmod(0o640)
    (folder / "link").symlink_to(write(tmp_path / "elsewhere", wrong))
    run(folder, "--in-place")
    assert sorted(path.name for path in folder.iterdir()) == ["a", "a.part", "link"]
    assert other.read_bytes() == before
    assert dcmread(private).SpecificCharacterSet == "ISO_IR 100"
    assert stat.S_IMODE(private.stat().st_mode) == 0o640
    assert (folder / "link").is_symlink()
    assert dcmread(tmp_path / "elsewhere").SpecificCharacterSet == "ISO_IR 100"


def test_list_and_usage(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in run("--list", "--json").stdout.splitlines()]
    assert [row["name"] for row in rows] == list(REPAIRS)
    path = write(tmp_path / "a", data_set())
    for words in (("--only", "nonsense"), ("-o", tmp_path / "b", "--in-place")):
        with pytest.raises(UsageError):
            run(path, *words)


def test_what_is_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing of the kind")
    done = run(tmp_path, "-o", tmp_path / "out")
    assert done.return_value == 1 and "a.txt" in done.stderr
