"""Overlay planes: bitmaps of groups 60xx over an image, in their own data or in unused bits of its pixels (PS3.3 C.9).

Deliberately not here: what color they get (`layers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagittal.pixels.rendering.attributes import Attributes

Mask = np.ndarray[Any, np.dtype[np.bool_]]
GROUPS = range(0x6000, 0x6020, 2)


@dataclass(frozen=True, slots=True)
class Plane:
    """An overlay plane as it lies over one frame."""

    group: int
    mask: Mask  # shape (rows, columns) of the image
    kind: str  # G graphics, R region of interest
    label: str


def planes(
    holder: Attributes, frame: int, shape: tuple[int, int], raw: np.ndarray[Any, Any] | None = None
) -> Iterator[Plane]:
    """The planes of an image or of a presentation state that lie over `frame` (1 is the first).

    `raw` are the frame's pixel cells with every bit, for planes embedded in them (retired, but met).
    """
    for group in holder.recall("overlays", lambda: [each for each in GROUPS if each << 16 | 0x0010 in holder]):
        base = group << 16
        rows, columns = holder.integer(base | 0x0010), holder.integer(base | 0x0011)
        if not rows or not columns:
            continue
        own = base | 0x3000 in holder  # whatever it says of bits in the pixels
        bits = _own(holder, base, frame, rows, columns) if own else _embedded(holder, base, raw)
        if bits is not None:
            mask = _placed(bits, holder.numbers(base | 0x0050), shape)
            label = holder.text(base | 0x1500) or holder.text(base | 0x0022)
            yield Plane(group, mask, holder.text(base | 0x0040) or "G", label)


def _embedded(holder: Attributes, base: int, raw: np.ndarray[Any, Any] | None) -> Mask | None:
    bit = holder.integer(base | 0x0102)
    if raw is None or raw.ndim != 2 or holder.integer(base | 0x0100, 1) == 1 or bit not in range(raw.itemsize * 8):
        return None
    place: Mask = (raw >> bit) & 1 == 1
    return place


def _own(holder: Attributes, base: int, frame: int, rows: int, columns: int) -> Mask | None:
    data = holder.octets(base | 0x3000, 2)
    if not data:
        return None
    count, number = holder.integer(base | 0x0015), 0
    if count > 1 or base | 0x0051 in holder:  # else it says of no frame that it is the one
        number = frame - holder.integer(base | 0x0051, 1)
    if not 0 <= number < max(count, 1):
        return None
    size = rows * columns
    start = number * size
    octets = np.frombuffer(data, np.uint8)[start // 8 : (start + size + 7) // 8]
    bits = np.unpackbits(octets, bitorder="little")[start % 8 :][:size]
    if len(bits) < size:
        return None
    return bits.reshape(rows, columns).astype(bool)


def _placed(bits: Mask, origin: list[float], shape: tuple[int, int]) -> Mask:
    """`bits` moved to the overlay's origin, whose first pixel is 1\\1, and cut to the image."""
    row, column = (int(origin[0]) - 1, int(origin[1]) - 1) if len(origin) == 2 else (0, 0)
    mask = np.zeros(shape, bool)
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + bits.shape[0], shape[0]), min(column + bits.shape[1], shape[1])
    if top < bottom and left < right:
        mask[top:bottom, left:right] = bits[top - row : bottom - row, left - column : right - column]
    return mask
