"""Statements about instances whose rows were made by an older reader: which there are, and new rows for them.

Deliberately not here: reading objects (`archive.upkeep.rereading`); patients, studies and series (`anew`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER, PURGING, READER_VERSION
from sagittal.archive.index.arrival import INSTANCE_NUMBERS, INSTANCE_TEXTS, number
from sagittal.archive.index.transcoding.originals import ORIGINAL
from sagittal.archive.index.upkeep import settings
from sagittal.archive.index.upkeep.carry import character_set_of

_SETTING = "reader_version"
_AT_ONCE = 5_000  # ids that one look goes through: no index says who is stale
_FOUND = (
    "SELECT id, study, series, volume, key, header_length, transfer_syntax_uid, reader_version, received_at, "
    f"state = {DELETED_OTHER} AND EXISTS (SELECT 1 FROM tombstone t WHERE t.id = instance.tombstone "
    f"AND t.level = '{ORIGINAL}'), state = {CURRENT} OR EXISTS (SELECT 1 FROM alias a JOIN instance made "
    f"ON made.id = a.instance AND made.state = {CURRENT} WHERE a.store = instance.store "
    f"AND a.digest = instance.digest), state >= {DELETED} FROM instance WHERE "
)
_STALE = f"{_FOUND} id > ? AND id <= ? AND reader_version < ? AND state <> {PURGING} ORDER BY id LIMIT 1"
_ONE = f"{_FOUND} id = ? AND state <> {PURGING}"
_COLUMNS = ",".join(f"{column} = ?" for column in (*INSTANCE_TEXTS.values(), *INSTANCE_NUMBERS.values()))
_RENEW = f"UPDATE instance SET {_COLUMNS}, defects = ?, reader_version = ? WHERE id = ? AND reader_version < ?"
_INDEX_AGAIN = (
    "UPDATE indexed_attribute SET done = 0, until = (SELECT coalesce(max(id), 0) FROM instance) WHERE until >= 0"
)
_REVISED = (
    "UPDATE series SET revision = revision + 1 WHERE id = (SELECT series FROM instance WHERE id = ?)",
    "UPDATE study SET revision = revision + 1 WHERE id = (SELECT study FROM instance WHERE id = ?)",
)


class Stale(NamedTuple):
    """An object to read again."""

    id: int
    study: int | None
    series: int | None
    volume: int
    key: str
    header_length: int
    syntax_uid: str
    reader_version: int
    received_at: int
    is_original: bool  # of what was transcoded, and says the same
    is_held: bool  # it is its instance's current version, or what that was made of
    is_deleted: bool  # or was let go for what was made of it
    character_set: str  # that was assumed when it came

    @property
    def is_current(self) -> bool:
        """Its rows are of this reader: it is read for what its study says."""
        return self.reader_version >= READER_VERSION


class Renewed(NamedTuple):
    """What it tells now."""

    values: Mapping[int, str]
    defects: Sequence[str]
    frames: bytes | None
    metadata: Iterable[bytes]


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether all rows are known to be of this reader."""
    return settings.read(connection, _SETTING) == str(READER_VERSION)


def next_after(connection: sqlite3.Connection, instance: int) -> tuple[Stale | None, int]:
    """The next instance with rows of an older reader, as far as this look goes, and where the next look begins.

    0: there is nothing beyond.
    """
    last = instance + _AT_ONCE
    row = connection.execute(_STALE, (instance, last, READER_VERSION)).fetchone()
    if row is not None:
        return Stale._make((*row, character_set_of(connection, row[0]))), row[0]
    (most,) = connection.execute("SELECT coalesce(max(id), 0) FROM instance").fetchone()
    return None, last if last < most else 0


def one(connection: sqlite3.Connection, instance: int) -> Stale | None:
    """A certain instance, of whatever reader; None when it is gone."""
    row = connection.execute(_ONE, (instance,)).fetchone()
    return None if row is None else Stale._make((*row, character_set_of(connection, instance)))


def renew(connection: sqlite3.Connection, instance: int, told: Renewed) -> bool:
    """New rows for an instance; False when it is gone, or of this reader already."""
    get = told.values.get
    values = [*(get(tag, "") for tag in INSTANCE_TEXTS), *(number(get(tag)) for tag in INSTANCE_NUMBERS)]
    marks = " ".join(told.defects), READER_VERSION, instance, READER_VERSION
    if not connection.execute(_RENEW, (*values, *marks)).rowcount:
        return False
    connection.execute("DELETE FROM metadata WHERE instance = ?", (instance,))
    connection.executemany(
        "INSERT INTO metadata (instance, part, body) VALUES (?,?,?)",
        ((instance, part, body) for part, body in enumerate(told.metadata)),
    )
    connection.execute("DELETE FROM frame_index WHERE instance = ?", (instance,))
    if told.frames is not None:
        connection.execute("INSERT INTO frame_index (instance, body) VALUES (?,?)", (instance, told.frames))
    for statement in _REVISED:
        connection.execute(statement, (instance,))
    return True


def finish(connection: sqlite3.Connection, renewed: int, *, whole: bool) -> None:
    """After the last one. Indexed attributes are read from the new metadata; `whole`: no older rows are left."""
    if renewed:
        connection.execute(_INDEX_AGAIN)
    if whole:
        settings.write(connection, _SETTING, READER_VERSION)
