"""The table `setting`: what an index keeps of itself between one opening and the next, as text under a name.

Deliberately not here: what a name means, which whoever reads and writes it knows.
"""

from __future__ import annotations

import sqlite3

_READ = "SELECT value FROM setting WHERE name = ?"
_WRITE = "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)"
_FORGET = "DELETE FROM setting WHERE name = ?"


def read(connection: sqlite3.Connection, name: str) -> str | None:
    """What is kept under `name`; None for nothing."""
    row = connection.execute(_READ, (name,)).fetchone()
    return None if row is None else str(row[0])


def write(connection: sqlite3.Connection, name: str, value: str | int) -> None:
    """Keep it, whatever was there before."""
    connection.execute(_WRITE, (name, str(value)))


def forget(connection: sqlite3.Connection, name: str) -> None:
    """Keep nothing."""
    connection.execute(_FORGET, (name,))
