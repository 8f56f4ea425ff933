"""Opening a data directory: its lock, and the parts that an archive is made of, in the order in which they come about.

A crash is recovered from before anything reads, unless the disk takes nothing: then that waits, and reading does not.
Deliberately not here: the verbs, and the work in the background (`archive`).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sagittal.archive.changes import Feed
from sagittal.archive.faults import Faults
from sagittal.archive.index import schema
from sagittal.archive.index.connection import Readers, check_path, closed_unless_done, has_log, open_writer
from sagittal.archive.index.finding.attributes import Attribute, Attributes
from sagittal.archive.index.upkeep import stores
from sagittal.archive.index.upkeep.attributes import begin as begin_attributes
from sagittal.archive.ingest.committer import Committer
from sagittal.archive.ingest.recovery import check_objects, forget_server, recover
from sagittal.archive.ingest.staging import Gauge
from sagittal.archive.ingest.transfer import Ingest
from sagittal.archive.ingest.versions import Comparer
from sagittal.archive.local import LocalVolume
from sagittal.dicom.scanning.memo import Memo
from sagittal.errors import DirectoryHeld
from sagittal.limits import Limits

INDEX, LOCK = "index.db", "lock"
_MAIN_VOLUME = 1


@dataclass(frozen=True, slots=True)
class Parts:
    """What an open archive is made of."""

    lock: int  # a descriptor
    volume: LocalVolume
    stores: Mapping[str, int]  # name -> number
    readers: Readers
    feed: Feed
    attributes: Attributes
    ingest: Ingest

    @property
    def volumes(self) -> dict[int, LocalVolume]:
        """By their numbers in the index."""
        return {_MAIN_VOLUME: self.volume}

    async def close(self) -> None:
        """Commit what was submitted, then let go of the directory."""
        await self.ingest.committer.close()
        self.ingest.gauge.threads.shutdown()
        await asyncio.get_running_loop().run_in_executor(None, self.readers.close)
        self.volume.close()
        os.close(self.lock)


def opened(
    path: Path,
    limits: Limits,
    faults: Faults,
    *,
    durable: bool,
    wanted: tuple[Attribute, ...] | None,
    named: Iterable[str],
) -> Parts:
    """Open or make the data directory `path`, as `Archive.open` says; `named` are the stores. On the loop."""
    check_path(path)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = hold(path)
    try:
        return _composed(lock, path, limits, faults, durable, wanted, named)
    except BaseException as error:
        os.close(lock)
        if isinstance(error, OSError) and error.filename is None:  # as of a write or a sync
            error.filename = str(path)
        raise


def _composed(
    lock: int, path: Path, limits: Limits, faults: Faults, durable: bool, wanted: tuple[Attribute, ...] | None,
    named: Iterable[str],
) -> Parts:  # fmt: skip
    bounds, index = limits.archive, path / INDEX
    volume = LocalVolume(
        path, directory_files_max=bounds.directory_files_max, free_bytes_min=bounds.free_bytes_min,
        durable=durable, faults=faults,
    )  # fmt: skip
    if durable:
        volume.probe()  # a volume that fails it is unwell from the start; `ready` says so
    forget_server(path)
    crashed = has_log(index)
    connection = open_writer(index, durable=durable)
    with closed_unless_done(connection):
        schema.prepare(connection, index)
        held = stores.begin(connection, named)
        check_objects(volume, connection)
        attributes = begin_attributes(connection, wanted)
        recovery = partial(
            recover, path, volume, connection, crashed=crashed, batch_max=bounds.commit_batch_max, durable=durable
        )
        readers = Readers(index, bounds.query_threads)
        feed = Feed(readers)
        comparer = Comparer(index, volume, bounds.compared_metadata_bytes_max)
        committer = Committer(connection, volume, bounds, comparer, feed.wake, attributes.wanted, recovery)
    ingest = Ingest(limits, Gauge(volume, bounds), Memo(), committer)
    return Parts(lock, volume, held, readers, feed, attributes, ingest)


def hold(path: Path) -> int:
    """The lock of the data directory, which ends with the process. DirectoryHeld; UsageError for a path of no text."""
    check_path(path)
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DirectoryHeld("another process has this data directory open") from None
    return lock
