"""Reading objects again whose rows were made by an older reader, while serving: metadata, frame index, columns.

One object after the other, in the order of their ids, a short while at a time on a reader thread; its new rows are
committed together, so that it goes on after a restart. What can't be read any more keeps its rows (`scrub` tells why).
Deliberately not here: patients, studies and series (`reindex` makes those anew).
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from sagittal.archive.index.arrival import WANTED, storable
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.finding.attributes import Attributes
from sagittal.archive.index.upkeep import stale
from sagittal.archive.local import LocalVolume
from sagittal.archive.upkeep.attributes import index_attributes
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import SagittalError
from sagittal.limits import Limits

log = logging.getLogger("sagittal.archive")

_SLICE_SECONDS = 0.002
_READ_BYTES, _PASSED_BYTES = 16 << 10, 1 << 20
_PASSED = memoryview(bytes(_PASSED_BYTES))  # stands for bytes of a value that nobody holds
Act = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]


async def renew(
    readers: Readers,
    act: Act,
    volumes: Mapping[int, LocalVolume],
    limits: Limits,
    attributes: Attributes,
    staging: Path,
) -> None:
    """Bring all rows up to this reader, then index attributes. Runs as a task of the archive."""
    try:
        if not await readers.run(stale.is_current):
            await _reread(readers, act, volumes, limits, staging)
    except SagittalError as error:
        log.warning("rows of an older reader stay until the next start: %s", error)
    await index_attributes(readers, act, attributes)


async def _reread(
    readers: Readers, act: Act, volumes: Mapping[int, LocalVolume], limits: Limits, staging: Path
) -> None:
    at, renewed, failed = 0, 0, 0
    while True:
        found, at = await readers.run(stale.next_after, at)
        if found is None and not at:
            break
        if found is None:
            continue
        told = await _read(readers, volumes, limits, staging, found)
        if told is None:
            failed += 1
        else:
            renewed += await act(partial(stale.renew, instance=found.id, told=told))
    await act(lambda connection: stale.finish(connection, renewed, whole=not failed))
    if renewed or failed:
        log.info("%d objects were read again, %d could not be", renewed, failed)


async def _read(
    readers: Readers, volumes: Mapping[int, LocalVolume], limits: Limits, staging: Path, found: stale.Stale
) -> stale.Renewed | None:
    try:
        fd = volumes[found.volume].open(found.key)
        try:
            rereading = _Rereading(fd, found, limits, staging)
            while not await readers.run(rereading.go_on):
                pass
            return rereading.told()
        finally:
            os.close(fd)
    except (SagittalError, OSError) as error:
        log.warning("%s can't be read again: %s", found.key, error)
        return None


class _Rereading:
    """One object, from the descriptor of its file."""

    def __init__(self, fd: int, found: stale.Stale, limits: Limits, staging: Path) -> None:
        from sagittal.archive.upkeep.reindex import Parts  # not needed before there is something to do

        self._fd, self._parts = fd, Parts(staging, limits)
        self._reader = Reader(
            syntax(found.syntax_uid),
            wanted=WANTED,
            limits=limits.reader,
            metadata=self._parts.write,
            character_set=found.character_set,
        )
        self._left = os.fstat(fd).st_size - found.header_length
        os.lseek(fd, found.header_length, os.SEEK_SET)

    def go_on(self, _: sqlite3.Connection) -> bool:
        """For a short while; True at the end of the file."""
        until, reader = monotonic() + _SLICE_SECONDS, self._reader
        while self._left > 0 and monotonic() < until:
            here = min(self._left, _PASSED_BYTES)
            if reader.passes_over(here):
                os.lseek(self._fd, here, os.SEEK_CUR)
                reader.feed(_PASSED[:here])
            else:
                data = os.read(self._fd, _READ_BYTES)
                here = len(data) or self._left
                reader.feed(data)
            self._left -= here
        return self._left <= 0

    def told(self) -> stale.Renewed:
        """What its rows say from now on."""
        parsed = self._reader.finish()
        values = {tag: storable(value) for tag, value in parsed.values.items()}
        frames = None if parsed.frames is None else parsed.frames.encode()
        return stale.Renewed(values, parsed.defects, frames, self._parts)
