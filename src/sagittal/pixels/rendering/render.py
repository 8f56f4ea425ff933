"""One frame from stored values to a picture, through everything that applies to it (PS3.4 N.2, PS3.18 8.3.5).

What a request asks for goes before a presentation state, which goes before what the image says itself. Deliberately
not here: decoding (`pixels.codecs`), file formats (`pictures`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sagittal.errors import NotAcceptable
from sagittal.pixels.description import MONOCHROME, Description
from sagittal.pixels.rendering import color, geometry, grayscale
from sagittal.pixels.rendering.attributes import Attributes, functional_groups
from sagittal.pixels.rendering.color import Profile
from sagittal.pixels.rendering.geometry import Point, Viewport
from sagittal.pixels.rendering.grayscale import Modality, Pipeline, Voi, Window
from sagittal.pixels.rendering.over import layers, overlays
from sagittal.pixels.rendering.over.annotations import Layer
from sagittal.pixels.rendering.over.shutters import frame_shutter, hidden
from sagittal.pixels.rendering.states import State
from sagittal.pixels.rendering.tables import palette_of

Picture = np.ndarray[Any, np.dtype[np.uint8]]
AS_IT_IS = State()  # no presentation state
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
_PATIENT = (("PatientName", ""), ("PatientID", "ID "), ("PatientBirthDate", "* "), ("PatientSex", ""))
_TECHNIQUE = (
    ("Modality", ""), ("StudyDate", ""), ("StudyDescription", ""), ("SeriesDescription", ""),
    ("SliceThickness", "thickness "), ("KVP", "kVp "), ("RepetitionTime", "TR "), ("EchoTime", "TE "),
    ("SeriesNumber", "series "), ("InstanceNumber", "image "),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks for (PS3.18 8.3.5.1)."""

    window: Window | None = None
    viewport: Viewport | None = None
    annotations: frozenset[str] = frozenset()  # "patient", "technique"
    profile: Profile = "no"
    overlays: bool = True


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: `stored` are values as `description` says; `raw` has every bit of the cells, when overlay planes
    may be embedded in them.
    """

    instance: Attributes
    number: int
    stored: np.ndarray[Any, Any]
    description: Description
    raw: np.ndarray[Any, Any] | None = None


def render(
    frame: Frame, options: Options, state: State = AS_IT_IS, over: Callable[[Picture], Picture] | None = None
) -> tuple[Picture, bytes | None]:
    """The picture, shape (rows, columns) or (rows, columns, 3), and the ICC profile to go with it.

    `over` lays something over the image, pixel for pixel, before it is cut, turned and scaled.
    """
    if frame.stored.ndim == 2 and frame.description.photometric in MONOCHROME:
        shown, profile = _gray(frame, options, state), None
    else:
        rgb = color.rgb_of(frame.instance, frame.stored, frame.description.photometric, frame.description.bits_stored)
        embedded = state.profile or frame.instance.octets("ICCProfile") or _optical_path_profile(frame.instance)
        shown, profile = color.convert_profile(rgb, embedded, options.profile)
    shown = _covered(shown, frame, options, state)
    if over is not None:
        shown = over(shown)
    shown, to_picture = placed(shown, frame.instance, options, state)
    return layers.drawn(shown, state.graphics, to_picture, state.layers, _corners(frame.instance, options)), profile


def _gray(frame: Frame, options: Options, state: State) -> Picture:
    instance, signed = frame.instance, frame.description.signed
    modality = state.modality or grayscale.frame_modality(instance, frame.number, signed=signed)
    voi = options.window or _voi(frame, modality, state)
    if state.palette is not None:
        first, last = state.palette[0].first, len(state.palette[0].entries) - 1
        return color.through_palette(
            np.round(Pipeline(modality, voi).shares(frame.stored) * last) + first, state.palette
        )
    inverse = state.inverse if state is not AS_IT_IS else _is_inverse(frame)
    shown = Pipeline(modality, voi, state.presentation, inverse).apply(frame.stored)
    padding = grayscale.padding_of(instance, frame.stored, signed=signed)
    if padding is not None and padding.any():
        shown = layers.painted(shown, padding, 0)
    return _supplemented(shown, frame) if state is AS_IT_IS else shown


def _voi(frame: Frame, modality: Modality, state: State) -> Voi:
    """The state's, where it has none an identity (PS3.4 N.2.1.3); the image's; or from the least value to the
    greatest.
    """
    if state.modality is not None and state.voi is None:
        return grayscale.whole_range(frame.description, modality, frame.stored)
    signed = grayscale.is_signed(frame.description, modality)
    voi = state.voi or grayscale.frame_voi(frame.instance, frame.number, signed=signed) or _whole(frame, modality)
    if frame.description.kind != "integer" and isinstance(voi, Window) and voi.function == "LINEAR" and voi.width == 1:
        return replace(voi, function="LINEAR_EXACT")  # LINEAR makes a threshold of it, with whole numbers in mind
    return voi


def _supplemented(shown: Picture, frame: Frame) -> Picture:
    """Values from a supplemental palette's first on have its colors, in an image that is gray else (C.7.6.19)."""
    if frame.description.photometric != "MONOCHROME2":
        return shown
    tables = frame.instance.recall("palette", lambda: palette_of(frame.instance))
    if tables is None or _presented(frame) not in ("COLOR", "MIXED"):
        return shown
    colored = frame.stored >= tables[0].first
    made = color.as_rgb(shown)
    made[colored] = color.through_palette(frame.stored[colored], tables)
    return made


