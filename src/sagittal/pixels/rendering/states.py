"""Presentation states: how a reader left an image to be shown (PS3.3 A.33; grayscale, color and pseudo-color softcopy).

A state is read for one frame of one image, into the parts that `render` applies. Deliberately not here: blending
states, volumetric ones, masks of subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from sagittal.dicom.sopclasses import WITHOUT_PIXELS
from sagittal.errors import NotAcceptable
from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.geometry import Area
from sagittal.pixels.rendering.grayscale import IDENTITY, Modality, Voi, is_signed, modality_of, voi_of
from sagittal.pixels.rendering.over.annotations import Graphic, Layer, graphics_of, layers_of
from sagittal.pixels.rendering.over.shutters import Shutter, shutter_of
from sagittal.pixels.rendering.tables import Table, lut_of, palette_of

_P = "1.2.840.10008.5.1.4.1.1.11."
GRAYSCALE, COLOR, PSEUDO_COLOR = _P + "1", _P + "2", _P + "3"
STATES = frozenset({GRAYSCALE, COLOR, PSEUDO_COLOR})


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that a state is for; no frames: all of them."""

    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What a presentation state says of one frame of one image.

    A stage that a grayscale state leaves out is an identity, whatever the image says of it (PS3.4 N.2.1).
    """

    modality: Modality | None = None  # None: the image's
    voi: Voi | None = None
    presentation: Table | None = None
    inverse: bool = False
    palette: tuple[Table, Table, Table] | None = None
    area: Area | None = None
    rotation: int = 0
    flip: bool = False
    shutter: Shutter | None = None
    graphics: tuple[Graphic, ...] = ()
    layers: dict[str, Layer] = field(default_factory=dict)
    overlay_layers: dict[int, str] = field(default_factory=dict)  # overlay group that is shown -> layer
    overlays: Attributes | None = None  # what holds the state's own overlay planes
    profile: bytes = b""


def references(state: Attributes) -> list[Reference]:
    """The images of a state, in its order (C.11.11)."""
    return [
        Reference(
            series.text("SeriesInstanceUID"),
            image.text("ReferencedSOPClassUID"),
            image.text("ReferencedSOPInstanceUID"),
            tuple(image.integers("ReferencedFrameNumber")),
        )
        for series in state.items("ReferencedSeriesSequence")
        for image in series.items("ReferencedImageSequence")
    ]


def refuse(sop_class: str) -> None:
    """NotAcceptable for the classes of presentation states that are not rendered, and for what is no state."""
    if sop_class.startswith(_P) and sop_class in WITHOUT_PIXELS:
        raise NotAcceptable(f"a presentation state that {WITHOUT_PIXELS[sop_class]} is not rendered")
    if sop_class not in STATES:
        raise NotAcceptable("what is named as a presentation state is none that can be applied")


def state_for(state: Attributes, sop_instance_uid: str, frame: int, described: Description) -> State:
    """The parts of a state that hold for a frame with such pixels. NotAcceptable for a class of state that
    is not rendered, and for an image that it is not for.
    """
    kind = state.text("SOPClassUID")
    refuse(kind)
    named = [each for each in references(state) if each.sop_instance_uid == sop_instance_uid]
    if "ReferencedSeriesSequence" in state and not any(not each.frames or frame in each.frames for each in named):
        raise NotAcceptable("the presentation state is not for this image")
    concerning = [
        [each for each in state.items(tag) if _concerns(each, sop_instance_uid, frame)]
        for tag in ("SoftcopyVOILUTSequence", "DisplayedAreaSelectionSequence", "GraphicAnnotationSequence")
    ]
    vois, areas, annotations = concerning
    own = kind != COLOR
    tables = [
        table for each in state.items("PresentationLUTSequence") if (table := lut_of(each, signed=False)) is not None
    ]
    has_modality = "RescaleSlope" in state or "ModalityLUTSequence" in state
    modality = modality_of(state, signed=described.signed) if has_modality else IDENTITY
    found = [voi_of(each, signed=is_signed(described, modality)) for each in vois]
    return State(
        modality=modality if own else None,
        voi=next((voi for voi in found if voi is not None), None) if own else None,
        presentation=tables[0] if tables else None,
        inverse=state.text("PresentationLUTShape") == "INVERSE",
        palette=palette_of(state) if kind == PSEUDO_COLOR else None,
        area=_area(areas[0]) if areas else None,
        rotation=state.integer("ImageRotation"),
        flip=state.text("ImageHorizontalFlip") == "Y",
        shutter=shutter_of(state),
        graphics=tuple(graphic for each in annotations for graphic in graphics_of(each)),
        layers=layers_of(state),
        overlay_layers={
            group: layer for group in range(0x6000, 0x6020, 2) if (layer := state.text(group << 16 | 0x1001))
        },
        overlays=state,
        profile=state.octets("ICCProfile"),
    )


def _concerns(item: Attributes, sop_instance_uid: str, frame: int) -> bool:
    """Whether an item is for a frame: it names the image and the frame, or the image, or none."""
    images = item.items("ReferencedImageSequence")
    return not images or any(
        image.text("ReferencedSOPInstanceUID") == sop_instance_uid
        and (not image.numbers("ReferencedFrameNumber") or frame in image.numbers("ReferencedFrameNumber"))
        for image in images
    )


def _area(item: Attributes) -> Area | None:
    """The displayed area (C.10.4): corners as they come to lie when turned, so either may be the lower one."""
    first, last = item.numbers("DisplayedAreaTopLeftHandCorner"), item.numbers("DisplayedAreaBottomRightHandCorner")
    if len(first) < 2 or len(last) < 2 or not all(map(isfinite, first + last)):
        return None
    (left, right), (top, bottom) = sorted((int(first[0]), int(last[0]))), sorted((int(first[1]), int(last[1])))
    shape = item.numbers("PresentationPixelSpacing") or item.numbers("PresentationPixelAspectRatio")
    aspect = shape[0] / shape[1] if len(shape) == 2 and min(shape) > 0 and all(map(isfinite, shape)) else 1.0
    is_magnified = item.text("PresentationSizeMode") == "MAGNIFY"
    times = item.number("PresentationPixelMagnificationRatio") if is_magnified else None
    return Area(left, top, right, bottom, times if times is not None and isfinite(times) and times > 0 else 1.0, aspect)
