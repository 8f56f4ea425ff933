"""The bytes of stored objects as answers need them: whole files, data sets, frames and single values, by region.

In the stored syntax nothing is parsed. The slow paths are for what the index can't point into: Explicit VR Big
Endian, whose words change places; deflated data sets, which are inflated; video, whose fragments are looked for. All
of it runs on a reader thread and in flat memory. No codec is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagittal.archive.reading import read_at, read_pieces
from sagittal.dicom.elements import WORDS, swapped
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reader import Parsed, Reader
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, syntax
from sagittal.dicom.walk import Event, Walk
from sagittal.errors import DamagedObject, NotFound
from sagittal.limits import ReaderLimits
from sagittal.pixels.frames import shifted

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive
    from sagittal.archive.references import InstanceRef, OpenObject, Ranges
    from sagittal.web.house import House

_ITEM = b"\xfe\xff\x00\xe0"
_WIDE_PIXELS = b"\x7f\xe0\0\x10OW"  # how Pixel Data begins in Big Endian
_BITS_ALLOCATED = 0x00280100


@dataclass(frozen=True, slots=True)
class Stored:
    """Reads objects of one archive in chunks of `chunk_bytes`."""

    archive: Archive
    limits: ReaderLimits
    chunk_bytes: int

    @classmethod
    def of(cls, house: House) -> Stored:
        """The objects of the archive, in chunks as the limits have them."""
        limits = house.settings.limits
        return cls(house.archive, limits.reader, limits.web.read_chunk_bytes)

    def file(self, ref: InstanceRef, syntax_uid: str) -> Iterator[bytes]:
        """The Part 10 file with the corrections in force: as stored, or re-encoded when another uncompressed syntax is
        asked for.
        """
        if syntax_uid == ref.syntax_uid and not ref.corrections:
            yield from self.stored_part(ref, 0, ref.size)
            return
        with self._held(ref) as opened:
            if syntax_uid == ref.syntax_uid:
                yield from opened.file(self.chunk_bytes)
                return
            yield meta_group(ref.sop_class_uid, ref.sop_instance_uid, syntax_uid)
            held = opened.data_set(self.chunk_bytes)
            yield from reencode(held, syntax(ref.syntax_uid), syntax(syntax_uid), self.limits)

    def stored_part(self, ref: InstanceRef, first: int, length: int) -> Iterator[bytes]:
        """`length` bytes of the file in its stored syntax, from `first` on."""
        if ref.corrections:
            yield from sliced(self.file(ref, ref.syntax_uid), first, first + length)
            return
        with self._opened(ref) as (fd, start):
            yield from self._region(fd, start - ref.header_length + first, length)

    def frames(self, ref: InstanceRef, found: Sequence[Ranges], base: int) -> Iterator[Iterator[bytes]]:
        """For each frame its bytes, to be taken one after another; native frames as Explicit VR Little Endian.

        `base` is where the first frame of all begins, in bytes of the data set.
        """
        with self._opened(ref) as (fd, start):
            word = self._word(fd, start, base, ref) if ref.syntax_uid == EXPLICIT_BE else 1
            for ranges in found:
                yield (piece for bits in ranges for piece in self._bits(fd, start, bits, base, word))

    def value(self, ref: InstanceRef, offset: int, first: int, length: int) -> Iterator[bytes]:
        """`length` bytes, from `first` on, of the value that metadata names by its `offset` in the data set."""
        at = offset + first
        if syntax(ref.syntax_uid).deflated:
            yield from sliced(self._inflated(ref), at, at + length)
            return
        with self._opened(ref) as (fd, start):
            word = self._word(fd, start, offset, ref) if ref.syntax_uid == EXPLICIT_BE else 1
            yield from self._bits(fd, start, (at * 8, length * 8), offset, word)

    def inflated_frames(self, ref: InstanceRef, numbers: Sequence[int]) -> Iterator[Iterator[bytes]]:
        """Frames of a deflated object: inflated once to find them, and once for each."""
        parsed = self._parsed(ref)
        if parsed.frames is None:
            raise NotFound("the instance has no frames that can be told apart")
        for number in numbers:
            offset, length = parsed.frames.ranges(number)[0]
            first, end = offset // 8, -(-(offset + length) // 8)
            held = sliced(self._inflated(ref), first, end)
            yield held if not (offset | length) & 7 else iter((shifted(b"".join(held), offset & 7, length),))

    def code_stream(self, ref: InstanceRef, first: int = 0, end: int | None = None) -> Iterator[bytes]:
        """All fragments of encapsulated pixel data, one behind the other, as a video is; or bytes of that."""
        at = 0
        with self._opened(ref) as (fd, start):
            for offset, length in self._fragments(fd, start, ref):
                low = max(0, first - at)
                high = length if end is None else min(length, end - at)
                if low < high:
                    yield from self._region(fd, start + offset + low, high - low)
                at += length
                if end is not None and at >= end:
                    return

    def code_stream_length(self, ref: InstanceRef) -> int:
        """How many bytes `code_stream` gives."""
        with self._opened(ref) as (fd, start):
            return sum(length for _, length in self._fragments(fd, start, ref))

    def _fragments(self, fd: int, start: int, ref: InstanceRef) -> Iterator[tuple[int, int]]:
        """Offset in the data set and length of each fragment; the object is parsed as far as its pixel data only."""
        reader = Reader(syntax(ref.syntax_uid), wanted=frozenset(), limits=self.limits)
        for piece in self._region(fd, start, ref.data_set_length):
            reader.feed(piece)
            if reader.pixel_data_at is not None:
                break
        at = reader.pixel_data_at
        if at is None:
            raise NotFound("the instance has no pixel data")
        first = True
        while at + 8 <= ref.data_set_length:
            head = read_at(fd, 8, start + at)
            size = int.from_bytes(head[4:], "little")
            if head[:4] != _ITEM:
                break
            if not first:  # the first item is the Basic Offset Table (PS3.5 A.4)
                yield at + 8, size
            at, first = at + 8 + size, False

    def fragments_at(self, ref: InstanceRef, path: str) -> list[tuple[int, int]]:
        """Offset in the data set and length of each fragment of encapsulated pixel data within a sequence."""
        found: list[tuple[int, int]] = []
        with self._opened(ref) as (fd, start):
            held = self._region(fd, start, ref.data_set_length)
            for where, event in _placed(Walk(held, syntax(ref.syntax_uid), self.limits, runs=True).events()):
                if event.kind == "fragment" and where == path:
                    found.append((event.at + 8, event.length))
                elif found or (not event.depth and f"{event.tag:08X}" > path[:8]):
                    break
        if len(found) < 2 or syntax(ref.syntax_uid).deflated:  # the first item is the Basic Offset Table (PS3.5 A.4)
            raise NotFound("there is no such bulk data in this instance")
        return found[1:]

    @contextmanager
    def _opened(self, ref: InstanceRef) -> Iterator[tuple[int, int]]:
        """The descriptor, and where in it the data set starts."""
        with self._held(ref) as opened:
            yield opened.fd, opened.data_set_offset

    @contextmanager
    def _held(self, ref: InstanceRef) -> Iterator[OpenObject]:
        """An object while it is read: the next answer of several does without one that cannot be, if this was cut."""
        try:
            with self.archive.open_object(ref) as opened:
                yield opened
        except DamagedObject:
            self.archive.doubt(ref)
            raise

    def _region(self, fd: int, offset: int, length: int) -> Iterator[bytes]:
        return read_pieces(fd, length, offset, self.chunk_bytes)

    def _inflated(self, ref: InstanceRef) -> Iterator[bytes]:
        """The data set of a deflated object as Explicit VR Little Endian."""
        with self._opened(ref) as (fd, start):
            held = self._region(fd, start, ref.data_set_length)
            yield from reencode(held, syntax(ref.syntax_uid), syntax(EXPLICIT_LE), self.limits)

    def _parsed(self, ref: InstanceRef) -> Parsed:
        reader = Reader(syntax(EXPLICIT_LE), wanted=frozenset(), limits=self.limits)
        for piece in self._inflated(ref):
            reader.feed(piece)
        return reader.finish()

    def _bits(self, fd: int, start: int, bits: tuple[int, int], base: int, word: int) -> Iterator[bytes]:
        """A range of bits; `word` octets change places, counted from `base`."""
        offset, length = bits
        if word == 1 and not (offset | length) & 7:
            yield from self._region(fd, start + offset // 8, length // 8)
            return
        first, end = offset // 8, -(-(offset + length) // 8)
        low, high = base + (first - base) // word * word, base - (base - end) // word * word
        octets = swapped(b"".join(self._region(fd, start + low, high - low)), word)[first - low : end - low]
        yield octets if not (offset | length) & 7 else shifted(octets, offset & 7, length)

    def _word(self, fd: int, start: int, value: int, ref: InstanceRef) -> int:
        """How many octets change places in the Big Endian value at `value`: its VR lies before it (PS3.5 7.1.2).
        Pixels of 32 bits in OW are swapped whole, as by `dicom.reencode`.
        """
        head = read_at(fd, min(12, value), start + max(0, value - 12))
        if head[:6] == _WIDE_PIXELS:
            allocated = self._bits_allocated(fd, start, ref)
            return allocated // 8 if allocated in (32, 64) else 2
        for vr in (head[-8:-6], head[-4:-2]):  # a length of 32 bits, of 16 bits
            word = WORDS.get(vr.decode("latin-1"))
            if word is not None:
                return word
        return 1

    def _bits_allocated(self, fd: int, start: int, ref: InstanceRef) -> int:
        """Of a Big Endian object, which is parsed as far as that."""
        walk = Walk(self._region(fd, start, ref.data_set_length), syntax(ref.syntax_uid), self.limits)
        for event in walk.events():
            if event.tag == _BITS_ALLOCATED and event.kind == "element" and not event.depth:
                return int.from_bytes(walk.value(), "big")
        return 0


def _placed(events: Iterable[Event]) -> Iterator[tuple[str, Event]]:
    """Events with the path of the element that they are in: tags, and numbers of items between them."""
    path: list[str] = []
    for event in events:
        if event.kind in ("sequence", "fragments"):
            path += [f"{event.tag:08X}", "0"]
        elif event.kind == "item":
            path[-1] = str(int(path[-1]) + 1)
        elif event.kind == "end-sequence":
            del path[-2:]
        yield "/".join(path[:-1]), event


def size_of(ranges: Ranges) -> int:
    """Bytes of a frame: each of its pieces begins at one, whatever bits it has."""
    return sum(-(-length // 8) for _, length in ranges)


def sliced(chunks: Iterator[bytes], first: int, end: int) -> Iterator[bytes]:
    at = 0
    for chunk in chunks:
        piece = chunk[max(0, first - at) : max(0, end - at)]
        if piece:
            yield piece
        at += len(chunk)
        if at >= end:
            return
    raise NotFound("there is no such bulk data in this instance")