def _presented(frame: Frame) -> str:
    """Pixel Presentation (C.8.16.2) of the frame, or of the image. Who doesn't say it only recommends a palette."""
    groups = (functional_groups(frame.instance, frame.number, macro) for macro in _FRAME_TYPES)
    return next(filter(None, (each.text("PixelPresentation") for each in groups)), "") or frame.instance.text(
        "PixelPresentation"
    )


def _is_inverse(frame: Frame) -> bool:
    return frame.description.photometric == "MONOCHROME1" or (
        frame.instance.text("PresentationLUTShape") == "INVERSE" and frame.description.photometric == "MONOCHROME2"
    )


def _whole(frame: Frame, modality: Modality) -> Window:
    return grayscale.full_range(_extent(frame, modality) or grayscale.extent(modality, frame.stored, None))


def _extent(frame: Frame, modality: Modality) -> list[float]:
    """From where to where a frame's values are, which single bits are said to be; none where all is padding."""
    if frame.description.bits_stored == 1:
        return [0.0, 1.0]
    padding = grayscale.padding_of(frame.instance, frame.stored, signed=frame.description.signed)
    return grayscale.extent(modality, frame.stored, padding)


def shared_window(frames: Iterable[Frame]) -> Window | None:
    """From the least value of any of these frames to the greatest; None where one is in color or says how to see it."""
    found: list[float] = []
    for frame in frames:
        if frame.stored.ndim > 2 or frame.description.photometric not in MONOCHROME:
            return None
        modality = grayscale.frame_modality(frame.instance, frame.number, signed=frame.description.signed)
        signed = grayscale.is_signed(frame.description, modality)
        if grayscale.frame_voi(frame.instance, frame.number, signed=signed) is not None:
            return None
        found += _extent(frame, modality)
    return grayscale.full_range(found)


def _optical_path_profile(instance: Attributes) -> bytes:
    """Whole slide images have theirs in the Optical Path Sequence (C.8.12.5)."""
    return instance.item("OpticalPathSequence").octets("ICCProfile")


