"""What the reader remembers between data sets: the bytes of elements, and what came of them.

The headers of a series differ in a few elements only. An element whose bytes (tag, VR, length, value; a short sequence
whole) were read before under the same encoding, character set and wanted attributes costs one slice and one look-up,
and a run of such elements that was met before costs one comparison. A memo is bounded: when the young generation is
full it becomes the old one, and what isn't asked for again goes with that. It holds attribute values, in memory only.
One memo belongs to one thread. Whether bytes may be remembered is decided by `scan`.
"""

from __future__ import annotations

from typing import NamedTuple

_RUNS_OF_A_KEY_MAX = 4
_TABLES_MAX = 64  # a sender may declare ever new character sets
_COST = 200  # of an entry's dict slot, tuple and objects, about


class Extra(NamedTuple):
    """What few elements need besides their JSON."""

    text: str | None  # of a wanted attribute
    defects: tuple[str, ...]
    elements: int  # those inside a sequence
    depth: int  # of sequences: 1 without any inside


# tag, JSON member with a comma before it, extra
Entry = tuple[int, str, Extra | None]


class Run(NamedTuple):
    """Elements in a row, as bytes and as what they came to."""

    raw: bytes
    size: int
    first: int  # tags
    last: int
    part: str
    texts: dict[int, str]
    defects: tuple[str, ...]
    elements: int  # in all, those inside sequences too
    depth: int
    entry: Entry | None  # the only element, a sequence of undefined length


class Table:
    """The memo under one encoding, character set, signedness and set of wanted attributes."""

    __slots__ = ("heads", "memo", "old", "runs", "young")

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self.young: dict[bytes, Entry] = {}
        self.old: dict[bytes, Entry] = {}
        # First 8 bytes -> bytes of the whole element; 0: the length follows them; UNDEFINED_KEY: no length, but runs.
        self.heads: dict[bytes, int] = {}
        self.runs: dict[bytes, tuple[Run, ...]] = {}  # by the first element, or by 12 bytes if that has no length

    def add(self, raw: bytes, entry: Entry, long: bool) -> None:
        """Remember an element. `long`: the length isn't in the first 8 bytes but in the 4 after them."""
        self.young[raw] = entry
        head = raw[:8]
        if head not in self.heads:
            self._add_head(head, 0 if long else len(raw))
        self.memo.spend(_COST + len(raw) + len(entry[1]))

    def again(self, raw: bytes) -> Entry | None:
        """An entry that may be old; it is young again."""
        entry = self.young.get(raw)
        if entry is None and self.old and (entry := self.old.get(raw)) is not None:
            self.young[raw] = entry
            self.memo.spend(_COST + len(raw) + len(entry[1]))
        return entry

    def add_run(self, key: bytes, raw: bytes, entries: list[Entry]) -> None:
        """Remember `entries`, which were met in this order as `raw`, by the key of the first."""
        extras = [(tag, extra) for tag, _, extra in entries if extra is not None]
        single = len(entries) == 1
        run = Run(
            raw,
            len(raw),
            entries[0][0],
            entries[-1][0],
            "".join([entry[1] for entry in entries]),
            {tag: extra.text for tag, extra in extras if extra.text is not None},
            tuple({defect for _, extra in extras for defect in extra.defects}),
            len(entries) + sum(extra.elements for _, extra in extras),
            max((extra.depth for _, extra in extras), default=0),
            entries[0] if single else None,
        )
        if single:
            self._add_head(raw[:8], UNDEFINED_KEY if raw[4:8] == b"\xff\xff\xff\xff" else 0)
        runs = sorted((run, *self.runs.get(key, ())), key=lambda each: each.size)
        # The shortest are kept, and of those the longest that fits is taken.
        self.runs[key] = tuple(reversed(runs[:_RUNS_OF_A_KEY_MAX]))
        self.memo.spend(_COST + len(raw) + len(run.part))

    def _add_head(self, head: bytes, total: int) -> None:
        if len(self.heads) >= self.memo.heads_max:
            self.heads.clear()
        self.heads.setdefault(head, total)


UNDEFINED_KEY = 12  # bytes that are the key of a run whose first element has no length


class Memo:
    """All tables, and what they cost together: `bytes_max`, counted roughly."""

    def __init__(self, bytes_max: int = 16 << 20) -> None:
        self.bytes_max = bytes_max
        self.heads_max = max(bytes_max >> 11, 16)
        self._tables: dict[object, Table] = {}
        self._spent = 0

    def table(self, key: object) -> Table:
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= _TABLES_MAX:
                self._tables.clear()
            table = self._tables[key] = Table(self)
        return table

    def spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self.bytes_max >> 1:
            self._spent = 0
            for table in self._tables.values():
                table.old, table.young, table.runs = table.young, {}, {}
