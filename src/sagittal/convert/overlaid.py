"""A frame with what lies over it: a presentation state, a structure set or a segmentation; or as it is.

A segmentation alone is shown in its colors on black. Deliberately not here: which images something lies over
(`regions.referenced_images`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotAcceptable, SagittalError
from sagittal.pixels.description import MONOCHROME
from sagittal.pixels.images import Image
from sagittal.pixels.rendering.grayscale import Window, frame_voi
from sagittal.pixels.rendering.over import regions
from sagittal.pixels.rendering.render import AS_IT_IS, Frame, Options, Picture, placed, render, shared_window
from sagittal.pixels.rendering.states import state_for

_HELD_BYTES = 128 << 20  # of decoded frames of a film
_LOOKED_BYTES, _LOOK_BYTES = 16 << 20, 1 << 14  # of frames that are looked at for the range of all; what a look costs
_DECODING = 4  # times as much does a look cost where the frame is compressed
_PLAIN = (255, 80, 80)  # of a segment that is not described
_LAID = frozenset({regions.RT_STRUCTURE_SET, *regions.SEGMENTATIONS})  # over the image as it is; else a state says how


def shown_frame(image: Image, over: Image | None, frame: Frame, options: Options) -> tuple[Picture, bytes | None]:
    """The picture and its ICC profile. NotAcceptable when the state is not for the image."""
    number = frame.number
    if over is None and image.attributes.text("SOPClassUID") in regions.SEGMENTATIONS:
        return _alone(image, number, options), None
    options = _ranged(image, over, options)
    if over is None:
        return render(frame, options)
    kind, uid = over.attributes.text("SOPClassUID"), image.attributes.text("SOPInstanceUID")
    if kind not in _LAID:
        state = state_for(over.attributes, uid, number, frame.description)
        return render(frame, options, state)
    plane = regions.plane_of(image.attributes, number)

    def laid(shown: Picture) -> Picture:
        if kind in regions.SEGMENTATIONS:
            shape = shown.shape[0], shown.shape[1]
            return regions.with_segments(shown, _segments(over, image, number, plane, shape))
        if plane is None:
            return shown
        return regions.with_contours(shown, plane, uid, regions.contours(over.attributes), number)

    return render(frame, options, AS_IT_IS, laid)


def film(image: Image, over: Image | None, numbers: Sequence[int], options: Options) -> Iterator[Picture]:
    """The pictures of frames that are seen one after another: with one window where nothing says any, since what is
    brighter in one frame than in the next is to be seen.
    """
    held = list[Frame]()
    if len(numbers) < image.count:
        options = _ranged(image, over, options)
    if _as_it_is(over) and options.window is None and not image.is_video:
        options = replace(options, window=shared_window(_held(image.frames(numbers), held)))
    for frame in chain(held, image.frames(numbers[len(held) :])):
        yield shown_frame(image, over, frame, options)[0]


def _as_it_is(over: Image | None) -> bool:
    return over is None or over.attributes.text("SOPClassUID") in _LAID


def _ranged(image: Image, over: Image | None, options: Options) -> Options:
    """With the one window of all frames where nothing says any, if they are few and small enough to look at them all:
    what is brighter in one frame is so in its picture then, as in a dose or an uptake.
    """
    if image.count < 2 or options.window is not None or image.is_video or not _as_it_is(over):
        return options
    cost = image.count * (image.description.array_bytes + _LOOK_BYTES)
    if cost * (_DECODING if syntax(image.syntax_uid).encapsulated else 1) > _LOOKED_BYTES:
        return options
    return replace(options, window=image.attributes.recall("range", lambda: _range(image)))


def _range(image: Image) -> Window | None:
    if image.description.photometric not in MONOCHROME or frame_voi(image.attributes, 1, signed=False) is not None:
        return None
    try:
        return shared_window(image.frames(range(1, image.count + 1)))
    except SagittalError:  # of a frame that nobody asked for
        return None


def _held(frames: Iterable[Frame], held: list[Frame]) -> Iterator[Frame]:
    """The frames, the first of which are held as far as there is room: they need not be decoded again."""
    room = _HELD_BYTES
    for frame in frames:
        room -= frame.stored.nbytes
        if room >= 0:
            held.append(frame)
        yield frame


def _segments(
    over: Image, image: Image, number: int, plane: regions.Plane | None, shape: tuple[int, int]
) -> Iterator[regions.Segment]:
    for place in regions.frames_over(over.attributes, over.count, image.attributes, number):
        own = regions.plane_of(over.attributes, place)
        if over.attributes.text("SOPClassUID") == regions.LABEL_MAP:
            yield _labels(over, regions.laid_over(_labels_of(over, place), own, plane, shape))
            continue
        color = regions.segment_colors(over.attributes).get(regions.segment_of(over.attributes, place), _PLAIN)
        yield regions.Segment(color, regions.laid_over(_fraction(over, place), own, plane, shape))


def _labels_of(label_map: Image, number: int) -> regions.Mask:
    """The labels of a frame counted from 1, so that 0 is outside of it."""
    return _stored(label_map, number).astype(np.float64) + 1


def _labels(label_map: Image, labels: regions.Mask) -> regions.Segment:
    """All segments of a label map's frame as one, each pixel in the color of its label."""
    numbers = labels.astype(np.int64) - 1
    inside = (numbers >= 0) & (numbers != regions.background(label_map.attributes))
    colors = regions.label_colors(label_map.attributes, np.maximum(numbers, 0))
    return regions.Segment(colors, inside.astype(np.float64))


def _alone(image: Image, number: int, options: Options) -> Picture:
    """A segmentation without the image it is over: its frame in its colors on black."""
    if image.attributes.text("SOPClassUID") == regions.LABEL_MAP:
        segment = _labels(image, _labels_of(image, number))
    else:
        colors = regions.segment_colors(image.attributes)
        color = colors.get(regions.segment_of(image.attributes, number), (255, 255, 255))
        segment = regions.Segment(color, _fraction(image, number))
    shown = np.round(segment.mask[..., None] * np.array(segment.color, float)).astype(np.uint8)
    return placed(shown, image.attributes, options)[0]


def _fraction(segmentation: Image, number: int) -> regions.Mask:
    held, stored = segmentation.attributes, _stored(segmentation, number)
    most = held.number("MaximumFractionalValue") or float(max(stored.max(), 1))
    most = 1.0 if held.text("SegmentationType") == "BINARY" else most
    return np.clip(stored.astype(np.float64) / most, 0.0, 1.0)


def _stored(segmentation: Image, number: int) -> np.ndarray[Any, Any]:
    """The values of a frame, shape (rows, columns). NotAcceptable where they are colours."""
    stored = segmentation.frame(number).stored
    if stored.ndim != 2:
        raise NotAcceptable("a segmentation has one sample per pixel (PS3.3 C.8.20.2)")
    return stored
