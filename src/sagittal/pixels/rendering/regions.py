"""Regions over an image: contours of RT structure sets and segments of segmentations (PS3.3 C.8.8.6, C.8.20).

Both refer to images, and lie in space: a contour's points, and a segment's frames, are brought to the pixels of the
image by its plane (C.7.6.2). Deliberately not here: finding and decoding that image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagittal.pixels.rendering.attributes import Attributes, functional_groups
from sagittal.pixels.rendering.color import Color, as_rgb, rgb_of_lab

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.float64]]  # 0 to 1, shape (rows, columns)
Points = np.ndarray[Any, np.dtype[np.float64]]  # shape (count, 3), mm
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_COLORS: tuple[Color, ...] = ((255, 80, 80), (80, 200, 255), (120, 255, 80), (255, 220, 60), (220, 120, 255))
_OPACITY = 0.45


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the pixels of a frame lie: the first one's center, the steps along a row and down a column, in mm."""

    position: Points  # shape (3,)
    along: Points
    down: Points

    @property
    def normal(self) -> Points:
        """Of length one; zero for a degenerate plane."""
        normal = np.cross(self.along, self.down)
        length = float(np.linalg.norm(normal))
        return normal / length if length else normal

    def pixels(self, points: Points) -> Points:
        """Column, row (0 is the first pixel's center) and distance in mm of each point."""
        from_first = points - self.position
        steps = np.stack([self.along, self.down], axis=1)
        places, *_ = np.linalg.lstsq(steps, from_first.T, rcond=None)
        return np.concatenate([places.T, (from_first @ self.normal)[:, None]], axis=1)

    def points(self, rows: int, columns: int) -> Points:
        """The centers of all pixels, shape (rows * columns, 3)."""
        row, column = np.mgrid[0:rows, 0:columns].reshape(2, -1, 1)
        return np.asarray(self.position + column * self.along + row * self.down)


def plane_of(instance: Attributes, frame: int = 1) -> Plane | None:
    """The plane of a frame, from its functional groups or from the Image Plane module; None when it is not told."""
    found = []
    for macro, tag, count in ((0x00209113, 0x00200032, 3), (0x00209116, 0x00200037, 6), (0x00289110, 0x00280030, 2)):
        numbers = functional_groups(instance, frame, macro).numbers(tag) or instance.numbers(tag)
        if len(numbers) != count:
            return None
        found.append(np.array(numbers))
    position, cosines, (between_rows, between_columns) = found
    if not between_rows or not between_columns:
        return None
    return Plane(position, cosines[:3] * between_columns, cosines[3:] * between_rows)


@dataclass(frozen=True, slots=True)
class Contour:
    """One contour of a region of interest."""

    color: Color
    closed: bool
    points: Points
    images: tuple[str, ...]  # SOP Instance UIDs


