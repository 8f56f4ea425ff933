"""Encoded pixels are known by their fragments, and by those of the image alone."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from sagittal.dicom.syntaxes import EXPLICIT_LE, JPEG_BASELINE
from sagittal.pixels.fingerprint import OF_PIXELS, fingerprint


def encapsulated(fragment: bytes) -> bytes:
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in (b"", fragment))
    return head + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def told(data: bytes, **said: Any) -> str:
    members: dict[str, Any] = {"7FE00010": {"vr": "OB", "BulkDataURI": "7FE00010"}} | said
    return fingerprint(members, lambda at, length: data[at : at + length], JPEG_BASELINE)


def test_by_fragments() -> None:
    one, other = told(encapsulated(b"ab")), told(encapsulated(b"cd"))
    assert one != other and len(one) == len(other) == 64


@pytest.mark.parametrize("tag", ["0002", "0004", "0006", "0100", "0101", "0102", "0103", "2110"])
def test_by_what_is_said_of_them(tag: str) -> None:
    assert len({told(encapsulated(b"ab"), **{f"0028{tag}": {"vr": "US", "Value": [value]}}) for value in (8, 9)}) == 2


@pytest.mark.parametrize(("tag", "vr"), [("7FE00008", "OF"), ("7FE00009", "OD"), ("7FE00010", "OW")])
def test_pixels_of_every_kind_are_known_by_their_bytes(tag: str, vr: str) -> None:
    members = ({tag: {"vr": vr, "InlineBinary": text}} for text in ("AAAAAAAAAAA=", "AAAAAAAAAAE="))
    found = {fingerprint(each, lambda at, length: b"", EXPLICIT_LE) for each in members}
    assert [len(each) for each in found] == [64, 64]
    assert {tag, "7FE00001", "7FE00002", "00280100"} <= OF_PIXELS


@pytest.mark.parametrize("vr", ["OB", "SQ"])
def test_pixels_inside_of_others_are_not_taken_for_the_image(vr: str) -> None:
    """An icon's, and those of a whole object in a private element."""
    icon = encapsulated(b"icon")
    value = struct.pack("<HHI", 0xFFFE, 0xE000, len(icon)) + icon if vr == "SQ" else icon
    before = struct.pack("<HH2sHI", 0x0009, 0x1010, vr.encode(), 0, len(value)) + value
    found = {told(before + encapsulated(each)) for each in (b"ab", b"cd")}
    assert found == {told(encapsulated(each)) for each in (b"ab", b"cd")}
