"""The verbs of upkeep: with a principal, off the loop, and in the audit log.

Each walks one of the iterators beside this file on a thread of its own, some steps at a time. Deliberately not here:
the work.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sagittal.archive.access import LOCAL, Principal, audit_row, authorize
from sagittal.archive.index import clock, schema
from sagittal.archive.index.connection import open_reader, open_writer
from sagittal.archive.index.writer import AuditRow, IndexWriter
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX, hold
from sagittal.archive.references import InstanceRef
from sagittal.archive.upkeep import backup
from sagittal.archive.upkeep.backup import Backup, Copied
from sagittal.archive.upkeep.exporter import Exported, export_to
from sagittal.archive.upkeep.reindex import Indexed, Reindex
from sagittal.errors import DamagedObject, StorageUnavailable
from sagittal.limits import Limits

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive

T = TypeVar("T")
_STEP_SECONDS = 0.25  # answers come at least this often, when there are any


async def back_up(
    archive: Archive, principal: Principal, folder: Path, *, link: bool = False
) -> AsyncGenerator[Copied]:
    """Back an open archive up into `folder`."""
    with archive.audited(principal, "backup"):
        authorize(principal, "admin")
    connection = open_reader(archive.index)
    run = Backup(connection, archive.volumes, folder, now=clock(), link=link, faults=archive.volume.faults)
    copied, outcome = 0, "failed"
    try:
        async with aclosing(steps(run.run)) as objects:
            async for one in objects:
                copied += not one.error
                yield one
        outcome = "done"
    finally:
        connection.close()
        archive.audit(audit_row(principal, "backup", outcome, number_of_instances=copied))


def restore(folder: Path, path: Path, principal: Principal = LOCAL) -> Iterator[Copied]:
    """Make a data directory from a backup, whose audit log says so in the end. DamagedObject when not all came back.

    Blocks. What ends before the index is there leaves no archive, and so no row.
    """
    authorize(principal, "admin")
    done = failed = 0
    for copied in backup.restore(folder, path, INDEX):
        done, failed = done + (not copied.error), failed + bool(copied.error)
        yield copied
    reason = f"{failed} objects are damaged or missing in the backup; all others are restored" if failed else ""
    outcome = "failed" if failed else "done"
    with _held(path):
        note_in(path, audit_row(principal, "restore", outcome, detail=reason, number_of_instances=done))
    if failed:
        raise DamagedObject(reason)


async def export(
    archive: Archive, principal: Principal, refs: Sequence[InstanceRef], target: Path
) -> AsyncGenerator[Exported]:
    """Write instances into a folder, or a zip file when the name ends in .zip."""
    with archive.audited(principal, "export"):
        authorize(principal, "get", refs)
    exported = 0
    try:
        async with aclosing(steps(partial(export_to, target, archive.open_object, refs))) as files:
            async for one in files:
                exported += not one.error
                yield one
    finally:
        archive.audit(audit_row(principal, "export", number_of_instances=exported))


def reindex(path: Path, principal: Principal = LOCAL) -> Iterator[Indexed]:
    """Rebuild the index of a data directory that nobody has open. DirectoryHeld. Blocks."""
    authorize(principal, "admin")
    with _held(path), closing(LocalVolume(path)) as volume:
        volume.clean_staging()
        yield from Reindex(path, volume, Limits(), INDEX, clock()).run()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = hold(path)
    try:
        yield
    finally:
        os.close(lock)


def note(archive: Archive, principal: Principal, row: AuditRow) -> None:
    """Write down what a command did beside an open archive: it reads index and objects by itself."""
    with archive.audited(principal, row.verb):
        authorize(principal, "admin")
    archive.audit(row)


def note_in(path: Path, row: AuditRow) -> None:
    """The same in a data directory whose lock the caller holds. StorageUnavailable. Blocks.

    The archive isn't opened for it: opening removes what a crash left, which scrub has just told.
    """
    try:
        with closing(open_writer(path / INDEX)) as connection:
            schema.prepare(connection, path / INDEX)
            writer = IndexWriter(connection)
            writer.begin()
            writer.audit((row,), clock())
            writer.flush(clock())
            writer.commit()
    except sqlite3.Error as error:
        raise StorageUnavailable(f"the audit log cannot be written: {error}") from error


def upgrade_in(path: Path) -> None:
    """Bring the index of a data directory whose lock the caller holds to the revision of this program. Blocks."""
    with closing(open_writer(path / INDEX)) as connection:
        schema.prepare(connection, path / INDEX)


async def steps(make: Callable[[], Iterator[T]]) -> AsyncGenerator[T]:
    """What a blocking iterator gives, walked on one thread of its own; closing this closes it."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="upkeep") as thread:
        iterator = await loop.run_in_executor(thread, make)
        try:
            while True:
                found, over = await loop.run_in_executor(thread, _some, iterator)
                for one in found:
                    yield one
                if over:
                    return
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                await loop.run_in_executor(thread, close)


def _some(iterator: Iterator[T]) -> tuple[list[T], bool]:
    until = time.monotonic() + _STEP_SECONDS
    found: list[T] = []
    for one in iterator:
        found.append(one)
        if time.monotonic() > until:
            return found, False
    return found, True