def _covered(shown: Picture, frame: Frame, options: Options, state: State) -> Picture:
    """With overlay planes, those of the state before those of the image in the same group, and with the shutter."""
    shape = shown.shape[0], shown.shape[1]
    planes: dict[int, overlays.Plane] = {}
    if options.overlays:
        planes = {each.group: each for each in overlays.planes(frame.instance, frame.number, shape, frame.raw)}
        if state.overlays is not None:
            planes |= {each.group: each for each in overlays.planes(state.overlays, frame.number, shape)}
    shutter = frame_shutter(frame.instance, frame.number) if state is AS_IT_IS else state.shutter
    for group, plane in planes.items():
        layer = state.overlay_layers.get(group)
        active = plane.kind == "G" if state is AS_IT_IS else layer is not None
        if active and (shutter is None or shutter.overlay_group != group):
            shown = layers.painted(shown, plane.mask, state.layers.get(layer or "", Layer()).ink)
    if shutter is not None:
        masks = {group: plane.mask for group, plane in planes.items()}
        mask = hidden(shutter, shape, masks, _aspect(frame.instance, state))
        shown = layers.painted(shown, mask, shutter.ink)
    return shown


def _aspect(instance: Attributes, state: State) -> float:
    """How many times higher than wide a pixel is, by the state's displayed area if it has one."""
    aspect: float = instance.recall("aspect", lambda: geometry.aspect_of(instance))
    return aspect if state.area is None else state.area.aspect


def placed(
    shown: Picture, instance: Attributes, options: Options, state: State = AS_IT_IS
) -> tuple[Picture, layers.Map]:
    """Cut to the displayed area, turned, scaled to the viewport; and where a point of the image came to lie.

    A viewport's region is one of the pixels of the image, or of the displayed area of a state.
    """
    rows, columns = shown.shape[:2]
    area = state.area or geometry.whole(rows, columns, _aspect(instance, state))
    made = geometry.turned(geometry.cut(shown, area), state.rotation, state.flip)
    wider, higher = area.factors(state.rotation, magnified=options.viewport is None)
    stretch = 1.0, 1.0
    if options.viewport is not None and state.area is None:  # made square when it is scaled
        stretch, wider, higher = (wider, higher), 1.0, 1.0
    height, width = max(1, round(made.shape[0] * higher)), max(1, round(made.shape[1] * wider))
    if max(height, width) > max(geometry.SIDE_MAX, rows, columns):
        raise NotAcceptable("the presentation state magnifies the image too much to be rendered")
    made = geometry.scaled(made, width, height)
    if options.viewport is not None:
        made = geometry.shown(made, options.viewport, stretch)
    scale_x, scale_y, from_x, from_y = _scale(made, width, height, options.viewport)

    def to_picture(point: Point) -> Point:
        x, y = point[0] - area.left + 1, point[1] - area.top + 1
        wide, high = area.width, area.height
        for _ in range(state.rotation // 90 % 4):
            x, y, wide, high = high - y, x, high, wide
        if state.flip:
            x = wide - x
        return (x * wider - from_x) * scale_x, (y * higher - from_y) * scale_y

    return made, to_picture


def _scale(made: Picture, width: int, height: int, port: Viewport | None) -> tuple[float, float, float, float]:
    """Pixels of the picture for one of the turned image, and where in that the picture begins."""
    if port is None:
        return 1.0, 1.0, 0.0, 0.0
    wide = width - port.left if port.region_width is None else port.region_width
    high = height - port.top if port.region_height is None else port.region_height
    from_x = port.left if wide > 0 else port.left + abs(wide)
    from_y = port.top if high > 0 else port.top + abs(high)
    return made.shape[1] / wide, made.shape[0] / high, from_x, from_y


def _corners(instance: Attributes, options: Options) -> list[list[str]]:
    corners = []
    for name, rows in (("patient", _PATIENT), ("technique", _TECHNIQUE)):
        texts = [(before, instance.text(tag)) for tag, before in rows] if name in options.annotations else []
        corners.append([before + text.replace("^", " ").strip() for before, text in texts if text])
    return corners
