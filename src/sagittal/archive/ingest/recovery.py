"""After a crash: staging is emptied, and objects that got their name but not their row are removed.

Such objects were never acknowledged. They lie in the newest directories, and there are no more than one batch of them.
Removing is right only when index and objects belong together: both carry the mark of the last opening or closing,
which names the file of the index, too. One taken from a backup has none, and a copy of a directory that was open,
whose files are of different moments, is told by its file. A crash leaves the log of the index, too: where that is
gone, so are the rows in it. Without mark or log, or with more strays than a batch or such as came long after one
another, nothing is removed, nor at any later opening as long as there are strays; `scrub` lists them and `reindex`
takes them in. Bounded and idempotent; runs before anything is received: on a full disk that is when there is room.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sagittal.archive import SERVER_FILE
from sagittal.archive.index.connection import TAKES_NOTHING, file_of
from sagittal.archive.index.upkeep import settings
from sagittal.archive.index.writer import newest_key, referred_keys
from sagittal.archive.local import LocalVolume, sync

log = logging.getLogger("sagittal.archive")

_DIRECTORIES = 2  # a batch can straddle a roll-over
_MOMENT_NANOSECONDS = 600 * 10**9  # generously: what waits for a disk that hangs is one batch, too
_MARK = "opened"  # a setting of the index, and a file beside it
_CLOSED = "closed-"  # so the mark of a closing begins


def recover(
    path: Path, volume: LocalVolume, connection: sqlite3.Connection, *, crashed: bool, batch_max: int, durable: bool
) -> None:
    """Bring a data directory that nobody holds to the state of its last commit; `crashed`: its index was left with a
    log. StorageUnavailable, OSError or sqlite3.Error when that can't be written: then again from the beginning.
    """
    staged = volume.clean_staging()
    if staged:
        log.warning("%d incomplete objects were removed from staging", staged)
    strays = _strays(volume, connection)
    settled = not strays or (
        (crashed or _was_closed(connection))
        and len(strays) <= batch_max
        and _of_one_moment(volume, strays)
        and _belong_together(path, connection)
    )
    if not settled:
        line = f"sagittal reindex --data {shlex.quote(str(path))}"
        log.error("%d objects have no row; nothing is removed: run `%s`", len(strays), line)
    elif strays:
        for key in strays:
            volume.delete(key)
        log.warning("%d objects that were never acknowledged were removed", len(strays))
    # Without a mark nothing is removed at the next opening. Without syncs a power cut may lose rows whose objects
    # survive; and strays of which it is not known why they have no row may have been acknowledged.
    _stamp(path, connection, secrets.token_hex(16) if durable and settled else "")


def forget_server(path: Path) -> None:
    """Of one that was killed: commands must not go there. Before recovery, which may be later than ours is written."""
    try:
        (path / SERVER_FILE).unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in TAKES_NOTHING:
            raise


def check_objects(volume: LocalVolume, connection: sqlite3.Connection) -> None:
    """StorageUnavailable when the objects of an index are somewhere else."""
    if (newest := newest_key(connection)) is not None:
        volume.check_directory_of(newest)


def leave(connection: sqlite3.Connection) -> None:
    """A new mark as the directory is closed, so that an index that was copied before does not belong to it any more."""
    if _belong_together(path := file_of(connection).parent, connection):
        _stamp(path, connection, _CLOSED + secrets.token_hex(16))


def _was_closed(connection: sqlite3.Connection) -> bool:
    return (settings.read(connection, _MARK) or "").startswith(_CLOSED)


def _stamp(path: Path, connection: sqlite3.Connection, mark: str) -> None:
    """The same mark to both. A crash in between leaves one that the file names, too, unless it is to have none."""
    to_be = _named(connection, mark)
    _write_mark(path, f"{to_be}\n{_mark_of(connection) if mark else ''}\n")
    settings.write(connection, _MARK, mark)
    _write_mark(path, f"{to_be}\n")


def _mark_of(connection: sqlite3.Connection) -> str:
    return _named(connection, settings.read(connection, _MARK) or "")


def _named(connection: sqlite3.Connection, mark: str) -> str:
    """A mark with the file that it is in; "" for none."""
    return f"{mark} {file_of(connection).stat().st_ino}" if mark else ""


def _belong_together(path: Path, connection: sqlite3.Connection) -> bool:
    try:
        marks = (path / _MARK).read_text(encoding="ascii", errors="replace").split("\n")
    except FileNotFoundError:
        return False
    mark = _mark_of(connection)
    return bool(mark) and mark in marks


def _write_mark(path: Path, text: str) -> None:
    new = path / f"{_MARK}.new"
    with new.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path / _MARK)
    sync(path)


def _strays(volume: LocalVolume, connection: sqlite3.Connection) -> set[str]:
    keys = set(_newest(volume))
    return keys - referred_keys(connection, keys)


def _of_one_moment(volume: LocalVolume, strays: set[str]) -> bool:
    """Whether they may have come as one batch. One that an older copy was laid over lacks those of a longer time."""
    times = [at for key in strays if (at := volume.written_at(key)) is not None]
    return max(times, default=0) - min(times, default=0) <= _MOMENT_NANOSECONDS


def _newest(volume: LocalVolume) -> Iterator[str]:
    for directory in volume.directories()[-_DIRECTORIES:]:
        yield from volume.keys_in(directory)
