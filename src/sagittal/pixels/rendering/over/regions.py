"""Regions over an image: contours of RT structure sets and segments of segmentations (PS3.3 C.8.8.6, C.8.20).

Both refer to images, and lie in space: a contour's points, and a segment's frames, are brought to the pixels of the
image by its plane (C.7.6.2), tiles of slides by their place in the total pixel matrix (C.7.6.17.3). Deliberately not
here: finding and decoding that image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sagittal.pixels.rendering.attributes import PER_FRAME, Attributes, functional_groups
from sagittal.pixels.rendering.color import Color, as_rgb, rgb_of_lab, through_palette
from sagittal.pixels.rendering.geometry import near
from sagittal.pixels.rendering.tables import palette_of

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.float64]]  # 0 to 1, shape (rows, columns)
Points = np.ndarray[Any, np.dtype[np.float64]]  # shape (count, 3), mm
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATIONS = frozenset({SEGMENTATION, LABEL_MAP})
_COLORS: tuple[Color, ...] = ((255, 80, 80), (80, 200, 255), (120, 255, 80), (255, 220, 60), (220, 120, 255))
_OPACITY = 0.45
_FAR = 1e9  # mm: nothing is there
_PLANE = (
    ("PlanePositionSequence", "ImagePositionPatient", 3),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PixelMeasuresSequence", "PixelSpacing", 2),
)  # macro, attribute, number of values
_PARALLEL = 0.99  # cosine between the normals of planes: some degrees apart they are not the same


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the pixels of a frame lie: the first one's center, the steps along a row and down a column, in mm."""

    position: Points  # shape (3,)
    along: Points
    down: Points
    space: str = ""  # Frame of Reference UID; "" where nobody says

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
    for macro, tag, count in _PLANE:
        numbers = functional_groups(instance, frame, macro).numbers(tag) or instance.numbers(tag)
        if len(numbers) != count or not (np.abs(numbers) < _FAR).all():  # NaN is not, either
            return None
        found.append(np.array(numbers))
    position, cosines, (between_rows, between_columns) = found
    if not between_rows or not between_columns:
        return None
    return Plane(
        position, cosines[:3] * between_columns, cosines[3:] * between_rows, instance.text("FrameOfReferenceUID")
    )


def _apart(one: str, other: str) -> bool:
    """Whether places in these Frames of Reference can't be compared, as both are told and not the same (C.7.4.1)."""
    return bool(one and other) and one != other


class Named(NamedTuple):
    """An image that a region says it is on; no frames: all of them."""

    uid: str
    frames: tuple[int, ...] = ()

    def covers(self, uid: str, frame: int) -> bool:
        return self.uid == uid and (not self.frames or frame in self.frames)


