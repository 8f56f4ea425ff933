"""The dictionary against pydicom's copy of PS3.6: every difference is listed here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sagittal.dicom import dictionary
from sagittal.dicom.dictionary import base_tag, keyword_of, lookup, private_name, tag_of, vr_of
from sagittal.dicom.elements import CODES

# Corrected in PS3.6 after the edition in pydicom 3.0.2.
KEYWORDS_CORRECTED = {0x003A0320, 0x003A0325}
RETIRED_CHANGED = {0x00102160, 0x30040012}


def test_every_row_of_pydicom() -> None:
    from pydicom._dicom_dict import DicomDictionary

    for tag, (vr, vm, name, retired, keyword) in DicomDictionary.items():
        if vr == "NONE":  # items and delimiters
            assert lookup(tag) is None
            continue
        entry = lookup(tag)
        assert entry is not None, hex(tag)
        assert (entry.vr, entry.vm, entry.name) == (vr, vm, name), hex(tag)
        assert entry.keyword == keyword or tag in KEYWORDS_CORRECTED, hex(tag)
        assert entry.retired == (retired == "Retired") or tag in RETIRED_CHANGED, hex(tag)


def test_repeating_groups_of_pydicom() -> None:
    from pydicom._dicom_dict import RepeatersDictionary

    for mask, (vr, _, name, _, keyword) in RepeatersDictionary.items():
        for digit in "24":
            tag = int(mask.replace("x", digit), 16)
            entry = lookup(tag)
            assert entry is not None, mask
            assert (entry.vr, entry.name, entry.keyword) == (vr, name, keyword), mask


def test_newer_than_pydicom() -> None:
    assert vr_of(tag_of("SensitiveContentCodeSequence")) == "SQ"
    entry = lookup(0x00102162)
    assert entry == ("UC", "1-n", "EthnicGroups", "Ethnic Groups", False)


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x00080016, "UI"),
        (0x7FE00010, "OW"),  # PS3.5 A.1
        (0x54001010, "OW"),
        (0x00280106, "US"),
        (0x00283006, "OW"),
        (0x60020010, "US"),
        (0x60FE3000, "OW"),
        (0x60010010, "LO"),  # odd: a private creator, not an overlay
        (0x50040005, "US"),
        (0x00203112, "CS"),
        (0x00280000, "UL"),
        (0x00090000, "UL"),
        (0x00090010, "LO"),
        (0x000900FF, "LO"),
        (0x00090100, "UN"),
        (0x00091001, "UN"),
        (0x00080007, "UN"),
        (0xFFFEE000, "UN"),
    ],
)
def test_vr_of(tag: int, vr: str) -> None:
    assert vr_of(tag) == vr


def test_every_choice_is_made() -> None:
    """No "US or SS" is left, whatever stands for it in a data set without VRs."""
    assert {*dictionary.VRS.values()} <= CODES.keys()
    assert vr_of(0x00281200) == "OW"


def test_pixel_representation_decides() -> None:
    assert (vr_of(0x00280106, signed=True), vr_of(0x00280107, signed=False)) == ("SS", "US")
    assert (vr_of(0x00280010, signed=True), vr_of(0x00283006, signed=True)) == ("US", "OW")


def test_keywords() -> None:
    assert keyword_of(0x00100010) == "PatientName"
    assert keyword_of(0x60083000) == "OverlayData"
    assert keyword_of(0x00091001) == ""
    assert tag_of("PatientName") == tag_of("00100010") == tag_of("(0010,0010)") == tag_of("0010,0010") == 0x00100010
    for wrong in ("Patient Name", "", "0010001", "0010001g0", "zzzzzzzz"):
        with pytest.raises(KeyError):
            tag_of(wrong)


def test_base_tag_of_unknown() -> None:
    assert base_tag(0x00080007) == base_tag(0x50000006) == 0xFFFFFFFF


def test_private_names_come_from_pydicom() -> None:
    assert private_name(0x00191002, "GEMS_ACQU_01")
    assert private_name(0x00191002, "NOBODY 1.0") == ""


def test_import_loads_neither_names_nor_pydicom() -> None:
    code = "import sys, sagittal.dicom.dictionary as d; d.vr_of(0x60020010); sys.exit(any('pydicom' in m or 'attribute_names' in m for m in sys.modules))"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert len(dictionary.VRS) > 5_000
