"""Display shutters: what is hidden around the region of interest, of an image or a state (PS3.3 C.7.6.11, C.7.6.15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagittal.pixels.rendering.attributes import Attributes, for_frame, functional_groups
from sagittal.pixels.rendering.color import Ink
from sagittal.pixels.rendering.geometry import Point
from sagittal.pixels.rendering.over.annotations import ink_of

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Shutter:
    """What is hidden around the region of interest (C.7.6.11)."""

    rectangle: tuple[float, float, float, float] | None = None  # left, top, right, bottom
    circle: tuple[float, float, float] | None = None  # row and column of the center, radius along a row
    polygon: tuple[Point, ...] = ()
    overlay_group: int = 0
    ink: Ink = 0  # what is hidden gets


def shutter_of(holder: Attributes) -> Shutter | None:
    """That of a presentation state, an image, or one of its frames; None without."""
    shapes = holder.texts("ShutterShape")
    if not shapes:
        return None
    sides = ("LeftVertical", "UpperHorizontal", "RightVertical", "LowerHorizontal")
    edges = [holder.number(f"Shutter{side}Edge") for side in sides]
    center, radius = holder.numbers("CenterOfCircularShutter"), holder.number("RadiusOfCircularShutter")
    vertices = holder.numbers("VerticesOfThePolygonalShutter")
    left, top, right, bottom = edges
    rectangle = None
    if "RECTANGULAR" in shapes and None not in edges:
        assert left is not None and top is not None and right is not None and bottom is not None
        rectangle = left, top, right, bottom
    circle = None
    if "CIRCULAR" in shapes and len(center) >= 2 and radius is not None:
        circle = center[0], center[1], radius
    polygon = tuple((column, row) for row, column in zip(vertices[::2], vertices[1::2], strict=False))
    return Shutter(
        rectangle,
        circle,
        polygon if "POLYGONAL" in shapes and len(polygon) >= 3 else (),
        holder.integer("ShutterOverlayGroup") if "BITMAP" in shapes else 0,
        ink_of(holder, "ShutterPresentationColorCIELabValue", "ShutterPresentationValue"),
    )


def frame_shutter(instance: Attributes, frame: int) -> Shutter | None:
    """That of a frame: Frame Display Shutter (C.7.6.16.2.16) of an enhanced image, or of the image."""

    def said() -> Shutter | None:
        return shutter_of(functional_groups(instance, frame, "FrameDisplayShutterSequence")) or shutter_of(instance)

    return for_frame(instance, "shutter", said)


def hidden(shutter: Shutter, shape: tuple[int, int], planes: dict[int, Mask], aspect: float = 1.0) -> Mask:
    """What a shutter hides of an image of `shape`; its edges count from 1. `aspect`: how many times higher than wide a
    pixel is, so that what is round looks round.
    """
    rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    mask = np.zeros(shape, bool)
    if shutter.rectangle is not None:
        left, top, right, bottom = shutter.rectangle
        mask |= (columns <= left) | (columns >= right) | (rows <= top) | (rows >= bottom)
    if shutter.circle is not None:
        row, column, radius = shutter.circle
        mask |= ((rows - row) * aspect) ** 2 + (columns - column) ** 2 > radius * radius
    if shutter.polygon:
        mask |= ~_inside(shutter.polygon, shape)
    if shutter.overlay_group in planes:
        mask |= planes[shutter.overlay_group]
    return mask


def _inside(polygon: Sequence[Point], shape: tuple[int, int]) -> Mask:
    from PIL import Image, ImageDraw

    image = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(image).polygon([(x - 1, y - 1) for x, y in polygon], fill=1)
    return np.asarray(image)
