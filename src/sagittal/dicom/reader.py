"""The incremental, bounded reader of data sets: every untrusted byte goes through here first (PS3.5 7, Annex A).

`Reader.feed` takes the data set in any pieces and keeps none of them; `finish` gives the wanted attributes, where the
frames lie and the tolerated defects, while the DICOM JSON object went to the metadata sink. What breaks the structure
raises `Malformed`, what costs too much `LimitExceeded`; which is which, `defects` says. Memory doesn't depend on
declared lengths. Pixels aren't looked at, and values aren't validated beyond being read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sagittal.dicom import charset, frameindex
from sagittal.dicom.elements import ITEM, SEQUENCE_END, STRAY_GROUPS, UNDEFINED
from sagittal.dicom.frameindex import FRAMES, GEOMETRY, PIXELS, Fragments, FrameIndex
from sagittal.dicom.scanning.coding import Coding, Element
from sagittal.dicom.scanning.levels import FRAGMENTS, Level
from sagittal.dicom.scanning.memo import Memo
from sagittal.dicom.scanning.scan import Scanner
from sagittal.dicom.scanning.values import plain_text
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import KiB, ReaderLimits

__all__ = ["Memo", "Parsed", "Reader"]

SPECIFIC_CHARACTER_SET = 0x00080005
PIXEL_REPRESENTATION = 0x00280103
EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00001, 0x7FE00002
TRAILING_PADDING = 0xFFFCFFFC

_TABLES = (EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS)
_BLOCK = 16 * KiB  # copied at once from a buffer that isn't ours
_INFLATE_STEP = 64 * KiB
_NO_MEMO_BYTES = 1 << 20  # for a reader without a memo of its transfers


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one pass over a data set found. Offsets are data set offsets; of the inflated data if it is deflated."""

    size: int  # bytes fed
    values: dict[int, str]  # wanted attributes that are there; "" if empty
    charsets: tuple[str, ...]
    frames: FrameIndex | None
    pixel_data: tuple[int, int] | None  # offset and bytes of the value, items and delimiter included
    defects: tuple[str, ...]
    group_lengths: bool = False  # there are such elements (PS3.5 7.2)
    character_set_assumed: bool = False  # the data set names none that is defined, and was read in the reader's default


