"""Nesting while a data set is scanned: the stack of sequences and items, the JSON that opens and closes them, limits.

What is emitted goes to `parts`, piece by piece, as members of the DICOM JSON object; a piece begins with a comma unless
it is the first of its object. A sequence that is met whole can be captured on its way, for the memo. Nothing here reads
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sagittal.dicom.scanning.coding import Coding, Element
from sagittal.dicom.scanning.memo import UNDEFINED_KEY, Extra, Table
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

ELEMENTS, ITEMS, FRAGMENTS, PADDING = range(4)
NO_LIMIT = 1 << 62
_REMEMBER_MAX = 4_000  # entries that one data set may add to the memo, so that 200,000 items don't wash out all else


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


@dataclass(slots=True)
class Capture:
    """A sequence on its way into the memo: all of it is in `block`, from `pos`."""

    level: Level  # of its items
    table: Table
    block: bytes
    pos: int
    head: int
    at: int  # offset of `pos`
    mark: int  # parts before it
    elements: int
    depth: int
    deepest: int
    defects: set[str] = field(default_factory=set)


class Levels:
    """Where a scan is, and what it found so far."""

    def __init__(self, coding: Coding, limits: ReaderLimits, build: bool) -> None:
        self.limits, self.build = limits, build
        self.values: dict[int, str] = {}
        self.defects: dict[str, None] = {}
        self.parts: list[str] = []
        self.runs: list[int] = []  # which of them are runs of members of the data set itself
        self.level = self.top = Level(ELEMENTS, 0, NO_LIMIT, True, coding)
        self.stack: list[Level] = []
        self.depth = 0  # sequences
        self.elements = 0
        self.capture: Capture | None = None
        self.remember_left = _REMEMBER_MAX

    def warn(self, defect: str) -> None:
        """Note a defect that is tolerated."""
        self.defects[defect] = None
        if self.capture is not None:
            self.capture.defects.add(defect)

    def take(self, tag: int, extra: Extra) -> None:
        """What a remembered element needs besides its JSON."""
        if extra.text is not None and self.level is self.top:
            self.values[tag] = extra.text
        for defect in extra.defects:
            self.warn(defect)
        self.elements += extra.elements
        if extra.depth:
            self.deepen(extra.depth)

    def emit(self, part: str) -> None:
        """Append a member that begins with a comma; the first of an object goes without."""
        if part and self.level.first:
            self.level.first = False
            part = part[1:]
        self.parts.append(part)

    def emit_bulk(self, element: Element, query: str = "") -> None:
        """Append a member that says where the value is."""
        self.capture = None  # it holds an offset
        if self.build:
            levels = (*self.stack, self.level)
            path = "".join(f"{level.tag:08X}/{level.items}/" for level in levels if level.kind == ITEMS)
            self.emit(f',"{element.tag:08X}":{{"vr":"{element.vr}","BulkDataURI":"{path}{element.tag:08X}{query}"}}')

    def deepen(self, more: int) -> None:
        """Check that `more` sequences in each other may follow."""
        depth = self.depth + more
        if depth > self.limits.depth_max:
            raise LimitExceeded(f"sequences are nested deeper than {self.limits.depth_max} (depth_max)")
        if self.capture is not None and depth > self.capture.deepest:
            self.capture.deepest = depth

    def open(self, kind: int, tag: int, limit: int, defined: bool, coding: Coding) -> None:
        """Go into a sequence (ITEMS) or encapsulated data (FRAGMENTS)."""
        if kind == ITEMS:
            self.deepen(1)
            self.depth += 1
            self.emit(f',"{tag:08X}":{{"vr":"SQ"' if self.build else "")
        self.stack.append(self.level)
        self.level = Level(kind, tag, limit, defined, coding)

    def open_item(self, limit: int, defined: bool) -> None:
        """Go into the next item of the sequence."""
        level = self.level
        level.items += 1
        if self.build:
            self.parts.append(",{" if level.items > 1 else ',"Value":[{')
        self.stack.append(level)
        self.level = Level(ELEMENTS, 0, limit, defined, level.coding)

    def open_captured(self, element: Element, data: bytes, limit: int, defined: bool, coding: Coding) -> None:
        """As `open` for a sequence that may be all in `data`, where its head is."""
        if self.capture is not None or self.remember_left <= 0:
            self.open(ITEMS, element.tag, limit, defined, coding)
            return
        mark, elements, depth, table = len(self.parts), self.elements, self.depth, self.level.coding.table
        self.open(ITEMS, element.tag, limit, defined, coding)
        begin = element.value - element.head
        self.capture = Capture(
            self.level, table, data, begin, element.head, element.at, mark, elements, depth, depth + 1
        )
        if element.defect:  # told of this one already; of those that the memo knows it has to be told as well
            self.capture.defects.add(element.defect)
        if defined and element.length & 1:
            self.capture.defects.add("odd-length")

    def close(self, end: int) -> None:
        """Leave the level at offset `end`: of an item, a sequence or encapsulated data."""
        level = self.level
        self.level = self.stack.pop()
        if level.kind == ITEMS:
            self.depth -= 1
            if self.build:
                self.parts.append("]}" if level.items else "}")
            if self.capture is not None and self.capture.level is level:
                self._remember(self.capture, end)
        elif level.kind == ELEMENTS and self.build:
            self.parts.append("}")

    def close_at_limit(self, level: Level) -> None:
        if not level.defined:
            text = "a sequence or item of undefined length isn't ended where the one around it is"
            raise Malformed("delimiter-missing", text, level.limit)
        self.close(level.limit)

    def _remember(self, capture: Capture, end: int) -> None:
        """Put the sequence that ends here into the memo."""
        self.capture = None
        self.remember_left -= 1
        part = "".join(self.parts[capture.mark :])
        if self.build and part[0] != ",":
            part = "," + part
        raw = capture.block[capture.pos : capture.pos + end - capture.at]
        elements, depth = self.elements - capture.elements, capture.deepest - capture.depth
        entry = (capture.level.tag, part, Extra(None, tuple(capture.defects), elements, depth))
        if capture.level.defined:
            capture.table.add(raw, entry, long=capture.head == 12)
        else:
            capture.table.add_run(raw[:UNDEFINED_KEY], raw, [entry])

    def over_long(self, at: int) -> Malformed:
        return Malformed("length-over-long", "an element or item is longer than what it is in", at)
