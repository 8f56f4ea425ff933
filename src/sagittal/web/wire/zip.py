"""Zip files made while they are sent (APPNOTE 6.3.9): members as they are, sizes known before, ZIP64 where needed.

Each member's CRC is in front of it, not in a descriptor behind it: readers that take a zip file as a stream can't tell
where a stored member ends otherwise. Nothing is deflated: most pixel data is compressed, or hardly becomes smaller for
what it costs. Every time is 1980-01-01, so that the same members give the same bytes. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

_LOCAL = Struct("<4s5H3I2H")
_CENTRAL = Struct("<4s6H3I5H2I")
_END_64 = Struct("<4sQ2H2I4Q")
_LOCATOR_64 = Struct("<4sIQI")
_END = Struct("<4s4H2IH")
_DATE = 1 << 5 | 1  # 1980-01-01
_UNIX = 3 << 8
_PLAIN, _ZIP64 = 20, 45  # versions needed to extract
_U32, _U16 = 0xFFFFFFFF, 0xFFFF
_REGULAR_FILE = 0o100644 << 16


class Member(NamedTuple):
    """A file of the zip file; the name is plain ASCII."""

    name: str
    size: int


class Writer:
    """head(), the bytes of the member, head() … end()."""

    def __init__(self) -> None:
        self._at = 0
        self._written: list[tuple[Member, int, int]] = []  # with CRC and where its header is

    def head(self, member: Member, crc: int) -> bytes:
        """What goes before the bytes of a member."""
        name, size = member.name.encode("ascii"), min(member.size, _U32)
        extra = b""
        if size == _U32:
            extra = Struct("<2H2Q").pack(1, 16, member.size, member.size)
        version = _ZIP64 if extra else _PLAIN
        head = _LOCAL.pack(b"PK\3\4", version, 0, 0, 0, _DATE, crc, size, size, len(name), len(extra)) + name + extra
        self._written.append((member, crc, self._at))
        self._at += len(head) + member.size
        return head

    def end(self) -> Iterator[bytes]:
        """The central directory, an entry at a time, and its end."""
        start = self._at
        for member, crc, at in self._written:
            entry = _entry(member, crc, at)
            self._at += len(entry)
            yield entry
        yield _closing(len(self._written), start, self._at - start)


def _entry(member: Member, crc: int, at: int) -> bytes:
    name = member.name.encode("ascii")
    large = [value for value in (member.size, member.size) if value >= _U32] + ([at] if at >= _U32 else [])
    extra = Struct(f"<2H{len(large)}Q").pack(1, 8 * len(large), *large) if large else b""
    size, version = min(member.size, _U32), _ZIP64 if large else _PLAIN
    fixed = (_UNIX | version, version, 0, 0, 0, _DATE, crc, size, size, len(name), len(extra), 0, 0, 0)
    return _CENTRAL.pack(b"PK\1\2", *fixed, _REGULAR_FILE, min(at, _U32)) + name + extra


def _closing(count: int, start: int, size: int) -> bytes:
    before = b""
    if count >= _U16 or start >= _U32 or size >= _U32:
        before = _END_64.pack(b"PK\6\6", 44, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, start)
        before += _LOCATOR_64.pack(b"PK\6\7", 0, start + size, 1)
    short = min(count, _U16)
    return before + _END.pack(b"PK\5\6", 0, 0, short, short, min(size, _U32), min(start, _U32), 0)


def length(members: Iterable[Member]) -> int:
    """The bytes of the whole zip file."""
    writer, total = Writer(), 0
    for member in members:
        total += len(writer.head(member, 0)) + member.size
    return total + sum(map(len, writer.end()))
