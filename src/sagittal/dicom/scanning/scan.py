"""The loop of the reader: elements, sequences and items (PS3.5 7.1, 7.5), iteratively, out of one block at a time.

`Scanner.scan` goes as far as the block allows and then says what it lacks: `need` bytes from the place where it
stopped, or `skip` bytes of a value that nobody holds (copied to `sink` if that is set). The outcome doesn't depend on
where blocks end. What elements mean for the object (pixel data, character sets) is the reader's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from sagittal.dicom.dictionary import tag_text
from sagittal.dicom.elements import BINARY_VRS, ITEM, ITEM_END, SEQUENCE_END, STRAY_GROUPS, UNDEFINED
from sagittal.dicom.scanning.coding import Coding, Element
from sagittal.dicom.scanning.levels import ELEMENTS, FRAGMENTS, ITEMS, PADDING, Level, Levels
from sagittal.dicom.scanning.memo import UNDEFINED_KEY, Entry, Run, Table
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

_ZEROS = bytes(8)
_RUN_ELEMENTS_MIN = 3


class Scanner(Levels, ABC):
    """Scans one data set. The reader supplies `special`, `fragment` and `flush`."""

    specials: frozenset[int] = frozenset()  # tags for `special`, at any level, besides STRAY_GROUPS and lengths

    def __init__(self, coding: Coding, wanted: frozenset[int], limits: ReaderLimits, build: bool) -> None:
        super().__init__(coding, limits, build)
        self.wanted = wanted
        self.need = 0
        self.skip = 0
        self.sink: bytearray | None = None
        self._window = max(limits.metadata_flush_characters // 10, 1)  # the text is at most some ten times the bytes
        self.flush_at = self._window  # offset at which `flush` is due
        self._whole_max = limits.sequence_whole_bytes_max
        self._text_max = min(limits.value_text_bytes_max, limits.value_held_bytes_max)
        self._binary_max = min(limits.value_binary_bytes_max, limits.value_held_bytes_max)
        self._plain_max = min(self._text_max, self._binary_max, self._whole_max - 8)

    @abstractmethod
    def special(self, data: bytes, element: Element) -> int:
        """Handle an element of `specials`; returns the place after it."""

    @abstractmethod
    def fragment(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """Handle one item of encapsulated data."""

    @abstractmethod
    def flush(self, at: int) -> None:
        """Take `parts` away if they are large; set `flush_at`."""

    def scan(self, data: bytes, base: int, pos: int = 0) -> int:
        """Scan `data`, whose first byte has the offset `base`, from `pos`; returns the place it came to."""
        self.need = self.skip = 0
        while True:
            level, at = self.level, base + pos
            if at >= level.limit:
                self.close_at_limit(level)
                continue
            if pos >= len(data):
                break
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
            if self.need or self.skip:
                break
            if base + pos >= self.flush_at:
                if self.capture is not None and base + pos - self.capture.at > self._window:
                    self.capture = None
                if self.capture is None:
                    self.flush(base + pos)
        self.capture = None  # what goes on in another block isn't captured
        return pos

    def _elements(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """Elements of the data set or of an item: known ones, new plain ones, and all others by `_element`."""
        coding, stop = level.coding, min(len(data), level.limit - base, pos + self._window)
        while True:
            pos = self._known(data, pos, stop, level.limit - base, level)
            if pos >= stop:
                return pos
            begin = pos
            pos = self._fresh(data, pos, stop, level.limit - base, level)
            if pos == begin:
                pos = self._element(data, pos, base, level)
                if self.level is not level or level.coding is not coding or self.need or self.skip:
                    return pos
                if level.kind == PADDING:
                    return pos

    def _known(self, data: bytes, pos: int, stop: int, hard: int, level: Level) -> int:
        """THE HOT LOOP: what was met before, by its bytes. Stops at the first thing that wasn't."""
        coding, whole, parts = level.coding, self._whole_max, self.parts
        table = coding.table
        total_of, known, runs = table.heads.get, table.young.get, table.runs
        last, mark, begin, start = level.last, len(parts), pos, b""
        streak: list[Entry] = []  # met one by one, from `begin`
        while pos < stop:
            total = total_of(data[pos : pos + 8])
            if total is None:
                break
            if total == 0:
                total = 12 + coding.long_length(data, pos)
            key = data[pos : pos + (total if total <= whole else UNDEFINED_KEY)]
            entry = known(key)
            run = _match(runs[key], data, pos, last, hard) if key in runs else None
            if run is not None and run.entry is not None:
                entry, total = run.entry, run.size
            elif key in runs:
                streak = self._learn(table, start, data[begin:pos], streak)
                if run is not None:
                    last, pos = self._take_run(run, level), pos + run.size
                    continue
            if entry is None or entry[0] <= last or pos + total > hard:
                break
            last, part, extra = entry
            if extra is not None:
                self.take(last, extra)
            if not streak:
                start, begin = key, pos
            parts.append(part)
            streak.append(entry)
            pos += total
        level.last = last
        if streak:
            self._learn(table, start, data[begin:pos], streak)
        if level.first:
            self._settle(level, mark)
        return pos

    def _fresh(self, data: bytes, pos: int, stop: int, hard: int, level: Level) -> int:
        """New elements that need nothing but reading: the short way. Stops at the first that may need more."""
        coding, table, last, end = level.coding, level.coding.table, level.last, min(len(data), hard)
        begin, mark, wanted, count, plain = pos, len(self.parts), self.wanted, 0, coding.plain
        while pos < stop and pos + 8 <= end:
            tag, vr, length = plain(data, pos)
            after = pos + 8 + length
            if not vr or tag <= last or length > self._plain_max or after > end or tag in self.specials:
                break
            raw = data[pos:after]
            if raw in table.young or raw in table.old:
                break
            entry = coding.read(tag, vr, raw, 8, tag in wanted, self.build)
            if entry[2] is not None:
                self.take(tag, entry[2])
            if count < self.remember_left:
                table.add(raw, entry, False)
            self.parts.append(entry[1])
            count, last, pos = count + 1, tag, after
        level.last = last
        self.elements += count
        self.remember_left -= count
        if level.first and pos > begin:
            self._settle(level, mark)
        return pos

    def _settle(self, level: Level, mark: int) -> None:
        """Members were emitted from `mark`; the first of an object has no comma before it."""
        if level.first and len(self.parts) > mark:
            level.first = False
            self.parts[mark] = self.parts[mark][1:]

    def _learn(self, table: Table, key: bytes, raw: bytes, streak: list[Entry]) -> list[Entry]:
        """Count the elements of `raw`, which were met one by one, and remember them as a run; a new streak."""
        self.elements += len(streak)
        if len(streak) >= _RUN_ELEMENTS_MIN and self.remember_left > 0:
            self.remember_left -= 1
            table.add_run(key, raw, streak)
        return []

    def _take_run(self, run: Run, level: Level) -> int:
        """Take all that a run came to; its last tag."""
        if level is self.top:
            self.runs.append(len(self.parts))
            self.values.update(run.texts)
        self.parts.append(run.part)
        self.elements += run.elements
        for defect in run.defects:
            self.warn(defect)
        if run.depth:
            self.deepen(run.depth)
        return run.last

    def _element(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """One element of any kind; returns the place after it, or `pos` with `need` set."""
        at, there = base + pos, len(data) - pos
        if level.limit - at < 8:
            raise self.over_long(at)
        if there < 8:
            self.need = 8
            return pos
        element = level.coding.element(data, pos, at)
        tag, vr, length, head = element[1:5]
        if not vr:
            return self._delimiter(data, pos, base, level)
        if tag == 0 and level is self.top and data[pos : pos + 8] == _ZEROS:
            level.kind = PADDING
            return pos
        if level.limit - at < head:
            raise self.over_long(at)
        if there < head:
            self.need = head
            return pos
        if length != UNDEFINED and at + head + length > level.limit:
            raise self.over_long(at)
        if there < head + length and self.is_held(element):
            self.need = head + length
            return pos
        if tag <= level.last:  # PS3.5 7.1; of several, the last one counts, as for every reader of JSON
            self.warn("element-duplicate" if tag == level.last else "tag-order")
        level.last = tag
        self.elements += 1
        if tag in self.specials or not tag & 0xFFFF or tag >> 16 in STRAY_GROUPS:
            return self.special(data, element)
        if length == UNDEFINED:
            return self.open_undefined(data, element)
        if vr == "SQ":
            return self.open_defined(data, element)
        return self.value(data, element)

    def is_held(self, element: Element) -> bool:
        """Whether the element is looked at only when all its bytes are there."""
        if element.length == UNDEFINED:
            return False
        if element.vr == "SQ":
            return element.head + element.length <= self._whole_max
        return element.length <= (self._binary_max if element.vr in BINARY_VRS else self._text_max)

    def value(self, data: bytes, element: Element, remember: bool = True) -> int:
        """A value that is no sequence, of defined length."""
        if not self.is_held(element):
            return self.bulk(data, element)
        coding, tag, head, end = self.level.coding, element.tag, element.head, element.value + element.length
        raw = data[element.value - head : end]
        entry = coding.table.again(raw)
        if entry is None:
            entry = coding.read(tag, element.vr, raw, head, tag in self.wanted, self.build, element.defect)
            if remember and len(raw) <= self._whole_max and self.remember_left > 0:
                self.remember_left -= 1
                coding.table.add(raw, entry, head == 12)
        if entry[2] is not None:
            self.take(tag, entry[2])
        self.emit(entry[1])
        return end

    def bulk(self, data: bytes, element: Element, sink: bytearray | None = None, shown: bool = True) -> int:
        """Pass a value that isn't held. `shown`: as BulkDataURI in the metadata."""
        if element.length & 1:
            self.warn("odd-length")
        if element.defect:
            self.warn(element.defect)
        if element.tag in self.wanted and self.level is self.top:
            self.warn("value-too-long")
        if shown:
            self.emit_bulk(element, f"?offset={element.at + element.head}&length={element.length}")
        return self.pass_over(data, element.value, element.length, sink)

    def pass_over(self, data: bytes, pos: int, length: int, sink: bytearray | None = None) -> int:
        """Leave `length` bytes from `pos` unread; those that aren't there yet are the caller's to skip."""
        here = min(length, len(data) - pos)
        if sink is not None:
            sink += data[pos : pos + here]
        self.skip, self.sink = length - here, sink
        return pos + here

    def open_defined(self, data: bytes, element: Element) -> int:
        coding, end = self.level.coding, element.at + element.head + element.length
        if element.defect:
            self.warn(element.defect)
        if element.length & 1:
            self.warn("odd-length")
        if not self.is_held(element):
            self.open(ITEMS, element.tag, end, True, coding)
            return element.value
        raw = data[element.value - element.head : element.value + element.length]
        entry = coding.table.again(raw)
        if entry is None:
            self.open_captured(element, data, end, True, coding)
            return element.value
        if entry[2] is not None:
            self.take(element.tag, entry[2])
        self.emit(entry[1])
        return element.value + element.length

    def open_undefined(self, data: bytes, element: Element) -> int:
        """Sequences; UN (PS3.5 6.2.2); OB, OW and the like: encapsulated (an icon's pixel data, for one)."""
        coding, limit = self.level.coding, self.level.limit
        if element.defect:
            self.warn(element.defect)
        if element.vr == "SQ" or coding.implicit:
            self.open_captured(element, data, limit, False, coding)
        elif element.vr == "UN":
            self.open_captured(element, data, limit, False, coding.as_implicit())
        elif element.vr in BINARY_VRS:
            self.emit_bulk(element)
            self.open(FRAGMENTS, element.tag, limit, False, coding)
        else:
            raise Malformed("length-undefined", f"{element.vr} of undefined length", element.at)
        return element.value

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
                self.close(at + 8)
            return pos + 8
        if tag != ITEM:
            defect = "item-expected" if level.defined else "delimiter-missing"
            raise Malformed(defect, f"{tag_text(tag)} where a sequence has its next item", at)
        limit = level.limit if length == UNDEFINED else at + 8 + length
        if limit > level.limit:
            raise self.over_long(at)
        self.open_item(limit, length != UNDEFINED)
        return pos + 8

    def _delimiter(self, data: bytes, pos: int, base: int, level: Level) -> int:
        """(FFFE,xxxx) where an element should be."""
        tag, length = level.coding.item(data, pos)
        if tag not in (ITEM_END, SEQUENCE_END):
            raise Malformed("item-stray", f"{tag_text(tag)} outside a sequence", base + pos)
        self.check_delimiter(length)
        if level.defined:
            self.warn("delimiter-stray")
        elif tag == ITEM_END:
            self.close(base + pos + 8)
        else:
            raise Malformed("delimiter-missing", "a sequence ends inside its item", base + pos)
        return pos + 8

    def check_delimiter(self, length: int) -> None:
        if length:
            self.warn("delimiter-length")

    def _padding(self, data: bytes, pos: int, base: int) -> int:
        """Zeros after the last element, to the end."""
        rest = data[pos:].lstrip(b"\0")
        if rest:
            raise Malformed("padding-not-zero", "the data set goes on after zeros", base + len(data) - len(rest))
        self.warn("trailing-padding")
        return len(data)


def _match(runs: tuple[Run, ...], data: bytes, pos: int, last: int, hard: int) -> Run | None:
    """The longest run that is at `pos`, all of it allowed there."""
    for run in runs:
        if data.startswith(run.raw, pos) and run.first > last and pos + run.size <= hard:
            return run
    return None
