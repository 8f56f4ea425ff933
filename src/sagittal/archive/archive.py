"""The archive: one data directory, opened by one process, and the verbs of the engine.

Hands each verb to its file, and keeps the work in the background going. Deliberately not here: what an archive is made
of (`opening`), any protocol word, and deciding who may ask (`access`).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sagittal.archive import query, retrieve
from sagittal.archive.access import LOCAL, Audited, AuditedReading, Principal, audit_row, authorize
from sagittal.archive.acts import corrections, deletion
from sagittal.archive.acts.deletion import Deleted, Purged, Tombstone
from sagittal.archive.changes import Change
from sagittal.archive.faults import Faults
from sagittal.archive.index import clock
from sagittal.archive.index.corrections import Row as CorrectionRow
from sagittal.archive.index.finding.attributes import attribute_of
from sagittal.archive.index.removal import Target
from sagittal.archive.index.writer import AuditRow, promote_version
from sagittal.archive.ingest import Source
from sagittal.archive.ingest.scratch import Scratch
from sagittal.archive.ingest.transfer import Transfer
from sagittal.archive.opening import INDEX, Parts, opened
from sagittal.archive.query import Keys, Query, Rows, Tag
from sagittal.archive.references import InstanceRef, OpenObject, Ranges
from sagittal.archive.search import nonpatient
from sagittal.archive.upkeep.rereading import renew
from sagittal.archive.upkeep.statistics import Counts, Discrepancy, Figures, LatestStudy, Statistics
from sagittal.errors import LimitExceeded, SagittalError
from sagittal.lasting import lasting
from sagittal.limits import Limits

T = TypeVar("T")
log = logging.getLogger("sagittal.archive")


class Archive:
    """An open archive. Everything is called on the loop that opened it."""

    def __init__(self, path: Path, limits: Limits, parts: Parts) -> None:
        """Use `open`."""
        self.path, self.limits, self._parts = path, limits, parts
        self.index, self.stores, self.feed = path / INDEX, parts.stores, parts.feed
        self.volume, self.volumes, self.readers = parts.volume, parts.volumes, parts.readers
        self._ingest, self._committer, self._attributes = parts.ingest, parts.ingest.committer, parts.attributes
        self._statistics = Statistics(self.readers)
        self._doubtful = retrieve.Doubtful()
        self._sizes = corrections.Sizes(self.open_object)
        loop = asyncio.get_running_loop()
        self._collecting = loop.create_task(lasting(self._collect, "removing what was deleted", log))
        indexing = renew(self.readers, self.act, self.volumes, limits, self._attributes, path / "staging")
        self._indexing = loop.create_task(indexing)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        limits: Limits | None = None,
        durability: str = "full",
        faults: Faults | None = None,
        attributes: Iterable[str] | None = None,
        stores: Iterable[str] = (),
        before: Archive | None = None,
    ) -> Archive:
        """Open or make the data directory `path`. DirectoryHeld when another process has it, UsageError when newer.

        With `durability` "off" nothing is synced: for benchmarks. `attributes` are indexed besides, as the setting
        `[index] attributes` names them; None: those that were the last time. `stores` are made when they are not there.
        What `before`, closed, could not write down of the same directory is taken over.
        """
        limits, durable = limits or Limits(), durability != "off"
        wanted = None if attributes is None else tuple(dict.fromkeys(map(attribute_of, attributes)))
        parts = opened(path, limits, faults or Faults(), durable=durable, wanted=wanted, named=stores)
        if before is not None:
            parts.ingest.committer.inherit(before._committer)
        return cls(path, limits, parts)

    async def close(self) -> None:
        """Commit what was submitted, then let go of the directory."""
        self._collecting.cancel()
        self._indexing.cancel()
        await self._parts.close()

    @property
    def outlived(self) -> bool:
        """Whether the disk, which took nothing as this was opened, does now: for that it has to be opened anew."""
        return self._committer.outlived

    def ready(self) -> list[str]:
        """Why nothing can be stored, or not all found, at the moment; empty when all is well."""
        reasons = [self.volume.trouble(), self._committer.reason, self.readers.damage]
        if self._committer.waiting >= self.limits.archive.commit_queue_max:
            reasons.append("too many objects wait to be committed")
        return [reason for reason in dict.fromkeys(reasons) if reason is not None]

    def figures(self) -> Figures:
        """What was counted since it was opened."""
        return Figures(dict(self._ingest.outcomes), self._committer.waiting, dict(self._committer.batch_sizes))

    # Writing

    def store_begin(
        self,
        principal: Principal,
        source: Source,
        *,
        syntax_uid: str,
        sop_class_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> Transfer:
        """Receive an object whose data set follows, as the command describes it."""
        transfer = self._begin(principal, source)
        transfer.expect_data_set(syntax_uid, sop_class_uid, sop_instance_uid)
        return transfer

    def store_begin_part10(self, principal: Principal, source: Source) -> Transfer:
        """Receive an object whose Part 10 file follows."""
        transfer = self._begin(principal, source)
        transfer.expect_part10()
        return transfer

    def _begin(self, principal: Principal, source: Source) -> Transfer:
        with self.audited(principal, "store"):
            authorize(principal, "store")
        try:
            self._committer.check()
        except SagittalError as error:
            self._ingest.refused(principal, source, error)
            raise
        return Transfer(self._ingest, principal, source)

    def scratch(self) -> Scratch:
        """A place for bytes whose object is not known yet."""
        return Scratch(self._ingest.gauge)

    async def act(self, run: Callable[[sqlite3.Connection], T], audit: AuditRow | None = None) -> T:
        """`run(connection)` in a transaction on the committer thread, committed together with its audit row."""
        return await self._committer.act(run, audit)

    @property
    def commits(self) -> int:
        """Grows with each of them: what was found before it may be old."""
        return self.readers.commits

    def audit(self, row: AuditRow) -> None:
        """A row for the audit log about something that changed nothing; written with the next batch."""
        self._committer.audit(row)

    def audited(self, principal: Principal, verb: str, study_uid: str = "") -> Audited:
        """What is denied or fails within is written down too; what is done writes its own row."""
        return Audited(self.audit, principal, verb, study_uid)

    def permit(
        self, principal: Principal, verb: str, detail: str = "", *, study_uid: str = "", number: int = 0
    ) -> None:
        """Raise NotAuthorized unless `principal` may do `verb`; either way it is written down, in one row."""
        with self._reading(principal, verb, detail, study_uid) as row:
            authorize(principal, verb)
            row.number = number

    def _reading(self, principal: Principal, verb: str, detail: str, study_uid: str = "") -> AuditedReading:
        """What is read within is written down in one row, whatever becomes of it."""
        return AuditedReading(self.audit, principal, verb, study_uid, detail)

    async def promote(self, principal: Principal, ref: InstanceRef) -> None:
        """Make a version that lies beside the current one the current one. NotFound."""
        row = audit_row(principal, "promote", study_uid=ref.study_uid or "", number_of_instances=1)
        with self.audited(principal, "promote", ref.study_uid or ""):
            authorize(principal, "change")
            await self.act(lambda connection: promote_version(connection, principal.store, ref.id, clock()), row)

    async def delete(self, principal: Principal, target: Target, reason: str = "") -> Deleted:
        """Hide everything under `target`."""
        with self.audited(principal, "delete", target.study_uid):
            return await deletion.delete(self.act, principal, target, reason)

    async def undelete(self, principal: Principal, target: Target, tombstone: int | None = None) -> int:
        """Bring back what was deleted."""
        with self.audited(principal, "undelete", target.study_uid):
            bytes_max = self.limits.archive.discrepancies_bytes_max
            return await deletion.undelete(self.readers, self.act, principal, target, tombstone, bytes_max)

    async def correct(
        self, principal: Principal, where: tuple[str, str], attributes: Mapping[str, Any], reason: str, code: str
    ) -> int:
        """Correct attributes of (study, series or "") without touching an object; gives the correction's number."""
        with self.audited(principal, "correct", where[0]):
            return await corrections.correct(self.act, principal, where, attributes, reason, code)

    async def merge_patient(
        self, principal: Principal, patient: tuple[str, str], into: tuple[str, str], reason: str
    ) -> list[int]:
        """Every study of a patient (identifier, issuer) becomes another one's, by corrections."""
        with self.audited(principal, "merge"):
            return await corrections.merge(self.act, principal, patient, into, reason)

    async def undo_correction(self, principal: Principal, study_uid: str, number: int) -> None:
        """Take a correction back."""
        with self.audited(principal, "undo correction", study_uid):
            await corrections.undo(self.act, principal, study_uid, number)

    async def undo_corrections(self, principal: Principal, numbers: Sequence[int]) -> None:
        """Take several back as one act."""
        with self.audited(principal, "undo correction"):
            await corrections.undo_all(self.act, principal, numbers)

    async def corrections_of(self, principal: Principal, study_uid: str) -> list[CorrectionRow]:
        """All corrections of a study."""
        self.permit(principal, "get", "corrections", study_uid=study_uid)
        return await corrections.history(self.readers, principal, study_uid)

    async def tombstones(self, principal: Principal, limit: int = 100, originals: bool = False) -> list[Tombstone]:
        """The latest deletions."""
        self.permit(principal, "find", "tombstones")
        return await deletion.tombstones(self.readers, principal, limit, originals)

    async def collect(self, principal: Principal = LOCAL, now: int | None = None) -> Purged:
        """Remove what was deleted longer ago than the grace period."""
        grace = self.limits.archive.delete_grace_seconds, self.limits.archive.originals_grace_seconds
        with self.audited(principal, "purge"):
            try:
                return await deletion.collect(self.act, self.volumes, principal, grace, now)
            finally:  # some may have gone before it failed
                self._statistics.recount()

    async def _collect(self) -> bool:
        await asyncio.sleep(self.limits.archive.collect_every_seconds)
        await self.collect()
        return True

    # Reading

    async def find(self, principal: Principal, asked: Query, spare: frozenset[Tag] = frozenset()) -> Rows:
        """The rows that match; without what is `spare` of them where that is too much to read."""
        with self._reading(principal, "find", asked.level) as row:
            bounds = self.limits.archive
            try:
                rows = await query.find(self.readers, bounds, principal, asked, self._attributes)
            except LimitExceeded:
                if asked.include.isdisjoint(spare):
                    raise
                asked = replace(asked, include=asked.include - spare)
                rows = await query.find(self.readers, bounds, principal, asked, self._attributes)
            row.number = len(rows.rows)
        return rows

    async def pages(self, principal: Principal, asked: Query) -> AsyncGenerator[Rows, None]:
        """All rows that match, some at one time. One act, also if it is left early; so close it."""
        with self._reading(principal, "find", asked.level) as row:
            async for rows in query.pages(self.readers, self.limits.archive, principal, asked, self._attributes):
                row.number += len(rows.rows)
                yield rows

    async def count(self, principal: Principal, asked: Query, beside: bool = False) -> int:
        """How many rows match; `beside` those that were found just before, which is one act with it."""
        counting = query.count(self.readers, self.limits.archive, principal, asked, self._attributes)
        if beside:
            return await counting
        with self._reading(principal, "find", f"count {asked.level}"):
            return await counting

    async def find_non_patient(
        self,
        principal: Principal,
        sop_classes: Collection[str],
        keys: Keys,
        fuzzy: bool = False,
        offset: int = 0,
        limit: int | None = None,
    ) -> nonpatient.Page:
        """A page of the instances without a study, of these classes, that match."""
        with self._reading(principal, "find", "NONE") as row:
            asked = sop_classes, keys, fuzzy, offset, limit
            found = await nonpatient.find_non_patient(self.readers, self.limits.archive, principal, *asked)
            row.number = found.number
        return found

    async def instances(
        self,
        principal: Principal,
        *,
        study_uid: str | None = None,
        series_uid: str | None = None,
        sop_instance_uids: Iterable[str] | None = None,
        patient_id: str | None = None,
        verb: str = "get",
        detail: str = "",
    ) -> list[InstanceRef]:
        """The current instances below what is named, for this act. NotFound, Gone."""
        with self._reading(principal, verb, detail, study_uid or "") as row:
            refs = await retrieve.instances(
                self.readers, principal, study_uid=study_uid, series_uid=series_uid,
                sop_instance_uids=sop_instance_uids, patient_id=patient_id, verb=verb,
            )  # fmt: skip
            refs = await self._sizes.told(refs)
            row.study_uid, row.number = refs[0].study_uid or "", len(refs)
        return refs

    async def neighbours(self, principal: Principal, ref: InstanceRef, most: int) -> list[list[str]]:
        """What is next to an instance in its series, in each order that clients go by."""
        self.permit(principal, "get", "neighbours", study_uid=ref.study_uid or "")
        return await retrieve.neighbours(self.readers, principal, ref, most)

    async def versions(self, principal: Principal, sop_instance_uid: str) -> list[InstanceRef]:
        """Every version held under a SOP Instance UID."""
        self.permit(principal, "get", f"versions of {sop_instance_uid}")
        return await retrieve.versions(self.readers, principal, sop_instance_uid)

    def open_object(self, ref: InstanceRef) -> OpenObject:
        """The file of an instance, open. DamagedObject."""
        return retrieve.open_object(self.volumes, ref, self.limits.reader)

    def damage(self, refs: Sequence[InstanceRef]) -> dict[str, str]:
        """Which of them can't be read, by their digests, and why. Blocks: for a thread."""
        return retrieve.damage(self.volumes, refs, self._doubtful)

    def doubt(self, ref: InstanceRef) -> None:
        """It was not read to its end: `damage` reads all of it, until that can be done. From any thread."""
        self._doubtful.add(ref.digest)

    def metadata(self, principal: Principal, refs: Sequence[InstanceRef]) -> AsyncIterator[list[bytes]]:
        """The DICOM JSON objects of instances, some at a time."""
        of = (refs[0].study_uid or "") if refs else ""
        self.permit(principal, "get", "metadata", study_uid=of, number=len(refs))
        return retrieve.metadata(self.readers, principal, refs)

    def metadata_parts(self, principal: Principal, ref: InstanceRef) -> AsyncIterator[bytes]:
        """The DICOM JSON object of one instance in pieces."""
        self.permit(principal, "get", "metadata", study_uid=ref.study_uid or "", number=1)
        return retrieve.metadata_parts(self.readers, principal, ref)

    async def frame_ranges(self, ref: InstanceRef, frames: Sequence[int]) -> list[Ranges]:
        """Where frames lie in the data set."""
        return await retrieve.frame_ranges(self.readers, ref, frames)

    async def prepared(
        self, principal: Principal, refs: Sequence[InstanceRef], purpose: str = "rendering"
    ) -> list[retrieve.Prepared]:
        """What ingest kept of instances beside their files, with the corrections in force."""
        for study_uid, number in Counter(ref.study_uid or "" for ref in refs).items():
            self.permit(principal, "get", purpose, study_uid=study_uid, number=number)
        return await retrieve.effective(self.readers, principal, refs)

    async def changes(self, principal: Principal, since: str | None, limit: int) -> tuple[list[Change], str]:
        """What happened after a cursor, and the next cursor."""
        self.permit(principal, "find", "changes")
        return await self.feed.read(principal, since, limit)

    async def newest_change(self, principal: Principal) -> str:
        """The cursor of now."""
        self.permit(principal, "find", "newest change")
        return await self.feed.newest()

    def subscribe(self, principal: Principal, since: str | None) -> AsyncIterator[list[Change]]:
        """What happens after a cursor, for ever."""
        self.permit(principal, "find", "changes, for ever")
        return self.feed.subscribe(principal, since)

    async def statistics(self, principal: Principal) -> Counts:
        """What is held."""
        self.permit(principal, "find", "statistics")
        return await self._statistics.counts(principal)

    async def discrepancies(self, principal: Principal, study_uid: str = "", limit: int = 100) -> list[Discrepancy]:
        """The latest values that differ from the ones that are kept."""
        self.permit(principal, "find", "discrepancies", study_uid=study_uid)
        return await self._statistics.discrepancies(principal, study_uid, limit)

    async def latest_studies(self, principal: Principal, limit: int) -> list[LatestStudy]:
        """The studies made last."""
        self.permit(principal, "find", "latest studies")
        return await self._statistics.latest(principal, limit)
