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


def told(data: bytes, *inside: dict[str, Any], **said: Any) -> str:
    members: dict[str, Any] = {"7FE00010": {"vr": "OB", "BulkDataURI": "7FE00010"}} | said
    if inside:
        members["00091010"] = {"vr": "SQ", "Value": list(inside)}
    return fingerprint(members, lambda at, length: data[at : at + length], JPEG_BASELINE)


PIXELS = {"7FE00010": {"vr": "OB", "BulkDataURI": "00091010/1/7FE00010"}}


def test_by_fragments() -> None:
    one, other = told(encapsulated(b"ab")), told(encapsulated(b"cd"))
    assert one != other and len(one) == len(other) == 64
    assert told(encapsulated(b"ab"), {}, {"00081150": {"vr": "UI"}}) == one


@pytest.mark.parametrize("tag", ["0002", "0004", "0006", "0100", "0101", "0102", "0103", "2110"])
def test_by_what_is_said_of_them(tag: str) -> None:
    assert len({told(encapsulated(b"ab"), **{f"0028{tag}": {"vr": "US", "Value": [value]}}) for value in (8, 9)}) == 2


@pytest.mark.parametrize(("tag", "vr"), [("7FE00008", "OF"), ("7FE00009", "OD"), ("7FE00010", "OW")])
def test_pixels_of_every_kind_are_known_by_their_bytes(tag: str, vr: str) -> None:
    members = ({tag: {"vr": vr, "InlineBinary": text}} for text in ("AAAAAAAAAAA=", "AAAAAAAAAAE="))
    found = {fingerprint(each, lambda at, length: b"", EXPLICIT_LE) for each in members}
    assert [len(each) for each in found] == [64, 64]
    assert {tag, "7FE00001", "7FE00002", "00280100"} <= OF_PIXELS


def test_pixels_of_a_sequence_are_not_taken_for_the_image() -> None:
    icon = encapsulated(b"icon")
    for inside in (PIXELS, {"00091011": {"vr": "SQ", "Value": [None, PIXELS]}}):
        assert {told(icon + encapsulated(each), inside) for each in (b"ab", b"cd")} == {""}
