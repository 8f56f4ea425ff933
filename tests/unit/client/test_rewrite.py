"""Attributes changed on the way: what pydicom reads afterwards, and that the pixels are the very bytes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.data import get_charset_files, get_testdata_file

from sagittal.client.storing.files import read_head
from sagittal.client.storing.rewrite import REPLACED, NewUids, Rewriting, parse_changes
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_BE, IMPLICIT_LE, syntax
from sagittal.errors import BadRequest, UsageError
from sagittal.limits import ReaderLimits

NAMES = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "JPEG2000.dcm",
    "image_dfl.dcm",
    "MR_small_implicit.dcm",
    "rtplan.dcm",
]
CHANGES = ["PatientID=X1", "0010,0010=A^B", "AccessionNumber=", "Rows=77", "EthnicGroup=E"]


def rewritten(path: Path, changes: object, to: str = "", step: int = 1000) -> pydicom.FileDataset:
    file = read_head(path, ReaderLimits())
    data = path.read_bytes()[file.offset :]
    chunks = (data[at : at + step] for at in range(0, len(data), step))
    rewriting = Rewriting(chunks, syntax(file.syntax_uid), syntax(to or file.syntax_uid), changes, ReaderLimits())  # type: ignore[arg-type]
    made = b"".join(rewriting.pieces())
    if rewriting.rest_at >= 0:
        made += data[rewriting.rest_at :]
    return pydicom.dcmread(io.BytesIO(meta_group("1.2.3", "1.2.4", to or file.syntax_uid) + made))


def file_of(name: str) -> Path:
    return Path(str(get_testdata_file(name)))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_set_and_removed_and_nothing_else(name: str) -> None:
    before = pydicom.dcmread(file_of(name))
    after = rewritten(file_of(name), parse_changes(CHANGES, ["PatientSex", "ReferencedStudySequence"], False))
    assert (after.PatientID, after.PatientName, after.AccessionNumber, after.Rows) == ("X1", "A^B", "", 77)
    assert after.EthnicGroup == "E"
    assert "PatientSex" not in after
    changed = {"PatientID", "PatientName", "AccessionNumber", "Rows", "EthnicGroup", "PatientSex"}
    for data_set in (before, after):
        for keyword in changed | {"ReferencedStudySequence"}:
            data_set.pop(keyword, None)
    assert [element.tag for element in after] == [element.tag for element in before if element.tag.element]
    assert all(after[element.tag] == element for element in before if element.tag.element)


@settings(max_examples=20)
@given(step=st.integers(1, 5000))
def test_however_the_bytes_come(step: int) -> None:
    changes = parse_changes(CHANGES, [], False)
    assert rewritten(file_of("CT_small.dcm"), changes, step=step) == rewritten(file_of("CT_small.dcm"), changes)


def test_from_the_pixels_on_the_bytes_are_those_of_the_file() -> None:
    path = file_of("JPEG2000.dcm")
    file = read_head(path, ReaderLimits())
    data = path.read_bytes()[file.offset :]
    rewriting = Rewriting(
        [data], syntax(file.syntax_uid), syntax(file.syntax_uid), parse_changes(CHANGES, [], False), ReaderLimits()
    )
    head = b"".join(rewriting.pieces())
    assert data[rewriting.rest_at :][:8] == b"\xe0\x7f\x10\x00OB\0\0"
    assert len(head) < len(data) - len(data[rewriting.rest_at :]) + 200


@pytest.mark.parametrize("to", [IMPLICIT_LE, EXPLICIT_BE])
def test_into_another_syntax_at_the_same_time(to: str) -> None:
    before, after = (
        pydicom.dcmread(file_of("CT_small.dcm")),
        rewritten(file_of("CT_small.dcm"), parse_changes(["Rows=128"], [], False), to),
    )
    assert (before.pixel_array == after.pixel_array).all()


def test_new_uids_are_the_same_for_the_same() -> None:
    path = file_of("rtplan.dcm")
    before, uids = pydicom.dcmread(path), NewUids()
    changes = parse_changes([], [], True)
    after = rewritten(path, type(changes)(uids=uids))
    assert after.SOPInstanceUID == uids[before.SOPInstanceUID] != before.SOPInstanceUID
    assert after.SOPClassUID == before.SOPClassUID
    referenced = before.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
    assert after.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == uids[referenced] != referenced
    assert (
        after.ReferencedStructureSetSequence[0].ReferencedSOPClassUID
        == before.ReferencedStructureSetSequence[0].ReferencedSOPClassUID
    )
    assert uids["1.2.840.10008.1.20.1.1"] == "1.2.840.10008.1.20.1.1"


def test_a_value_is_written_in_the_character_set_of_the_file() -> None:
    japanese = Path(str(get_charset_files("chrH31.dcm")[0]))
    assert rewritten(japanese, parse_changes(["PatientName=やまだ^A"], [], False)).PatientName == "やまだ^A"
    latin = Path(str(get_charset_files("chrFren.dcm")[0]))
    with pytest.raises(BadRequest, match="character set"):
        rewritten(latin, parse_changes(["PatientName=やまだ"], [], False))
    plain = rewritten(file_of("CT_small.dcm"), parse_changes(["PatientComments=Schädel"], [], False))
    assert plain.PatientComments == "Schädel"


@pytest.mark.parametrize(
    "text", ["PatientName", "Nobody=1", "PixelData=1", "TransferSyntaxUID=1.2", "RequestAttributesSequence=1"]
)
def test_what_cannot_be_set(text: str) -> None:
    with pytest.raises(UsageError):
        parse_changes([text], [], False)


def test_floating_point_numbers_are_set() -> None:
    made = rewritten(
        file_of("CT_small.dcm"), parse_changes(["DiffusionBValue=1.5", "ExaminedBodyThickness=2.5"], [], False)
    )
    assert (made.DiffusionBValue, made.ExaminedBodyThickness) == (1.5, 2.5)


def test_pixels_stay() -> None:
    with pytest.raises(UsageError, match="PixelData can't be changed"):
        parse_changes([], ["PixelData"], False)


def test_an_object_keeps_its_identity() -> None:
    with pytest.raises(UsageError):
        parse_changes([], ["SOPInstanceUID"], False)


def test_new_uids_are_of_all_that_names_an_instance_or_what_is_in_it() -> None:
    """By the names of PS3.6: a reference gets the new UID of what it refers to, and no class or syntax gets one."""
    uids = {tag: row[4] for tag, row in DicomDictionary.items() if row[0] == "UI" and tag >> 16 not in (0, 2, 4)}
    names = re.compile("(Instance|FrameOfReference|Fiducials?|Concatenation|Observation|Irradiation.*)UID(?!Trial)")
    named = {tag for tag, keyword in uids.items() if names.search(keyword) and "ColorPalette" not in keyword}
    assert [uids[tag] for tag in sorted(named - REPLACED)] == []
    assert uids.keys() >= REPLACED
    assert not [uids[tag] for tag in REPLACED if re.search("Class|Syntax|Creator|Device|CodingScheme", uids[tag])]
