"""What workers do to give an instance another transfer syntax: its data set, written to a file that the caller opened.

Frames that have to be put aside go to a file in memory, or to the caller's second file. Deliberately not here: when an
instance is transcoded, and the Part 10 header before the data set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sagittal.convert.files import object_in
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.partial.frames import Extraction
from sagittal.errors import PixelsUndecodable, SagittalError
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.extracting import Extracting
from sagittal.pixels.films import transcoding
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Transcoding
from sagittal.pixels.transcode import plan
from sagittal.workers.message import memory_file
from sagittal.workers.objects import opened
from sagittal.workers.worker import Input

_CHUNK_BYTES = 1 << 20
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
Told = dict[str, Any]


def instance(
    inputs: Sequence[Input], objects: list[Told], to_syntax: str, options: Told, instance_uid: str = "",
    verify: bool = False,
) -> Told:  # fmt: skip
    """The data set of the held object in `inputs[:2]`, into the file of `inputs[2]`; tells its `length`."""
    image = opened(inputs[:2], **objects[0])
    made = Transcoding(image, chunks_of(image), to_syntax, Options(**options), instance_uid)
    length, error = write(made, inputs[2].fd, verify=verify)
    return {"length": length, "loses": made.loses, "error": error}


def frames(inputs: Sequence[Input], objects: list[Told], to_syntax: str, options: Told, numbers: list[int]) -> Told:
    """Frames of the held object in `inputs[:2]`, one behind the other into the file of `inputs[2]`; tells their
    `lengths`.
    """
    image = opened(inputs[:2], **objects[0])
    way = plan(image.description, image.syntax_uid, to_syntax, Options(**options), image.limits)
    return {"lengths": [_all([way.frame(image.encoded(number))], inputs[2].fd) for number in numbers]}


def extracted(
    inputs: Sequence[Input], objects: list[Told], to_syntax: str, options: Told, extraction: Told
) -> Told:  # fmt: skip
    """The data set of a new instance with some frames of the held object, into the file of `inputs[2]`."""
    image = opened(inputs[:2], **objects[0])
    tag, values = extraction["asked"]
    wanted = Extraction(**{**extraction, "asked": (tag, tuple(values))})
    made = Extracting(image, chunks_of(image), to_syntax, wanted)
    return {"length": write(made, inputs[2].fd, verify=False)[0], "loses": False}


def file(inputs: Sequence[Input], to_syntax: str, options: Told, instance_uid: str = "", verify: bool = False) -> Told:
    """A Part 10 file in another syntax, video too: `inputs[0]` into the file of `inputs[1]`."""
    image, target = object_in(inputs[0]), inputs[1].fd
    made = transcoding(image, chunks_of(image), to_syntax, Options(**options), instance_uid)
    attributes = image.attributes
    uid = instance_uid if made.loses else attributes.text(SOP_INSTANCE)
    os.write(target, meta_group(attributes.text(SOP_CLASS), uid, to_syntax))
    length, error = write(made, target, verify=verify)
    return {"length": length, "loses": made.loses, "error": error, "sop_instance_uid": uid}


def files(
    inputs: Sequence[Input], to_syntax: str, options: Told, instance_uids: list[str], verify: bool = False
) -> Told:
    """As `file` for each two of `inputs`; tells each, or why it `failed`."""
    found: list[Told] = []
    for source, target, uid in zip(inputs[::2], inputs[1::2], instance_uids, strict=True):
        try:
            found.append(file((source, target), to_syntax, options, uid, verify))
        except SagittalError as error:
            found.append({"failed": error.text})
    return {"files": found}


def write(made: Transcoding, target: int, *, verify: bool, aside: int | None = None) -> tuple[int, float | None]:
    """Bytes written, and the largest error of a value if it was looked for. Frames wait in `aside`, or in memory."""
    if not made.first_encodes:
        return _all(made.data_set(), target), 0.0 if verify and not made.loses else None
    ours = memory_file("frames") if aside is None else -1
    aside, lengths = ours if aside is None else aside, []
    try:
        for frame in made.frames():
            _all([frame], aside)
            lengths.append(len(frame))
        error = None
        if verify:
            error = made.worst_error(_frames(aside, lengths))
            if error and not made.loses:
                raise PixelsUndecodable(f"the frames came back with errors of up to {error:g}: nothing is kept")
        return _all(made.data_set(_frames(aside, lengths), lengths), target), error
    finally:
        if ours >= 0:
            os.close(ours)


def _frames(aside: int, lengths: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield Input(aside, at, length).read()
        at += length


def _all(pieces: Iterable[bytes], target: int) -> int:
    total = 0
    for piece in pieces:
        view = memoryview(piece)
        while view:
            done = os.write(target, view)
            total, view = total + done, view[done:]
    return total


def chunks_of(image: Image) -> Callable[[], Iterator[bytes]]:
    """The data set of an image from its first byte; of a deflated one, as it was inflated already."""

    def chunks() -> Iterator[bytes]:
        at = 0
        while chunk := image.read(at, _CHUNK_BYTES):
            yield chunk
            at += len(chunk)

    return chunks
