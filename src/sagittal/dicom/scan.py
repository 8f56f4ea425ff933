"""The engine of the reader: elements, sequences and items (PS3.5 7.1, 7.5), iteratively, out of one block at a time.

`Scanner.scan` goes as far as the block allows and then says what it lacks: `need` bytes from the place where it stopped, or `skip`
bytes of a value that nobody holds (copied to `sink` if that is set). It appends the members of the DICOM JSON object to `parts`.
Nesting is a stack of `Level`s. What elements mean for the object (pixel data, character sets) is the reader's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sagittal.dicom.coding import UNDEFINED, Coding, is_mismatch, meant_vr
from sagittal.dicom.memo import Entry, Extra, Table
from sagittal.dicom.values import BINARY_VRS, members, plain_text
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
ELEMENTS, ITEMS, FRAGMENTS, PADDING = range(4)
NO_LIMIT = 1 << 62
_ZEROS = bytes(8)


class Level:
    """One level of nesting: the data set or an item (ELEMENTS), a sequence (ITEMS), encapsulated data (FRAGMENTS)."""

    __slots__ = ("coding", "defined", "first", "items", "kind", "last", "limit", "tag")

    def __init__(self, kind: int, tag: int, limit: int, defined: bool, coding: Coding) -> None:
        self.kind, self.tag, self.coding = kind, tag, coding
        self.limit = limit  # the offset that nothing inside may cross
        self.defined = defined  # ends at the limit, else at a delimiter
        self.items = 0
        self.last = -1  # tag of the last element
        self.first = True  # nothing was emitted yet


class Element(NamedTuple):
    """The head of an element at `at` (offset in the data set), and the place of its value in the block."""

    at: int
    tag: int
    vr: str
    length: int
    head: int  # bytes of the head
    value: int
    defect: str  # of the head


@dataclass(slots=True)
class Capture:
    """A short sequence on its way into the memo."""

    level: Level  # of its items
    table: Table
    raw: bytes
    mark: int  # parts before it
    elements: int
    depth: int
    deepest: int
    defects: set[str] = field(default_factory=set)
    spoiled: bool = False  # it holds offsets


class Scanner:
    """Scans one data set. The reader supplies `special`, `fragment` and `flush`."""

    specials: frozenset[int] = frozenset()  # tags for `special`, at any level

    def __init__(self, coding: Coding, wanted: frozenset[int], limits: ReaderLimits, build: bool) -> None:
        self.wanted, self.limits, self.build = wanted, limits, build
        self.values: dict[int, str] = {}
        self.defects: dict[str, None] = {}
        self.parts: list[str] = []
        self.level = self.top = Level(ELEMENTS, 0, NO_LIMIT, True, coding)
        self.stack: list[Level] = []
        self.depth = 0
        self.elements = 0
        self.need = 0
        self.skip = 0
        self.sink: bytearray | None = None
        self._capture: Capture | None = None
        self._window = max(limits.metadata_flush_characters // 10, 1)  # the text is at most some ten times the bytes
        self.flush_at = self._window  # offset at which `flush` is due
        self._whole_max = limits.sequence_whole_bytes_max
        self._text_max = min(limits.value_text_bytes_max, limits.value_held_bytes_max)
        self._binary_max = min(limits.value_binary_bytes_max, limits.value_held_bytes_max)

    def special(self, data: bytes, element: Element) -> int:
        raise NotImplementedError

    def fragment(self, data: bytes, pos: int, base: int, level: Level) -> int:
        raise NotImplementedError

    def flush(self, at: int) -> None:
        raise NotImplementedError

    def warn(self, defect: str) -> None:
        self.defects[defect] = None
        if self._capture is not None:
            self._capture.defects.add(defect)

    def scan(self, data: bytes, base: int, pos: int = 0) -> int:
        """Scan `data`, whose first byte has the offset `base`, from `pos`; returns the place it came to."""
        self.need = self.skip = 0
        while True:
            level = self.level
            if base + pos >= level.limit:
                self._close_at_limit(level)
                continue
            if pos >= len(data):
                return pos
            if level.kind == ELEMENTS:
                pos = self._elements(data, pos, base, level)
            elif level.kind == ITEMS:
                pos = self._item(data, pos, base, level)
            elif level.kind == FRAGMENTS:
                pos = self.fragment(data, pos, base, level)
            else:
                pos = self._padding(data, pos, base)
            if self.elements > self.limits.elements_max:
                raise LimitExceeded(f"more than {self.limits.elements_max} elements (elements_max)")
            if base + pos >= self.flush_at and self._capture is None:
                self.flush(base + pos)
            if self.need or self.skip:
                return pos

    def _elements(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """THE HOT LOOP: elements that were met before, by their bytes; all others by `_element`."""
        coding, hard, parts = level.coding, level.limit - base, self.parts
        total_of, known, append = coding.table.heads.get, coding.table.young.get, parts.append
        stop = min(len(data), hard, pos + self._window)
        first, last, before = level.first, level.last, len(parts)
        while pos < stop:
            total = total_of(data[pos : pos + 8], -1)
            if total == 0:
                total = 12 + coding.long_length(data, pos)
            entry = known(data[pos : pos + total]) if 0 < total <= self._whole_max else None
            if entry is not None and entry[0] > last and pos + total <= hard:
                last, part, extra = entry
                pos += total
                if extra is not None:
                    self._take(last, extra)
                if first:
                    part = part[1:]
                    first = False
                append(part)
                continue
            level.first, level.last = first, last
            self.elements += len(parts) - before
            pos = self._element(data, pos, base, level)
            if self.level is not level or level.kind == PADDING or self.need or self.skip:
                return pos
            known = coding.table.young.get
            first, last, before = level.first, level.last, len(parts)
            if level.coding is not coding:
                return pos
        level.first, level.last = first, last
        self.elements += len(parts) - before
        return pos

    def _take(self, tag: int, extra: Extra) -> None:
        """What a remembered element needs besides its JSON."""
        if extra.text is not None and self.level is self.top:
            self.values[tag] = extra.text
        for defect in extra.defects:
            self.warn(defect)
        self.elements += extra.elements
        if extra.depth:
            self._deepen(extra.depth)

    def _element(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """One element of any kind; returns the place after it, or `pos` with `need` set."""
        at = base + pos
        if level.limit - at < 8:
            raise self.over_long(at)
        if len(data) - pos < 8:
            self.need = 8
            return pos
        tag, vr, length, head, defect = level.coding.head(data, pos)
        if not vr:
            return self._delimiter(data, pos, base, level)
        if tag == 0 and not length and not self.depth and data[pos : pos + 8] == _ZEROS:
            level.kind = PADDING
            return pos
        if len(data) - pos < head:
            if level.limit - at < head:
                raise self.over_long(at)
            self.need = head
            return pos
        element = Element(at, tag, vr, length, head, pos + head, defect)
        if length != UNDEFINED and at + head + length > level.limit:
            raise self.over_long(at)
        if self.is_held(element) and len(data) - pos < head + length:
            self.need = head + length
            return pos
        self._in_order(tag, level)
        self.elements += 1
        if tag in self.specials or not tag & 0xFFFF or tag < 0x00030000:
            return self.special(data, element)
        if length == UNDEFINED:
            return self.open_undefined(element, level)
        if vr == "SQ":
            return self._open_defined(data, element, level)
        return self.value(data, element)

    def value(self, data: bytes, element: Element) -> int:
        """A value that is no sequence, of defined length."""
        if not self.is_held(element):
            return self.bulk(data, element)
        coding, end = self.level.coding, element.value + element.length
        raw = data[element.value - element.head : end]
        entry = coding.table.again(raw) or self._read(element, raw, coding)
        if entry[2] is not None:
            self._take(element.tag, entry[2])
        self.emit(entry[1])
        return end

    def is_held(self, element: Element) -> bool:
        """Whether the element is looked at only when all its bytes are there."""
        if element.length == UNDEFINED:
            return False
        if element.vr == "SQ":
            return element.head + element.length <= self._whole_max
        return element.length <= (self._binary_max if element.vr in BINARY_VRS else self._text_max)

    def _in_order(self, tag: int, level: Level) -> None:
        """PS3.5 7.1: ascending, each once. The last of several counts, as for every reader of the JSON text."""
        if tag <= level.last:
            self.warn("element-duplicate" if tag == level.last else "tag-order")
        level.last = tag

    def _read(self, element: Element, raw: bytes, coding: Coding) -> Entry:
        """Read a value that is no sequence, and remember it."""
        tag, vr, length = element.tag, element.vr, element.length
        little, value = coding.little_endian, raw[element.head :]
        defects = [element.defect] if element.defect else []
        if length & 1:
            defects.append("odd-length")
        if is_mismatch(tag, vr):
            defects.append("vr-mismatch")
        if vr == "UN" and (meant := meant_vr(tag, vr, coding.signed)) != vr:
            vr, little = meant, True  # PS3.5 6.2.2: the value is as in Implicit VR Little Endian
        json = ""
        if self.build:
            json, found = members(vr, value, coding.charsets, little)
            json = f',"{tag:08X}":{{"vr":"{vr}"{json}}}'
            if found:
                defects.append(found)
        text = plain_text(vr, value, coding.charsets, little) if tag in self.wanted else None
        extra = Extra(text, tuple(defects), 0, 0) if defects or text is not None else None
        entry = (tag, json, extra)
        if len(raw) <= self._whole_max:
            coding.table.add(raw, entry, long=element.head == 12)
        return entry

    def emit(self, part: str) -> None:
        """Append a member that begins with a comma; the first of an object goes without."""
        if part and self.level.first:
            self.level.first = False
            part = part[1:]
        self.parts.append(part)

    def bulk(self, data: bytes, element: Element, sink: bytearray | None = None, shown: bool = True) -> int:
        """Pass a value that isn't held. `shown`: as BulkDataURI in the metadata."""
        if element.length & 1:
            self.warn("odd-length")
        if element.defect:
            self.warn(element.defect)
        if element.tag in self.wanted and not self.depth:
            self.warn("value-too-long")
        if shown:
            self.emit_bulk(element, f"?offset={element.at + element.head}&length={element.length}")
        return self.pass_over(data, element.value, element.length, sink)

    def emit_bulk(self, element: Element, query: str = "") -> None:
        if self._capture is not None:
            self._capture.spoiled = True
        if self.build:
            path = "".join(
                f"{level.tag:08X}/{level.items}/" for level in (*self.stack, self.level) if level.kind == ITEMS
            )
            self.emit(f',"{element.tag:08X}":{{"vr":"{element.vr}","BulkDataURI":"{path}{element.tag:08X}{query}"}}')

    def pass_over(self, data: bytes, pos: int, length: int, sink: bytearray | None = None) -> int:
        """Leave `length` bytes from `pos` unread; those that aren't there yet are the caller's to skip."""
        here = min(length, len(data) - pos)
        if sink is not None:
            sink += data[pos : pos + here]
        self.skip, self.sink = length - here, sink
        return pos + here

    def _open_defined(self, data: bytes, element: Element, level: Level) -> int:
        tag, begin = element.tag, element.value - element.head
        end = element.at + element.head + element.length
        if element.head + element.length > self._whole_max:
            self.open(ITEMS, tag, end, True, level.coding)
            return element.value
        raw = data[begin : begin + element.head + element.length]
        table = level.coding.table
        entry = table.again(raw)
        if entry is not None and entry[2] is not None:
            self._take(tag, entry[2])
            self.emit(entry[1])
            return begin + len(raw)
        mark, depth = len(self.parts), self.depth
        if self._capture is None:
            elements = self.elements
            self.open(ITEMS, tag, end, True, level.coding)
            self._capture = Capture(self.level, table, raw, mark, elements, depth, depth + 1)
        else:
            self.open(ITEMS, tag, end, True, level.coding)
        if element.length & 1:
            self.warn("odd-length")
        return element.value

    def open_undefined(self, element: Element, level: Level) -> int:
        """Sequences; UN (PS3.5 6.2.2); OB, OW and the like: encapsulated (an icon's pixel data, for one)."""
        coding = level.coding
        if element.vr == "SQ" or coding.implicit:
            self.open(ITEMS, element.tag, level.limit, False, coding)
        elif element.vr == "UN":
            self.open(ITEMS, element.tag, level.limit, False, coding.as_implicit())
        elif element.vr in BINARY_VRS:
            self.emit_bulk(element)
            self.open(FRAGMENTS, element.tag, level.limit, False, coding)
        else:
            raise Malformed("length-undefined", f"{element.vr} of undefined length", element.at)
        return element.value

    def open(self, kind: int, tag: int, limit: int, defined: bool, coding: Coding) -> None:
        """Go one sequence deeper, or into encapsulated data."""
        if kind == ITEMS:
            self._deepen(1)
            self.depth += 1
            self.emit(f',"{tag:08X}":{{"vr":"SQ"' if self.build else "")
        self.stack.append(self.level)
        self.level = Level(kind, tag, limit, defined, coding)

    def _deepen(self, more: int) -> None:
        depth = self.depth + more
        if depth > self.limits.depth_max:
            raise LimitExceeded(f"sequences are nested deeper than {self.limits.depth_max} (depth_max)")
        if self._capture is not None and depth > self._capture.deepest:
            self._capture.deepest = depth

    def _item(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """An item or the delimiter of the sequence `level`."""
        at = base + pos
        if level.limit - at < 8:
            raise self.over_long(at)
        if len(data) - pos < 8:
            self.need = 8
            return pos
        tag, length = level.coding.item(data, pos)
        if tag == SEQUENCE_END:
            self.check_delimiter(length)
            if level.defined:
                self.warn("delimiter-stray")
            else:
                self.close()
            return pos + 8
        if tag != ITEM:
            defect = "item-expected" if level.defined else "delimiter-missing"
            raise Malformed(defect, f"({tag >> 16:04X},{tag & 0xFFFF:04X}) where a sequence has its next item", at)
        limit = level.limit if length == UNDEFINED else at + 8 + length
        if limit > level.limit:
            raise self.over_long(at)
        level.items += 1
        if self.build:
            self.parts.append(",{" if level.items > 1 else ',"Value":[{')
        self.stack.append(level)
        self.level = Level(ELEMENTS, 0, limit, length != UNDEFINED, level.coding)
        return pos + 8

    def _delimiter(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """(FFFE,xxxx) where an element should be."""
        tag, length = level.coding.item(data, pos)
        if tag not in (ITEM_END, SEQUENCE_END):
            raise Malformed("item-stray", f"({tag >> 16:04X},{tag & 0xFFFF:04X}) outside a sequence", base + pos)
        self.check_delimiter(length)
        if level.defined:
            self.warn("delimiter-stray")
        elif tag == ITEM_END:
            self.close()
        else:
            raise Malformed("delimiter-missing", "a sequence ends inside its item", base + pos)
        return pos + 8

    def check_delimiter(self, length: int) -> None:
        if length:
            self.warn("delimiter-length")

    def _close_at_limit(self, level: Level) -> None:
        if not level.defined:
            text = "a sequence or item of undefined length isn't ended where the one around it is"
            raise Malformed("delimiter-missing", text, level.limit)
        self.close()

    def close(self) -> None:
        """Leave the level: the end of an item, a sequence or encapsulated data."""
        level = self.level
        self.level = self.stack.pop()
        if level.kind == ITEMS:
            self.depth -= 1
            if self.build:
                self.parts.append("]}" if level.items else "}")
            if self._capture is not None and self._capture.level is level:
                self._remember(self._capture)
        elif level.kind == ELEMENTS and self.build:
            self.parts.append("}")

    def _remember(self, capture: Capture) -> None:
        """Put the short sequence that ends here into the memo."""
        self._capture = None
        if capture.spoiled:
            return
        part = "".join(self.parts[capture.mark :])
        if self.build and part[0] != ",":
            part = "," + part
        extra = Extra(None, tuple(capture.defects), self.elements - capture.elements, capture.deepest - capture.depth)
        head = 8 if self.level.coding.implicit else 12
        capture.table.add(capture.raw, (capture.level.tag, part, extra), long=head == 12)

    def _padding(self, data: bytes, pos: int, base: int) -> int:
        """Zeros after the last element, to the end."""
        rest = data[pos:].lstrip(b"\0")
        if rest:
            raise Malformed("padding-not-zero", "the data set goes on after zeros", base + len(data) - len(rest))
        self.warn("trailing-padding")
        return len(data)

    def over_long(self, at: int) -> Malformed:
        return Malformed("length-over-long", "an element or item is longer than what it is in", at)