def contours(structures: Attributes) -> Iterator[Contour]:
    """Every contour of a structure set."""
    for place, roi in enumerate(structures.items(0x30060039)):
        color = tuple(int(number) for number in roi.numbers(0x3006002A)[:3])
        for each in roi.items(0x30060040):
            data = each.numbers(0x30060050)
            yield Contour(
                color if len(color) == 3 else _COLORS[place % len(_COLORS)],
                each.text(0x30060042).startswith("CLOSED"),
                np.array(data[: len(data) // 3 * 3]).reshape(-1, 3),
                tuple(image.text(0x00081155) for image in each.items(0x30060016)),
            )


def referenced_images(instance: Attributes) -> list[str]:
    """SOP Instance UIDs of the images that a structure set or segmentation is over, that with the most on it first."""
    counts: Counter[str] = Counter()
    if instance.text(0x00080016) == RT_STRUCTURE_SET:
        for contour in contours(instance):
            counts.update(uid for uid in contour.images if uid)
        for frame in instance.items(0x30060010):
            for study in frame.items(0x30060012):
                for series in study.items(0x30060014):
                    counts.update(dict.fromkeys((i.text(0x00081155) for i in series.items(0x30060016)), 0))
    else:
        for frame in instance.items(0x52009230):
            counts.update(_sources(frame))
        for series in instance.items(0x00081115):
            for tag in (0x0008114A, 0x00081140):
                counts.update(dict.fromkeys((image.text(0x00081155) for image in series.items(tag)), 0))
    return [uid for uid, _ in counts.most_common() if uid]


def with_contours(picture: Picture, plane: Plane, sop_instance_uid: str, found: Iterable[Contour]) -> Picture:
    """The picture with the contours drawn that name the image, or that name none and lie in its plane."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(as_rgb(picture))
    draw = ImageDraw.Draw(image)
    for contour in found:
        if not len(contour.points) or (contour.images and sop_instance_uid not in contour.images):
            continue
        places = plane.pixels(contour.points)
        if not contour.images and np.abs(places[:, 2]).max() > 0.5:
            continue
        line = [(float(column), float(row)) for column, row in places[:, :2]]
        if len(line) == 1:
            x, y = line[0]
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=contour.color)
        else:
            draw.line([*line, line[0]] if contour.closed else line, contour.color, 1)
    return np.asarray(image)


@dataclass(frozen=True, slots=True)
class Segment:
    """One frame of a segmentation: what it covers, as a fraction, and in which color."""

    color: Color
    mask: Mask


def segment_colors(segmentation: Attributes) -> dict[int, Color]:
    """Segment number → color: the recommended one (C.8.20.2), else one of ours."""
    colors = {}
    for place, segment in enumerate(segmentation.items(0x00620002)):
        lab = [int(number) for number in segment.numbers(0x0062000D)]
        color = rgb_of_lab(lab) if len(lab) == 3 else _COLORS[place % len(_COLORS)]
        colors[segment.integer(0x00620004, place + 1)] = color
    return colors


def frames_over(segmentation: Attributes, image: Attributes, image_frame: int) -> list[int]:
    """The numbers of a segmentation's frames that lie over a frame of an image: it names it, or lies in its plane."""
    uid, plane = image.text(0x00080018), plane_of(image, image_frame)
    chosen = []
    for number, frame in enumerate(segmentation.items(0x52009230), 1):
        sources = _sources(frame)
        if sources:
            if uid in sources:
                chosen.append(number)
            continue
        own = plane_of(segmentation, number)
        if own is not None and plane is not None:
            distance = float(np.abs(plane.pixels(own.position[None])[0, 2]))
            if distance <= 0.5 * max(
                0.1, functional_groups(segmentation, number, 0x00289110).number(0x00180050) or 1.0
            ):
                chosen.append(number)
    return chosen


def segment_of(segmentation: Attributes, number: int) -> int:
    """The segment that a frame is of; 0 for label maps and where it is not told."""
    return functional_groups(segmentation, number, 0x0062000A).integer(0x0062000B)


def with_segments(picture: Picture, segments: Iterable[Segment]) -> Picture:
    """The picture with segments blended over it."""
    made = as_rgb(picture).astype(np.float64)
    for segment in segments:
        share = (segment.mask * _OPACITY)[..., None]
        made = made * (1 - share) + np.array(segment.color, float) * share
    return np.round(made).astype(np.uint8)


def laid_over(mask: Mask, own: Plane | None, image: Plane | None, shape: tuple[int, int]) -> Mask:
    """A segment's mask in the pixels of the image: nearest by their planes, or as it is when one has none."""
    if mask.shape == shape and (own is None or image is None or _same(own, image)):
        return mask
    made = np.zeros(shape)
    if own is None or image is None:
        rows, columns = min(mask.shape[0], shape[0]), min(mask.shape[1], shape[1])
        made[:rows, :columns] = mask[:rows, :columns]
        return made
    places = np.round(own.pixels(image.points(*shape))[:, :2]).astype(np.int64)
    column, row = places[:, 0], places[:, 1]
    inside = (column >= 0) & (row >= 0) & (column < mask.shape[1]) & (row < mask.shape[0])
    flat = made.reshape(-1)
    flat[inside] = mask[row[inside], column[inside]]
    return made


def _sources(frame: Attributes) -> list[str]:
    return [source.text(0x00081155) for derived in frame.items(0x00089124) for source in derived.items(0x00082112)]


def _same(one: Plane, other: Plane) -> bool:
    pairs = ((one.position, other.position), (one.along, other.along), (one.down, other.down))
    return all(np.allclose(first, second, atol=0.05) for first, second in pairs)