def _color_of(place: int) -> Color:
    """A color for what says none: no two near each other in a list look alike."""
    if place < len(_COLORS):
        return _COLORS[place]
    red, green, blue = hsv_to_rgb(place * 0.618034 % 1.0, 0.55 + place % 3 * 0.2, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _named(item: Attributes) -> Named:
    return Named(item.text("ReferencedSOPInstanceUID"), tuple(item.integers("ReferencedFrameNumber")))


@dataclass(frozen=True, slots=True)
class Contour:
    """One contour of a region of interest."""

    color: Color
    closed: bool
    points: Points
    images: tuple[Named, ...]
    space: str = ""  # the Frame of Reference UID of its points; "" where nobody says


def contours(structures: Attributes) -> Iterator[Contour]:
    """Every contour of a structure set."""
    rois = structures.items("StructureSetROISequence")
    spaces = {roi.integer("ROINumber"): roi.text("ReferencedFrameOfReferenceUID") for roi in rois}
    for place, roi in enumerate(structures.items("ROIContourSequence")):
        color = tuple(roi.integers("ROIDisplayColor")[:3])
        for each in roi.items("ContourSequence"):
            data = each.numbers("ContourData")
            yield Contour(
                color if len(color) == 3 else _color_of(place),
                each.text("ContourGeometricType").startswith("CLOSED"),
                np.array(data[: len(data) // 3 * 3]).reshape(-1, 3),
                tuple(map(_named, each.items("ContourImageSequence"))),
                spaces.get(roi.integer("ReferencedROINumber"), "") or structures.text("FrameOfReferenceUID"),
            )


def referenced_images(instance: Attributes) -> list[Named]:
    """The images that a structure set or segmentation is over, that with the most on it first; its frames too."""
    counts: Counter[str] = Counter()
    frames: dict[str, Counter[int]] = {}

    def count(images: Iterable[Named]) -> None:
        for uid, numbers in images:
            counts[uid] += 1
            frames.setdefault(uid, Counter()).update(numbers)

    if instance.text("SOPClassUID") == RT_STRUCTURE_SET:
        for contour in contours(instance):
            count(contour.images)
        for frame in instance.items("ReferencedFrameOfReferenceSequence"):
            for study in frame.items("RTReferencedStudySequence"):
                for series in study.items("RTReferencedSeriesSequence"):
                    images = series.items("ContourImageSequence")
                    counts.update(dict.fromkeys((image.text("ReferencedSOPInstanceUID") for image in images), 0))
    else:
        for groups in instance.items(PER_FRAME):
            count(_derived_from(groups))
        counts.update(dict.fromkeys(_referenced_as_a_whole(instance), 0))
    ordered = [uid for uid, _ in counts.most_common() if uid]
    return [Named(uid, tuple(number for number, _ in frames.get(uid, Counter()).most_common())) for uid in ordered]


def _referenced_as_a_whole(segmentation: Attributes) -> list[str]:
    """The images that a segmentation refers to without saying which frame of it was made of which, each once."""
    tags = ("ReferencedInstanceSequence", "ReferencedImageSequence")
    listed = (series.items(tag) for series in segmentation.items("ReferencedSeriesSequence") for tag in tags)
    found = [image.text("ReferencedSOPInstanceUID") for images in listed for image in images]
    shared = _derived_from(segmentation.item("SharedFunctionalGroupsSequence"))
    return list(dict.fromkeys([*(image.uid for image in shared), *found]))


def with_contours(
    picture: Picture, plane: Plane, sop_instance_uid: str, found: Iterable[Contour], frame: int = 1
) -> Picture:
    """The picture with the contours drawn that name the image, or that name none and lie in its plane."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(as_rgb(picture))
    draw = ImageDraw.Draw(image)
    for contour in found:
        on_it = any(image.covers(sop_instance_uid, frame) for image in contour.images)
        if not len(contour.points) or not np.isfinite(contour.points).all() or (contour.images and not on_it):
            continue
        places = plane.pixels(contour.points)
        if not contour.images and (np.abs(places[:, 2]).max() > 0.5 or _apart(contour.space, plane.space)):
            continue
        line = [(float(column), float(row)) for column, row in places[:, :2]]
        if len(line) == 1:
            x, y = line[0]
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=contour.color)
        else:
            for part in near([*line, line[0]] if contour.closed else line, *image.size):
                draw.line(part, contour.color, 1)
    return np.asarray(image)


@dataclass(frozen=True, slots=True)
class Segment:
    """One frame of a segmentation: what it covers, as a fraction, and in which color; a label map's in one by pixel."""

    color: Color | Picture
    mask: Mask


def segment_colors(segmentation: Attributes) -> dict[int, Color]:
    """Segment number → color: the recommended one (C.8.20.2), else one of ours."""
    colors = {}
    for place, segment in enumerate(segmentation.items("SegmentSequence")):
        lab = segment.integers("RecommendedDisplayCIELabValue")
        color = rgb_of_lab(lab) if len(lab) == 3 else _color_of(place)
        colors[segment.integer("SegmentNumber", place + 1)] = color
    return colors


def label_colors(segmentation: Attributes, labels: np.ndarray[Any, Any]) -> Picture:
    """The colors of a label map's pixels, shape (rows, columns, 3): its palette's, else those of its segments."""
    palette = palette_of(segmentation)
    if palette is not None:
        return through_palette(labels, palette)
    colors = segment_colors(segmentation)
    numbers, places = np.unique(labels, return_inverse=True)
    table = np.array([colors.get(int(n), _color_of(int(n))) for n in numbers], np.uint8)
    return table[places.reshape(labels.shape)]


def background(segmentation: Attributes) -> int:
    """The label of pixels that are of no segment (C.8.20.2: Pixel Padding Value)."""
    return segmentation.integer("PixelPaddingValue", 0)


def frames_over(segmentation: Attributes, count: int, image: Attributes, image_frame: int) -> list[int]:
    """The numbers of a segmentation's `count` frames that lie over a frame of an image: it names it, or lies in its
    plane; what has no plane lies over the only image that there is.
    """
    uid, plane, tile = image.text("SOPInstanceUID"), plane_of(image, image_frame), tile_of(image, image_frame)
    if _apart(segmentation.text("FrameOfReferenceUID"), image.text("FrameOfReferenceUID")):
        plane = None
    several = image.integer("NumberOfFrames", 1) > 1
    alone = _referenced_as_a_whole(segmentation) == [uid]
    chosen = []
    for number in range(1, count + 1):
        images = sources(segmentation, number)
        named = [image for image in images if image.covers(uid, image_frame)]
        if images and not named:
            continue
        if named and (named[0].frames or not several):
            there: bool | None = True
        elif tile is not None:
            there = tile_of(segmentation, number) == tile
        else:
            there = _in_plane(segmentation, number, plane)
        if there or (there is None and (named or (alone and not images))):
            chosen.append(number)
    return chosen


def sources(segmentation: Attributes, number: int) -> list[Named]:
    """The images that a frame of a segmentation was made of (Derivation Image Sequence)."""
    return _derived_from(segmentation.item(PER_FRAME, number - 1))


def _derived_from(groups: Attributes) -> list[Named]:
    made = groups.items("DerivationImageSequence")
    return [_named(source) for each in made for source in each.items("SourceImageSequence")]


def _in_plane(segmentation: Attributes, number: int, plane: Plane | None) -> bool | None:
    """Whether a frame lies in a plane; None: it can't be told."""
    own = plane_of(segmentation, number)
    if own is None or plane is None:
        return None
    if abs(float(own.normal @ plane.normal)) < _PARALLEL:
        return False
    thickness = functional_groups(segmentation, number, "PixelMeasuresSequence").number("SliceThickness") or 1.0
    return float(np.abs(plane.pixels(own.position[None])[0, 2])) <= 0.5 * max(0.1, thickness)


def tile_of(instance: Attributes, frame: int) -> tuple[int, int] | None:
    """The column and row of a tile's first pixel in the total pixel matrix; None for what has no tiles."""
    place = functional_groups(instance, frame, "PlanePositionSlideSequence")
    if "ColumnPositionInTotalImagePixelMatrix" in place:
        return place.integer("ColumnPositionInTotalImagePixelMatrix"), place.integer(
            "RowPositionInTotalImagePixelMatrix"
        )
    across, down = _tiles(instance)
    if not across or instance.text("DimensionOrganizationType") != "TILED_FULL":
        return None
    row, column = divmod((frame - 1) % (across * down), across)
    return column * instance.integer("Columns") + 1, row * instance.integer("Rows") + 1


def _tiles(instance: Attributes) -> tuple[int, int]:
    """Tiles across and down a total pixel matrix; 0 where there is none."""
    sides = [instance.integer(tag) for tag in ("TotalPixelMatrixColumns", "TotalPixelMatrixRows", "Columns", "Rows")]
    return (-(-sides[0] // sides[2]), -(-sides[1] // sides[3])) if min(sides) > 0 else (0, 0)


def segment_of(segmentation: Attributes, number: int) -> int:
    """The segment that a frame is of; 0 where it is not told, as for label maps."""
    across, down = _tiles(segmentation)
    if (
        across and segmentation.text("DimensionOrganizationType") == "TILED_FULL"
    ):  # one segment after another (C.7.6.17.3)
        place = (number - 1) // (across * down * max(segmentation.integer("TotalPixelMatrixFocalPlanes", 1), 1))
        return segmentation.item("SegmentSequence", place).integer("SegmentNumber", place + 1)
    return functional_groups(segmentation, number, "SegmentIdentificationSequence").integer("ReferencedSegmentNumber")


def with_segments(picture: Picture, segments: Iterable[Segment]) -> Picture:
    """The picture with segments blended over it."""
    made = as_rgb(picture).astype(np.float64)
    for segment in segments:
        share = (segment.mask * _OPACITY)[..., None]
        made = made * (1 - share) + np.array(segment.color, float) * share
    return np.round(made).astype(np.uint8)


def laid_over(mask: Mask, own: Plane | None, image: Plane | None, shape: tuple[int, int]) -> Mask:
    """A segment's mask in the pixels of the image: nearest by their planes, or as it is when one has none, or they
    can't be compared.
    """
    if own is not None and image is not None and _apart(own.space, image.space):
        own = None
    if mask.shape == shape and (own is None or image is None or _same(own, image, shape)):
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


def _same(one: Plane, other: Plane, shape: tuple[int, int]) -> bool:
    """Whether all pixels lie in the same places, the last as the first."""
    first, second = ([each.position, each.along * shape[1], each.down * shape[0]] for each in (one, other))
    return bool(np.allclose(first, second, atol=0.05))
