"""Graphics, text and layers of presentation states (PS3.3 C.10.5, C.10.7).

A compound graphic (a ruler, an arrow, an axis) is drawn by the simple graphics that every state has to hold for it too
(C.10.5.1.3.1). Deliberately not here: line patterns, fonts by name; drawing (`layers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sagittal.pixels.rendering.attributes import Attributes, Tag
from sagittal.pixels.rendering.color import Ink, rgb_of_lab
from sagittal.pixels.rendering.geometry import Point

Justification = Literal["LEFT", "RIGHT", "CENTER"]
WHITE = 255


@dataclass(frozen=True, slots=True)
class Graphic:
    """A graphic or text object, on a layer."""

    kind: str  # POINT POLYLINE INTERPOLATED CIRCLE ELLIPSE TEXT
    points: tuple[Point, ...]  # of text: one it begins at, or two opposite corners of its box
    display: bool  # in fractions of the displayed area, else in pixels of the image
    filled: bool = False
    text: str = ""
    layer: str = ""
    ink: Ink | None = None  # its own, where it has one
    justification: Justification = "LEFT"


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a graphic lies among others, and its color."""

    order: int = 0
    ink: Ink = WHITE


def layers_of(state: Attributes) -> dict[str, Layer]:
    """Layers by name: their color in CIELab where they have it, else their gray (C.10.7)."""
    found = {}
    for each in state.items("GraphicLayerSequence"):
        shown = "GraphicLayerRecommendedDisplay"
        ink = ink_of(each, f"{shown}CIELabValue", f"{shown}GrayscaleValue", 0xFFFF)
        found[each.text("GraphicLayer")] = Layer(each.integer("GraphicLayerOrder"), ink)
    return found


def ink_of(item: Attributes, lab: Tag, value: Tag, otherwise: int = 0) -> Ink:
    """A color in CIELab where the item has it, else a P-value of 16 bits."""
    ink = lab_ink(item, lab)
    return min(max(item.integer(value, otherwise), 0), 0xFFFF) >> 8 if ink is None else ink


def lab_ink(item: Attributes, tag: Tag) -> Ink | None:
    """A color in CIELab; None when the item has none."""
    numbers = item.integers(tag)
    return rgb_of_lab(numbers) if len(numbers) == 3 else None


def graphics_of(annotation: Attributes) -> list[Graphic]:
    """The graphics and texts of an item of the Graphic Annotation Sequence."""
    layer = annotation.text("GraphicLayer")
    made = []
    for each in annotation.items("GraphicObjectSequence"):
        data = each.numbers("GraphicData")
        points = tuple(zip(data[::2], data[1::2], strict=False))
        display, filled = each.text("GraphicAnnotationUnits") == "DISPLAY", each.text("GraphicFilled") == "Y"
        ink = lab_ink(each.item("LineStyleSequence"), "PatternOnColorCIELabValue")
        made.append(Graphic(each.text("GraphicType"), points, display, filled, "", layer, ink))
    for each in annotation.items("TextObjectSequence"):
        made += _texts(each, layer)
    return made


def _texts(item: Attributes, layer: str) -> list[Graphic]:
    """A text in its bounding box, with a line to its anchor where that is to be seen (C.10.5.1.1)."""
    text, ink = item.text("UnformattedTextValue"), lab_ink(item.item("TextStyleSequence"), "TextColorCIELabValue")
    if not text:
        return []
    corners = [item.numbers(tag)[:2] for tag in ("BoundingBoxTopLeftHandCorner", "BoundingBoxBottomRightHandCorner")]
    anchor, anchored = item.numbers("AnchorPoint")[:2], item.text("AnchorPointAnnotationUnits") == "DISPLAY"
    if any(len(corner) < 2 for corner in corners):
        if len(anchor) < 2:
            return []
        return [Graphic("TEXT", ((anchor[0], anchor[1]),), anchored, False, text, layer, ink)]
    said = item.text("BoundingBoxTextHorizontalJustification")
    justification: Justification = "RIGHT" if said == "RIGHT" else "CENTER" if said == "CENTER" else "LEFT"
    display = item.text("BoundingBoxAnnotationUnits") == "DISPLAY"
    points = tuple((corner[0], corner[1]) for corner in corners)
    made = [Graphic("TEXT", points, display, False, text, layer, ink, justification)]
    if len(anchor) == 2 and item.text("AnchorPointVisibility") == "Y" and display == anchored:
        made.append(
            Graphic("POLYLINE", (_nearest(points, anchor), (anchor[0], anchor[1])), display, layer=layer, ink=ink)
        )
    return made


def _nearest(corners: tuple[Point, ...], to: list[float]) -> Point:
    """The point of a box that is nearest to another, however the box will be turned."""
    columns, rows = (sorted(ends) for ends in zip(*corners, strict=True))
    return min(max(to[0], columns[0]), columns[1]), min(max(to[1], rows[0]), rows[1])
