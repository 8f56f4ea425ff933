"""An element that one data set has with its VR and another as UN: Explicit and Implicit VR of the same private one."""

from __future__ import annotations

import json
from struct import pack
from typing import Any

import pytest

from sagittal.dicom.models.sameness import is_same
from sagittal.dicom.scanning.values import members

VALUES = {
    "US": (pack("<2H", 1, 65535), pack("<2H", 1, 65534)),
    "SS": (pack("<h", -2), pack("<h", 2)),
    "UL": (pack("<I", 1 << 31), pack("<I", 1)),
    "SL": (pack("<2i", -1, 7), pack("<2i", -1, 8)),
    "UV": (pack("<2Q", 5, 1 << 60), pack("<2Q", 5, 1 << 59)),
    "SV": (pack("<q", -(1 << 60)), pack("<q", 1)),
    "FL": (pack("<2f", 0.1, -1e30), pack("<2f", 0.1, -1e31)),
    "FD": (pack("<2d", 0.1, float("inf")), pack("<2d", 0.1, 1.0)),
    "AT": (b"\x10\0\x20\0\xfe\xff\x0d\xe0", b"\x10\0\x20\0\xfe\xff\x0d\xe1"),
    "LO": (b"a\\b ", b"a\\c "),
    "UI": (b"1.2.3\0", b"1.2.4\0"),
    "PN": (b"A^B=C\\D ", b"A^B=C\\E "),
    "OB": (b"\1\2\3\4", b"\1\2\3\5"),
}


def element(vr: str, raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(f'{{"vr":"{vr}"{members(vr, raw)[0]}}}')
    return found


@pytest.mark.parametrize("vr", VALUES)
def test_a_vr_that_one_of_two_knows(vr: str) -> None:
    one, other = VALUES[vr]
    nowhere: Any = None  # nothing is read: the values are short
    for first, second in ((element(vr, one), element("UN", one)), (element("UN", one), element(vr, one))):
        assert is_same(first, second, nowhere, nowhere)
    assert not is_same(element(vr, one), element("UN", other), nowhere, nowhere)