class Reader(Scanner):
    """Reads one data set. `metadata` takes the pieces of its DICOM JSON object; None: none is built.
    With `apart`, members that came together in a data set before are a piece of their own, unless there is much text.

    `character_set` are the defined terms (joined by a backslash) for a data set that names none, or one that is not
    defined (PS3.5 6.1.2.3 would have it read in the default repertoire, which loses what it says).
    """

    specials = PIXELS | {*_TABLES, SPECIFIC_CHARACTER_SET, PIXEL_REPRESENTATION, TRAILING_PADDING}

    def __init__(
        self,
        syntax: TransferSyntax,
        *,
        wanted: frozenset[int],
        limits: ReaderLimits,
        memo: Memo | None = None,
        metadata: Callable[[str], None] | None = None,
        apart: bool = False,
        character_set: str = "",
    ) -> None:
        build = metadata is not None
        memo = Memo(_NO_MEMO_BYTES) if memo is None else memo
        self._assumed = charset.parse(character_set)[0] if character_set else ()
        self._group_lengths = False
        self._named = False  # the data set itself names a character set
        key = (wanted, limits, build, self._assumed)
        coding = Coding(memo, key, syntax.implicit, syntax.little_endian, self._assumed)
        super().__init__(coding, wanted | GEOMETRY, limits, build)
        self._asked, self._syntax, self._metadata, self._apart = wanted, syntax, metadata, apart
        self._size = 0
        self._offset = 0  # of what comes next, after inflating
        self._pending = bytearray()  # an incomplete element
        self._inflater = zlib.decompressobj(-15) if syntax.deflated else None
        self._inflated_rest = 0  # bytes after the end of the deflate stream
        self._opened = False
        self._counted = self._characters = 0
        self._pixels: Element | None = None
        self._pixels_end = 0
        self._fragments: Fragments | None = None
        self._main: Level | None = None  # of the pixel data's fragments
        self._tables = {tag: bytearray() for tag in _TABLES}

    # --- bytes

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the data set."""
        self._size += len(data)
        if self._inflater is not None:
            self._inflate(data)
        elif self.skip > len(data) and self.sink is None:
            self.skip -= len(data)
            self._offset += len(data)
        else:
            self._read_on(data)
        if self._offset > self.limits.data_set_bytes_max:
            raise LimitExceeded(f"more than {self.limits.data_set_bytes_max} bytes (data_set_bytes_max)")

    def passes_over(self, count: int) -> bool:
        """Whether the next `count` bytes are of a value that nobody holds, and cost nothing to feed."""
        return self.skip >= count and self.sink is None and self._inflater is None

    def leap(self) -> int:
        """Skip a value that nobody holds, but for its last byte, which has to be fed to show that all of it is there.
        Returns the number of bytes skipped.
        """
        if self.skip < 2 or self.sink is not None or self._inflater is not None:
            return 0
        count, self.skip = self.skip - 1, 1
        self._size += count
        self._offset += count
        return count

    @property
    def pixel_data_at(self) -> int | None:
        """Where the value of Pixel Data begins, as soon as that is known."""
        return None if self._pixels is None else self._pixels.at + self._pixels.head

    def _inflate(self, data: bytes | memoryview) -> None:
        """PS3.5 A.5, in small steps both ways; a byte of padding may follow.

        What comes just before the damage in a stream may be lost with it: the one case where the split of the bytes
        decides which of two defects a refusal names.
        """
        inflater = self._inflater
        assert inflater is not None
        for at in range(0, len(data), _BLOCK):
            rest: bytes | memoryview = data[at : at + _BLOCK]
            ended = inflater.eof
            while rest and not inflater.eof:
                try:
                    out = inflater.decompress(rest, _INFLATE_STEP)
                except zlib.error as failure:
                    raise Malformed("deflate-invalid", f"the data set can't be inflated: {failure}") from None
                rest = inflater.unconsumed_tail
                self._read_on(out)
                self._check_inflated()
            self._inflated_rest += len(rest if ended else inflater.unused_data)

    def _check_inflated(self) -> None:
        """The ratio is judged by what was fed until now."""
        limits = self.limits
        if self._offset > limits.inflate_bytes_max:
            raise LimitExceeded(f"inflates to more than {limits.inflate_bytes_max} bytes (inflate_bytes_max)")
        if self._offset > max(limits.inflate_ratio_free_bytes, limits.inflate_ratio_max * self._size):
            raise LimitExceeded(f"inflates to more than {limits.inflate_ratio_max} times its size (inflate_ratio_max)")

    def _read_on(self, data: bytes | memoryview) -> None:
        pos, size = 0, len(data)
        while pos < size:
            if self.skip:
                here = min(self.skip, size - pos)
                if self.sink is not None:
                    self.sink += data[pos : pos + here]
                self.skip -= here
                self._offset += here
                pos += here
            elif self._pending:
                here = min(self.need - len(self._pending), size - pos)
                self._pending += data[pos : pos + here]
                pos += here
                if len(self._pending) == self.need:
                    block = bytes(self._pending)
                    self._pending.clear()
                    self._advance(block, 0)
            elif isinstance(data, bytes):
                self._advance(data, pos)
                pos = size
            else:
                pos += self._advance_by_block(data, pos)

    def _advance_by_block(self, data: memoryview, pos: int) -> int:
        """Scan a copy of the next block; what is incomplete at its end is left for the next one."""
        block = bytes(data[pos : pos + max(_BLOCK, self.need)])
        done = self.scan(block, self._offset)
        self._offset += done
        if done == len(block) or pos + len(block) < len(data):
            return done
        self._pending += block[done:]
        return len(block)

    def _advance(self, block: bytes, pos: int) -> None:
        """Scan `block` from `pos` to its end; an incomplete element is kept."""
        done = self.scan(block, self._offset - pos, pos)
        self._offset += done - pos
        self._pending += block[done:]

    # --- metadata

    def flush(self, at: int) -> None:
        """Give the text to the sink when it has grown large."""
        self._characters += sum(map(len, self.parts[self._counted :]))
        self._counted = len(self.parts)
        if self._characters >= self.limits.metadata_flush_characters or not self.build:
            self._give()
        self.flush_at = at + self._window

    def _give(self) -> None:
        if self._metadata is not None:
            for piece in self._pieces() if self._apart else ("".join(self.parts),):
                self._metadata(piece if self._opened else "{" + piece)
                self._opened = True
        self.parts.clear()
        self.runs.clear()
        self._counted = self._characters = 0

    def _pieces(self) -> Iterator[str]:
        at = 0
        for run in self.runs:
            yield "".join(self.parts[at:run])
            yield self.parts[run]
            at = run + 1
        yield "".join(self.parts[at:])

    # --- elements that mean something for the object

    def special(self, data: bytes, element: Element) -> int:
        tag, whole, top = element.tag, self.is_held(element), self.level is self.top
        if tag in PIXELS and (element.length == UNDEFINED or (top and element.vr != "SQ")):
            return self._pixel_data(data, element, top and self._pixels is None)
        if element.length == UNDEFINED:
            raise Malformed("length-undefined", f"{element.vr} of undefined length", element.at)
        if not tag & 0xFFFF or tag >> 16 in STRAY_GROUPS or tag == TRAILING_PADDING:
            if tag >> 16 in STRAY_GROUPS:
                self.warn("group-stray")
            self._group_lengths = self._group_lengths or not tag & 0xFFFF
            return self.bulk(data, element, shown=False)
        if element.vr == "SQ":  # whatever its tag says
            return self.open_defined(data, element)
        if tag in self._tables and top:
            return self._offset_table(data, element, whole)
        raw = data[element.value : element.value + element.length] if whole else b""
        if tag == SPECIFIC_CHARACTER_SET and whole:
            return self._character_set(element, raw)
        if tag == PIXEL_REPRESENTATION and raw:
            self.level.coding = self.level.coding.with_signed(raw[0 if self.level.coding.little_endian else -1] == 1)
            return self.value(data, element, remember=not self.level.coding.implicit)
        return self.value(data, element, remember=False)

    def _character_set(self, element: Element, raw: bytes) -> int:
        """(0008,0005), from here to the end of the data set or item. The metadata are Unicode, and say so."""
        text = plain_text("CS", raw)
        terms, defects = charset.parse(text)
        for defect in defects:
            self.warn(defect)
        level = self.level
        if self._assumed and (not terms or "charset-unknown" in defects):
            terms = self._assumed
        elif level is self.top:
            self._named = True
        if level.coding.charsets != terms:
            level.coding = level.coding.with_charsets(terms)
        if level is self.top:
            self.values[element.tag] = text
        if self.build:
            value = ',"Value":["ISO_IR 192"]' if raw else ""
            self.emit(f',"00080005":{{"vr":"CS"{value}}}')
        return element.value + element.length

    def _offset_table(self, data: bytes, element: Element, whole: bool) -> int:
        """Extended Offset Table and its lengths (PS3.3 C.7.6.3.1.8)."""
        if element.length > 8 * self.limits.frames_max:
            raise LimitExceeded(f"an offset table for more than {self.limits.frames_max} frames (frames_max)")
        table = self._tables[element.tag]
        table.clear()
        if not whole:
            return self.bulk(data, element, table)
        table += data[element.value : element.value + element.length]
        return self.value(data, element, remember=False)

    def _pixel_data(self, data: bytes, element: Element, first: bool) -> int:
        if first:
            self._pixels = element
            self._pixels_end = element.at + element.head + element.length
        if element.length != UNDEFINED:
            return self.bulk(data, element)
        self.emit_bulk(element._replace(vr="OB"))
        self.open(FRAGMENTS, element.tag, self.level.limit, False, self.level.coding)
        if first:
            self._fragments, self._main = Fragments(), self.level
        return element.value

    def fragment(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """One item of encapsulated data: the Basic Offset Table, a fragment, or the delimiter (PS3.5 A.4)."""
        at, there = base + pos, len(data) - pos
        if level.limit - at < 8:
            raise self.over_long(at)
        if there < 8:
            self.need = 8
            return pos
        tag, length = level.coding.item(data, pos)
        seen = self._fragments if level is self._main else None
        if tag == SEQUENCE_END:
            self.check_delimiter(length)
            self._leave(seen, at + 8)
            return pos + 8
        if tag != ITEM or length == UNDEFINED:
            raise Malformed("item-expected", "no fragment where encapsulated data has its next", at)
        if at + 8 + length > level.limit:
            raise self.over_long(at)
        if level.items and there < 8 + min(length, 4):
            self.need = 8 + min(length, 4)
            return pos
        if length & 1:
            self.warn("odd-length")
        level.items += 1
        sink = self._note_fragment(seen, at, length, data[pos + 8 : pos + 12], level) if seen is not None else None
        return self.pass_over(data, pos + 8, length, sink)

    def _note_fragment(self, seen: Fragments, at: int, length: int, begin: bytes, level: Level) -> bytearray | None:
        frames_max = self.limits.frames_max
        if length > 4 * frames_max if level.items == 1 else len(seen.lengths) >= frames_max:
            raise LimitExceeded(f"more than {frames_max} frames or fragments (frames_max)")
        if level.items == 1:
            seen.offset = at + 8 + length + 8
            return seen.basic
        seen.add(length, begin[:length])
        return None

    def _leave(self, seen: Fragments | None, end: int) -> None:
        if seen is not None:
            self._pixels_end = end
        self.close(end)

    # --- the end

    def finish(self) -> Parsed:
        """The data set has ended."""
        self._end()
        self.parts.append("}")
        if self._metadata is not None:
            self._give()
        frames, pixels = self._frame_index(), self._pixels
        extent = None
        if pixels is not None:
            begin = pixels.at + pixels.head
            extent = (begin, self._pixels_end - begin)
        values = {tag: text for tag, text in self.values.items() if tag in self._asked}
        assumed = bool(self._assumed) and not self._named
        charsets, defects = self.top.coding.charsets, tuple(self.defects)
        return Parsed(self._size, values, charsets, frames, extent, defects, self._group_lengths, assumed)

    def _end(self) -> None:
        """Check that everything that began has ended."""
        truncated = self._inflater is not None and not self._inflater.eof
        padded = self.level is self.top and not self._pending.strip(b"\0")
        if self.skip or truncated or (self._pending and not padded):
            raise Malformed("truncated", "the data set ends inside an element", self._offset)
        self.scan(b"", self._offset)
        if self._pending or self._inflated_rest > 1:
            self.warn("trailing-padding")
        if self._fragments is not None and self.level is self._main:
            self.warn("pixel-data-delimiter-missing")
            self._leave(self._fragments, self._offset)
        if self.stack:
            raise Malformed("truncated", "the data set ends inside a sequence", self._offset)

    def _frame_index(self) -> FrameIndex | None:
        """Where the frames lie. The geometry is checked in any case."""
        pixels, layout = self._pixels, self._syntax.frames
        if pixels is None:
            return None
        frames = frameindex.number_of_frames(self.values.get(FRAMES), self.warn)
        encapsulated = self._fragments is not None
        if encapsulated != self._syntax.encapsulated:
            self.warn("pixel-data-encapsulated" if encapsulated else "pixel-data-not-encapsulated")
            return None
        if self._fragments is not None:
            if layout in ("stream", "none"):
                return None
            tables = bytes(self._tables[_TABLES[0]]), bytes(self._tables[_TABLES[1]])
            return frameindex.fragments(self._fragments, frames, tables, self.warn)
        bits = frameindex.bits_of_frame(self.values, pixels.tag, pixels.length, frames)
        if not bits:
            self.warn("pixel-geometry-missing")
        index = frameindex.native(pixels.at + pixels.head, pixels.length, bits, frames, self.warn)
        return index if layout == "native" else None
