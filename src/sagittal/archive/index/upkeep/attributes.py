"""Statements about attributes that the configuration wants indexed: which there are, and how far each has come.

Deliberately not here: reading metadata (`archive.upkeep.attributes`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from sagittal.archive.index.finding.attributes import Attribute, Attributes, attribute_named, keep

_ADD = "INSERT OR REPLACE INTO indexed_attribute (name, done, until) SELECT ?, 0, coalesce(max(id), 0) FROM instance"
_DROP = "UPDATE indexed_attribute SET done = 0, until = -1 WHERE name = ?"
_STALE = (
    "DELETE FROM attribute_value WHERE (name, value, instance) IN "
    "(SELECT name, value, instance FROM attribute_value WHERE name = ? LIMIT ?)"
)
_WANTED = "SELECT name, done, until FROM indexed_attribute WHERE until >= 0"
_NEXT = "SELECT id FROM instance WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"


def begin(connection: sqlite3.Connection, wanted: Iterable[Attribute] | None) -> Attributes:
    """Make the list what is wanted: new names begin at the first instance, those that are wanted no more go.

    None leaves the list as it is.
    """
    held = {name for (name,) in connection.execute("SELECT name FROM indexed_attribute WHERE until >= 0")}
    attributes = Attributes(map(attribute_named, sorted(held)) if wanted is None else wanted)
    names = {attribute.name for attribute in attributes.wanted}
    if held != names:
        _change(connection, held - names, names - held)
    state = progress(connection)
    attributes.complete = frozenset(name for name, (done, until) in state.items() if done >= until)
    return attributes


def _change(connection: sqlite3.Connection, gone: set[str], new: set[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_DROP, [(name,) for name in gone])
    connection.executemany(_ADD, [(name,) for name in new])
    connection.execute("COMMIT")


def progress(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Name → the last instance that was read again, and the last that has to be."""
    return {name: (done, until) for name, done, until in connection.execute(_WANTED)}


def after(connection: sqlite3.Connection, instance: int, last: int, count: int) -> list[int]:
    """The next instances by id, up to `last`."""
    return [row[0] for row in connection.execute(_NEXT, (instance, last, count))]


def advance(
    connection: sqlite3.Connection, names: list[str], done: int, values: dict[int, list[tuple[str, str]]]
) -> None:
    """Write the values of some instances, and that all up to `done` have been read."""
    for instance, found in values.items():
        if connection.execute("SELECT 1 FROM instance WHERE id = ?", (instance,)).fetchone():  # not purged meanwhile
            keep(connection, instance, found)
    connection.executemany("UPDATE indexed_attribute SET done = ? WHERE name = ?", [(done, name) for name in names])


def dropped(connection: sqlite3.Connection) -> list[str]:
    """Names that are wanted no more, of which values may be left."""
    return [name for (name,) in connection.execute("SELECT name FROM indexed_attribute WHERE until < 0")]


def sweep(connection: sqlite3.Connection, name: str, count: int) -> bool:
    """Remove some values of a name that is wanted no more, and then itself; gives whether there was something."""
    if connection.execute(_STALE, (name, count)).rowcount:
        return True
    connection.execute("DELETE FROM indexed_attribute WHERE name = ? AND until < 0", (name,))
    return False
