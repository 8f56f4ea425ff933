"""Retrieving instances, their files, their metadata, their frames: the engine's side of C-GET, C-MOVE and WADO-RS.

Metadata comes from what ingest prepared, never from opening files; frames are ranges of the data set, so that no pixel
is touched. This is the one seam where corrected headers will be laid over stored ones (before Pixel Data). Deliberately
not here: transcoding, framing for any protocol.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index import CURRENT, DELETED
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.select import FRAME_INDEX, METADATA, METADATA_PART, REVISIONS, instances_statement
from sagittal.archive.local import LocalVolume
from sagittal.dicom.frameindex import FrameIndex
from sagittal.errors import BadRequest, DamagedObject, Gone, NotFound

_METADATA_CHUNK = 24  # instances inflated in one go on a reader thread: about 2 ms
_METADATA_CHUNK_BYTES = 4 << 20  # or fewer when they are large


class InstanceRef(NamedTuple):
    """One version of one instance, and where its bytes lie; study and series are None for non-patient objects."""

    id: int
    study_uid: str | None
    series_uid: str | None
    sop_class_uid: str
    sop_instance_uid: str
    syntax_uid: str
    digest: str
    size: int  # the whole file
    header_length: int  # where the data set starts in it
    frames: int | None
    volume: int
    key: str
    offset: int  # of the file within the blob
    state: int
    revision: int | None  # of the study

    @property
    def data_set_length(self) -> int:
        """Bytes of the data set as it was received."""
        return self.size - self.header_length


class OpenObject:
    """An open object: the file as stored is `length` bytes at `offset` of `fd`, its data set starts at
    `data_set_offset`.
    """

    __slots__ = ("data_set_offset", "fd", "length", "offset")

    def __init__(self, fd: int, offset: int, length: int, header_length: int) -> None:
        self.fd = fd
        self.offset = offset
        self.length = length
        self.data_set_offset = offset + header_length

    def close(self) -> None:
        """Give the descriptor back; more than once is no error."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read_data_set(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes of the data set; BadRequest when they are not within it, DamagedObject when they are
        gone.
        """
        at = self.data_set_offset + offset
        if offset < 0 or length < 0 or at + length > self.offset + self.length:
            raise BadRequest("the range is not within the data set")
        parts = []
        while length > 0:
            part = os.pread(self.fd, length, at)
            if not part:
                raise DamagedObject("the stored object is truncated")
            parts.append(part)
            at, length = at + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __enter__(self) -> OpenObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def instances(
    readers: Readers,
    principal: Principal,
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_instance_uids: Iterable[str] | None = None,
    patient_id: str | None = None,
) -> list[InstanceRef]:
    """The current instances below what is named, by series and instance number. NotFound when there are none, Gone when
    deleted.
    """
    authorize(principal, "get")
    named = [("study", study_uid), ("series", series_uid), ("patient", patient_id)]
    if sop_instance_uids is not None:
        named.append(("instances", json.dumps(list(sop_instance_uids))))
    by = tuple(name for name, value in named if value is not None)
    values = [value for _, value in named if value is not None]
    if not by:
        raise BadRequest("nothing is named to retrieve")

    def select(connection: sqlite3.Connection) -> list[InstanceRef]:
        rows = connection.execute(_in_order(by), values).fetchall()
        if not rows and connection.execute(_in_order(by, DELETED), values).fetchone():
            raise Gone("deleted")
        return [InstanceRef._make(row) for row in rows]

    found = await readers.run(select)
    if not found:
        raise NotFound("no such instances")
    return found


def _in_order(by: tuple[str, ...], state: int = CURRENT) -> str:
    return instances_statement(by, state)


async def versions(readers: Readers, principal: Principal, sop_instance_uid: str) -> list[InstanceRef]:
    """Every version held under a SOP Instance UID, deleted ones too, oldest first."""
    authorize(principal, "get")
    statement = instances_statement(("instances",), None)

    def select(connection: sqlite3.Connection) -> list[InstanceRef]:
        return [InstanceRef._make(row) for row in connection.execute(statement, (json.dumps([sop_instance_uid]),))]

    return sorted(await readers.run(select))


def open_object(volumes: dict[int, LocalVolume], ref: InstanceRef) -> OpenObject:
    """Open the file of an instance; DamagedObject when it is missing or shorter than what was stored."""
    volume = volumes.get(ref.volume)
    if volume is None:
        raise DamagedObject("the volume of the object is not there")
    fd = volume.open(ref.key)
    if os.fstat(fd).st_size < ref.offset + ref.size:
        os.close(fd)
        raise DamagedObject("the stored object is truncated")
    return OpenObject(fd, ref.offset, ref.size, ref.header_length)


async def metadata(readers: Readers, principal: Principal, refs: Sequence[InstanceRef]) -> AsyncIterator[list[bytes]]:
    """The DICOM JSON objects of `refs` in their order, some at a time, each one UTF-8 text `{…}`.

    NotFound when an instance has gone meanwhile. An instance with very large metadata comes alone; see
    `metadata_parts`.
    """
    authorize(principal, "get")
    at = 0
    while at < len(refs):
        chunk = await readers.run(lambda connection, at=at: _inflated(connection, refs[at : at + _METADATA_CHUNK]))  # type: ignore[misc]
        at += len(chunk)
        yield chunk


def _inflated(connection: sqlite3.Connection, refs: Sequence[InstanceRef]) -> list[bytes]:
    texts: list[bytes] = []
    total = 0
    for ref in refs:
        parts = [zlib.decompress(body) for (body,) in connection.execute(METADATA, (ref.id,))]
        if not parts:
            raise NotFound("no such instance")
        texts.append(parts[0] if len(parts) == 1 else b"".join(parts))
        total += len(texts[-1])
        if total > _METADATA_CHUNK_BYTES:
            break
    return texts


async def metadata_parts(readers: Readers, principal: Principal, ref: InstanceRef) -> AsyncIterator[bytes]:
    """The DICOM JSON object of one instance in the parts ingest made, so that a large one is never whole in memory."""
    authorize(principal, "get")
    part = 0
    while True:
        body = await readers.run(lambda connection, part=part: _part(connection, ref.id, part))  # type: ignore[misc]
        if body is None:
            break
        yield body
        part += 1
    if not part:
        raise NotFound("no such instance")


def _part(connection: sqlite3.Connection, instance: int, part: int) -> bytes | None:
    row = connection.execute(METADATA_PART, (instance, part)).fetchone()
    return None if row is None else zlib.decompress(row[0])


async def frame_ranges(readers: Readers, ref: InstanceRef, frames: Sequence[int]) -> list[list[tuple[int, int]]]:
    """For each frame (1 is the first) its pieces as (bit offset, bit length) of the data set.

    BadRequest when a number is beyond the object's frames, NotFound when it has no frames that can be told apart.
    """

    def select(connection: sqlite3.Connection) -> list[list[tuple[int, int]]]:
        row = connection.execute(FRAME_INDEX, (ref.id,)).fetchone()
        if row is None:
            raise NotFound("the object has no frames that can be told apart")
        index = FrameIndex.decode(row[0])
        try:
            return [index.ranges(frame) for frame in frames]
        except IndexError:
            raise BadRequest(f"the object has frames 1 to {index.count}") from None

    return await readers.run(select)


async def revision(readers: Readers, study_uid: str, series_uid: str | None = None) -> int | None:
    """The revision of a study, or of a series in it (for an ETag); None when it is not held."""

    def select(connection: sqlite3.Connection) -> int | None:
        study, series = REVISIONS
        row = connection.execute(study, (study_uid,)).fetchone()
        if row is not None and series_uid is not None:
            row = connection.execute(series, (series_uid, row[0])).fetchone()
        return None if row is None else int(row[1])

    return await readers.run(select)
