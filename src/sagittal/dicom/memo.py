"""What the reader remembers between data sets: the bytes of an element, and what came of them.

The headers of a series differ in a few elements only. An element whose bytes (tag, VR, length, value; a short sequence
whole) were read before under the same encoding, character set and wanted attributes costs one slice and one look-up. A memo is
bounded: when the young generation is full it becomes the old one, and what is not asked for again goes with that.
It holds attribute values in memory, and nowhere else. One memo belongs to one thread.
"""

from __future__ import annotations

from typing import NamedTuple


class Extra(NamedTuple):
    """What few elements need besides their JSON."""

    text: str | None  # of a wanted attribute
    defects: tuple[str, ...]
    elements: int  # those inside a sequence
    depth: int  # of sequences: 1 without any inside


# tag, JSON member with a comma before it, extra
Entry = tuple[int, str, Extra | None]


class Table:
    """The memo under one encoding, character set, signedness and set of wanted attributes."""

    __slots__ = ("heads", "memo", "old", "young")

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self.young: dict[bytes, Entry] = {}
        self.old: dict[bytes, Entry] = {}
        self.heads: dict[bytes, int] = {}  # first 8 bytes -> bytes of the whole element; 0: the length follows them

    def add(self, raw: bytes, entry: Entry, long: bool) -> None:
        """Remember `entry` for `raw`. `long`: the length is not in the first 8 bytes but in the 4 after them."""
        self.young[raw] = entry
        head = raw[:8]
        if head not in self.heads:
            if len(self.heads) >= self.memo.heads_max:
                self.heads.clear()
            self.heads[head] = 0 if long else len(raw)
        # 200: an entry's own cost in dict, tuple, bytes and str objects, about.
        self.memo.spend(200 + len(raw) + len(entry[1]))

    def again(self, raw: bytes) -> Entry | None:
        """An entry of the old generation, which is young again."""
        entry = self.old.get(raw)
        if entry is not None:
            self.young[raw] = entry
            self.memo.spend(200 + len(raw) + len(entry[1]))
        return entry


class Memo:
    """All tables, and what they cost together: `bytes_max`, counted roughly."""

    def __init__(self, bytes_max: int = 16 << 20, tables_max: int = 64) -> None:
        self.bytes_max = bytes_max
        self.heads_max = max(bytes_max >> 11, 16)
        self._tables: dict[object, Table] = {}
        self._tables_max = tables_max
        self._spent = 0

    def table(self, key: object) -> Table:
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= self._tables_max:  # a sender that declares ever new character sets
                self._tables.clear()
            table = self._tables[key] = Table(self)
        return table

    def spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self.bytes_max >> 1:
            self._spent = 0
            for table in self._tables.values():
                table.old, table.young = table.young, {}
