"""The elements of a data set before its pixels with some of them set or left out, and all others as they lie.

For a data set that was read without any defect and stays in Explicit VR Little Endian: then nothing inside its elements
has to be made anew, sequences keep the lengths they have, and one slice takes the place of many events. `Edited` is the
way for all others. Deliberately not here: the pixels, and whatever comes after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import Any

from sagittal.dicom.elements import ITEM_END, LONG_CODES, SEQUENCE_END, UNDEFINED
from sagittal.dicom.frameindex import PIXELS
from sagittal.dicom.models.encode import data_set
from sagittal.dicom.partial.edited import LEFT_OUT
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES
from sagittal.limits import ReaderLimits

_HEAD, _LENGTH, _ITEM = Struct("<HH2sH").unpack_from, Struct("<I").unpack_from, Struct("<HHI").unpack_from
_SHORT_HEAD = 8


class Irregular(Exception):
    """Not to be had like this."""


def before_pixels(
    held: bytes, members: Mapping[str, Any], removed: Iterable[int], limits: ReaderLimits
) -> tuple[list[bytes], int]:
    """What comes before the pixels, changed; and where in `held`, which begins the data set, their value begins.

    Irregular when this is not the way: nothing of an element before the pixels is known but that it holds together.
    """
    new = _encoded(members, limits)
    order, gone = sorted(new, reverse=True), LEFT_OUT | frozenset(removed) | new.keys()
    if order and order[0] >= min(PIXELS):
        raise Irregular
    pieces, begin = [], 0
    for tag, start, value, end in _elements(held):
        if order and order[-1] <= tag:
            pieces.append(held[begin:start])
            begin = start
            while order and order[-1] <= tag:
                pieces.append(new[order.pop()])
        if tag in PIXELS:
            return [*pieces, held[begin:start]], value
        if tag in gone or not tag & 0xFFFF:  # a group length, which would be wrong
            pieces.append(held[begin:start])
            begin = end
    raise Irregular


def _encoded(members: Mapping[str, Any], limits: ReaderLimits) -> dict[int, bytes]:
    """DICOM JSON members as the bytes of each element by tag. BadRequest for what can't be encoded."""
    if not members:
        return {}
    encoded = b"".join(data_set(members, SYNTAXES[EXPLICIT_LE], limits=limits))
    return {tag: encoded[start:end] for tag, start, _, end in _elements(encoded)}


def _elements(held: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Tag and places (head, value, end) of each top-level element, to that with the pixels."""
    pos, there = 0, len(held)
    while pos + _SHORT_HEAD <= there:
        group, number, code, length = _HEAD(held, pos)
        tag, value = group << 16 | number, pos + _SHORT_HEAD
        if code in LONG_CODES:
            length, value = _long_length(held, value), value + 4
        if tag in PIXELS:
            yield tag, pos, value, value
            return
        end = _end_of_sequence(held, value) if length == UNDEFINED and code == b"SQ" else value + length
        if end > there:
            raise Irregular
        yield tag, pos, value, end
        pos = end


def _end_of_sequence(held: bytes, pos: int) -> int:
    """Where a sequence of undefined length ends whose first item, or delimiter, is at `pos`."""
    within = ["items"]  # and what is around it
    while within:
        if pos + _SHORT_HEAD > len(held):
            raise Irregular
        group, number, length = _ITEM(held, pos)
        tag, code, pos = group << 16 | number, held[pos + 4 : pos + 6], pos + _SHORT_HEAD
        if within[-1] == "items" or tag == ITEM_END:
            if tag in (SEQUENCE_END, ITEM_END):
                within.pop()
            elif length == UNDEFINED:
                within.append("elements")
            else:
                pos += length
            continue
        if code in LONG_CODES:
            length, pos = _long_length(held, pos), pos + 4
        else:
            length >>= 16
        if length != UNDEFINED:
            pos += length
        elif code == b"SQ":
            within.append("items")
        else:
            raise Irregular
    return pos


def _long_length(held: bytes, pos: int) -> int:
    if pos + 4 > len(held):
        raise Irregular
    (length,) = _LENGTH(held, pos)
    return int(length)
