"""One batch: from arrivals to durable, visible objects, or to nothing at all.

The order holds for every object: file synced, renamed, directory synced, index committed. The rows are written while
the files are synced and named (`naming`); nothing is visible before the commit. A failure before the commit takes files
and rows back at once. After a commit that failed nobody can know what a power cut would leave, so those files stay
until a later commit has gone through (`settle_doubts`). One turn at a time: `begin` may be the loop's, all else is the
clerk's.
"""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

from sagittal.archive.index import CURRENT, OTHER
from sagittal.archive.index.connection import is_busy
from sagittal.archive.index.writer import AuditRow, IndexWriter
from sagittal.archive.ingest import Outcome
from sagittal.archive.ingest.incoming import Incoming
from sagittal.archive.ingest.naming import Naming
from sagittal.archive.ingest.staging import Slowness
from sagittal.archive.ingest.versions import Plan, decide, encoded
from sagittal.archive.local import LocalVolume
from sagittal.dicom.dictionary import tag_text
from sagittal.errors import DuplicateInstance, SagittalError

log = logging.getLogger("sagittal.archive")

_TOLD = frozenset({Plan.NEW, Plan.KEEP, Plan.REPLACE, Plan.PROMOTE, Plan.TRANSCODE})  # by the change feed


@dataclass(slots=True)
class Begun:
    """A batch whose rows are written, or as far as that went."""

    chosen: list[Incoming]
    audit: list[tuple[AuditRow, int]]  # rows of others that go with it
    compare: list[Incoming] = field(default_factory=list)  # to be compared with what is held, first
    naming: Naming | None = None
    error: Exception | None = None

    @property
    def is_held_up(self) -> bool:
        """Another program writes into the index: nothing was begun."""
        return self.error is not None and is_busy(self.error)


