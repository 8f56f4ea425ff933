"""Backup and restore: index and objects as of one moment, taken while the archive serves.

First the index, by SQLite's own backup in one step (one snapshot, however busy the writer is); then every object that
the snapshot names, copied or hard-linked, each checked against its digest; the manifest at the very end. Objects are
immutable and removed only after a grace period, so that what a snapshot names is still there. A backup into the same
folder again copies only what is new, and the one before stays whole until the new manifest is in its place. It stays
altogether when it is of another index: one that was made because the first was lost knows nothing of what is in it.
Deliberately not here: schedules, remote targets.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sagittal.archive.faults import Faults
from sagittal.archive.index.connection import check_path
from sagittal.archive.index.upkeep import snapshot
from sagittal.archive.index.upkeep.snapshot import Stored
from sagittal.archive.local import LocalVolume, sync
from sagittal.errors import DamagedObject, StorageUnavailable, UsageError

MANIFEST = "manifest.json"
_VERSION = 1
_COPY_BYTES = 1 << 20
_SYNC_GROUP = 200
_OBJECTS = "objects"
_OURS = re.compile(r"objects\Z|index[.-]|\.manifest\.json\.new\Z")  # what a first backup that died may have left


class Copied(NamedTuple):
    """One object: in the backup (or restored), or the reason why not."""

    key: str
    length: int
    error: str = ""
    is_new: bool = True


class _Written:
    """What must be synced before it is relied on: files in groups, as one sync of a journal does for many of them."""

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._directories: set[Path] = set()

    def file(self, path: Path) -> None:
        self._files.append(path)
        self._directories.add(path.parent)
        if len(self._files) >= _SYNC_GROUP:
            self._sync_files()

    def directory(self, path: Path) -> None:
        self._directories.add(path)

    def settle(self) -> None:
        self._sync_files()
        for directory in self._directories:
            sync(directory)
        self._directories.clear()

    def _sync_files(self) -> None:
        for path in self._files:
            sync(path)
        self._files.clear()


@dataclass(slots=True)
class _Totals:
    is_resumed: bool  # a backup that died left its index: what it copied may not be synced
    objects: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    gone: list[Stored] = field(default_factory=list)
    written: _Written = field(default_factory=_Written)


class Backup:
    """One backup of an archive into `folder`. Blocks: for a thread or a process of its own."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        volumes: Mapping[int, LocalVolume],
        folder: Path,
        *,
        now: int,
        link: bool = False,
        faults: Faults | None = None,
    ) -> None:
        """`connection` reads the index; `link` makes hard links instead of copies, on the same file system."""
        self._connection = connection
        self._volumes = volumes
        self._folder = folder
        self._now = now
        self._link = link
        self._faults = faults or Faults()

    def run(self) -> Iterator[Copied]:
        """Every object of the snapshot; the manifest is written when the iterator ends.

        An object that is damaged in the archive is told and left out. OSError when the folder cannot be written,
        StorageUnavailable while another backup goes into it, or it has no room for the index.
        """
        check_path(self._folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(self._folder):
            yield from self._run()

    def _run(self) -> Iterator[Copied]:
        before = _manifest(self._folder) if (self._folder / MANIFEST).exists() else None
        if before is None and any(not _OURS.match(path.name) for path in self._folder.iterdir()):
            raise UsageError("the folder to back up to holds something else")
        if before is not None and self._is_of_another(self._folder / str(before["index"])):
            raise UsageError(
                "the folder holds the backup of another archive, or of this one before its index was lost, "
                "and it would be replaced: choose another folder"
            )
        new = self._folder / "index.new.db"
        totals = _Totals(is_resumed=new.exists())
        try:
            index = snapshot.take(self._connection, new)
        except sqlite3.OperationalError as error:
            raise StorageUnavailable(f"the index cannot be copied into {self._folder}: {error}") from error
        with closing(sqlite3.connect(index)) as copy:
            for stored in snapshot.objects(copy):
                copied = self._object(stored, totals)
                if copied is not None:
                    yield copied
        totals.written.settle()
        if totals.gone:
            snapshot.forget(index, totals.gone)
        self._conclude(index, totals, before)

    def _is_of_another(self, index: Path) -> bool:
        """Whether the index of a backup is another one than ours at an earlier time; one that can't be read is none."""
        try:
            with closing(_readable(index)) as copy:
                then = snapshot.made_at(copy)
        except sqlite3.DatabaseError:
            return False
        return then is not None and then != snapshot.made_at(self._connection)

    def _object(self, stored: Stored, totals: _Totals) -> Copied | None:
        """Copy one object; None when it was purged meanwhile. OSError when the folder cannot be written."""
        target = self._folder / _OBJECTS / stored.key
        is_new = not (target.is_file() and _digest(target) == stored.digest)  # of a pipe nobody would see the end
        if is_new:
            self._faults.hit("backup.object")
            try:
                self._copy(stored, target)
            except DamagedObject as error:
                target.unlink(missing_ok=True)
                if stored.is_deleted:
                    totals.gone.append(stored)
                    return None
                totals.damaged.append(stored.key)
                return Copied(stored.key, stored.length, error.text)
        if is_new or totals.is_resumed:
            totals.written.file(target)
            totals.written.directory(target.parent.parent)
        totals.objects += 1
        totals.bytes += stored.length
        return Copied(stored.key, stored.length, is_new=is_new)

    def _copy(self, stored: Stored, target: Path) -> None:
        volume = self._volumes.get(stored.volume)
        if volume is None:
            raise DamagedObject("the volume of the object is not there")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if self._link:
            volume.link(stored.key, target)
        if _digest_of(volume.open(stored.key), None if self._link else target) != stored.digest:
            raise DamagedObject("the bytes are not those that were received")

    def _conclude(self, index: Path, totals: _Totals, before: dict[str, Any] | None) -> None:
        sha256 = _digest(index)
        name = f"index-{sha256[:16]}.db"
        sync(index)
        index.replace(self._folder / name)
        sync(self._folder)
        self._faults.hit("backup.manifest")
        manifest = {
            "version": _VERSION,
            "created_at": self._now,
            "index": name,
            "index_sha256": sha256,
            "objects": totals.objects,
            "bytes": totals.bytes,
            "damaged": totals.damaged,  # in the archive already: a restore says so again
        }
        new = self._folder / f".{MANIFEST}.new"
        new.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        sync(new)
        new.replace(self._folder / MANIFEST)
        sync(self._folder)
        if before is not None and before["index"] != name:
            (self._folder / str(before["index"])).unlink(missing_ok=True)


def restore(folder: Path, path: Path, index_name: str) -> Iterator[Copied]:
    """Make the data directory `path`, which must be empty or missing, from a backup; the index comes last. Blocks.

    An object that is damaged or missing in the backup is told and left out.
    """
    check_path(path)
    manifest = _manifest(folder)
    source = folder / str(manifest["index"])
    if _digest(source) != manifest["index_sha256"]:
        raise DamagedObject("the index of the backup is damaged")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if next(path.iterdir(), None) is not None:
        raise UsageError("the data directory to restore to is not empty")
    written = _Written()
    (path / _OBJECTS).mkdir(mode=0o700)
    with closing(_readable(source)) as connection:
        for stored in snapshot.objects(connection):
            target = path / _OBJECTS / stored.key
            target.parent.mkdir(mode=0o700, exist_ok=True)
            error = _restore_object(folder / _OBJECTS / stored.key, target, stored.digest)
            if not error:
                written.file(target)
            yield Copied(stored.key, stored.length, error)
    written.directory(path / _OBJECTS)
    written.settle()
    new = path / f"{index_name}.new"
    _digest_of(os.open(source, os.O_RDONLY | os.O_CLOEXEC), new)
    sync(new)
    new.replace(path / index_name)  # half of one would be opened as a damaged one, and made anew without what it knew
    sync(path)


def _restore_object(source: Path, target: Path, digest: str) -> str:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be a pipe
    except FileNotFoundError:
        return "missing in the backup"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        if _digest_of(fd, target) != digest:
            raise DamagedObject("the bytes are not those that were received")
    except DamagedObject as error:
        target.unlink()
        return error.text
    return ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While nobody else backs up into `folder`: each would take the other's index for its own. StorageUnavailable."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StorageUnavailable("another backup goes into this folder") from None
    finally:
        os.close(held)


def _readable(index: Path) -> sqlite3.Connection:
    """The index of a backup, where no file is made beside it."""
    return sqlite3.connect(f"{index.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != _VERSION or "/" in str(manifest["index"]):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError("no backup that this program can read") from None
    return manifest


def _digest_of(fd: int, target: Path | None = None) -> str:
    """The SHA-256 of what `fd` reads, which is closed; a new file `target` gets it, too. DamagedObject."""
    digest = hashlib.sha256()
    try:
        with nullcontext() if target is None else open(target, "xb", buffering=0, opener=_private) as file:
            while data := _read(fd):
                digest.update(data)
                if file is not None:
                    file.write(data)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _COPY_BYTES)
    except OSError as error:  # trouble with one object's blocks, not with the folder that is written
        raise DamagedObject(f"cannot be read: {error.strerror}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
