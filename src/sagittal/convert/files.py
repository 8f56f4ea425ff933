"""What workers do with DICOM files that are in no archive: read whole, through the bounded reader.

Deliberately not here: walking folders, writing results.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sagittal.convert import waveform
from sagittal.convert.documents import DOCUMENTS, document
from sagittal.convert.overlaid import film, shown_frame
from sagittal.convert.rendered import options_of
from sagittal.convert.reports.media import MAKERS
from sagittal.convert.reports.page import nowhere
from sagittal.dicom.part10 import Part10Head, head_of
from sagittal.dicom.reader import Memo
from sagittal.errors import NotAcceptable
from sagittal.limits import ReaderLimits
from sagittal.pixels.films import seconds_each
from sagittal.pixels.images import Image, read_whole
from sagittal.pixels.rendering import pictures
from sagittal.workers.worker import Input

_PIECE_BYTES = 1 << 12


def object_in(file: Input) -> Image:
    """The object that a file holds. Malformed and LimitExceeded as the reader raises them."""
    limits = ReaderLimits()
    head, data_set = head_in(file, limits)
    return read_whole(head.syntax_uid, data_set.read, limits, memo=_memo())


def head_in(file: Input, limits: ReaderLimits) -> tuple[Part10Head, Input]:
    """The head of a file, and its data set."""
    head = head_of((file.read(at, _PIECE_BYTES) for at in range(0, file.length, _PIECE_BYTES)), limits)
    start = head.data_set_offset
    return head, Input(file.fd, file.offset + start, file.length - start)


@cache
def _memo() -> Memo:
    """What was read by this worker, which often gets the files of one series one after another."""
    return Memo()


def rendered(
    inputs: Sequence[Input], frame: int, media_type: str, options: dict[str, Any], quality: int | None = None
) -> tuple[dict[str, Any], bytes]:
    """A picture, document or moving picture of the first file; the second may be a presentation state, a structure set
    or a segmentation, which then lies over it.

    Frame 0 stands for all frames, as a moving picture. Tells how many frames the object has.
    """
    image = object_in(inputs[0])
    told = {"frames": image.count}
    if image.attributes.text("SOPClassUID") in DOCUMENTS:
        return told, document(image.attributes)
    if (make := MAKERS.get(media_type)) is not None:
        return told, make(image.attributes, nowhere)
    if media_type == "image/svg+xml":
        return told, waveform.svg(image.attributes).encode()
    over, asked = object_in(inputs[1]) if len(inputs) > 1 else None, options_of(options)
    if not image.count:
        raise NotAcceptable("the object has no frames to render")
    if frame == 0:
        frames = range(1, image.count + 1)
        seconds = seconds_each(image.attributes, frames)
        return told, pictures.moving(media_type, film(image, over, frames, asked), seconds, quality)
    pixels, profile = shown_frame(image, over, image.frame(frame), asked)
    return told, pictures.picture(media_type, pixels, quality, profile)


def kind(inputs: Sequence[Input]) -> dict[str, Any]:
    """What a file holds: its SOP class, and how many frames can be told apart."""
    image = object_in(inputs[0])
    return {"sop_class": image.attributes.text("SOPClassUID"), "frames": image.count}
