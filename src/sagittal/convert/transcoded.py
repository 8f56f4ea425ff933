"""What workers do to give an instance another transfer syntax: its data set, written to a file that the caller opened.

Frames that have to be put aside wait in memory, or in a file when they are many. Deliberately not here: when an
instance is transcoded, and the Part 10 header before the data set.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self

from sagittal.convert.files import object_in
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.partial.frames import Extraction
from sagittal.errors import PixelsUndecodable, SagittalError
from sagittal.pixels.codecs import video
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.extracting import Extracting
from sagittal.pixels.films import seconds_each, transcoding
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Transcoding, check_meaning
from sagittal.pixels.transcode import plan
from sagittal.workers.message import memory_file, write_whole
from sagittal.workers.objects import opened
from sagittal.workers.worker import Input

_CHUNK_BYTES, _PIECES_AT_ONCE = 1 << 20, 64  # written in one call
_SMALL_BYTES = 1 << 20  # a file, and its data set, that is read ahead of its turn
_HELD_BYTES = 4 << 20  # of frames that wait for their offset table
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
Told = dict[str, Any]


def instance(
    inputs: Sequence[Input], objects: list[Told], to_syntax: str, options: Told, instance_uid: str = "",
    verify: bool = False,
) -> Told:  # fmt: skip
    """The data set of the held object in `inputs[:2]`, into the file of `inputs[2]`; tells its `length`."""
    image = opened(inputs[:2], **objects[0])
    made = Transcoding(image, image.chunks, to_syntax, Options(**options), instance_uid)
    length, error = write(made, inputs[2].fd, verify=verify)
    return {"length": length, "loses": made.loses, "error": error}


def frames(inputs: Sequence[Input], objects: list[Told], to_syntax: str, options: Told, numbers: list[int]) -> Told:
    """Frames of the held object in `inputs[:2]`, one behind the other into the file of `inputs[2]`; tells their
    `lengths`.
    """
    image = opened(inputs[:2], **objects[0])
    way = plan(image.description, image.syntax_uid, to_syntax, Options(**options), image.limits)
    if way.loses:
        check_meaning(image)
    return {"lengths": [_all([way.frame(image.encoded(number))], inputs[2].fd) for number in numbers]}


def film(inputs: Sequence[Input], objects: list[Told], **_: Any) -> Told:
    """The video of the held object as MP4, nothing decoded, into the file of `inputs[2]`; tells its length as `frames`
    does.
    """
    image = opened(inputs[:2], **objects[0])
    (seconds,) = seconds_each(image.attributes, [1])
    with open(inputs[2].fd, "wb", closefd=False) as out:
        video.into_mp4(image.stream(), out, 1 / seconds)
        return {"lengths": [out.seek(0, os.SEEK_END)]}


def extracted(
    inputs: Sequence[Input], objects: list[Told], to_syntax: str, options: Told, extraction: Told
) -> Told:  # fmt: skip
    """The data set of a new instance with some frames of the held object, into the file of `inputs[2]`."""
    image = opened(inputs[:2], **objects[0])
    tag, values = extraction["asked"]
    wanted = Extraction(**{**extraction, "asked": (tag, tuple(values))})
    made = Extracting(image, image.chunks, to_syntax, wanted)
    return {"length": write(made, inputs[2].fd, verify=False)[0], "loses": False}


def file(inputs: Sequence[Input], to_syntax: str, options: Told, instance_uid: str = "", verify: bool = False) -> Told:
    """A Part 10 file in another syntax, video too: `inputs[0]` into the file of `inputs[1]`."""
    return _File(inputs[0], to_syntax, Options(**options), instance_uid).written(inputs[1].fd, verify=verify)


def files(
    inputs: Sequence[Input], to_syntax: str, options: Told, instance_uids: list[str], verify: bool = False
) -> Told:
    """As `file` for each two of `inputs`; tells each, or why it `failed`. Small ones are all read before the first is
    encoded: what reading needs is in the processor's caches then, which encoding fills with other things.
    """
    asked, found = Options(**options), []
    made = [_File(source, to_syntax, asked, uid) for source, uid in zip(inputs[::2], instance_uids, strict=True)]
    for one in made:
        with suppress(SagittalError):  # which comes again at its turn
            one.read_ahead()
    for target in inputs[1::2]:
        try:
            found.append(made.pop(0).written(target.fd, verify=verify))
        except SagittalError as error:
            found.append({"failed": error.text})
    return {"files": found}


class _File:
    """A Part 10 file on its way to another syntax."""

    def __init__(self, source: Input, to_syntax: str, options: Options, instance_uid: str) -> None:
        self._source, self._asked, self._uid = source, (to_syntax, options), instance_uid
        self._made: Transcoding | None = None
        self._head = b""

    def read_ahead(self) -> None:
        """Read it now, unless much would have to be held of it, inflated perhaps."""
        if self._source.length <= _SMALL_BYTES:
            image = object_in(self._source)
            self._made = None if image.read(_SMALL_BYTES, 1) else self._read(image)

    def _read(self, image: Image) -> Transcoding:
        to_syntax, options = self._asked
        made = transcoding(image, image.chunks, to_syntax, options, self._uid)
        attributes = image.attributes
        self._uid = self._uid if made.loses else attributes.text(SOP_INSTANCE)
        self._head = meta_group(attributes.text(SOP_CLASS), self._uid, to_syntax)
        return made

    def written(self, target: int, *, verify: bool) -> Told:
        """What is told of it when it was written."""
        made = self._made or self._read(object_in(self._source))
        length, error = write(made, target, verify=verify, head=self._head)
        return {"length": length, "loses": made.loses, "error": error, "sop_instance_uid": self._uid}


def write(
    made: Transcoding, target: int, *, verify: bool, aside: int | None = None, head: bytes = b""
) -> tuple[int, float | None]:
    """Bytes of the data set, written after `head`, and the largest error of a value if it was looked for. Frames wait
    in memory or, many of them, in `aside`.
    """
    if not made.first_encodes:
        return _all(made.data_set(), target, head), 0.0 if verify and not made.loses else None
    with _Aside(aside) as waiting:
        for frame in made.frames():
            waiting.put(frame)
        error = None
        if verify:
            error = made.worst_error(waiting.frames())
            if error and not made.loses:
                raise PixelsUndecodable(f"the frames came back with errors of up to {error:g}: nothing is kept")
        return _all(made.data_set(waiting.frames(), waiting.lengths), target, head), error


class _Aside:
    """Frames that wait until their lengths are known: a few as they are, the others in a file, which may be given."""

    def __init__(self, fd: int | None) -> None:
        self.lengths: list[int] = []
        self._held: list[bytes] = []
        self._fd, self._ours = -1 if fd is None else fd, fd is None
        self._left = _HELD_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours and self._fd >= 0:
            os.close(self._fd)

    def put(self, frame: bytes) -> None:
        """The next one."""
        self.lengths.append(len(frame))
        self._left -= len(frame)
        if self._left >= 0:
            self._held.append(frame)
            return
        if self._fd < 0:
            self._fd = memory_file("frames")
        _all([frame], self._fd)

    def frames(self) -> Iterator[bytes]:
        """All of them in their order, as often as they are wanted."""
        yield from self._held
        at = 0
        for length in self.lengths[len(self._held) :]:
            yield Input(self._fd, at, length).read()
            at += length


def _all(pieces: Iterable[bytes], target: int, head: bytes = b"") -> int:
    """Write `head` and the pieces, many in one call; the bytes of the pieces."""
    held, size, total = [head], 0, 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _CHUNK_BYTES or len(held) == _PIECES_AT_ONCE:
            _write(held, target)
            held, size, total = [], 0, total + size
    _write(held, target)
    return total + size


def _write(pieces: Sequence[bytes], target: int) -> None:
    size = sum(map(len, pieces))
    done = os.writev(target, pieces) if size else 0
    if done < size:  # a signal, or little room
        write_whole(target, memoryview(b"".join(pieces))[done:])
