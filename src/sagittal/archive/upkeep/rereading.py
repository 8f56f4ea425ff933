"""Reading objects again whose rows were made by an older reader, while serving: metadata, frame index, columns.

One study after the other, and of each one object after the other, in the order of their ids, a short while at a time
on a reader thread. An object's new rows are committed together, and those of the last one after those of its study,
patient and series and what is listed of them, so that it goes on after a restart. What can't be read any more keeps its
rows (`scrub` tells why), and so does its study.
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
from sagittal.archive.index import clock
from sagittal.archive.index.arrival import WANTED, columns_of
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.finding.attributes import Attributes
from sagittal.archive.index.upkeep import anew, stale
from sagittal.archive.index.upkeep.discrepancies import Cursor
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
        self._failed: set[int] = set()
        self._incomplete: set[int] = set()  # studies with such an object: their rows stay

    async def run(self) -> None:
        at = 0
        while True:
            found, at = await self._readers.run(stale.next_after, at)
            if found is None and not at:
                break
            if found is None or found.id in self._failed:
                continue
            if found.study is None or not await self._study(found, found.study):
                await self._alone(found)
        renewed, whole = self._renewed, not self._failed
        await self._act(lambda connection: stale.finish(connection, renewed, whole=whole))
        if renewed or not whole:
            log.info("%d objects were read again, %d could not be", renewed, len(self._failed))

    async def _alone(self, found: stale.Stale) -> None:
        told = None if found.id in self._failed else await self._read(found)
        if told is not None:
            self._renewed += await self._act(partial(stale.renew, instance=found.id, told=told))

    async def _study(self, found: stale.Stale, study: int) -> bool:
        """Read every object of a study again; False when one of them can't be.

        The rows of `found` are committed last, after those of the study: while there is one of an older reader, a study
        is not done.
        """
        said, last = anew.Said(study, self._limits.archive.discrepancies_bytes_max), None
        while study not in self._incomplete:
            for instance in await self._readers.run(anew.instances_after, study, said.last):
                one = await self._readers.run(stale.one, instance)
                if one is None or one.series is None:
                    continue
                told = await self._read(one)
                if told is None:
                    self._incomplete.add(study)
                    break
                said.add(one, one.series, told.values)
                if instance == found.id:
                    last = told
                elif not one.is_current:
                    self._renewed += await self._act(partial(stale.renew, instance=instance, told=told))
            else:
                if await self._put(said) and await self._act(
                    partial(self._end, said=said, instance=found.id, told=last)
                ):
                    return True
        return False

    async def _put(self, said: anew.Said) -> bool:
        """The rows of a study and what is listed about them; False when it has objects that were not read yet."""
        if not await self._act(partial(anew.put, said=said, at=clock())):
            return False
        if said.room < 0:
            log.warning("the discrepancies of a study stay as they are: limits.discrepancies_bytes_max")
        listed, cursor = await self._readers.run(anew.places, said), Cursor()
        while listed and cursor is not None:
            cursor = await self._act(partial(anew.put_some, said=said, listed=listed, cursor=cursor))
        return True

    def _end(self, connection: sqlite3.Connection, said: anew.Said, instance: int, told: stale.Renewed | None) -> bool:
        """On the clerk's thread; False when the study has objects that were not read yet."""
        if not anew.is_whole(connection, said):
            return False
        self._renewed += told is not None and stale.renew(connection, instance, told)
        return True

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
            self._failed.add(found.id)
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
