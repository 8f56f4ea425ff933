"""PS3.5 6.2 and 7.1.2: every value representation, its length field, its repertoire, its padding and its words."""

from __future__ import annotations

from struct import calcsize, pack

import pytest
from pydicom import filewriter, valuerep
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from sagittal.dicom import elements
from sagittal.dicom.elements import NUMBERS, WORDS, encode, encode_numbers, swapped
from sagittal.dicom.matching.rules import RULES
from sagittal.dicom.scanning.values import STRING_VRS, WRITERS
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, syntax

VRS = {*map(str, valuerep.EXPLICIT_VR_LENGTH_32 | valuerep.EXPLICIT_VR_LENGTH_16)}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (elements.LONG_VRS, valuerep.EXPLICIT_VR_LENGTH_32),
        (elements.SHORT_VRS, valuerep.EXPLICIT_VR_LENGTH_16),
        (elements.TEXT_VRS, valuerep.CUSTOMIZABLE_CHARSET_VR),
        (elements.ASCII_VRS, valuerep.DEFAULT_CHARSET_VR),
        (elements.BINARY_VRS, valuerep.BYTES_VR),
        (STRING_VRS, valuerep.STR_VR),
        (elements.ONE_VALUE_VRS, set(valuerep.ALLOW_BACKSLASH) & set(valuerep.STR_VR) | {"UR"}),
        (WRITERS.keys(), VRS - {"SQ"}),
        (RULES.keys(), VRS - {"SQ", *map(str, valuerep.BYTES_VR)} | {"UN"}),  # text of an unknown VR is matched
    ],
)
def test_vrs_are_of_the_kinds_that_pydicom_has(ours: frozenset[str], theirs: frozenset[str]) -> None:
    assert sorted(ours) == sorted(map(str, theirs))


@pytest.mark.parametrize("vr", sorted(elements.TEXT_VRS | elements.ASCII_VRS | {"OB"}))
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_an_odd_value_is_padded_as_pydicom_pads_it(vr: str) -> None:
    theirs, written = Dataset(), DicomBytesIO()
    theirs.add_new(0x00091001, vr, b"123" if vr == "OB" else "123")
    written.is_implicit_VR, written.is_little_endian = False, True
    filewriter.write_dataset(written, theirs)
    assert encode([(0x00091001, vr, b"123")], syntax(EXPLICIT_LE)) == written.getvalue()


@pytest.mark.parametrize(("length", "vr"), [(0xFFFC, b"LO"), (0xFFFD, b"LO"), (0xFFFE, b"LO"), (0xFFFF, b"UN")])
def test_a_value_too_long_for_its_length_field_is_of_unknown_vr(length: int, vr: bytes) -> None:
    """PS3.5 6.2.2."""
    data, even = encode([(0x00091001, "LO", bytes(length))], syntax(EXPLICIT_LE)), length + length % 2
    assert data[4:12] == (vr + bytes(2) + pack("<I", even) if vr == b"UN" else vr + pack("<H", even) + bytes(4))


@pytest.mark.parametrize("vr", NUMBERS)
def test_numbers_are_as_wide_as_pydicom_writes_them(vr: str) -> None:
    _, theirs = filewriter.writers[vr]
    assert WORDS[vr] == calcsize(f"<{theirs}")
    for uid, order in ((EXPLICIT_LE, "<"), (EXPLICIT_BE, ">")):
        assert encode_numbers(vr, [1, 100], syntax(uid)) == pack(f"{order}2{theirs}", 1, 100)


def test_other_words_are_as_wide_as_the_numbers_of_their_kind() -> None:
    kinds = {"OD": "FD", "OF": "FL", "OL": "UL", "OV": "UV", "OW": "US", "AT": "US"}
    assert {vr: WORDS[kind] for vr, kind in kinds.items()} == {vr: WORDS[vr] for vr in WORDS.keys() - NUMBERS.keys()}
    assert swapped(bytes(range(8)), WORDS["OV"]) == bytes(range(7, -1, -1))
