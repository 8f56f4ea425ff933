"""After a crash: staging is emptied, and objects that got their name but not their row are removed.

Such objects were never acknowledged. They lie in the newest directories, and there are no more than one batch of
them. Removing is right only when index and objects belong together: both carry the mark of the last opening, and an
index taken from a backup has none. Without the mark, or with more strays than a batch, nothing is removed; `scrub`
lists them and `reindex` takes them in. Bounded and idempotent; runs before anything is received.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sagittal.archive.index.writer import referred_keys
from sagittal.archive.local import LocalVolume, sync

log = logging.getLogger("sagittal.archive")

_DIRECTORIES = 2  # a batch can straddle a roll-over
_MARK_FILE = "opened"


def recover(path: Path, volume: LocalVolume, connection: sqlite3.Connection, *, batch_max: int, durable: bool) -> None:
    """Bring a data directory that nobody holds to the state of its last commit."""
    staged = volume.clean_staging()
    if staged:
        log.warning("%d incomplete objects were removed from staging", staged)
    if _belong_together(path, connection):
        _remove_strays(volume, connection, batch_max)
    # Without syncs a power cut may lose rows whose objects survive: then nothing is removed at the next opening.
    mark = secrets.token_hex(16) if durable else ""
    previous = _mark_of(connection)
    _write_mark(path, f"{mark}\n{previous}\n")
    connection.execute("INSERT OR REPLACE INTO setting (name, value) VALUES ('opened', ?)", (mark,))
    _write_mark(path, f"{mark}\n")


def _mark_of(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM setting WHERE name = 'opened'").fetchone()
    return str(row[0]) if row else ""


def _belong_together(path: Path, connection: sqlite3.Connection) -> bool:
    try:
        marks = (path / _MARK_FILE).read_text(encoding="ascii").split("\n")
    except FileNotFoundError:
        return False
    mark = _mark_of(connection)
    return bool(mark) and mark in marks


def _write_mark(path: Path, text: str) -> None:
    new = path / f"{_MARK_FILE}.new"
    with new.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path / _MARK_FILE)
    sync(path)


def _remove_strays(volume: LocalVolume, connection: sqlite3.Connection, batch_max: int) -> None:
    keys = set(_newest(volume))
    strays = keys - referred_keys(connection, keys)
    if len(strays) > batch_max:
        log.error("%d objects have no row; nothing is removed: run `sagittal reindex`", len(strays))
        return
    for key in strays:
        volume.delete(key)
    if strays:
        log.warning("%d objects that were never acknowledged were removed", len(strays))


def _newest(volume: LocalVolume) -> Iterator[str]:
    for directory in volume.directories()[-_DIRECTORIES:]:
        yield from volume.keys_in(directory)
