"""Elements that are copied as they lie, against those that go through every event: the same data set comes of both."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lengths import examples
from reading import explicit, image, item, open_item, read, sequence

from sagittal.dicom.partial.edited import Edited
from sagittal.dicom.partial.verbatim import Irregular, before_pixels
from sagittal.dicom.reencode import written
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES
from sagittal.dicom.walk import Walk
from sagittal.limits import ReaderLimits

ELE, LIMITS = SYNTAXES[EXPLICIT_LE], ReaderLimits()
PIXELS = explicit(0x7FE00010, "OW", b"abcd")
SEQUENCES = {0x00081032, 0x00400275, 0x00880200}
TAGS = [*SEQUENCES, 0x00080000, 0x00080008, 0x00091001, 0x00100010, 0x00400000, 0x00420011, 0x4FFE0001]
SET: dict[str, Any] = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
    "00080008": {"vr": "CS", "Value": ["DERIVED", "PRIMARY"]},
    "00082112": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["2.25.1"]}}]},
    "00280102": {"vr": "US", "Value": [11]},
    "00420011": {"vr": "OB", "InlineBinary": "AQI="},
    "50000010": {"vr": "US", "Value": [1]},
}


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> bytes:
    """A data set without defects: sequences and items of both kinds of length, group lengths, long VRs."""
    parts = []
    for tag in sorted(draw(st.sets(st.sampled_from(TAGS if depth else TAGS[3:]), max_size=6))):
        if tag in SEQUENCES:
            inner = draw(st.lists(elements(depth=depth - 1), max_size=2))
            items = [draw(st.sampled_from((item, open_item)))(one) for one in inner]
            parts.append(sequence(tag, *items, undefined=draw(st.booleans())))
        elif not tag & 0xFFFF:
            parts.append(explicit(tag, "UL", pack("<I", draw(st.integers(0, 99)))))
        else:
            vr = {0x00091001: "UN", 0x00420011: "OB", 0x4FFE0001: "UN"}.get(tag, "LO")
            parts.append(explicit(tag, vr, b"AB" * draw(st.integers(0, 9))))
    return b"".join(parts)


def by_events(data: bytes, members: dict[str, Any], removed: set[int]) -> bytes:
    walk = Walk([data], ELE, LIMITS, runs=True)
    return b"".join(written(walk, Edited(walk, members, removed, LIMITS).before(), ELE))


def shown(header: bytes) -> Any:
    return {tag: member for tag, member in read(header + PIXELS).metadata.items() if tag != "7FE00010"}


@settings(max_examples=examples(150))
@given(elements(), st.sets(st.sampled_from(sorted(SET))), st.sets(st.sampled_from(TAGS)))
@example(sequence(0x00081032, open_item(sequence(0x00400275, item(b""), undefined=True)), undefined=True), set(), set())
@example(explicit(0x00100010, "PN", b"A^"), {"50000010", "00080005"}, {0x00100010})
def test_the_same_as_by_events(header: bytes, names: set[str], removed: set[int]) -> None:
    data, members = header + image(1, 2) + PIXELS, {name: SET[name] for name in names}
    pieces, value = before_pixels(data, members, removed, LIMITS)
    assert data[value:] == b"abcd"
    assert shown(b"".join(pieces)) == shown(by_events(data, members, removed))


@given(elements(), st.integers(0, 400), st.binary(max_size=12))
def test_only_irregular_is_raised(header: bytes, at: int, piece: bytes) -> None:
    data = header[:at] + piece + header[at + len(piece) :]
    try:
        before_pixels(data, SET, (), LIMITS)
    except Irregular:
        return


def test_nothing_is_set_behind_the_pixels() -> None:
    with pytest.raises(Irregular):
        before_pixels(PIXELS, {"7FE10010": {"vr": "LO", "Value": ["A"]}}, (), LIMITS)
