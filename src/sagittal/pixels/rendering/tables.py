"""Lookup tables as data sets hold them: descriptors, 8 and 16 bit data, palettes plain and segmented.

PS3.3 C.7.6.3.1.5, C.7.9.2, C.11.1.1.1, C.11.2.1.1. Deliberately not here: where in the pipeline a table applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagittal.errors import PixelsUndecodable
from sagittal.pixels.rendering.attributes import Attributes

Words = np.ndarray[Any, np.dtype[np.uint16]]
ENTRIES_MAX = 1 << 16  # a descriptor's first value has 16 bits, 0 standing for this


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table: input `first` maps to the first of `entries`, inputs beyond its ends to the end's entry."""

    first: int
    entries: Words  # shape (count,)
    bits: int

    def apply(self, values: np.ndarray[Any, Any]) -> Words:
        """Outputs for whole numbers of any shape and type; what is no number has the first entry."""
        last = len(self.entries) - 1
        if values.dtype.kind == "f":  # before they are integers: those have no infinity, and less room
            values = np.nan_to_num(np.clip(values, self.first, self.first + last), nan=self.first)
        found: Words = self.entries[np.clip(values.astype(np.int64) - self.first, 0, last)]
        return found


def lut_of(item: Attributes, *, signed: bool) -> Table | None:
    """The table of an item of a Modality, VOI or Presentation LUT Sequence; None when it holds none."""
    described = item.integers("LUTDescriptor")
    if len(described) < 3:
        return None
    count, first, bits = described[0] & 0xFFFF or ENTRIES_MAX, described[1], min(described[2], 16)
    entries = _entries(item.words("LUTData"), count, bits)
    return Table(_first(first, signed), entries, bits) if len(entries) else None


def palette_of(instance: Attributes) -> tuple[Table, Table, Table] | None:
    """The red, green and blue tables of a PALETTE COLOR image or of a pseudo-color state; None without them."""
    found = []
    for color in ("Red", "Green", "Blue"):
        described = instance.integers(f"{color}PaletteColorLookupTableDescriptor")
        if len(described) < 3:
            return None
        count, first, bits = described[0] & 0xFFFF or ENTRIES_MAX, described[1], described[2]
        words = instance.words(f"{color}PaletteColorLookupTableData")
        segments = instance.words(f"Segmented{color}PaletteColorLookupTableData")
        entries = _entries(words, count, bits) if len(words) else _unfolded(segments, count, bits)
        if not len(entries):
            return None
        found.append(Table(_first(first, signed=instance.integer("PixelRepresentation") == 1), entries, bits))
    return found[0], found[1], found[2]


def to_octets(tables: Sequence[Table]) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """The entries of a palette as 8-bit colors. 16-bit tables are met too of which none uses more than 8 bits."""
    wide = any(int(table.entries.max(initial=0)) > 255 for table in tables)
    return [(table.entries >> 8 if wide and table.bits > 8 else table.entries).astype(np.uint8) for table in tables]


def _unfolded(words: Words, count: int, bits: int) -> Words:
    """Segments of 8-bit entries are octets, as in the well-known palettes (PS3.6 B.1); met too: a word for each."""
    if bits <= 8:
        with suppress(PixelsUndecodable):
            entries = expanded(words.view(np.uint8), count)
            if len(entries) == count:
                return entries
    return expanded(words, count)


def expanded(segments: np.ndarray[Any, np.dtype[Any]], count_max: int) -> Words:
    """Segmented palette data, words or octets, made plain (PS3.3 C.7.9.2): discrete, linear and indirect segments."""
    data, bits = segments.tolist(), segments.itemsize * 8
    made: list[int] = []
    _expand(data, 0, len(data), made, count_max, bits)
    return np.array(made[:count_max], np.uint16)


def _expand(data: list[int], at: int, end: int, made: list[int], count_max: int, bits: int) -> None:
    """Segments from `at` to `end`. `bits` of a number of theirs; 0: none may be indirect."""
    while at + 1 < end and len(made) < count_max:
        opcode, length = data[at], data[at + 1]
        if opcode == 0:
            made += data[at + 2 : at + 2 + length]
            at += 2 + length
        elif opcode == 1:
            if not made or at + 2 >= end:
                raise PixelsUndecodable("a linear segment of the palette has no beginning or end")
            start, stop = made[-1], data[at + 2]
            made += [start + round((stop - start) * n / length) for n in range(1, length + 1)] if length else []
            at += 3
        elif opcode == 2 and bits and at + 1 + 32 // bits < end:
            place = sum(data[at + 2 + n] << n * bits for n in range(32 // bits))  # the lowest bits come first
            _segments(data, place, length, made, count_max)
            at += 2 + 32 // bits
        else:
            raise PixelsUndecodable(f"segment type {opcode} of the palette is unknown")


def _segments(data: list[int], at: int, count: int, made: list[int], count_max: int) -> None:
    """An indirect segment copies `count` segments from an earlier place, which are not indirect."""
    for _ in range(count):
        if at + 1 >= len(data):
            raise PixelsUndecodable("an indirect segment of the palette leads outside it")
        end = at + (2 + data[at + 1] if data[at] == 0 else 3)
        _expand(data, at, end, made, count_max, 0)
        at = end


def _entries(words: Words, count: int, bits: int) -> Words:
    """LUT data is one entry a word, or two 8-bit entries a word, low octet first."""
    if bits <= 8 and len(words) < count:
        return words.view(np.uint8)[:count].astype(np.uint16)
    return words[:count]


def _first(value: int, signed: bool) -> int:
    return value - 0x10000 if signed and value > 0x7FFF else value
