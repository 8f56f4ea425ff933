"""Values of people against their VRs (PS3.5 6.2)."""

from __future__ import annotations

from typing import Any

import pytest

from sagittal.dicom.models.fit import fits


@pytest.mark.parametrize(
    ("vr", "value", "fit"),
    [
        ("DA", "20240229", True),
        ("DA", "20230229", False),
        ("DA", "2024.02.29", False),
        ("DA", "202402", False),
        ("DA", "00000101", False),
        ("TM", "07", True),
        ("TM", "070907.123456", True),
        ("TM", "0709.5", False),
        ("TM", "24", False),
        ("TM", "07:09", False),
        ("DT", "2024", True),
        ("DT", "20240229120000.5+0100", True),
        ("DT", "20230229", False),
        ("DT", "202413", False),
        ("DT", "20240101+1500", False),
        ("AS", "018M", True),
        ("AS", "18M", False),
        ("CS", "ORIGINAL\\PRIMARY", True),
        ("CS", "Original", False),
        ("CS", "A" * 17, False),
        ("AE", "STORE-1 ", True),
        ("AE", "Ä\n", False),
        ("SH", "x" * 16, True),
        ("SH", "x" * 17, False),
        ("SH", "x" * 10 + "\\" + "y" * 10, True),
        ("LO", "Люк" + "x" * 61, True),
        ("LO", "x" * 65, False),
        ("LO", "a\tb", False),
        ("ST", "one\r\ntwo\\three", True),
        ("ST", "x" * 1025, False),
        ("LT", "bell\x07", False),
        ("LT", "x" * 10_240, True),
        ("LT", "x" * 10_241, False),
        ("LT", "x" * 10_000 + "\\" + "y" * 500, False),  # one value, whatever it holds
        ("ST", "x" * 1000 + "\\" + "y" * 50, False),
        ("UI", "1.2.840.0", True),
        ("UI", "1.02", False),
        ("UI", "1." + "2" * 63, False),
        ("PN", {"Alphabetic": "Roe^Jane", "Ideographic": "山田^太郎"}, True),
        ("PN", {"Alphabetic": "x" * 65}, False),
        ("PN", {"Alphabetic": "Roe\\Jane"}, False),
        ("PN", {"Alphabetic": 7}, False),
        ("DS", "whatever", True),  # numbers are judged elsewhere
        ("DA", None, True),
        ("CS", "", True),
    ],
)
def test_a_value_and_its_vr(vr: str, value: Any, fit: bool) -> None:
    assert fits(vr, value) is fit
