"""Data sets byte by byte, and what the reader makes of them: `explicit(…)`, `implicit(…)`, `read(…)`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from struct import pack
from typing import Any

from sagittal.dicom.reader import Memo, Parsed, Reader
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
UNDEFINED = 0xFFFFFFFF
WANTED = frozenset((0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00100010, 0x00100020, 0x0020000D))
ITEM_END, SEQUENCE_END = pack("<HHI", 0xFFFE, 0xE00D, 0), pack("<HHI", 0xFFFE, 0xE0DD, 0)


def explicit(tag: int, vr: str, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An element in Explicit VR; `length` other than the value's to lie."""
    length = len(value) if length is None else length
    head = pack(order + "HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    return head + (pack(order + "HI", 0, length) if vr in LONG else pack(order + "H", length)) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    return pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes, length: int | None = None) -> bytes:
    return implicit(0xFFFEE000, content, length)


def open_item(content: bytes) -> bytes:
    """An item of undefined length."""
    return item(content, UNDEFINED) + ITEM_END


def sequence(tag: int, *items: bytes, undefined: bool = False) -> bytes:
    """A sequence in Explicit VR of items that are encoded."""
    if undefined:
        return explicit(tag, "SQ", b"".join(items), UNDEFINED) + SEQUENCE_END
    return explicit(tag, "SQ", b"".join(items))


def image(rows: int, columns: int, bits: int = 16, frames: int | None = None, samples: int = 1) -> bytes:
    """The geometry of an Image Pixel module, in Explicit VR."""
    number = (
        [] if frames is None else [explicit(0x00280008, "IS", str(frames).encode().ljust(len(str(frames)) + 1 & ~1))]
    )
    return b"".join(
        [
            explicit(0x00280002, "US", pack("<H", samples)),
            *number,
            explicit(0x00280010, "US", pack("<H", rows)),
            explicit(0x00280011, "US", pack("<H", columns)),
            explicit(0x00280100, "US", pack("<H", bits)),
        ]
    )


@dataclass(frozen=True)
class Outcome:
    """All that a reader says of a data set; equal when nothing differs."""

    parsed: Parsed | None
    text: str  # of the metadata
    refused: str = ""  # the defect, or "limit-exceeded"
    reason: str = ""

    @property
    def metadata(self) -> Any:
        return json.loads(self.text)

    @property
    def known(self) -> Parsed:
        assert self.parsed is not None, self.reason
        return self.parsed


def read(
    data: bytes,
    uid: str = EXPLICIT_LE,
    *,
    pieces: Iterable[bytes | memoryview] | None = None,
    memo: Memo | None = None,
    wanted: frozenset[int] = WANTED,
    leaping: int = 0,
    **limits: int,
) -> Outcome:
    """Read `data`, as one piece, as `pieces`, or in steps of `leaping` bytes with leaps over what nobody holds.
    Defects come in order of their names.
    """
    text: list[str] = []
    reader = Reader(syntax(uid), wanted=wanted, limits=ReaderLimits(**limits), memo=memo, metadata=text.append)
    try:
        at = 0
        while leaping and (piece := data[at : at + leaping]):
            reader.feed(piece)
            at += len(piece) + reader.leap()
        for each in () if leaping else [data] if pieces is None else pieces:
            reader.feed(each)
        parsed = reader.finish()
    except Malformed as refusal:
        return Outcome(None, "", refusal.defect, str(refusal))
    except LimitExceeded as refusal:
        return Outcome(None, "", "limit-exceeded", str(refusal))
    defects = tuple(sorted(parsed.defects))
    ordered = Parsed(parsed.size, parsed.values, parsed.charsets, parsed.frames, parsed.pixel_data, defects)
    return Outcome(ordered, "".join(text))


def cut(data: bytes, *places: int) -> Iterator[bytes]:
    """`data` in pieces that end at `places`."""
    for begin, end in pairwise((0, *sorted(min(place, len(data)) for place in places), len(data))):
        yield data[begin:end]