class Batch:
    """Commits batches, one after the other."""

    def __init__(
        self, index: IndexWriter, volume: LocalVolume, threads: ThreadPoolExecutor, slow_seconds: float
    ) -> None:
        self._index = index
        self._slowness = Slowness(slow_seconds)
        self._volume = volume
        self._threads = threads
        self._committing = False
        self._doubts: list[tuple[str, str]] = []  # (SOP Instance UID, key) of files whose commit failed

    @property
    def is_slow(self) -> bool:
        """Whether rows take so long at the moment that a thread has to write them."""
        return self._slowness.slow

    def begin(self, waiting: list[Incoming], audit: list[tuple[AuditRow, int]], *, patient: bool) -> Begun:
        """Open a transaction and write the rows in it. What goes wrong is kept for `finish`, which may wait."""
        begun, began = Begun(waiting, audit), perf_counter()
        try:
            self._volume.faults.hit("index.begin")
            self._index.begin(patient=patient)
            begun.chosen, begun.compare = self._choose(waiting)
            if begun.chosen:
                self._write(begun)
        except Exception as error:
            begun.error = error
        took = perf_counter() - began
        self._slowness.took(took / len(waiting) if patient else took)  # a thread may take long for many
        return begun

    def finish(self, begun: Begun) -> None:
        """Wait for the files, and commit; or roll back, when nothing was chosen."""
        if begun.naming is not None:
            begun.naming.wait()
        if begun.error is not None:
            raise begun.error
        if begun.naming is None:
            self._index.rollback()
            return
        begun.naming.result()
        self._volume.faults.hit("index.commit")
        self._committing = True
        self._index.commit()
        self._committing = False

    def _choose(self, waiting: list[Incoming]) -> tuple[list[Incoming], list[Incoming]]:
        """Plan what can be done now, of each UID one; gives that, and what has to be compared first."""
        chosen, compare = [], []
        for incoming in waiting:
            place = incoming.arrival.store, incoming.arrival.sop_instance_uid
            held = incoming.held = self._index.current(*place)
            if (encodes := incoming.arrival.encodes) is not None:
                incoming.plan = encoded(encodes, incoming.arrival.digest, held)
                incoming.beside = self._index.other(*place, incoming.arrival.digest)
                if incoming.beside is not None:  # just this file was put aside once: it takes its place
                    incoming.arrival.key = incoming.beside.key
            elif held is None:
                incoming.plan = Plan.NEW
            elif incoming.verdict is None or (incoming.verdict.held, incoming.verdict.key) != (held.id, held.key):
                compare.append(incoming)
                continue
            else:
                digest = incoming.arrival.digest
                incoming.beside = self._index.other(*place, digest)
                incoming.plan = decide(incoming.policy, digest, held, incoming.verdict, incoming.beside)
            chosen.append(incoming)
        return chosen, compare

    def _write(self, begun: Begun) -> None:
        """The rows; the files get their names meanwhile."""
        index, chosen = self._index, begun.chosen
        files = [incoming for incoming in chosen if incoming.plan.has_file]
        for incoming in files:
            if not incoming.arrival.key:
                incoming.arrival.key = self._volume.place(incoming.arrival.digest)
        begun.naming = Naming(files, self._volume, self._threads)
        for incoming in chosen:
            self._row(incoming)
        at = chosen[-1].arrival.received_at
        for row, row_at in begun.audit:
            index.audit((row,), row_at)
        index.audit(_audit(chosen), at)
        index.flush(at)

    def after(self, chosen: list[Incoming]) -> list[Outcome | SagittalError]:
        """The answers, after the commit; what is not needed any more goes."""
        for incoming in chosen:
            incoming.discard()
            left = {Plan.REPAIR: incoming.held, Plan.PROMOTE: incoming.beside}.get(incoming.plan)
            if left is not None and left.key != incoming.arrival.key:  # the same file lay there
                self._remove(incoming.arrival.sop_instance_uid, left.key)
        return [_answer(incoming) for incoming in chosen]

    def take_back(self, chosen: list[Incoming], *, keep_files: bool = False) -> None:
        """Undo: the transaction, and the files unless they are to be tried again."""
        doubtful, self._committing = self._committing, False
        try:
            self._index.rollback()
        except Exception:
            log.exception("the index could not roll back")
            doubtful = True
        if keep_files and not doubtful:
            return
        for incoming in chosen:
            incoming.discard()
            if incoming.adopted:
                uid, key = incoming.arrival.sop_instance_uid, incoming.arrival.key
                if doubtful:
                    self._doubts.append((uid, key))
                else:
                    self._remove(uid, key)

    def settle_doubts(self) -> None:
        """A commit has gone through: files of failed ones that no row refers to go."""
        doubts, self._doubts = self._doubts, []
        for uid, key in doubts:
            self._remove(uid, key)

    @property
    def has_doubts(self) -> bool:
        return bool(self._doubts)

    def _remove(self, uid: str, key: str) -> None:
        try:
            if not self._index.is_referred_to(uid, key):
                self._volume.delete(key)
        except Exception:
            log.exception("an object without a row could not be removed; it is tried again")
            self._doubts.append((uid, key))

    def _row(self, incoming: Incoming) -> None:
        """The rows of one arrival."""
        index, arrival, plan, held, beside = (
            self._index, incoming.arrival, incoming.plan, incoming.held, incoming.beside,
        )  # fmt: skip
        if plan is Plan.OUTDATED:
            return
        at = arrival.received_at
        instance = None if held is None else held.id
        if plan in (Plan.REPAIR, Plan.PROMOTE):
            index.move(arrival, held.key if plan is Plan.REPAIR and held is not None else "")
        if plan in (Plan.REPLACE, Plan.PROMOTE) and held is not None:
            index.demote(held, at)
        if plan is Plan.PROMOTE and beside is not None:
            index.promote(beside, at)
        if plan in (Plan.NEW, Plan.REPLACE):
            instance = index.add(arrival, CURRENT)
        elif plan is Plan.KEEP:
            instance = index.add(arrival, OTHER)
        elif plan is Plan.TRANSCODE and held is not None:
            instance = index.reencode(arrival, held, beside)
        elif beside is not None:
            instance = beside.id
        index.receipt(arrival, instance, plan.status)
        if instance is not None and plan in _TOLD:
            index.change(arrival, instance, plan.status)


def _answer(incoming: Incoming) -> Outcome | SagittalError:
    arrival, verdict, plan = incoming.arrival, incoming.verdict, incoming.plan
    offending = None if verdict is None else verdict.offending
    if plan is Plan.REFUSE:
        where = "" if offending is None else f", differing in {tag_text(offending)}"
        return DuplicateInstance(f"other content is held under this UID{where}")  # an Error Comment has 64 characters
    digest = incoming.held.digest if plan is Plan.DUPLICATE and incoming.held is not None else arrival.digest
    return Outcome(
        plan.status,
        arrival.sop_class_uid,
        arrival.sop_instance_uid,
        arrival.series_uid,
        arrival.study_uid,
        digest,
        arrival.defects,
        offending,
    )


def _audit(chosen: list[Incoming]) -> list[AuditRow]:
    """One row for each sender, study and outcome of the batch."""
    counts: Counter[tuple[str, str, str, str, str, str, int]] = Counter()
    for incoming in chosen:
        arrival = incoming.arrival
        who, plan = (arrival.principal, arrival.principal_kind), incoming.plan
        counts[*who, plan.verb, plan.status, arrival.address, arrival.study_uid, arrival.store] += 1
    return [
        AuditRow(principal, kind, verb, outcome, address, study_uid, number_of_instances=count, store=store)
        for (principal, kind, verb, outcome, address, study_uid, store), count in counts.items()
    ]
