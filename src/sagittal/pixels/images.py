"""An object whose frames can be had as arrays: from its DICOM JSON, its frame index, and its bytes by place.

Deliberately not here: opening anything. `read` is the caller's; so is where metadata and frame index were kept.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import orjson

from sagittal.dicom.frameindex import FrameIndex
from sagittal.dicom.reader import Memo, Reader
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import NotFound, PixelsUndecodable
from sagittal.limits import PixelLimits, ReaderLimits
from sagittal.pixels import frames
from sagittal.pixels.codecs import codec, video
from sagittal.pixels.description import Description, describe
from sagittal.pixels.frames import Read
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.render import Frame

_PIECE_BYTES, _CHUNK_BYTES = 1 << 16, 1 << 20
_TEXTS_HELD = 32  # pieces of metadata, as they were parsed


@dataclass(frozen=True)
class Image:
    """An object; it may have no pixels. Frames are numbered from 1."""

    members: Mapping[str, Any]  # the DICOM JSON object
    index: FrameIndex | None
    syntax_uid: str
    read: Read
    limits: PixelLimits = field(default_factory=PixelLimits)
    sound: bool = False  # it was read from its bytes, and they have no defect
    group_lengths: bool = True  # there may be such elements, which members don't show
    inflated_from: str = ""  # the syntax of the data set before it was inflated, if it was

    @cached_property
    def attributes(self) -> Attributes:
        """What its data set says."""
        return Attributes(self.members, self.read, big_endian=not syntax(self.syntax_uid).little_endian)

    @cached_property
    def description(self) -> Description:
        """What its pixels are. PixelsUndecodable when the data set doesn't say, LimitExceeded when it says too much."""
        return describe(self.members, self.limits)

    @property
    def count(self) -> int:
        """Frames that can be told apart; of a video, those that it says it has."""
        if self.is_video:
            return self.description.frames
        return 0 if self.index is None else self.index.count

    def chunks(self) -> Iterator[bytes]:
        """Its data set from its first byte; of a deflated one, as it was inflated already."""
        return chunks_of(self.read)

    @property
    def is_video(self) -> bool:
        """Whether its frames are one stream."""
        return syntax(self.syntax_uid).video

    def encoded(self, number: int) -> bytes:
        """A frame as its codec takes it. NotFound when there is no such frame."""
        return frames.frame_bytes(self.read, self._index(number), number, self.description, self.syntax_uid)

    def _index(self, number: int) -> FrameIndex:
        if self.index is None or not 1 <= number <= self.index.count:
            raise NotFound(f"the object has {self.count} frames" if self.count else "the object has no frames")
        return self.index

    def frame(self, number: int) -> Frame:
        """A frame decoded, with every bit of its cells where overlay planes lie in them."""
        if self.is_video:
            return next(self._of_video([number]))
        index, described = self._index(number), self.description
        data = frames.frame_bytes(self.read, index, number, described, self.syntax_uid)
        one = codec(self.syntax_uid)
        stored = one.decode(data, described)
        raw = one.decode(data, described.cells()) if described.planes else None
        return Frame(self.attributes, number, stored, self._decoded, raw)

    def frames(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Frames in ascending order; a video is decoded once for all of them."""
        return self._of_video(numbers) if self.is_video else map(self.frame, numbers)

    def _of_video(self, numbers: Sequence[int]) -> Iterator[Frame]:
        described, wanted = self.description, set(numbers)
        if not wanted or not 1 <= min(wanted) <= max(wanted) <= described.frames:
            raise NotFound(f"the object has {described.frames} frames")
        found = video.decode(self.stream(), described, min(wanted), max(wanted))
        made = 0
        for number, pixels in enumerate(found, min(wanted)):
            if number in wanted:
                made += 1
                yield Frame(self.attributes, number, pixels, video.decoded(described))
        if made < len(wanted):
            raise PixelsUndecodable(f"the video has fewer frames than the {described.frames} that the data set says")

    def stream(self) -> bytes:
        """The fragments of the pixel data joined: those of a video have no place in the frame index."""
        at = frames.pixels_at(self.read, self.syntax_uid)
        if at is None:
            raise NotFound("the object has no pixel data")
        places = frames.fragments(self.read, at, sys.maxsize)
        return b"".join(self.read(*place) for place in places)

    @cached_property
    def _decoded(self) -> Description:
        return codec(self.syntax_uid).decoded(self.description)


def kept(parts: Iterable[bytes], index: bytes | None, syntax_uid: str, read: Read) -> Image:
    """The object whose metadata and frame index ingest kept: zlib parts of the JSON text, and `FrameIndex.encode`."""
    members = orjson.loads(b"".join(map(zlib.decompress, parts)))
    found = None if index is None else FrameIndex.decode(index)
    return Image(members, found, syntax_uid, read)


def read_whole(syntax_uid: str, read: Read, reader: ReaderLimits, memo: Memo | None = None) -> Image:
    """The object that a data set is, from its first byte to its last; `read` gives bytes of it by place.

    Long values, as pixels are, are passed over. A deflated one is inflated and held in memory. `memo`: of those read
    before it. Raises what the reader raises.
    """
    texts: list[str] = []
    stored = syntax(syntax_uid)
    if stored.deflated:
        from sagittal.dicom.reencode import reencode

        plain = b"".join(reencode(chunks_of(read), stored, syntax(EXPLICIT_LE), reader))
        inflated = read_whole(EXPLICIT_LE, lambda at, length: plain[at : at + length], reader, memo)
        return replace(inflated, inflated_from=syntax_uid)
    parsing = Reader(stored, wanted=frozenset(), limits=reader, memo=memo, metadata=texts.append, apart=True)
    at, size = 0, _PIECE_BYTES  # a header is seldom longer
    while chunk := read(at, size):
        parsing.feed(chunk)
        at, size = at + len(chunk) + parsing.leap(), _CHUNK_BYTES
    parsed = parsing.finish()
    flushed = sum(map(len, texts)) >= reader.metadata_flush_characters  # then pieces end anywhere
    members = orjson.loads("".join(texts)) if flushed else _members(texts)
    return Image(members, parsed.frames, syntax_uid, read, sound=not parsed.defects, group_lengths=parsed.group_lengths)


def _members(texts: list[str]) -> dict[str, Any]:
    """The object that pieces of whole members make; most pieces are the same throughout a series."""
    found: dict[str, Any] = {}
    texts[0] = texts[0][1:]  # without the braces around all of them
    texts[-1] = texts[-1][:-1]
    for text in texts:
        found |= _parsed(text)
    return found


@lru_cache(_TEXTS_HELD)
def _parsed(text: str) -> dict[str, Any]:
    members: dict[str, Any] = orjson.loads(f"{{{text.removeprefix(',')}}}")
    return members


def chunks_of(read: Read) -> Iterator[bytes]:
    """A data set from its first byte to its last."""
    at = 0
    while chunk := read(at, _CHUNK_BYTES):
        yield chunk
        at += len(chunk)
