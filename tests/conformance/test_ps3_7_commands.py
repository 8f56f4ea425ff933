"""PS3.7 Annex E and sections 9.3, 10.3: command elements, command fields, and bytes as others write and read them."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pynetdicom.dimse_messages import _COMMAND_SET_KEYWORDS, _MESSAGE_TYPES

from sagittal.dimse import commands

SAMPLES = {"UI": "1.2.840.10008.1.1", "US": 7, "AE": "SAGITTAL", "LO": "odd", "AT": [0x00100020, 0x0020000D]}
ROWS = [line.split() for line in commands.ELEMENTS.strip().splitlines()]


@pytest.mark.parametrize(("number", "vr", "keyword"), ROWS, ids=[row[2] for row in ROWS])
def test_element(number: str, vr: str, keyword: str) -> None:
    tag = int(number, 16)
    assert keyword_for_tag(tag) == keyword
    assert dictionary_VR(tag) == vr
    data = commands.encode({keyword: SAMPLES[vr]})
    theirs = read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True)
    assert theirs.CommandGroupLength == len(data) - 12
    value = theirs[tag].value
    assert (list(value) if vr == "AT" else value) == SAMPLES[vr]
    assert commands.decode(data)[keyword] == SAMPLES[vr]


def test_every_element_and_message_is_here() -> None:
    known = {row[4] for tag, row in DicomDictionary.items() if tag >> 16 == 0 and row[3] != "Retired"}
    assert {keyword for _, _, keyword in ROWS} == known - {"CommandGroupLength"}
    assert commands.MESSAGE.keys() == _MESSAGE_TYPES.keys()


@pytest.mark.parametrize("field", commands.MESSAGE, ids=lambda field: commands.MESSAGE[field].name)
def test_message(field: int) -> None:
    row = commands.MESSAGE[field]
    assert row.name.endswith("-RSP") == bool(field & 0x8000)
    assert _MESSAGE_TYPES[field][0] == row.name
    known = _COMMAND_SET_KEYWORDS[row.name]
    for keyword in (*row.essential, *row.required):
        assert keyword in known
    command = {keyword: SAMPLES[_vr(keyword)] for keyword in (*row.essential, *row.required)} | {"CommandField": field}
    theirs = Dataset()
    for keyword, value in command.items():
        setattr(theirs, keyword, value)
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = True, True
    write_dataset(stream, theirs)
    assert commands.encode(command)[12:] == stream.getvalue()
    assert commands.check(command) is row
    for keyword in row.essential:
        with pytest.raises(commands.InvalidCommand):
            commands.check({key: value for key, value in command.items() if key != keyword})


def _vr(keyword: str) -> str:
    return next(vr for _, vr, name in ROWS if name == keyword)
