"""A data set from one uncompressed transfer syntax to another while it streams by: PS3.5 7 and Annex A.

For a peer that did not accept the stored syntax: implicit VR, explicit VR, big endian and deflate, any to any. Memory
stays flat whatever the object, so sequences and items come out with undefined length: their length in the other syntax
is known only after them, and two passes would read the file twice. Group lengths are left out (retired; they would be
wrong). Between a syntax and its deflated form nothing is changed at all.

Pixel data is moved, never decoded: encapsulated syntaxes have no other form here (`pixels.transcode`). What the reader
tolerates is tolerated, and comes out regular: odd lengths, missing and unknown VRs, stray delimiters.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.elements import (
    ITEM,
    ITEM_END,
    LENGTH_SHORT_MAX,
    LONG_VRS,
    PADDED_WITH_BLANK,
    SEQUENCE_END,
    UNDEFINED,
    VRS_BY_CODE,
    WORDS,
    element_header,
)
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.errors import LimitExceeded, Malformed, NotAcceptable
from sagittal.limits import ReaderLimits

PIECE_BYTES = 1 << 16  # what is held of a value, and put out at a time

_ARRAY_CODES = {2: "H", 4: "I", 8: "Q"}
_PIXEL_DATA, _WAVEFORM_DATA = 0x7FE00010, 0x54001010
_BITS_ALLOCATED, _PIXEL_REPRESENTATION, _WAVEFORM_BITS = 0x00280100, 0x00280103, 0x54001004
_CONTEXT = {_BITS_ALLOCATED, _PIXEL_REPRESENTATION, _WAVEFORM_BITS}


def can_reencode(source: TransferSyntax, target: TransferSyntax) -> bool:
    """Whether a data set in `source` can be put into `target` without touching its pixels."""
    return source.uid == target.uid or (source.native and target.native)


def reencode(
    chunks: Iterable[bytes], source: TransferSyntax, target: TransferSyntax, limits: ReaderLimits
) -> Iterator[bytes]:
    """The data set in the target syntax. Raises NotAcceptable, Malformed or LimitExceeded."""
    if source.uid == target.uid:
        return iter(chunks)
    if not can_reencode(source, target):
        raise NotAcceptable(f"{source.name} can't be re-encoded as {target.name or target.uid} without a codec")
    plain = inflated(chunks, limits) if source.deflated else iter(chunks)
    if (source.implicit, source.little_endian) != (target.implicit, target.little_endian):
        plain = _Walk(plain, source, target, limits).run()
    return deflated(plain) if target.deflated else plain


def inflated(chunks: Iterable[bytes], limits: ReaderLimits) -> Iterator[bytes]:
    """Raw inflate within the limits on ratio and size (PS3.5 A.5)."""
    unpacker, taken, given = zlib.decompressobj(wbits=-15), 0, 0
    for chunk in chunks:
        taken += len(chunk)
        pending = chunk
        while pending and not unpacker.eof:  # after the end there is padding
            try:
                piece = unpacker.decompress(pending, PIECE_BYTES)
            except zlib.error as error:
                raise Malformed("deflate-invalid", f"not a deflate stream: {error}", given) from None
            pending, given = unpacker.unconsumed_tail, given + len(piece)
            if given > min(limits.inflate_bytes_max, limits.inflate_ratio_max * taken + PIECE_BYTES):
                raise LimitExceeded(f"inflates beyond inflate_ratio_max {limits.inflate_ratio_max}")
            if piece:
                yield piece
    if not unpacker.eof:
        raise Malformed("truncated", "the deflate stream ends early", given)


def deflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Raw deflate, padded to even length (PS3.5 A.5)."""
    packer, size = zlib.compressobj(wbits=-15), 0
    for chunk in chunks:
        piece = packer.compress(chunk)
        size += len(piece)
        if piece:
            yield piece
    last = packer.flush()
    yield last + b"\0" if (size + len(last)) & 1 else last


