"""Where each frame lies in a data set: PS3.5 8.1.1 and 8.2 (native), A.4 (encapsulated), PS3.3 C.7.6.3.

`native` and `fragments` make the index from what the reader saw: geometry, in bits (frames of 1-bit pixels aren't
byte-aligned); for fragments the Extended Offset Table, the Basic Offset Table, one fragment a frame, all fragments for
one frame, or the marks at which code streams begin. They say None when the frames can't be told apart without decoding.
Fragments lie one behind the other with 8 bytes of item header between, so that their lengths are all that is kept.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from struct import Struct, error

from sagittal.errors import Malformed

FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA = 0x7FE00008, 0x7FE00009, 0x7FE00010
PIXELS = frozenset((FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA))
SAMPLES, PHOTOMETRIC, FRAMES = 0x00280002, 0x00280004, 0x00280008
ROWS, COLUMNS, BITS = 0x00280010, 0x00280011, 0x00280100
GEOMETRY = frozenset((SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, BITS))
# Chrominance of every second column, also in native form (PS3.3 C.7.6.3.1.2).
SUBSAMPLED = frozenset(("YBR_FULL_422", "YBR_PARTIAL_422"))

# Magic and version, offset, frame bits, frames, fragments, whether frames have several fragments.
_HEAD = Struct("<4sQQIIB")
_NATIVE, _FRAGMENTS = b"sfN1", b"sfF1"
ITEM_HEADER = 8

# A code stream begins with one of these: JPEG and JPEG-LS SOI, JPEG 2000 SOC, box formats, JPEG XL.
MARKS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c", b"\xff\x0a")


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Frames as ranges of bits of the data set (0 = its first bit).

    native: the first at `offset` bytes, `frame_bits` each. fragments: `lengths` of all fragments, the first value at
    `offset`; `firsts` is the number of each frame's first fragment, or None when every frame is one fragment.
    """

    kind: str  # "native" | "fragments"
    count: int
    offset: int
    frame_bits: int = 0
    lengths: array[int] = field(default_factory=lambda: array("I"))
    firsts: array[int] | None = None

    def ranges(self, frame: int) -> list[tuple[int, int]]:
        """(bit offset, bit length) of each piece of frame `frame`, 1 being the first. IndexError beyond `count`."""
        return next(self.ranges_of([frame]))

    def ranges_of(self, frames: Iterable[int]) -> Iterator[list[tuple[int, int]]]:
        """The same of several frames; ascending ones cost one pass over the fragments."""
        at, number = self.offset, 0  # where fragment `number` has its value
        for frame in frames:
            if not 1 <= frame <= self.count:
                raise IndexError(f"frame {frame} of {self.count}")
            if self.kind == "native":
                yield [(self.offset * 8 + (frame - 1) * self.frame_bits, self.frame_bits)]
                continue
            first, last = self._fragments(frame)
            if first < number:
                at, number = self.offset, 0
            at += sum(self.lengths[number:first]) + (first - number) * ITEM_HEADER
            pieces = []
            for length in self.lengths[first:last]:
                pieces.append((at * 8, length * 8))
                at += length + ITEM_HEADER
            number = last
            yield pieces

    def _fragments(self, frame: int) -> tuple[int, int]:
        """The numbers of its first fragment and of the one behind its last."""
        if self.firsts is None:
            return frame - 1, frame
        return self.firsts[frame - 1], self.firsts[frame] if frame < self.count else len(self.lengths)

    @property
    def pixel_bytes(self) -> int:
        """What all frames take together, without item headers."""
        return sum(self.lengths) if self.kind == "fragments" else (self.frame_bits * self.count + 7) // 8

    def encode(self) -> bytes:
        """As bytes for the index."""
        head = _HEAD.pack(
            _NATIVE if self.kind == "native" else _FRAGMENTS,
            self.offset,
            self.frame_bits,
            self.count,
            len(self.lengths),
            self.firsts is not None,
        )
        if not self.lengths:
            return head
        packer = zlib.compressobj(1)  # in pieces: a million fragments are not to be copied into one more buffer
        return b"".join((head, *(packer.compress(_little(part)) for part in (self.lengths, self.firsts) if part),
                         packer.flush()))  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> FrameIndex:
        """From `encode`; ValueError for anything else."""
        try:
            magic, offset, bits, count, fragments, several = _HEAD.unpack_from(data)
            body = zlib.decompress(data[_HEAD.size :]) if fragments else data[_HEAD.size :]
        except (error, zlib.error) as failure:
            raise ValueError("not a frame index") from failure
        if magic not in (_NATIVE, _FRAGMENTS) or len(body) != 4 * (fragments + (count if several else 0)):
            raise ValueError("not a frame index")
        lengths = _numbers(body[: 4 * fragments], "I")
        firsts = _numbers(body[4 * fragments :], "I") if several else None
        return cls("native" if magic == _NATIVE else "fragments", count, offset, bits, lengths, firsts)


