"""A copy of the index as of one moment, and the objects that it names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sagittal.archive.index import DELETED, MAIN_STORE, PURGING, clock, removal
from sagittal.archive.index.connection import make

# The copy and the objects beside it have never been opened together (`ingest.recovery`).
_UNMARK = "DELETE FROM setting WHERE name = 'opened'"
_LEFT = f"SELECT id FROM instance WHERE tombstone > 0 AND state = {PURGING}"


class Stored(NamedTuple):
    """One object of a snapshot."""

    volume: int
    key: str
    length: int
    digest: str
    is_deleted: bool  # by all versions that lie there: the collector may remove it at any time


def take(connection: sqlite3.Connection, to: Path) -> Path:
    """Copy the index that `connection` reads to a new file, in one step and without a log beside it."""
    to.unlink(missing_ok=True)
    make(to)
    copy = sqlite3.connect(to, isolation_level=None)
    try:
        connection.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("BEGIN")
        copy.execute(_UNMARK)
        _purge(copy)
        copy.execute("COMMIT")
    finally:
        copy.close()
    return to


def _purge(copy: sqlite3.Connection) -> None:
    """What the collector was about to remove may be gone: in the copy, its rows go as they would have gone then."""
    at = clock()
    rows = removal.purging(copy, [id for (id,) in copy.execute(_LEFT)], at)
    for row in rows:
        removal.take_out(copy, row)
    removal.close_tombstones(copy, rows, at)


def made_at(connection: sqlite3.Connection) -> int | None:
    """When the index was made, in microseconds; its copies and what `reindex` makes of it have the same moment. None
    before revision 0005.
    """
    try:
        row = connection.execute("SELECT created_at FROM store WHERE id = ?", (MAIN_STORE,)).fetchone()
    except sqlite3.OperationalError:  # there were no stores
        return None
    return int(row[0]) if row else None


def objects(connection: sqlite3.Connection) -> Iterator[Stored]:
    """Every object that a version lies at, once."""
    for volume, key, length, digest, deleted in connection.execute(
        f'SELECT volume, "key", max(length), max(digest), min(state >= {DELETED}) FROM instance '
        'GROUP BY volume, "key" ORDER BY min(id)'
    ):
        yield Stored(volume, key, length, digest, bool(deleted))


def forget(to: Path, objects: list[Stored]) -> None:
    """Take versions out of a copy whose objects were removed while they were being copied."""
    copy = sqlite3.connect(to, isolation_level=None)
    try:
        copy.execute("BEGIN")
        for gone in objects:
            place = (gone.volume, gone.key)
            copy.execute('UPDATE instance SET state = ? WHERE volume = ? AND "key" = ?', (PURGING, *place))
        _purge(copy)
        copy.execute("COMMIT")
    finally:
        copy.close()
