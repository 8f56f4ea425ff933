"""Values as DICOM JSON members (PS3.18 F.2) and as the text of indexed attributes."""

from __future__ import annotations

import json
from struct import pack
from typing import Any

import pytest

from sagittal.dicom.scanning.values import members, plain_text

U = ("ISO_IR 192",)

# VR, value, members, defect
TABLE: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("LO", b"", {}, ""),
    ("LO", b"  ", {}, ""),
    ("LO", b" a ", {"Value": ["a"]}, ""),
    ("LO", b"a\\\\ b \\", {"Value": ["a", None, "b", None]}, ""),
    ("LO", "Ä\\洪".encode(), {"Value": ["Ä", "洪"]}, ""),
    ("LT", b" two\r\nlines\\one value ", {"Value": [" two\r\nlines\\one value"]}, ""),
    ("UT", b'quote" control\x01\x1f', {"Value": ['quote" control\x01\x1f']}, ""),
    ("UI", b"1.2.840\0", {"Value": ["1.2.840"]}, ""),
    ("AE", b" STORE ", {"Value": ["STORE"]}, ""),
    ("UR", b"http://x/?a\\b ", {"Value": ["http://x/?a\\b"]}, ""),
    ("CS", b"M\xfc", {"Value": ["M�"], "sagittal:bytes": "Tfw="}, "text-undecodable"),
    ("LO", b"M\xfc", {"Value": ["M�"], "sagittal:bytes": "Tfw="}, "text-undecodable"),
    ("PN", b"", {}, ""),
    ("PN", b"A^B^^^ ", {"Value": [{"Alphabetic": "A^B^^^"}]}, ""),
    ("PN", "A=洪=h".encode(), {"Value": [{"Alphabetic": "A", "Ideographic": "洪", "Phonetic": "h"}]}, ""),
    ("PN", b"A\\\\=Y", {"Value": [{"Alphabetic": "A"}, None, {"Ideographic": "Y"}]}, ""),
    ("PN", b"\xff", {"Value": [{"Alphabetic": "�"}], "sagittal:bytes": "/w=="}, "text-undecodable"),
    ("DS", b"", {}, ""),
    ("DS", b"1.50 ", {"Value": [1.5]}, ""),
    ("DS", b"+1\\ .5\\2.\\-0\\\\1e3", {"Value": [1, 0.5, 2.0, 0, None, 1000.0]}, ""),
    ("DS", b"0.1234567890123456789", {"Value": [0.12345678901234568]}, ""),
    ("DS", b"1_0\\nan\\inf\\0x1\\1e999", {"Value": ["1_0", "nan", "inf", "0x1", "1e999"]}, "number-invalid"),
    ("DS", b"+" + b"9" * 63, {"Value": [10**63 - 1]}, ""),
    ("DS", b"+" + b"9" * 64, {"Value": ["+" + "9" * 64]}, "number-invalid"),
    ("DS", b"9" * 5000, {"Value": ["9" * 5000]}, "number-invalid"),
    ("IS", b"007\\-3\\12.0", {"Value": [7, -3, 12]}, ""),
    ("IS", b"12 mm", {"Value": ["12 mm"]}, "number-invalid"),
    ("US", pack("<2H", 1, 65535), {"Value": [1, 65535]}, ""),
    ("SS", pack("<h", -2), {"Value": [-2]}, ""),
    ("UL", pack("<I", 1 << 31), {"Value": [1 << 31]}, ""),
    ("SL", pack("<2i", -1, 7), {"Value": [-1, 7]}, ""),
    ("UV", pack("<2Q", 5, (1 << 53) + 1), {"Value": [5, str((1 << 53) + 1)]}, ""),
    ("SV", pack("<q", -5), {"Value": [-5]}, ""),
    ("FL", pack("<f", 0.5), {"Value": [0.5]}, ""),
    ("FD", pack("<4d", 0.1, float("nan"), float("inf"), float("-inf")), {"Value": [0.1, "NaN", "inf", "-inf"]}, ""),
    ("US", b"\1\0\2", {"Value": [1]}, "value-length-uneven"),
    ("US", b"\1", {}, "value-length-uneven"),
    ("AT", b"\x10\x00\x20\x00\xfe\xff\x0d\xe0", {"Value": ["00100020", "FFFEE00D"]}, ""),
    ("AT", b"\x10\x00\x20", {}, "value-length-uneven"),
    ("OB", b"", {}, ""),
    ("OB", b"\1\2\3", {"InlineBinary": "AQID"}, ""),
    ("UN", b"\1\2", {"InlineBinary": "AQI="}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("vr", "raw", "expected", "defect"), TABLE)
def test_json_members(vr: str, raw: bytes, expected: dict[str, Any], defect: str) -> None:
    text, found = members(vr, raw, U)
    assert json.loads("{" + text[1:] + "}") == expected
    assert found == defect


@pytest.mark.parametrize(("vr", "size"), [("OW", 2), ("OF", 4), ("OL", 4), ("OD", 8), ("OV", 8), ("OB", 1), ("UN", 1)])
def test_big_endian_words_are_little_endian_in_json(vr: str, size: int) -> None:
    raw = bytes(range(16))
    swapped = b"".join(raw[at : at + size][::-1] for at in range(0, 16, size))
    assert members(vr, raw, (), False) == members(vr, swapped, (), True)
    assert members(vr, raw + b"\xff", (), False) == members(vr, swapped + b"\xff", (), True)


def test_big_endian_numbers() -> None:
    assert members("US", b"\1\2", (), False)[0] == ',"Value":[258]'
    assert members("AT", b"\0\x10\0\x20", (), False)[0] == ',"Value":["00100020"]'


@pytest.mark.parametrize(
    ("vr", "raw", "text"),
    [
        ("LO", b" a \\ b ", "a\\b"),
        ("PN", "Ä^B= 洪 ".encode(), "Ä^B= 洪"),
        ("UI", b"1.2\0", "1.2"),
        ("LT", b" x\\y ", " x\\y"),
        ("US", b"\1\0\2\0", "1\\2"),
        ("FD", pack("<2d", 2.0, 0.5), "2\\0.5"),
        ("DS", b"1.50 ", "1.50"),
        ("AT", b"\x10\x00\x20\x00", "00100020"),
        ("OB", b"\1", ""),
        ("CS", b"", ""),
    ],
)
def test_plain_text(vr: str, raw: bytes, text: str) -> None:
    assert plain_text(vr, raw, U) == text
