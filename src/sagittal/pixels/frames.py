"""Frames of a data set: from its bytes to what codecs take, and from code streams to Pixel Data. PS3.5 8.1, A.4, 8.2.

Reading: `frame_bytes` gives one frame, whatever lies around it: 1-bit frames that begin inside a byte are shifted,
words of Big Endian data sets are swapped, fragments are joined. Nothing here reads files: `read(offset, length)` is
the caller's.

Writing: `encapsulated` puts frames into items, one fragment each or more for those beyond what an item's length can
say, and makes the Basic Offset Table or, where 32 bits are not enough, the Extended Offset Table with its lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sagittal.dicom.elements import swapped
from sagittal.dicom.frameindex import FrameIndex
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import PixelsUndecodable
from sagittal.limits import ReaderLimits
from sagittal.pixels.description import Description

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
OFFSET_MAX = (1 << 32) - 1  # in the Basic Offset Table
FRAGMENT_BYTES_MAX = (1 << 32) - 2  # an item's length is even and isn't FFFFFFFF
_PIECE_BYTES = 1 << 16  # of a data set whose header is read
EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002

Read = Callable[[int, int], bytes]  # (offset, length) in bytes of the data set


def frame_bytes(read: Read, index: FrameIndex, frame: int, description: Description, uid: str) -> bytes:
    """Frame `frame`, 1 being the first, of a data set in syntax `uid`: as its codec takes it. IndexError beyond the
    last.
    """
    ranges = index.ranges(frame)
    if index.kind == "fragments":
        return b"".join(_exactly(read, at // 8, length // 8) for at, length in ranges)
    (at, length), little = ranges[0], syntax(uid).little_endian
    word = 1 if little else swapped_word(description)
    base = index.offset
    first = base + (at // 8 - base) // word * word  # whole words, counted from the beginning of the value
    last = base + -(-((at + length + 7) // 8 - base) // word) * word
    data = swapped(_exactly(read, first, last - first), word)[at // 8 - first :]
    return shifted(data, at % 8, length) if at % 8 else data[: (length + 7) // 8]


def _exactly(read: Read, offset: int, length: int) -> bytes:
    data = read(offset, length)
    if len(data) != length:
        raise PixelsUndecodable(f"the data set ends inside a frame: {len(data)} of {length} bytes")
    return data


def swapped_word(description: Description) -> int:
    """Bytes of the words that Big Endian has the other way round (PS3.5 8.1.2, A.3): those of the element's VR.

    Cells of more than 16 bits in OW are swapped whole, as all who wrote such data sets did.
    """
    if description.kind != "integer":
        return 4 if description.kind == "float" else 8
    if description.vr == "OB":
        return 1
    return max(2, description.bits_allocated // 8 if description.bits_allocated % 16 == 0 else 2)


def shifted(data: bytes, bits: int, length: int) -> bytes:
    """`length` bits from bit `bits` (0 to 7) of `data` on, beginning at a byte; the rest of the last byte is 0."""
    number = int.from_bytes(data, "little") >> bits & (1 << length) - 1
    return number.to_bytes((length + 7) // 8, "little")


def pixels_at(read: Read, uid: str) -> int | None:
    """Where the value of Pixel Data begins in a data set in syntax `uid`, which is read that far; None without any."""
    reader, at = Reader(syntax(uid), wanted=frozenset(), limits=ReaderLimits()), 0
    while reader.pixel_data_at is None and (data := read(at, _PIECE_BYTES)):
        reader.feed(data)
        at += len(data) + reader.leap()
    return reader.pixel_data_at


def fragments(read: Read, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of each fragment of encapsulated Pixel Data whose value lies there; the offset table is left
    out.

    For bit streams that have no frame index: video.
    """
    at, end, first = offset, offset + length, True
    while at + 8 <= end:
        head = _exactly(read, at, 8)
        size = int.from_bytes(head[4:], "little")
        if head[:4] != ITEM:
            return
        if at + 8 + size > end:
            raise PixelsUndecodable("a fragment goes beyond Pixel Data")
        if not first:
            yield at + 8, size
        at, first = at + 8 + size, False


class Table(NamedTuple):
    """Where the frames of encapsulated Pixel Data lie: what goes into the Basic or the Extended Offset Table."""

    basic: bytes
    extended: bytes  # (7FE0,0001), "" when the Basic Offset Table can say it
    lengths: bytes  # (7FE0,0002)

    def members(self) -> dict[str, Any]:
        """The Extended Offset Table as DICOM JSON members, if there is one."""
        if not self.extended:
            return {}
        from base64 import b64encode

        return {
            f"{tag:08X}": {"vr": "OV", "InlineBinary": b64encode(value).decode()}
            for tag, value in ((EXTENDED_OFFSETS, self.extended), (EXTENDED_LENGTHS, self.lengths))
        }


def table(lengths: Sequence[int]) -> Table:
    """The offset table of frames of these lengths, each one fragment, or several of `pieces`."""
    offsets, at = [], 0
    for length in lengths:
        offsets.append(at)
        at += sum(8 + size + (size & 1) for size in pieces(length))
    if offsets and offsets[-1] > OFFSET_MAX and all(len(pieces(length)) == 1 for length in lengths):
        packed = b"".join(offset.to_bytes(8, "little") for offset in offsets)
        return Table(b"", packed, b"".join(length.to_bytes(8, "little") for length in lengths))
    if offsets and offsets[-1] > OFFSET_MAX:
        return Table(b"", b"", b"")  # the Extended Offset Table knows no fragments (PS3.5 A.4): marks in the streams do
    return Table(b"".join(offset.to_bytes(4, "little") for offset in offsets), b"", b"")


def pieces(length: int, most: int = FRAGMENT_BYTES_MAX) -> list[int]:
    """The lengths of the fragments of one frame."""
    whole, rest = divmod(length, most)
    return [most] * whole + ([rest] if rest or not whole else [])


def encapsulated(frames: Iterable[bytes], offsets: bytes = b"") -> Iterator[bytes]:
    """The value of encapsulated Pixel Data: the Basic Offset Table's item, the frames' items, the delimiter."""
    yield ITEM + len(offsets).to_bytes(4, "little") + offsets
    for frame in frames:
        at = 0
        for size in pieces(len(frame)):
            yield ITEM + (size + (size & 1)).to_bytes(4, "little")
            yield frame if size == len(frame) else frame[at : at + size]
            at += size
            if size & 1:
                yield b"\0"
    yield DELIMITER
