"""One pass over a data set for those who need its values in order: `reencode`, `dump`, identifiers (PS3.5 7, Annex A).

Pulls bytes from chunks of any size and yields what begins and ends; the consumer takes the value of the event it was
just given, or leaves it. Iterative, in flat memory, within the limits. It tolerates what `dicom.reader` tolerates (odd
lengths, missing and unknown VRs, stray delimiters, zeros at the end), and builds nothing: ingest uses the reader, which
is faster.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sagittal.dicom.dictionary import VRS, tag_text, vr_of
from sagittal.dicom.elements import (
    ITEM,
    ITEM_END,
    LONG_CODES,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_CODES,
    STRAY_GROUPS,
    UNDEFINED,
    VRS_BY_CODE,
    Element,
)
from sagittal.dicom.frameindex import PIXEL_DATA, PIXELS
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

PIECE_BYTES = 1 << 16  # what is held of a value, and given at a time

_WAVEFORM_DATA = 0x54001010
_BITS_ALLOCATED, _PIXEL_REPRESENTATION, _WAVEFORM_BITS = 0x00280100, 0x00280103, 0x54001004
_CONTEXT = frozenset((_BITS_ALLOCATED, _PIXEL_REPRESENTATION, _WAVEFORM_BITS))
_OPEN = _CONTEXT | PIXELS | {_WAVEFORM_DATA}  # elements that are never part of a run
_APART = frozenset((0xFFFE, *STRAY_GROUPS))  # and their groups
_RUN_VALUE_BYTES_MAX = 4096
_LONG_CODES = {code: vr for code, vr in LONG_CODES.items() if vr != "SQ"}
_HEADS = {True: struct.Struct("<HH2sH").unpack_from, False: struct.Struct(">HH2sH").unpack_from}

Kind = Literal["element", "run", "sequence", "item", "fragments", "fragment", "end-item", "end-sequence"]


class Event(NamedTuple):
    """What begins or ends. `element` and `fragment` have a value of `length` bytes, to be taken before the next event.

    `length` of the others is as in the data set (UNDEFINED: up to a delimiter); `depth` counts sequences around. `run`
    stands for several elements of regular form: their tags, VRs and values.
    """

    kind: Kind
    tag: int
    vr: str
    length: int
    at: int  # offset of its head in the data set (inflated if it is deflated)
    depth: int
    little: bool  # byte order of its value
    run: Sequence[tuple[int, str, bytes]] = ()


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
            if given > limits.inflate_bytes_max:
                raise LimitExceeded(f"inflates to more than {limits.inflate_bytes_max} bytes (inflate_bytes_max)")
            if given > limits.inflate_ratio_free_bytes and given > limits.inflate_ratio_max * taken:
                raise LimitExceeded(f"inflates to more than {limits.inflate_ratio_max} times its size")
            if piece:
                yield piece
    if not unpacker.eof:
        raise Malformed("truncated", "the deflate stream ends early", given)


class _Input:
    """Bytes taken in order from chunks of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held, self._start = chunks, b"", 0
        self.offset = 0  # in the source data set

    def available(self, count: int) -> int:
        """How many of `count` bytes are there, after reading as far as needed."""
        there = len(self._held) - self._start
        if there >= count:
            return count
        parts = [self._held[self._start :]]
        while there < count and (chunk := next(self._chunks, None)) is not None:
            parts.append(bytes(chunk))
            there += len(chunk)
        self._held, self._start = b"".join(parts), 0
        return min(count, there)

    def peek(self, count: int) -> bytes:
        self.available(count)
        return self._held[self._start : self._start + count]

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes; few, since they are held."""
        if self.available(count) < count:
            raise Malformed("truncated", "the data set ends inside an element", self.offset)
        found = self._held[self._start : self._start + count]
        self._start += count
        self.offset += count
        return found

    def pieces(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes, PIECE_BYTES at a time."""
        while count:
            piece = self.take(min(count, PIECE_BYTES))
            count -= len(piece)
            yield piece

    def pass_over(self, count: int) -> None:
        """The next `count` bytes are not wanted."""
        while count:
            step = min(count, PIECE_BYTES)
            if self.available(step) < step:
                raise Malformed("truncated", "the data set ends inside an element", self.offset)
            self._start += step
            self.offset += step
            count -= step

    def held(self) -> tuple[bytes, int, int]:
        """What is at hand, where its next byte is, and the offset of its first."""
        return self._held, self._start, self.offset - self._start

    def go_to(self, place: int) -> None:
        """Passes over what is at hand before `place`."""
        self.offset += place - self._start
        self._start = place

    def drain(self) -> None:
        """Passes over the zeros that are left."""
        while there := self.available(1) and len(self._held) - self._start:
            begin = self.offset
            if rest := self.take(there).lstrip(b"\0"):
                raise Malformed("padding-not-zero", "the data set goes on after zeros", begin + there - len(rest))


