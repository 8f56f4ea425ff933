"""Statements about instances whose rows were made by an older reader: which there are, and new rows for them.

Deliberately not here: reading objects (`archive.upkeep.rereading`); patients, studies and series (`settling`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sagittal.archive.index import CURRENT, OTHER, PURGING, READER_VERSION
from sagittal.archive.index.arrival import INSTANCE_NUMBERS, INSTANCE_TEXTS, number
from sagittal.archive.index.upkeep import settings
from sagittal.archive.index.upkeep.carry import character_set_of

_SETTING = "reader_version"
_AT_ONCE = 5_000  # ids that one look goes through: no index says who is stale
_STALE = f"reader_version < {READER_VERSION} AND state <> {PURGING}"
_FOUND = f"SELECT id, study, volume, key, header_length, transfer_syntax_uid FROM instance WHERE {_STALE} AND id "
_OF_STUDY = "SELECT id FROM instance WHERE series IN (SELECT id FROM series WHERE study = ?) AND id <> ? AND "
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
    volume: int
    key: str
    header_length: int
    syntax_uid: str
    character_set: str  # that was assumed when it came


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
    found = _one(connection, f"> ? AND id <= {last} ORDER BY id LIMIT 1", instance)
    if found is not None:
        return found, found.id
    (most,) = connection.execute("SELECT coalesce(max(id), 0) FROM instance").fetchone()
    return None, last if last < most else 0


def one(connection: sqlite3.Connection, instance: int) -> Stale | None:
    """A certain instance; None when it is gone, or of this reader."""
    return _one(connection, "= ?", instance)


def _one(connection: sqlite3.Connection, which: str, instance: int) -> Stale | None:
    row = connection.execute(_FOUND + which, (instance,)).fetchone()
    return None if row is None else Stale._make((*row, character_set_of(connection, row[0])))


def others_of(connection: sqlite3.Connection, found: Stale) -> list[int]:
    """All others of its study."""
    return [id for (id,) in connection.execute(f"{_OF_STUDY}{_STALE} ORDER BY id", (found.study, found.id))]


def held_of(connection: sqlite3.Connection, found: Stale) -> list[int]:
    """What is held of its study, of whatever reader, but itself."""
    rows = connection.execute(f"{_OF_STUDY}state IN ({OTHER}, {CURRENT}) ORDER BY id", (found.study, found.id))
    return [id for (id,) in rows]


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
