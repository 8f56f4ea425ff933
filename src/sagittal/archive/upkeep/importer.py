"""Import: files, folders and zip files into the archive, with an answer for every file.

A file whose very bytes are held already, intact, is told by its digest and not stored again, so that an import that was
interrupted goes on where it was when it is started anew. Files that are not objects are skipped, each with the reason,
unless they were given by name.
Several files are under way at one time, so that the committer has batches. Deliberately not here: progress bars, remote
archives.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index.select import FILES_OF_INSTANCE
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.ingest.compare import is_intact
from sagittal.archive.local import LocalVolume
from sagittal.archive.upkeep.sources import Candidate, Member, Opened, Refusal, candidates, outcome_of
from sagittal.dicom.part10 import Part10Head, meta_group
from sagittal.dicom.sopclasses import MEDIA_STORAGE_DIRECTORY
from sagittal.errors import DamagedObject, Malformed, SagittalError, words_of
from sagittal.lasting import several

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive

log = logging.getLogger("sagittal.archive")

_READ_BYTES = 1 << 20


class Imported(NamedTuple):
    """What became of one file: "stored", "duplicate", "kept", "replaced", "held", "skipped" or "failed"."""

    name: str
    status: str
    reason: str = ""  # for "skipped", "failed" and "kept"; warnings otherwise
    outcome: Outcome | None = None
    size: int = 0


def import_files(
    archive: Archive, principal: Principal, paths: Sequence[Path], source: Source
) -> AsyncGenerator[Imported]:
    """Import everything at or below `paths`; yields an answer for every file, in the order in which they come."""
    with archive.audited(principal, "store"):
        authorize(principal, "store")
    limits = archive.limits.archive
    found = candidates(paths, limits)
    return several(found, lambda file: _import(archive, principal, file, source), limits.import_transfers)


async def _import(archive: Archive, principal: Principal, candidate: Candidate | Refusal, source: Source) -> Imported:
    if isinstance(candidate, Refusal):
        return Imported(candidate.name, candidate.outcome, candidate.reason)
    name, size = candidate.name, candidate.size
    try:
        opened = await asyncio.to_thread(candidate.open)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(candidate, Member):
            candidate.abandon()
        return Imported(name, "failed", words_of(error))
    try:
        return await _import_opened(archive, principal, name, size, opened, source)
    except Malformed as error:
        return Imported(name, outcome_of(candidate, error), error.text, size=size)
    except (SagittalError, OSError) as error:
        return Imported(name, "failed", words_of(error), size=size)
    except Exception as error:  # ours, and no reason to keep a million others out
        log.exception("importing failed", extra={"fields": {"file": name}})
        return Imported(name, "failed", f"a fault of this program: {type(error).__name__}", size=size)
    finally:
        await asyncio.to_thread(opened.close)


async def _import_opened(
    archive: Archive, principal: Principal, name: str, size: int, opened: Opened, source: Source
) -> Imported:
    head = Part10Head(archive.limits.reader)
    first = await asyncio.to_thread(opened.read, _READ_BYTES)
    if not first:
        raise Malformed("empty", "empty")
    head.feed(first)
    if not head.done and len(first) < _READ_BYTES:
        head.finish()
    if head.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        return Imported(name, "skipped", "a DICOMDIR; the files it lists are imported on their own", size=size)
    if head.done and head.sop_instance_uid:
        held = await archive.readers.rows(_Held, FILES_OF_INSTANCE, (principal.store, head.sop_instance_uid) * 2)
        if held:
            same: bool = await asyncio.to_thread(_is_held, archive.volumes, held, head, opened)
            if same:
                return Imported(name, "held", size=size)
            await asyncio.to_thread(opened.rewind)
            first = await asyncio.to_thread(opened.read, _READ_BYTES)
    transfer = archive.store_begin_part10(principal, source)
    try:
        data = first
        while data:
            transfer.write(data)
            waiting = transfer.ready()
            if waiting is not None:
                await waiting
            # A short read of a file means its end, and most files are short: no second thread hop for those.
            data = await asyncio.to_thread(opened.read, _READ_BYTES) if len(data) == _READ_BYTES else b""
    except BaseException:
        transfer.discard()
        raise
    outcome = await transfer.commit()
    told = "; ".join(filter(None, (outcome.remark, *outcome.warnings)))
    return Imported(name, outcome.status, told, outcome, size)


class _Held(NamedTuple):
    digest: str
    sop_class_uid: str
    sop_instance_uid: str
    syntax_uid: str
    length: int
    header_length: int
    volume: int
    key: str


def _is_held(volumes: dict[int, LocalVolume], held: list[_Held], head: Part10Head, opened: Opened) -> bool:
    """Whether one of the files held has just the data set that follows `head`, and is intact; reads to the end."""
    digests = {
        file: hashlib.sha256(meta_group(file.sop_class_uid, file.sop_instance_uid, file.syntax_uid))
        for file in held
        if file.syntax_uid == head.syntax_uid and _is_there(volumes, file)
    }
    if not digests:
        return False
    data, size = head.rest, 0
    while data:
        size += len(data)
        for digest in digests.values():
            digest.update(data)
        data = opened.read(_READ_BYTES)
    return any(
        file.length - file.header_length == size
        and digest.hexdigest() == file.digest
        and is_intact(volumes[file.volume], file.key, file.length, file.digest)
        for file, digest in digests.items()
    )


def _is_there(volumes: dict[int, LocalVolume], file: _Held) -> bool:
    try:
        return volumes[file.volume].size(file.key) >= file.length
    except (DamagedObject, KeyError):
        return False
