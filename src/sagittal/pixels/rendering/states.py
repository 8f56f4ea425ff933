"""Presentation states: how a reader left an image to be shown (PS3.3 A.33; grayscale, color and pseudo-color softcopy).

A state is read for one frame of one image, into the parts that `render` applies. Deliberately not here: blending
states, volumetric ones, compound graphics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sagittal.errors import NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.grayscale import Modality, Voi, modality_of, voi_of
from sagittal.pixels.rendering.tables import Table, lut_of, palette_of

GRAYSCALE = "1.2.840.10008.5.1.4.1.1.11.1"
COLOR = "1.2.840.10008.5.1.4.1.1.11.2"
PSEUDO_COLOR = "1.2.840.10008.5.1.4.1.1.11.3"
STATES = frozenset({GRAYSCALE, COLOR, PSEUDO_COLOR})
Point = tuple[float, float]  # column, row; the first pixel's center is 1, 1 in PIXEL units


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that a state is for; no frames: all of them."""

    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graphic:
    """A graphic or text object (C.10.5), on a layer."""

    kind: str  # POINT POLYLINE INTERPOLATED CIRCLE ELLIPSE TEXT
    points: tuple[Point, ...]
    display: bool  # in fractions of the displayed area, else in pixels of the image
    filled: bool = False
    text: str = ""
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Shutter:
    """What is hidden around the region of interest (C.7.6.11)."""

    rectangle: tuple[float, float, float, float] | None = None  # left, top, right, bottom
    circle: tuple[float, float, float] | None = None  # row and column of the center, radius
    polygon: tuple[Point, ...] = ()
    overlay_group: int = 0
    value: int = 0  # P-value, 0 to 65535


@dataclass(frozen=True, slots=True)
class State:
    """What a presentation state says of one frame of one image."""

    modality: Modality | None = None
    voi: Voi | None = None
    presentation: Table | None = None
    inverse: bool = False
    palette: tuple[Table, Table, Table] | None = None
    area: tuple[int, int, int, int] | None = None  # left, top, right, bottom, first pixel 1
    rotation: int = 0
    flip: bool = False
    shutter: Shutter | None = None
    graphics: tuple[Graphic, ...] = ()
    layers: dict[str, int] = field(default_factory=dict)  # layer -> gray of 8 bits
    overlay_layers: dict[int, str] = field(default_factory=dict)  # overlay group that is shown -> layer
    profile: bytes = b""


def references(state: Attributes) -> list[Reference]:
    """The images of a state, in its order (C.11.11)."""
    return [
        Reference(
            series.text(0x0020000E),
            image.text(0x00081150),
            image.text(0x00081155),
            tuple(int(number) for number in image.numbers(0x00081160)),
        )
        for series in state.items(0x00081115)
        for image in series.items(0x00081140)
    ]


def state_for(state: Attributes, sop_instance_uid: str, frame: int, *, signed: bool) -> State:
    """The parts of a state that hold for a frame. NotAcceptable for a class of state that is not rendered."""
    kind = state.text(0x00080016)
    if kind not in STATES:
        raise NotAcceptable("presentation states of this class are not rendered")

    def concerns(item: Attributes) -> bool:
        images = item.items(0x00081140)
        return not images or any(
            image.text(0x00081155) == sop_instance_uid
            and (not image.numbers(0x00081160) or frame in image.numbers(0x00081160))
            for image in images
        )

    own = kind != COLOR
    tables = [table for each in state.items(0x20500010) if (table := lut_of(each, signed=False)) is not None]
    vois = [voi_of(each, signed=signed) for each in state.items(0x00283110) if concerns(each)]
    areas = [each for each in state.items(0x0070005A) if concerns(each)]
    return State(
        modality=modality_of(state, signed=signed) if own and (0x00281053 in state or 0x00283000 in state) else None,
        voi=next((voi for voi in vois if voi is not None), None) if own else None,
        presentation=tables[0] if tables else None,
        inverse=state.text(0x20500020) == "INVERSE",
        palette=palette_of(state) if kind == PSEUDO_COLOR else None,
        area=_area(areas[0]) if areas else None,
        rotation=state.integer(0x00700042),
        flip=state.text(0x00700041) == "Y",
        shutter=_shutter(state),
        graphics=tuple(graphic for each in state.items(0x00700001) if concerns(each) for graphic in _graphics(each)),
        layers={each.text(0x00700002): each.integer(0x00700066, 0xFFFF) >> 8 for each in state.items(0x00700060)},
        overlay_layers={
            group: layer for group in range(0x6000, 0x6020, 2) if (layer := state.text(group << 16 | 0x1001))
        },
        profile=state.octets(0x00282000),
    )


def _area(item: Attributes) -> tuple[int, int, int, int] | None:
    first, last = item.numbers(0x00700052), item.numbers(0x00700053)
    if len(first) < 2 or len(last) < 2:
        return None
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _shutter(state: Attributes) -> Shutter | None:
    shapes = state.texts(0x00181600)
    if not shapes:
        return None
    edges = [state.number(tag) for tag in (0x00181602, 0x00181606, 0x00181604, 0x00181608)]
    center, radius = state.numbers(0x00181610), state.number(0x00181612)
    vertices = state.numbers(0x00181620)
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
        state.integer(0x00181623) if "BITMAP" in shapes else 0,
        state.integer(0x00181622),
    )


def _graphics(annotation: Attributes) -> list[Graphic]:
    layer = annotation.text(0x00700002)
    made = []
    for each in annotation.items(0x00700009):
        data = each.numbers(0x00700022)
        points = tuple(zip(data[::2], data[1::2], strict=False))
        display = each.text(0x00700005) == "DISPLAY"
        made.append(Graphic(each.text(0x00700023), points, display, each.text(0x00700024) == "Y", "", layer))
    for each in annotation.items(0x00700008):
        text = each.text(0x00700006)
        for place, units in ((0x00700010, 0x00700003), (0x00700014, 0x00700004)):
            where = each.numbers(place)
            if len(where) >= 2 and text:
                point = (where[0], where[1])
                made.append(Graphic("TEXT", (point,), each.text(units) == "DISPLAY", False, text, layer))
                break
    return made