def _little(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers


def _numbers(data: bytes, code: str) -> array[int]:
    """Little Endian unsigned numbers of 4 ("I") or 8 ("Q") bytes; an incomplete last one is dropped."""
    numbers: array[int] = array(code)
    numbers.frombytes(data[: len(data) // numbers.itemsize * numbers.itemsize])
    return _little(numbers)


@dataclass(slots=True)
class Fragments:
    """What the reader collects of encapsulated pixel data."""

    offset: int = 0  # of the first fragment's value
    basic: bytearray = field(default_factory=bytearray)  # Basic Offset Table
    lengths: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("I"))  # numbers of the fragments that begin a code stream

    def add(self, length: int, beginning: bytes) -> None:
        if beginning.startswith(MARKS):
            self.starts.append(len(self.lengths))
        self.lengths.append(length)


def number_of_frames(text: str | None, warn: Callable[[str], None] = lambda _: None) -> int:
    """Number of Frames as the data set has it: 1 when it is missing, or no number of frames."""
    if not text:
        return 1
    count = int(text) if text.removeprefix("+").isdecimal() and len(text) <= 12 else 0  # PS3.5 6.2, IS
    if count < 1:
        warn("number-of-frames-invalid")
    return max(count, 1)


def bits_of_frame(values: Mapping[int, str], tag: int, length: int, frames: int) -> int:
    """Bits of one native frame by the Image Pixel module; 0 when it doesn't say, or less than one of anything."""
    try:
        rows, columns = int(values[ROWS]), int(values[COLUMNS])
        samples = int(values.get(SAMPLES) or 1)
        bits = {FLOAT_PIXEL_DATA: 32, DOUBLE_PIXEL_DATA: 64}.get(tag) or int(values[BITS])
    except (KeyError, ValueError):
        return 0
    if min(rows, columns, samples, bits) < 1:
        return 0
    whole = rows * columns * samples * bits
    if values.get(PHOTOMETRIC) in SUBSAMPLED and samples == 3 and length * 8 < whole * frames:
        return whole // 3 * 2
    return whole


def native(offset: int, length: int, frame_bits: int, frames: int, warn: Callable[[str], None]) -> FrameIndex | None:
    """The index of native pixel data of `length` bytes. Too short for its geometry: Malformed."""
    if not frame_bits:
        return None
    needed = (frame_bits * frames + 7) // 8
    if length < needed:
        text = f"Pixel Data has {length} bytes where its geometry needs {needed}"
        raise Malformed("pixel-data-short", text, offset)
    if length > needed + (needed & 1):
        warn("pixel-data-long")
    return FrameIndex("native", frames, offset, frame_bits)


def fragments(
    seen: Fragments, frames: int, extended: tuple[bytes, bytes], warn: Callable[[str], None]
) -> FrameIndex | None:
    """The index of encapsulated pixel data, None if frames can't be told apart; too few fragments: Malformed."""
    lengths = seen.lengths
    if len(lengths) < frames:
        text = f"Pixel Data has {len(lengths)} fragments for {frames} frames"
        raise Malformed("pixel-data-short", text, seen.offset)
    if extended[0]:
        firsts = _positions(_numbers(extended[0], "Q"), lengths)
        if firsts is not None and len(firsts) == frames and _fit(firsts, _numbers(extended[1], "Q"), lengths):
            return _index(seen, firsts)
        warn("offset-table-invalid")
    if seen.basic:
        firsts = _positions(_numbers(bytes(seen.basic), "I"), lengths)
        if firsts is not None and len(firsts) == frames and not firsts[0]:
            return _index(seen, firsts)
        warn("offset-table-invalid")
    if len(lengths) == frames:
        return FrameIndex("fragments", frames, seen.offset, lengths=lengths)
    if frames == 1:
        return FrameIndex("fragments", 1, seen.offset, lengths=lengths, firsts=array("I", [0]))
    if len(seen.starts) >= frames and not seen.starts[0]:
        return _first_streams(seen, frames, warn)
    warn("frames-undetermined")
    return None


def _first_streams(seen: Fragments, frames: int, warn: Callable[[str], None]) -> FrameIndex:
    """The index of code streams that the fragments tell; of more than frames, the first ones, as of native pixels."""
    if len(seen.starts) == frames:
        return _index(seen, seen.starts)
    warn("pixel-data-long")
    return _index(replace(seen, lengths=seen.lengths[: seen.starts[frames]]), seen.starts[:frames])


def _index(seen: Fragments, firsts: array[int]) -> FrameIndex:
    single = len(firsts) == len(seen.lengths)
    return FrameIndex("fragments", len(firsts), seen.offset, lengths=seen.lengths, firsts=None if single else firsts)


def _positions(offsets: array[int], lengths: array[int]) -> array[int] | None:
    """The numbers of the fragments whose items begin at `offsets` from the first item; None if one isn't there."""
    items = array("Q", accumulate((length + ITEM_HEADER for length in lengths), initial=0))
    firsts: array[int] = array("I")
    for offset in offsets:
        at = bisect_left(items, offset)
        if at >= len(lengths) or items[at] != offset or (firsts and at <= firsts[-1]):
            return None
        firsts.append(at)
    return firsts


def _fit(firsts: array[int], sizes: array[int], lengths: array[int]) -> bool:
    """Extended Offset Table Lengths: a frame is one fragment, which may have one byte of padding (PS3.5 A.4)."""
    if len(sizes) != len(firsts):
        return False
    return all(0 <= lengths[first] - size <= 1 for first, size in zip(firsts, sizes, strict=True))
