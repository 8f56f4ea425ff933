"""Retrieving instances, their files, their metadata, their frames: the engine's side of C-GET, C-MOVE and WADO-RS.

Metadata comes from what ingest prepared, never from opening files; frames are ranges of the data set, so that no pixel
is touched. Metadata has the corrections in force, as what is sent of a reference has. Deliberately not here: what a
reference and an open object are (`references`), transcoding, framing for any protocol.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sagittal.archive.access import Principal, authorize
from sagittal.archive.acts.corrections import in_force
from sagittal.archive.index import CURRENT, DELETED, corrections
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.select import FRAME_INDEX, METADATA, METADATA_PART, NEIGHBOURS, instances_statement
from sagittal.archive.local import LocalVolume
from sagittal.archive.reading import read_pieces
from sagittal.archive.references import InstanceRef, OpenObject, Ranges
from sagittal.dicom.frameindex import FrameIndex
from sagittal.errors import BadRequest, DamagedObject, Gone, NotFound
from sagittal.limits import ReaderLimits

if TYPE_CHECKING:
    from sagittal.dicom.models.overlay import Correction

_LIMITS = ReaderLimits()
_METADATA_CHUNK = 24  # instances inflated in one go on a reader thread: about 2 ms
_METADATA_CHUNK_BYTES = 4 << 20  # or fewer when they are large
_FRAMES_MAX, _FRAGMENTS_MAX = 32, 4_096  # whose places are found on the loop: some 0.1 ms
_DOUBTFUL_CHUNK_BYTES = 1 << 20
_DOUBTFUL_MAX = 10_000  # some 2 MB; what was purged goes when so many others came
_PREPARED_MAX = 1 << 16  # bytes of what was kept of an instance that are remembered


async def instances(
    readers: Readers,
    principal: Principal,
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_instance_uids: Iterable[str] | None = None,
    patient_id: str | None = None,
    verb: str = "get",
) -> list[InstanceRef]:
    """The current instances below what is named, by series and instance number. NotFound; Gone when deleted."""
    authorize(principal, verb)
    store, uids = principal.store, None if sop_instance_uids is None else tuple(sop_instance_uids)

    def select(connection: sqlite3.Connection) -> list[InstanceRef]:
        listed = None if uids is None else json.dumps(uids)
        named = {"study": study_uid, "series": series_uid, "patient": patient_id, "instances": listed}
        by, values = zip(*((name, value) for name, value in named.items() if value is not None), strict=True)
        rows = connection.execute(instances_statement(store, by, CURRENT), values).fetchall()
        if not rows:
            gone = connection.execute(instances_statement(store, by, DELETED), values).fetchone()
            raise Gone("deleted") if gone else NotFound("no such instances")
        return _with_corrections(connection, store, [InstanceRef(*row) for row in rows])

    key = store, study_uid, series_uid, patient_id, uids
    if key[1:] == (None, None, None, None):
        raise BadRequest("nothing is named to retrieve")
    found = await readers.recall(key, select, lambda refs: len(refs) == 1)
    return list(found)


async def neighbours(readers: Readers, principal: Principal, ref: InstanceRef, most: int) -> list[list[str]]:
    """The SOP Instance UIDs of an instance and of up to `most` before and behind it in its series, the current ones: by
    instance number, and as they were first stored. Without itself when it has gone meanwhile.
    """
    authorize(principal, "get", (ref,))

    def select(connection: sqlite3.Connection) -> list[list[str]]:
        found = []
        for before, behind in NEIGHBOURS:
            there = connection.execute(before, {"id": ref.id, "most": most + 1}).fetchall()
            further = connection.execute(behind, {"id": ref.id, "most": most})
            found.append([uid for (uid,) in (*reversed(there), *further)])
        return found

    return await readers.run(select)


def _with_corrections(connection: sqlite3.Connection, store: int, refs: list[InstanceRef]) -> list[InstanceRef]:
    """The references with the corrections that are in force for them; nearly always there are none."""
    studies = {ref.study_uid for ref in refs if ref.study_uid}
    found = corrections.active(connection, store, studies)
    if not found:
        return refs
    held: dict[tuple[str | None, str | None], tuple[Correction, ...]] = {}
    for study, series in {(ref.study_uid, ref.series_uid) for ref in refs}:
        held[study, series] = in_force([row for row in found if row.study_uid == study], series)
    peculiar = corrections.peculiarities(connection, [ref.id for ref in refs])
    laid = ((ref, held[ref.study_uid, ref.series_uid], peculiar[ref.id]) for ref in refs)
    return [ref._replace(corrections=found, peculiar=how) for ref, found, how in laid]


async def versions(readers: Readers, principal: Principal, sop_instance_uid: str) -> list[InstanceRef]:
    """Every version held under a SOP Instance UID, as stored, deleted ones too, oldest first."""
    statements = [instances_statement(principal.store, ("instances",), state) for state in (CURRENT, None)]

    def select(connection: sqlite3.Connection) -> list[InstanceRef]:
        bound = (json.dumps([sop_instance_uid]),)
        return [InstanceRef(*row) for statement in statements for row in connection.execute(statement, bound)]

    return sorted(await readers.run(select))


def open_object(volumes: dict[int, LocalVolume], ref: InstanceRef, limits: ReaderLimits = _LIMITS) -> OpenObject:
    """Open the file of an instance; DamagedObject when it is missing or shorter than what was stored."""
    volume = volumes.get(ref.volume)
    if volume is None:
        raise DamagedObject("the volume of the object is not there")
    fd = volume.open(ref.key)
    if os.fstat(fd).st_size < ref.offset + ref.size:
        os.close(fd)
        raise DamagedObject("the stored object is truncated")
    corrected = (ref.syntax_uid, ref.corrections, limits, ref.peculiar) if ref.corrections else None
    return OpenObject(fd, ref.offset, ref.size, ref.header_length, corrected)


class Doubtful(OrderedDict[str, None]):
    """The digests of objects that were not read to their end, the latest ones."""

    def add(self, digest: str) -> None:
        self[digest] = None
        while len(self) > _DOUBTFUL_MAX:
            self.popitem(last=False)


def damage(volumes: dict[int, LocalVolume], refs: Iterable[InstanceRef], doubtful: Doubtful) -> dict[str, str]:
    """Which of `refs` are not there as long as they were, or can't be read if they are `doubtful`, by the digests of
    their files; and why. Blocks: for a thread.
    """
    found = {}
    for ref in refs:
        try:
            if ref.digest in doubtful:
                _read(volumes, ref)
                doubtful.pop(ref.digest, None)  # somebody has sent it again
            elif volumes[ref.volume].size(ref.key) < ref.offset + ref.size:
                raise DamagedObject("the stored object is truncated")
        except DamagedObject as error:
            found[ref.digest] = error.text
    return found


def _read(volumes: dict[int, LocalVolume], ref: InstanceRef) -> None:
    """All of a file, for whether that can be done. DamagedObject."""
    with open_object(volumes, ref) as opened:
        for _ in read_pieces(opened.fd, opened.length, opened.offset, _DOUBTFUL_CHUNK_BYTES):
            pass


async def metadata(readers: Readers, principal: Principal, refs: Sequence[InstanceRef]) -> AsyncIterator[list[bytes]]:
    """The DICOM JSON objects of `refs` in their order, some at a time, each one UTF-8 text `{…}`.

    NotFound when an instance has gone meanwhile. An instance with very large metadata comes alone; see
    `metadata_parts`.
    """
    authorize(principal, "get", refs)
    at = 0
    while at < len(refs):
        chunk = await readers.run(_inflated, refs[at : at + _METADATA_CHUNK])
        at += len(chunk)
        yield chunk


def _inflated(connection: sqlite3.Connection, refs: Sequence[InstanceRef]) -> list[bytes]:
    texts: list[bytes] = []
    total = 0
    for ref in refs:
        parts = [zlib.decompress(body) for (body,) in connection.execute(METADATA, (ref.id,))]
        if not parts:
            raise NotFound("no such instance")
        text = parts[0] if len(parts) == 1 else b"".join(parts)
        texts.append(_corrected(text, ref) if ref.corrections else text)
        total += len(texts[-1])
        if total > _METADATA_CHUNK_BYTES:
            break
    return texts


async def metadata_parts(readers: Readers, principal: Principal, ref: InstanceRef) -> AsyncIterator[bytes]:
    """The DICOM JSON object of one instance in the parts ingest made, so that a large one is never whole in memory."""
    authorize(principal, "get", (ref,))
    parts = _stored_parts(readers, ref)
    if not ref.corrections:
        async for body in parts:
            yield body
        return
    held = b""
    async for body in parts:  # until what is corrected is there
        held += body
        made = await readers.run(lambda _, text: _begun(text, ref), held)
        if made is not None:
            yield made
            held = b""
            break
    else:
        yield _corrected(held, ref)
    async for body in parts:
        yield body


async def _stored_parts(readers: Readers, ref: InstanceRef) -> AsyncIterator[bytes]:
    part = 0
    while True:
        body = await readers.run(_part, ref.id, part)
        if body is None:
            break
        yield body
        part += 1
    if not part:
        raise NotFound("no such instance")


def _corrected(text: bytes, ref: InstanceRef) -> bytes:
    from sagittal.dicom.models.overlayjson import overlaid_json

    return overlaid_json(text.decode("utf-8"), ref.corrections, unordered=ref.peculiar[1]).encode("utf-8")


def _begun(text: bytes, ref: InstanceRef) -> bytes | None:
    """The corrected text when it reaches far enough: its end may lie within a character."""
    from sagittal.dicom.models.overlayjson import Incomplete, overlaid_json

    whole = text.decode("utf-8", "ignore")
    left = text[len(whole.encode("utf-8")) :]
    try:
        made = overlaid_json(whole, ref.corrections, whole=False, unordered=ref.peculiar[1])
        return made.encode("utf-8") + left
    except Incomplete:
        return None


def _part(connection: sqlite3.Connection, instance: int, part: int) -> bytes | None:
    row = connection.execute(METADATA_PART, (instance, part)).fetchone()
    return None if row is None else zlib.decompress(row[0])


async def frame_ranges(readers: Readers, ref: InstanceRef, frames: Sequence[int]) -> list[Ranges]:
    """For each frame (1 is the first) its pieces as (bit offset, bit length) of the data set. BadRequest for a number
    beyond the object's frames, NotFound when it has no frames that can be told apart.
    """

    def select(connection: sqlite3.Connection) -> FrameIndex:
        row = connection.execute(FRAME_INDEX, (ref.id,)).fetchone()
        if row is None:
            raise NotFound("the object has no frames that can be told apart")
        return FrameIndex.decode(row[0])

    index = await readers.recall(("frames", ref.id), select, lambda index: len(index.lengths) <= _FRAGMENTS_MAX)
    try:
        if len(frames) <= _FRAMES_MAX and len(index.lengths) <= _FRAGMENTS_MAX:
            return list(index.ranges_of(frames))
        return await readers.run(lambda _: list(index.ranges_of(frames)))
    except IndexError:
        raise BadRequest(f"the object has frames 1 to {index.count}") from None


class Prepared(NamedTuple):
    """What ingest kept of an instance beside its file: for whoever decodes its frames elsewhere."""

    metadata: list[bytes]  # zlib parts of the DICOM JSON text
    frame_index: bytes  # `FrameIndex.encode`; b"" when frames can't be told apart


async def prepared(readers: Readers, ref: InstanceRef) -> Prepared:
    """The metadata and the frame index of an instance as they were kept. NotFound when it has gone meanwhile."""
    return await readers.recall(
        ("prepared", ref.id),
        lambda connection: _prepared(connection, ref),
        lambda kept: sum(map(len, kept.metadata)) + len(kept.frame_index) < _PREPARED_MAX,
    )


async def effective(readers: Readers, principal: Principal, refs: Sequence[InstanceRef]) -> list[Prepared]:
    """As `prepared`, of each, its metadata with the corrections in force. NotFound when one has gone meanwhile."""
    authorize(principal, "get", refs)
    if len(refs) == 1:
        found = [await prepared(readers, refs[0])]
    else:
        found = await readers.run(lambda connection: [_prepared(connection, ref) for ref in refs])
    if any(ref.corrections for ref in refs):
        found = await readers.run(lambda _: [_as_corrected(kept, ref) for kept, ref in zip(found, refs, strict=True)])
    return found


def _prepared(connection: sqlite3.Connection, ref: InstanceRef) -> Prepared:
    parts = [body for (body,) in connection.execute(METADATA, (ref.id,))]
    row = connection.execute(FRAME_INDEX, (ref.id,)).fetchone()
    if not parts:
        raise NotFound("no such instance")
    return Prepared(parts, b"" if row is None else row[0])


def _as_corrected(kept: Prepared, ref: InstanceRef) -> Prepared:
    return kept._replace(metadata=_laid_over(kept.metadata, ref)) if ref.corrections else kept


def _laid_over(parts: list[bytes], ref: InstanceRef) -> list[bytes]:
    """The kept parts, those at the beginning made one with the corrections."""
    held = b""
    for at, part in enumerate(parts, 1):
        held += zlib.decompress(part)
        made = _corrected(held, ref) if at == len(parts) else _begun(held, ref)
        if made is not None:
            return [zlib.compress(made, 1), *parts[at:]]
    return parts
