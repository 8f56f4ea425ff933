"""One frame from stored values to a picture, through everything that applies to it (PS3.4 N.2, PS3.18 8.3.5).

What a request asks for goes before a presentation state, which goes before what the image says itself. Deliberately
not here: decoding (`pixels.codecs`), file formats (`pictures`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sagittal.pixels.description import MONOCHROME, Description
from sagittal.pixels.rendering import color, geometry, grayscale, layers, overlays
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.color import Profile
from sagittal.pixels.rendering.geometry import Viewport
from sagittal.pixels.rendering.grayscale import Modality, Pipeline, Voi, Window
from sagittal.pixels.rendering.states import Point, State

Picture = np.ndarray[Any, np.dtype[np.uint8]]
AS_IT_IS = State()  # no presentation state
_PATIENT = ((0x00100010, ""), (0x00100020, "ID "), (0x00100030, "* "), (0x00100040, ""))
_TECHNIQUE = (
    (0x00080060, ""), (0x00080020, ""), (0x00081030, ""), (0x0008103E, ""), (0x00180050, "thickness "),
    (0x00180060, "kVp "), (0x00180080, "TR "), (0x00180081, "TE "), (0x00200011, "series "), (0x00200013, "image "),
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


def render(frame: Frame, options: Options, state: State = AS_IT_IS) -> tuple[Picture, bytes | None]:
    """The picture, shape (rows, columns) or (rows, columns, 3), and the ICC profile to go with it."""
    if frame.stored.ndim == 2 and frame.description.photometric in MONOCHROME:
        shown, profile = _gray(frame, options, state), None
    else:
        rgb = color.rgb_of(frame.instance, frame.stored, frame.description.photometric, frame.description.bits_stored)
        embedded = state.profile or frame.instance.octets(0x00282000) or _optical_path_profile(frame.instance)
        shown, profile = color.convert_profile(rgb, embedded, options.profile)
    shown = _covered(shown, frame, options, state)
    shown, to_picture = _placed(shown, options, state)
    return layers.drawn(shown, state.graphics, to_picture, state.layers, _corners(frame.instance, options)), profile


def _gray(frame: Frame, options: Options, state: State) -> Picture:
    instance, signed = frame.instance, frame.description.signed
    modality = state.modality or grayscale.frame_modality(instance, frame.number, signed=signed)
    below_zero = signed or modality.intercept < 0
    voi: Voi | None = options.window or state.voi
    if voi is None:
        voi = grayscale.frame_voi(instance, frame.number, signed=below_zero)
    if voi is None:
        voi = _whole(frame, modality)
    inverse = state.inverse if state is not AS_IT_IS else _is_inverse(frame)
    if state.palette is not None:
        indices = Pipeline(modality, voi).apply(frame.stored).astype(np.float64)
        count = len(state.palette[0].entries)
        return color.through_palette(np.round(indices * (count - 1) / 255) + state.palette[0].first, state.palette)
    return Pipeline(modality, voi, state.presentation, inverse).apply(frame.stored)


def _is_inverse(frame: Frame) -> bool:
    return frame.description.photometric == "MONOCHROME1" or (
        frame.instance.text(0x20500020) == "INVERSE" and frame.description.photometric == "MONOCHROME2"
    )


def _whole(frame: Frame, modality: Modality) -> Window:
    if frame.description.bits_stored == 1:
        return Window(0.5, 1.0, "LINEAR_EXACT")
    padding = grayscale.padding_of(frame.instance, frame.stored, signed=frame.description.signed)
    return grayscale.full_range(modality.apply(frame.stored), padding)


def _optical_path_profile(instance: Attributes) -> bytes:
    """Whole slide images have theirs in the Optical Path Sequence (C.8.12.5)."""
    return instance.item(0x00480105).octets(0x00282000)


def _covered(shown: Picture, frame: Frame, options: Options, state: State) -> Picture:
    """With overlay planes and the shutter."""
    shape = shown.shape[0], shown.shape[1]
    planes: dict[int, overlays.Mask] = {}
    if options.overlays:
        for plane in overlays.planes(frame.instance, frame.number, shape, frame.raw):
            planes[plane.group] = plane.mask
            if plane.kind == "G" and (state is AS_IT_IS or plane.group in state.overlay_layers):
                gray = state.layers.get(state.overlay_layers.get(plane.group, ""), 255)
                shown = layers.painted(shown, plane.mask, gray)
    if state.shutter is not None:
        hidden = layers.hidden(state.shutter, shape, planes)
        shown = layers.painted(shown, hidden, state.shutter.value >> 8)
    return shown


def _placed(shown: Picture, options: Options, state: State) -> tuple[Picture, layers.Map]:
    """Cut to the displayed area, turned, scaled to the viewport; and where a point of the image came to lie."""
    rows, columns = shown.shape[:2]
    left, top, right, bottom = state.area or (1, 1, columns, rows)
    left, right = max(1, min(left, right)), min(columns, max(left, right))
    top, bottom = max(1, min(top, bottom)), min(rows, max(top, bottom))
    if left > right or top > bottom:
        left, top, right, bottom = 1, 1, columns, rows
    made = geometry.turned(shown[top - 1 : bottom, left - 1 : right], state.rotation, state.flip)
    turned_height, turned_width = made.shape[:2]
    if options.viewport is not None:
        made = geometry.shown(made, options.viewport)
    scale_x, scale_y, from_x, from_y = _scale(made, turned_width, turned_height, options.viewport)

    def to_picture(point: Point) -> Point:
        x, y = point[0] - left, point[1] - top
        wide, high = right - left, bottom - top
        for _ in range(state.rotation // 90 % 4):
            x, y, wide, high = high - y, x, high, wide
        if state.flip:
            x = wide - x
        return (x - from_x) * scale_x, (y - from_y) * scale_y

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