@dataclass(slots=True)
class _Frame:
    """A data set, item or sequence that is open: how it is encoded, and what decides open VRs in it."""

    kind: Literal["elements", "items", "fragments"]
    tag: int
    end: int  # -1: undefined length
    limit: int  # the end of whatever has a defined length around
    implicit: bool
    little: bool
    signed: bool = False  # Pixel Representation
    bits: int = 16  # Bits Allocated
    waveform_bits: int = 16

    @property
    def order(self) -> Literal["little", "big"]:
        return "little" if self.little else "big"


class Walk:
    """One pass over one data set: iterate over `events()` once."""

    def __init__(
        self, chunks: Iterable[bytes], syntax: TransferSyntax, limits: ReaderLimits, *, runs: bool = False
    ) -> None:
        self._runs = runs  # short regular elements come together, which is three times as fast
        self._input = _Input(inflated(chunks, limits) if syntax.deflated else iter(chunks))
        self._limits, self._count, self._value_end = limits, 0, 0
        self._stack = [_Frame("elements", 0, -1, limits.data_set_bytes_max, syntax.implicit, syntax.little_endian)]

    def value(self) -> bytes:
        """What is left of the value of the last event; only for values that may be held."""
        return self._input.take(self._value_end - self._input.offset)

    def pieces(self) -> Iterator[bytes]:
        """The same in pieces of PIECE_BYTES, and a shorter last one."""
        return self._input.pieces(self._value_end - self._input.offset)

    def events(self) -> Iterator[Event]:
        """Raises Malformed or LimitExceeded where the data set breaks the rules."""
        data = self._input
        while True:
            frame = self._stack[-1]
            if frame.end == data.offset:
                yield self._close(data.offset)
            elif not self._is_more():
                break
            elif self._runs and frame.kind == "elements" and (run := self._run(frame)):
                yield Event("run", 0, "", 0, data.offset, len(self._stack) // 2, frame.little, run)
            else:
                event = self._element(frame) if frame.kind == "elements" else self._item(frame)
                if event is not None:
                    yield event
                    data.pass_over(self._value_end - data.offset)  # what the consumer left
        if len(self._stack) == 2 and self._stack[1].kind == "fragments":
            yield self._close(data.offset)  # the delimiter after the last fragment is missing
        if len(self._stack) > 1:
            raise Malformed("truncated", "the data set ends inside a sequence", data.offset)

    def _is_more(self) -> bool:
        """Whether another head follows. At most 7 zeros after the last element are passed over."""
        there = self._input.available(8)
        if there and there < 8 and (len(self._stack) > 1 or self._input.peek(there).strip(b"\0")):
            raise Malformed("truncated", "the data set ends inside an element", self._input.offset)
        return there == 8

    def _run(self, frame: _Frame) -> list[tuple[int, str, bytes]]:
        """The elements from here whose heads are regular and whose values are short and at hand."""
        held, pos, base = self._input.held()
        end, limit = min(len(held), frame.limit - base), self._limits.elements_max - self._count
        implicit, order, head = frame.implicit, frame.order, _HEADS[frame.little]
        found: list[tuple[int, str, bytes]] = []
        while pos + 8 <= end and len(found) < limit:
            group, number, code, length = head(held, pos)
            tag, start = group << 16 | number, pos + 8
            vr: str | None
            if implicit:
                vr, length = VRS.get(tag) or vr_of(tag), int.from_bytes(held[pos + 4 : start], order)
            else:
                vr = SHORT_CODES.get(code)
                if vr is None:
                    vr, start = _LONG_CODES.get(code), pos + 12
                    length = int.from_bytes(held[pos + 8 : start], order)
            if vr is None or vr == "SQ" or length > _RUN_VALUE_BYTES_MAX or start + length > end:
                break
            if tag in _OPEN or not number or group in _APART or (implicit and frame.signed and vr == "US"):
                break
            pos = start + length
            found.append((tag, vr, held[start:pos]))
        self._count += len(found)
        self._input.go_to(pos)
        return found

    def _head(self, frame: _Frame) -> tuple[int, bytes]:
        """The next tag, and the four bytes after it."""
        self._count += 1
        if self._count > self._limits.elements_max:
            raise LimitExceeded(f"more than {self._limits.elements_max} elements (elements_max)")
        head = self._input.take(8)
        return int.from_bytes(head[:2], frame.order) << 16 | int.from_bytes(head[2:4], frame.order), head[4:]

    def _event(self, kind: Kind, tag: int, vr: str, length: int, at: int) -> Event:
        frame = self._stack[-1]
        self._value_end = self._input.offset
        if kind in ("element", "fragment"):
            self._value_end = self._end_of(length, frame)
        return Event(kind, tag, vr, length, at, len(self._stack) // 2, frame.little)

    def _end_of(self, length: int, frame: _Frame) -> int:
        end = self._input.offset + length
        if end > frame.limit:
            text = f"a length of {length} reaches beyond what encloses it"
            raise Malformed("length-over-long", text, self._input.offset)
        return end

    def _open(self, event: Event, parent: _Frame, kind: Literal["elements", "items", "fragments"]) -> Event:
        """Makes what `event` begins the place where the next elements or items are."""
        if len(self._stack) > 2 * self._limits.depth_max:
            raise LimitExceeded(f"sequences are nested deeper than {self._limits.depth_max} (depth_max)")
        # PS3.5 6.2.2: UN of undefined length is a sequence, its items in Implicit VR Little Endian.
        unknown = event.vr == "UN" and not parent.implicit
        implicit, little = parent.implicit or unknown, parent.little or unknown
        end = -1 if event.length == UNDEFINED else self._end_of(event.length, parent)
        limit, context = parent.limit if end < 0 else end, (parent.signed, parent.bits, parent.waveform_bits)
        self._stack.append(_Frame(kind, event.tag, end, limit, implicit, little, *context))
        return event

    def _close(self, at: int) -> Event:
        frame = self._stack.pop()
        return self._event("end-item" if frame.kind == "elements" else "end-sequence", frame.tag, "", 0, at)

    def _item(self, frame: _Frame) -> Event | None:
        at = self._input.offset
        tag, rest = self._head(frame)
        length = int.from_bytes(rest, frame.order)
        if tag == SEQUENCE_END:
            return self._close(at) if frame.end < 0 else None  # else a stray one
        if tag != ITEM or (length == UNDEFINED and frame.kind == "fragments"):
            raise Malformed("item-expected", f"{tag_text(tag)} instead of an item", at)
        if frame.kind == "fragments":
            return self._event("fragment", tag, "", length, at)
        return self._open(self._event("item", tag, "", length, at), frame, "elements")

    def _element(self, frame: _Frame) -> Event | None:
        at, outermost = self._input.offset, len(self._stack) == 1
        tag, rest = self._head(frame)
        if tag >> 16 == 0xFFFE:
            return self._delimiter(tag, at, frame)
        if not tag and outermost and rest == bytes(4):
            self._input.drain()  # zeros after the data set
            return None
        vr, length = self._shape(tag, rest, frame)
        if vr != "SQ" and length != UNDEFINED:
            if tag in _CONTEXT and length == 2:
                self._note(tag, int.from_bytes(self._input.peek(2), frame.order), frame)
            return self._event("element", tag, vr, length, at)
        if vr in ("SQ", "UN") or (frame.implicit and tag not in PIXELS):
            return self._open(self._event("sequence", tag, vr, length, at), frame, "items")
        if vr not in LONG_VRS:
            raise Malformed("length-undefined", f"{vr} of undefined length", at)
        return self._open(self._event("fragments", tag, vr, length, at), frame, "fragments")

    def _delimiter(self, tag: int, at: int, frame: _Frame) -> Event | None:
        inside = frame.end < 0 and len(self._stack) > 1
        if tag == ITEM_END and inside:
            return self._close(at)
        if tag not in (ITEM_END, SEQUENCE_END):
            raise Malformed("item-stray", f"(FFFE,{tag & 0xFFFF:04X}) outside a sequence", at)
        if inside:
            raise Malformed("delimiter-missing", "a sequence ends inside its item", at)
        return None

    def _shape(self, tag: int, rest: bytes, frame: _Frame) -> tuple[str, int]:
        """VR and length; in Implicit VR the VR by the dictionary and the elements before."""
        if frame.implicit:
            bytewise = (tag == PIXEL_DATA and frame.bits <= 8) or (tag == _WAVEFORM_DATA and frame.waveform_bits <= 8)
            return "OB" if bytewise else vr_of(tag, frame.signed), int.from_bytes(rest, frame.order)
        code = rest[:2]
        vr = VRS_BY_CODE.get(code, "UN")  # VRs to come have the long form (PS3.5 7.1.2)
        if vr == "UN" and not (code.isalpha() and code.isupper()):
            return vr_of(tag, frame.signed), int.from_bytes(rest, frame.order)  # written as in Implicit VR
        return vr, int.from_bytes(self._input.take(4) if vr in LONG_VRS else rest[2:], frame.order)

    @staticmethod
    def _note(tag: int, number: int, frame: _Frame) -> None:
        if tag == _PIXEL_REPRESENTATION:
            frame.signed = number == 1
        elif tag == _BITS_ALLOCATED:
            frame.bits = number
        else:
            frame.waveform_bits = number


def decode_identifier(data: bytes, syntax: TransferSyntax, limits: ReaderLimits) -> dict[int, Element]:
    """The elements of a small data set by tag. Raises Malformed or LimitExceeded."""
    walk = Walk([data], syntax, limits, runs=True)
    sets: list[dict[int, Element]] = [{}]  # the data set, and the items that are open
    sequences: list[list[dict[int, Element]]] = []
    for event in walk.events():
        match event.kind:
            case "run":
                sets[-1].update((tag, Element(tag, vr, value, event.little)) for tag, vr, value in event.run)
            case "element":
                sets[-1][event.tag] = Element(event.tag, event.vr, walk.value(), event.little)
            case "sequence":
                sequences.append([])
                sets[-1][event.tag] = Element(event.tag, "SQ", sequences[-1], event.little)
            case "item":
                sets.append({})
                sequences[-1].append(sets[-1])
            case "end-item":
                sets.pop()
            case "end-sequence":
                sequences.pop()
            case _:
                raise Malformed("length-undefined", f"{event.vr} of undefined length", event.at)
    return sets[0]
