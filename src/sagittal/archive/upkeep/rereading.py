"""Reading objects again whose rows were made by an older reader, while serving: metadata, frame index, columns.

One study after the other, and of each one object after the other, a short while at a time on a reader thread. An
object's new rows are committed together, and those of the last one with those of its study, patient and series and what
is listed of them (`settling`), so that it goes on after a restart. What can't be read any more keeps its rows (`scrub`
tells why), and so does its study.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic

from sagittal.archive.acts import Act
from sagittal.archive.acts.deletion import look_at
from sagittal.archive.index import clock
from sagittal.archive.index.arrival import WANTED, columns_of
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.finding.attributes import Attributes
from sagittal.archive.index.hierarchy import count
from sagittal.archive.index.upkeep import settling, stale
from sagittal.archive.local import LocalVolume
from sagittal.archive.upkeep.attributes import index_attributes
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import SagittalError
from sagittal.lasting import lasting
from sagittal.limits import Limits

log = logging.getLogger("sagittal.archive")

_SLICE_SECONDS = 0.002
_READ_BYTES, _PASSED_BYTES = 16 << 10, 1 << 20
_PASSED = memoryview(bytes(_PASSED_BYTES))  # stands for bytes of a value that nobody holds


async def renew(
    readers: Readers,
    act: Act,
    volumes: Mapping[int, LocalVolume],
    limits: Limits,
    attributes: Attributes,
    staging: Path,
) -> None:
    """Bring all rows up to this reader, then index attributes. Runs as a task of the archive."""

    async def step() -> bool:
        if not await readers.run(stale.is_current):
            await _Renewal(readers, act, volumes, limits, staging).run()
        return False

    await lasting(step, "reading objects again", log)
    await index_attributes(readers, act, attributes)


class _Renewal:
    """One pass over all rows of an older reader."""

    def __init__(
        self, readers: Readers, act: Act, volumes: Mapping[int, LocalVolume], limits: Limits, staging: Path
    ) -> None:
        self._readers, self._act, self._volumes, self._limits = readers, act, volumes, limits
        self._staging = staging
        self._renewed = 0
        self._failed: dict[int, int | None] = {}  # to their studies, whose rows stay

    async def run(self) -> None:
        at = 0
        while True:
            found, at = await self._readers.run(stale.next_after, at)
            if found is None and not at:
                break
            if found is None or found.id in self._failed:
                continue
            for instance in await self._readers.run(stale.others_of, found):
                one = await self._readers.run(stale.one, instance)
                if one is not None and (told := await self._read(one)):
                    self._renewed += await self._act(partial(stale.renew, instance=instance, told=told))
            await self._last(found)
        renewed, whole = self._renewed, not self._failed
        await self._act(lambda connection: stale.finish(connection, renewed, whole=whole))
        if renewed or not whole:
            log.info("%d objects were read again, %d could not be", renewed, len(self._failed))

    async def _last(self, found: stale.Stale) -> None:
        """The last object of its study, or one that has none: with it go the rows of the study."""
        told, study = await self._read(found), found.study
        if told is None:
            return
        if study in self._failed.values():
            study = None
        bytes_max = self._limits.archive.discrepancies_bytes_max
        looked = await look_at(self._readers, partial(stale.held_of, found=found), bytes_max if study else 0)

        def run(connection: sqlite3.Connection) -> bool:
            renewed = stale.renew(connection, found.id, told)
            if renewed and study is not None:
                settling.settle_all(connection, study, clock(), looked)
                count(connection, study, clock())  # the modalities may be others
            return renewed

        self._renewed += await self._act(run)

    async def _read(self, found: stale.Stale) -> stale.Renewed | None:
        try:
            fd = self._volumes[found.volume].open(found.key)
            try:
                rereading = _Rereading(fd, found, self._limits, self._staging)
                while not await self._readers.run(rereading.go_on):
                    pass
                return rereading.told()
            finally:
                os.close(fd)
        except (SagittalError, OSError) as error:
            log.warning("%s can't be read again: %s", found.key, error)
            self._failed[found.id] = found.study
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
        values = columns_of(parsed.values)
        frames = None if parsed.frames is None else parsed.frames.encode()
        return stale.Renewed(values, parsed.defects, frames, self._parts)
