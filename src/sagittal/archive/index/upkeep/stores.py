"""The stores of an archive: projects that may hold the same UIDs and see nothing of each other.

A store is a row that stays; every other table says in `store` whose a row is. Deliberately not here: who works in which
(`access.Principal`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping

from sagittal.archive.index import MAIN, clock
from sagittal.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
_READ = "SELECT name, id FROM store ORDER BY id"
_ADD = "INSERT OR IGNORE INTO store (name, created_at) VALUES (?, ?)"


def check_name(name: str) -> str:
    """A name that can stand in a URL and in a configuration. UsageError."""
    if not _NAME.match(name) or name.startswith("dicom-web"):
        raise UsageError(f"{name[:40]!r} is no name of a store: 1 to 32 of a-z, 0-9, _ and -, not dicom-web…")
    return name


def begin(connection: sqlite3.Connection, wanted: Iterable[str]) -> dict[str, int]:
    """Make the stores that are wanted and not there; gives all of them, name -> number."""
    held = read(connection)
    new = [check_name(name) for name in wanted if name not in held]
    if not new:
        return held
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_ADD, [(name, clock()) for name in new])
    connection.execute("COMMIT")
    return read(connection)


def read(connection: sqlite3.Connection) -> dict[str, int]:
    """Name -> number, main first."""
    return {name: int(number) for name, number in connection.execute(_READ)}


def number_of(stores: Mapping[str, int], name: str) -> int:
    """The number of a store; "" is main. UsageError when there is none of this name."""
    number = stores.get(name or MAIN)
    if number is None:
        raise UsageError(f"there is no store {name[:40]!r}; stores are {' '.join(stores)}, made by [stores.NAME]")
    return number
