"""Rectangles of an image's pixels set to one value, in every frame: what is burned in there is gone.

The instance is written as one being transcoded is: in its own syntax where that is lossless, or in another. What it
says of itself follows: Burned In Annotation, Image Type, the derivation and its source (PS3.3 C.7.6.1.1.2, .3);
icons are left out. Whole cells are set, overlay planes in their unused bits with them. Deliberately not here: planes
of their own, which lie beside the pixels, and finding where text is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sagittal.dicom.models.members import element
from sagittal.errors import NotAcceptable, UsageError
from sagittal.pixels.codecs import codec
from sagittal.pixels.codecs.interface import Array, Options
from sagittal.pixels.description import Description
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Open, Transcoding
from sagittal.pixels.rendering.color import through_palette
from sagittal.pixels.rendering.tables import palette_of
from sagittal.pixels.transcode import Changes, Plan, Way, derived, embedded_overlays, from_source

_BURNED_IN = "00280301"
_STALE = ("00280106", "00280107", "00880200")  # smallest and largest value; the icon shows what the pixels showed


class Rectangle(NamedTuple):
    """In pixels; the first column and row are 0."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MaskPlan(Plan):
    """A step to the same or another syntax with rectangles set on the way."""

    rectangles: tuple[Rectangle, ...] = ()
    value: float = 0

    def frame(self, data: bytes) -> bytes:
        """One frame in the target syntax, its rectangles set."""
        before = codec(self.from_syntax)
        read = self.source.cells() if self.way == "cells" else self.source
        array = before.decode(data, read).copy()
        fill = self._fill(array, before.decoded(self.source))
        for x, y, width, height in self.rectangles:
            array[y : y + height, x : x + width] = fill
        return self.encoded(array, before.decoded(read))

    def _fill(self, array: Array, described: Description) -> Any:
        """What a pixel is set to: a number, or one for each sample."""
        import numpy

        if described.kind != "integer":
            return self.value
        number = int(self.value)
        if self.way == "cells":
            number = (number & (1 << described.bits_stored) - 1) << described.high_bit + 1 - described.bits_stored
        if described.photometric.startswith("YBR"):  # without colour
            return numpy.array([number, *[1 << described.bits_stored - 1] * 2], array.dtype)
        return number

    def changes(self, members: Mapping[str, Any], ratio: float = 0.0, instance_uid: str = "") -> Changes:
        """What the data set says afterwards."""
        base = Plan.changes(self, members, ratio, instance_uid)  # no super(): slots make the class anew
        told = f"Pixels set to {self.value:g} in {len(self.rectangles)} rectangles"
        found = base.members | derived({**members, **base.members}, told, ("113047", "Pixel by pixel mask"))
        found[_BURNED_IN] = element("CS", "NO")
        if instance_uid:
            found |= from_source(members, instance_uid, ("121322", "Source image for image processing operation"))
        removed = base.removed | {tag for tag in _STALE if tag in members}
        if self.way == "values":  # overlays in unused bits don't outlive it
            groups = {f"{group:04X}" for group, _ in embedded_overlays(members)}
            removed |= {tag for tag in members if tag[:4] in groups}
        return Changes(found, frozenset(removed), derived=True)


class Masking(Transcoding):
    """One instance with rectangles set, on its way to `to_syntax`. `value` None: black.

    `instance_uid`: the new SOP Instance UID; "" keeps the one it has. NotAcceptable at once when it can't be.
    """

    def __init__(
        self, image: Image, opened: Open, to_syntax: str, rectangles: Sequence[Rectangle], value: float | None = None,
        options: Options = Options(), instance_uid: str = "",
    ) -> None:  # fmt: skip
        self._start(image, opened, to_syntax, instance_uid)
        if not image.count:
            raise NotAcceptable("an object whose frames can't be told apart can't be masked")
        if value is None and image.description.photometric == "PALETTE COLOR":
            value = _darkest(image)
        self.plan = masked_plan(image.description, image.syntax_uid, to_syntax, rectangles, value, options)

    def _overlays(self) -> dict[str, Any]:
        return {}  # taken out they would show what the rectangles hide


def masked_plan(
    source: Description, from_syntax: str, to_syntax: str, rectangles: Sequence[Rectangle], value: float | None,
    options: Options,
) -> MaskPlan:  # fmt: skip
    """How frames get their rectangles set. NotAcceptable when a rectangle or the syntax doesn't fit the image."""
    inside = tuple(_inside(rectangle, source) for rectangle in rectangles)
    before, after = codec(from_syntax), codec(to_syntax)
    decoded = before.decoded(source)
    number = _black(decoded) if value is None else value
    whole = float(number).is_integer()  # neither NaN nor infinity is
    if source.kind == "integer" and not (whole and decoded.lowest <= number <= decoded.highest):
        raise NotAcceptable(f"a pixel is a whole number from {decoded.lowest} to {decoded.highest}, not {number:g}")
    target = after.encoded(decoded, options)
    way: Way = "cells" if before.cells and after.cells else "values"
    return MaskPlan(way, source, target, from_syntax, to_syntax, options, after.loses(options), inside, number)


def _inside(rectangle: Rectangle, described: Description) -> Rectangle:
    x, y, width, height = rectangle
    if min(width, height) < 1:
        raise UsageError("a rectangle has a width and a height")
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, described.columns), min(y + height, described.rows)
    if left >= right or top >= bottom:
        told = f"{described.columns} x {described.rows}"
        raise NotAcceptable(f"the rectangle {x},{y},{width},{height} lies outside the image, which is {told}")
    return Rectangle(left, top, right - left, bottom - top)


def _black(described: Description) -> float:
    if described.kind != "integer":
        return 0.0
    if described.photometric == "MONOCHROME1":
        return described.highest
    return described.lowest if described.photometric == "MONOCHROME2" else 0


def _darkest(image: Image) -> float:
    """The index of the color nearest to black, of those that pixels can have."""
    import numpy

    described, tables = image.description, palette_of(image.attributes)
    if tables is None:
        return 0
    first, last = tables[0].first, tables[0].first + len(tables[0].entries) - 1
    indices = numpy.arange(max(first, described.lowest), min(last, described.highest) + 1)
    if not len(indices):
        return 0
    return float(indices[through_palette(indices, tables).sum(axis=-1, dtype=int).argmin()])
