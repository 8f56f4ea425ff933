"""Encoded pixels are known by their fragments, and by those of the image alone."""

from __future__ import annotations

import struct
from typing import Any

from sagittal.dicom.syntaxes import JPEG_BASELINE
from sagittal.pixels.fingerprint import fingerprint


def encapsulated(fragment: bytes) -> bytes:
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in (b"", fragment))
    return head + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def told(data: bytes, *inside: dict[str, Any]) -> str:
    members: dict[str, Any] = {"7FE00010": {"vr": "OB", "BulkDataURI": "7FE00010"}}
    if inside:
        members["00091010"] = {"vr": "SQ", "Value": list(inside)}
    return fingerprint(members, lambda at, length: data[at : at + length], JPEG_BASELINE)


PIXELS = {"7FE00010": {"vr": "OB", "BulkDataURI": "00091010/1/7FE00010"}}


def test_by_fragments() -> None:
    one, other = told(encapsulated(b"ab")), told(encapsulated(b"cd"))
    assert one != other and len(one) == len(other) == 64
    assert told(encapsulated(b"ab"), {}, {"00081150": {"vr": "UI"}}) == one


def test_pixels_of_a_sequence_are_not_taken_for_the_image() -> None:
    icon = encapsulated(b"icon")
    for inside in (PIXELS, {"00091011": {"vr": "SQ", "Value": [None, PIXELS]}}):
        assert {told(icon + encapsulated(each), inside) for each in (b"ab", b"cd")} == {""}
