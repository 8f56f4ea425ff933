"""Attributes by their keywords, and values that are not in the JSON: bulk data of either byte order."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest

import sagittal
from sagittal.dicom.dictionary import keyword_of, tag_of
from sagittal.pixels.rendering.attributes import Attributes

_READ = re.compile(r'(?:\.(?:values|texts?|numbers?|integers?|items?|octets|words)\("|\bmember\.)([A-Z]\w+)')


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("vr", "stored", "expected"),
    [
        ("US", "2H", [1, 0xFFFE]),
        ("SS", "2h", [1, -2]),
        ("UL", "2I", [1, 0xFFFE0001]),
        ("SL", "2i", [1, -70000]),
        ("FL", "2f", [1.5, -2.25]),
        ("FD", "2d", [1.5, -2.25]),
        ("DS", b"1.5\\x\\-2", [1.5, -2.0]),
        ("IS", b"12\\-7 ", [12, -7]),
        ("LT", b"12", []),
    ],
)
def test_numbers_of_bulk_data(order: str, vr: str, stored: Any, expected: list[float]) -> None:
    data = stored if isinstance(stored, bytes) else struct.pack(order + stored, *expected)
    member = {"vr": vr, "BulkDataURI": f"?offset=3&length={len(data)}"}
    held = Attributes(
        {"00091001": member}, lambda at, length: (b"---" + data)[at : at + length], big_endian=order == ">"
    )
    assert held.numbers(0x00091001) == expected


@pytest.mark.parametrize("order", "<>")
def test_words_in_sequences(order: str) -> None:
    """An odd octet at their end is none."""
    data = struct.pack(order + "2H", 1, 0xFFFE) + b"\7"
    table = {"00283006": {"vr": "OW", "BulkDataURI": "?offset=0&length=5"}}
    held = Attributes({"00283000": {"vr": "SQ", "Value": [table]}}, lambda *_: data, big_endian=order == ">")
    for item in (held.item(0x00283000), *held.items(0x00283000)):
        assert item.words(0x00283006).tolist() == [1, 0xFFFE]
    assert held.item(0x00283000, 1).words(0x00283006).tolist() == []


def test_words_that_are_no_numbers_are_none() -> None:
    held = Attributes({"00281201": {"vr": "DS", "Value": ["1", "-inf", "red", "-1", "65537"]}})
    assert held.words(0x00281201).tolist() == [1, 0xFFFF, 1]


def test_keywords_that_are_read_are_those_of_the_dictionary() -> None:
    package = Path(sagittal.__file__).parent
    files = [*(package / "pixels").rglob("*.py"), *(package / "convert").rglob("*.py")]
    read = {word for file in files for word in _READ.findall(file.read_text())}
    assert len(read) > 50 and [word for word in sorted(read) if keyword_of(tag_of(word)) != word] == []