class _Input:
    """Bytes taken in order from chunks of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held, self._start = chunks, b"", 0
        self.offset = 0  # in the source data set

    def available(self, count: int) -> int:
        """How many of `count` bytes are there, after reading as far as needed."""
        while len(self._held) - self._start < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._held, self._start = self._held[self._start :] + bytes(chunk), 0
        return min(count, len(self._held) - self._start)

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes; few, since they are held."""
        if self.available(count) < count:
            raise Malformed("truncated", "the data set ends inside an element", self.offset)
        return self._cut(count)

    def pieces(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes as they come, at most PIECE_BYTES at a time, each a multiple of 8 but the last."""
        while count:
            piece = self.take(min(count, PIECE_BYTES))
            count -= len(piece)
            yield piece

    def drain(self) -> None:
        """Passes over all that is left."""
        while self.available(1):
            self._cut(len(self._held) - self._start)

    def _cut(self, count: int) -> bytes:
        found = self._held[self._start : self._start + count]
        self._start += count
        self.offset += count
        return found


@dataclass(slots=True)
class _Frame:
    """A data set, item or sequence that is open: how it is encoded in the source, and what decides open VRs in it."""

    sequence: bool
    end: int  # in the source; -1: undefined length
    limit: int  # the end of whatever has a defined length around
    implicit: bool
    little: bool
    signed: bool = False  # Pixel Representation
    bits: int = 16  # Bits Allocated
    waveform_bits: int = 16
    fragments: bool = False  # a sequence whose items are bytes: an icon's encapsulated pixel data, for one

    @property
    def order(self) -> Literal["little", "big"]:
        return "little" if self.little else "big"


class _Walk:
    """One pass over one data set."""

    def __init__(
        self, chunks: Iterator[bytes], source: TransferSyntax, target: TransferSyntax, limits: ReaderLimits
    ) -> None:
        self._input, self._limits, self._count = _Input(chunks), limits, 0
        self._implicit, self._little = target.implicit, target.little_endian
        everything = limits.data_set_bytes_max
        self._stack = [_Frame(False, -1, everything, source.implicit, source.little_endian)]
        self._out: list[bytes] = []
        self._held = 0
        self._item_end = element_header(ITEM_END, "", 0, True, self._little)
        self._sequence_end = element_header(SEQUENCE_END, "", 0, True, self._little)

    def run(self) -> Iterator[bytes]:
        data = self._input
        while True:
            frame = self._stack[-1]
            if frame.end == data.offset:
                self._close()
            elif not data.available(8):
                break
            elif frame.sequence:
                yield from self._item(frame)
            else:
                yield from self._element(frame)
            if self._held >= PIECE_BYTES:
                yield self._flush()
        if len(self._stack) > 1:
            raise Malformed("truncated", "the data set ends inside a sequence", data.offset)
        if self._held:
            yield self._flush()

    def _put(self, *parts: bytes) -> None:
        for part in parts:
            self._out.append(part)
            self._held += len(part)

    def _flush(self) -> bytes:
        joined = b"".join(self._out)
        self._out, self._held = [], 0
        return joined

    def _open(self, frame: _Frame) -> None:
        if len(self._stack) > 2 * self._limits.depth_max:
            raise LimitExceeded(f"sequences nested deeper than depth_max {self._limits.depth_max}")
        self._stack.append(frame)

    def _close(self) -> None:
        self._put(self._sequence_end if self._stack.pop().sequence else self._item_end)

    def _end_of(self, length: int, frame: _Frame) -> int:
        end = self._input.offset + length
        if end > frame.limit:
            text = f"a length of {length} reaches beyond what encloses it"
            raise Malformed("length-over-long", text, self._input.offset)
        return end

    def _tag(self, frame: _Frame) -> tuple[int, bytes]:
        """The next tag, and the four bytes after it."""
        self._count += 1
        if self._count > self._limits.elements_max:
            raise LimitExceeded(f"more than elements_max {self._limits.elements_max} elements")
        head = self._input.take(8)
        return int.from_bytes(head[:2], frame.order) << 16 | int.from_bytes(head[2:4], frame.order), head[4:]

    def _nested(self, sequence: bool, length: int, parent: _Frame, implicit: bool, little: bool) -> _Frame:
        end = -1 if length == UNDEFINED else self._end_of(length, parent)
        limit = parent.limit if end < 0 else end
        return _Frame(sequence, end, limit, implicit, little, parent.signed, parent.bits, parent.waveform_bits)

    def _item(self, frame: _Frame) -> Iterator[bytes]:
        start = self._input.offset
        tag, rest = self._tag(frame)
        length = int.from_bytes(rest, frame.order)
        if tag == SEQUENCE_END:
            if frame.end < 0:
                self._close()
        elif tag == ITEM and frame.fragments:
            self._end_of(length, frame)
            self._put(element_header(ITEM, "", length, True, self._little))
            for piece in self._input.pieces(length):
                yield self._flush() + piece
        elif tag == ITEM:
            self._open(self._nested(False, length, frame, frame.implicit, frame.little))
            self._put(element_header(ITEM, "", UNDEFINED, True, self._little))
        else:
            raise Malformed("item-expected", f"({tag >> 16:04X},{tag & 0xFFFF:04X}) instead of an item", start)

    def _element(self, frame: _Frame) -> Iterator[bytes]:
        start = self._input.offset
        tag, rest = self._tag(frame)
        if tag >> 16 == 0xFFFE:
            self._delimiter(tag, start, frame)
            return
        if not tag and len(self._stack) == 1 and rest == bytes(4):
            self._input.drain()  # zeros after the data set
            return
        vr, length = self._shape(tag, rest, frame)
        if vr == "SQ" or length == UNDEFINED:
            self._sequence(tag, vr, length, frame)
            return
        self._end_of(length, frame)
        if not tag & 0xFFFF and length == 4:
            self._input.take(4)
        elif length <= PIECE_BYTES:
            value = self._input.take(length)
            if tag in _CONTEXT:
                self._note(tag, value, frame)
            size = self._header(tag, vr, length, frame)
            self._put(self._swapped(value, size), self._padding(vr, length))
        else:
            size = self._header(tag, vr, length, frame)
            for piece in self._input.pieces(length):
                yield self._flush() + self._swapped(piece, size)
            self._put(self._padding(vr, length))

    def _delimiter(self, tag: int, start: int, frame: _Frame) -> None:
        if tag == ITEM_END and frame.end < 0 and len(self._stack) > 1:
            self._close()
        elif tag not in (ITEM_END, SEQUENCE_END):
            raise Malformed("item-stray", f"(FFFE,{tag & 0xFFFF:04X}) outside a sequence", start)
        elif frame.end < 0 and len(self._stack) > 1:
            raise Malformed("delimiter-missing", "a sequence ends inside its item", start)

    def _shape(self, tag: int, rest: bytes, frame: _Frame) -> tuple[str, int]:
        """VR and length in the source; in Implicit VR the VR by the dictionary and the elements before."""
        if frame.implicit:
            bytewise = (tag == _PIXEL_DATA and frame.bits <= 8) or (tag == _WAVEFORM_DATA and frame.waveform_bits <= 8)
            return "OB" if bytewise else vr_of(tag, frame.signed), int.from_bytes(rest, frame.order)
        code = rest[:2]
        vr = VRS_BY_CODE.get(code, "UN")  # VRs to come have the long form (PS3.5 7.1.2)
        if vr == "UN" and not (code.isalpha() and code.isupper()):
            return vr_of(tag, frame.signed), int.from_bytes(rest, frame.order)  # written as in Implicit VR
        return vr, int.from_bytes(self._input.take(4) if vr in LONG_VRS else rest[2:], frame.order)

    def _sequence(self, tag: int, vr: str, length: int, frame: _Frame) -> None:
        if not length:
            self._put(element_header(tag, "SQ", 0, self._implicit, self._little))
            return
        # PS3.5 6.2.2: UN of undefined length is a sequence, its items in Implicit VR Little Endian.
        unknown = vr == "UN" and not frame.implicit
        nested = self._nested(True, length, frame, frame.implicit or unknown, frame.little or unknown)
        if vr not in ("SQ", "UN") and not frame.implicit:
            if vr not in LONG_VRS:
                raise Malformed("length-undefined", f"{vr} of undefined length", self._input.offset)
            nested.fragments = True
        self._open(nested)
        vr = vr if nested.fragments else "SQ"
        self._put(element_header(tag, vr, UNDEFINED, self._implicit, self._little))

    def _header(self, tag: int, vr: str, length: int, frame: _Frame) -> int:
        """Puts out the element's header; the size of the words that change places, 1 if none do."""
        self._put(element_header(tag, vr, length + (length & 1), self._implicit, self._little))
        unknown = not self._implicit and vr not in LONG_VRS and length > LENGTH_SHORT_MAX  # goes as UN: little endian
        return WORDS.get(vr, 1) if frame.little != (self._little or unknown) else 1

    @staticmethod
    def _swapped(value: bytes, size: int) -> bytes:
        if size == 1 or len(value) < size:
            return value
        whole = len(value) - len(value) % size
        words = array(_ARRAY_CODES[size], value[:whole])
        words.byteswap()
        return words.tobytes() + value[whole:]

    @staticmethod
    def _padding(vr: str, length: int) -> bytes:
        return b"" if not length & 1 else b" " if vr in PADDED_WITH_BLANK else b"\0"

    @staticmethod
    def _note(tag: int, value: bytes, frame: _Frame) -> None:
        if len(value) != 2:
            return
        number = int.from_bytes(value, frame.order)
        if tag == _PIXEL_REPRESENTATION:
            frame.signed = number == 1
        elif tag == _BITS_ALLOCATED:
            frame.bits = number
        else:
            frame.waveform_bits = number
