"""Which part of an image a picture shows, how turned and how large (PS3.18 8.3.5.1.3, PS3.3 C.10.4, C.10.6).

Pictures have square pixels, so that what is round looks round: where those of an image are not (PS3.3 C.7.6.3.1.7)
it is enlarged in the direction in which they are longer. Deliberately not here: gray or color.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sagittal.errors import BadRequest, NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes, functional_groups

Picture = np.ndarray[Any, np.dtype[np.uint8]]  # shape (rows, columns) or (rows, columns, 3)
Point = tuple[float, float]  # column, row: 0, 0 is the upper left corner of the image's first pixel (C.10.5.1.2)
SIDE_MAX = 16_384  # pixels of a viewport, or of a displayed area that is larger than its image
AREA_MAX = 1 << 26  # pixels of a picture, or of a displayed area, that is larger than its image
ASPECT_MAX = 16.0  # of pixels: more is no measurement
_NEARLY_SQUARE = 0.01  # spacings are rounded; nobody sees such a difference, and pixels as they are are sharper
# The height and the width of a pixel.
_SHAPES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


@dataclass(frozen=True, slots=True)
class Viewport:
    """A width and height the picture must fit in, and the region of the image that it shows; None: all of it."""

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    region_width: float | None = None  # negative: flipped
    region_height: float | None = None


@dataclass(frozen=True, slots=True)
class Area:
    """A displayed area: columns and rows from 1, both ends shown, perhaps outside the image (C.10.4)."""

    left: int
    top: int
    right: int
    bottom: int
    magnification: float = 1.0  # pixels of the picture for one of the image, when nobody asks for a size
    aspect: float = 1.0  # how many times higher than wide a pixel is

    @property
    def width(self) -> int:
        return self.right - self.left + 1

    @property
    def height(self) -> int:
        return self.bottom - self.top + 1

    def factors(self, rotation: int, *, magnified: bool) -> tuple[float, float]:
        """How much wider and higher the turned area becomes: pixels made square, by enlarging, and magnified."""
        wide, high = max(1.0, 1 / self.aspect), max(1.0, self.aspect)
        if rotation // 90 % 2:
            wide, high = high, wide
        times = self.magnification if magnified else 1.0
        return wide * times, high * times


def aspect_of(instance: Attributes) -> float:
    """How many times higher than wide the pixels of an image are, the same for all of its frames; 1.0 where it does
    not say, nearly says, or says nonsense.
    """
    measures = functional_groups(instance, 1, "PixelMeasuresSequence")
    shapes = (measures.numbers(tag) or instance.numbers(tag) for tag in _SHAPES)
    aspect = next((shape[0] / shape[1] for shape in shapes if len(shape) == 2 and min(shape) > 0), 1.0)
    return aspect if abs(aspect - 1) > _NEARLY_SQUARE and 1 / ASPECT_MAX <= aspect <= ASPECT_MAX else 1.0


def whole(rows: int, columns: int, aspect: float) -> Area:
    """The area of an image that nobody says otherwise of."""
    area = Area(1, 1, columns, rows, aspect=aspect)
    wider, higher = area.factors(0, magnified=False)
    if max(columns * wider, rows * higher) > SIDE_MAX or columns * wider * rows * higher > AREA_MAX:
        return Area(1, 1, columns, rows)
    return area


def cut(picture: Picture, area: Area) -> Picture:
    """The area of a picture; what lies outside the picture is black."""
    rows, columns = picture.shape[:2]
    side, pixels = max(SIDE_MAX, rows, columns), max(AREA_MAX, rows * columns)
    if area.width > side or area.height > side or area.width * area.height > pixels:
        raise NotAcceptable("the presentation state displays an area too large to be rendered")
    top, left = max(area.top, 1), max(area.left, 1)
    bottom, right = min(area.bottom, rows), min(area.right, columns)
    inside = picture[top - 1 : max(bottom, top - 1), left - 1 : max(right, left - 1)]
    if inside.shape[:2] == (area.height, area.width):
        return inside
    made = np.zeros((area.height, area.width, *picture.shape[2:]), np.uint8)
    made[top - area.top :, left - area.left :][: inside.shape[0], : inside.shape[1]] = inside
    return made


def shown(picture: Picture, port: Viewport, stretch: tuple[float, float] = (1.0, 1.0)) -> Picture:
    """The viewport's region of a picture, flipped as it asks, scaled to fit without changing its shape: that of square
    pixels after `stretch`, how much wider and higher it has to become for that.
    """
    rows, columns = picture.shape[:2]
    wide = columns - port.left if port.region_width is None else port.region_width
    high = rows - port.top if port.region_height is None else port.region_height
    left, top = round(port.left), round(port.top)
    right, bottom = round(port.left + abs(wide)), round(port.top + abs(high))
    if left < 0 or top < 0 or right > columns or bottom > rows or right <= left or bottom <= top:
        raise BadRequest(f"the viewport's region is not within the image of {columns} by {rows}")
    region = picture[top:bottom, left:right]
    if wide < 0:
        region = region[:, ::-1]
    if high < 0:
        region = region[::-1]
    return fitted(region, port.width, port.height, stretch)


def fitted(picture: Picture, width: int, height: int, stretch: tuple[float, float] = (1.0, 1.0)) -> Picture:
    """Scaled to fit into width and height, its shape kept. BadRequest for what is larger than anybody looks at."""
    columns, rows = picture.shape[1] * stretch[0], picture.shape[0] * stretch[1]
    factor = min(width / columns, height / rows)
    wide, high = max(1, round(columns * factor)), max(1, round(rows * factor))
    if wide * high > max(AREA_MAX, columns * rows):
        raise BadRequest(
            f"a picture enlarged to {wide} by {high} has more than {AREA_MAX} pixels: ask for a smaller one"
        )
    return scaled(picture, wide, high)


def scaled(picture: Picture, width: int, height: int) -> Picture:
    """Resampled: averaged when smaller, bilinear when larger."""
    from PIL import Image

    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    smaller = width < picture.shape[1] or height < picture.shape[0]
    # Pillow's box leaves out columns of some sizes, 4 of 888 that become 160. Of what becomes four times smaller
    # it averages whole pixels first, which is up to ten times as fast and leaves out none.
    method = Image.Resampling.HAMMING if smaller else Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, height), method, reducing_gap=2.0))


def turned(picture: Picture, rotation: int, flip: bool) -> Picture:
    """Spatial Transformation (C.10.6): rotated clockwise by 0, 90, 180 or 270 degrees, then flipped left to right."""
    turns = -(rotation // 90) % 4
    made = np.rot90(picture, turns) if turns else picture
    return made[:, ::-1] if flip else made


def near(line: Sequence[Point], width: int, height: int) -> list[list[Point]]:
    """The parts of a line that lie in a picture or not far beside it; none of one with a point that is no place.

    Pillow goes along all of a line, pixel by pixel, however far outside the picture it leads.
    """
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in line):
        return []
    left, top, right, bottom = -width, -height, 2 * width, 2 * height
    if all(left <= x <= right and top <= y <= bottom for x, y in line):
        return [list(line)]
    parts = (_clipped(*ends, (left, top, right, bottom)) for ends in pairwise(line))
    return [part for part in parts if part]


def _clipped(start: Point, end: Point, box: tuple[int, int, int, int]) -> list[Point]:
    """What of a straight line is in a box: two ends, or nothing (Liang and Barsky)."""
    (x, y), (wide, high) = start, (end[0] - start[0], end[1] - start[1])
    first, last = 0.0, 1.0
    for step, room in ((-wide, x - box[0]), (wide, box[2] - x), (-high, y - box[1]), (high, box[3] - y)):
        if step == 0:
            if room < 0:
                return []
        elif step < 0:
            first = max(first, room / step)
        else:
            last = min(last, room / step)
    if first > last:
        return []
    return [(x + wide * at, y + high * at) for at in (first, last)]
