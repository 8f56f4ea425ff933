"""The committer: one thread that owns the writing connection and takes whatever has piled up, batch by batch.

All associations meet here, so that many objects share one sync of the directory and one commit. Other writers hand
their act to the same thread. When volume or index fail, everything is refused until a probe goes through; no restart
is needed. Deliberately not here: the steps of a batch (`batch`), what becomes of a UID that is held (`versions`).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sagittal.archive.index import clock
from sagittal.archive.index.arrival import Arrival
from sagittal.archive.index.connection import failure
from sagittal.archive.index.finding.attributes import Attribute
from sagittal.archive.index.upkeep import settings
from sagittal.archive.index.writer import AuditRow, Held, IndexWriter
from sagittal.archive.ingest import Outcome, recovery
from sagittal.archive.ingest.batch import Batch
from sagittal.archive.ingest.compare import Version
from sagittal.archive.ingest.incoming import Incoming
from sagittal.archive.ingest.spool import Spool
from sagittal.archive.ingest.staging import Pen
from sagittal.archive.ingest.versions import Comparer, Verdict
from sagittal.archive.local import LocalVolume
from sagittal.errors import Busy, SagittalError, StorageUnavailable
from sagittal.limits import ArchiveLimits

T = TypeVar("T")
log = logging.getLogger("sagittal.archive")


@dataclass(slots=True)
class Act:
    """Another writer's turn."""

    run: Callable[[sqlite3.Connection], Any]
    audit: AuditRow | None
    answer: asyncio.Future[Any]


class Committer:
    """`submit`, `act` and `audit` are for the loop; the rest runs on the thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        volume: LocalVolume,
        limits: ArchiveLimits,
        comparer: Comparer,
        committed: Callable[[], None],
        wanted: tuple[Attribute, ...] = (),
    ) -> None:
        """`committed` is called on the loop after every commit; `wanted` are attributes to index besides."""
        self.reason: str | None = None  # why the index takes nothing at the moment
        self._closing = False
        self.waiting = 0  # objects between `submit` and their answer
        self._index = IndexWriter(connection, wanted)
        self._volume = volume
        self._limits = limits
        self._comparer = comparer
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Incoming | Act | None] = queue.SimpleQueue()
        self._sync_threads = ThreadPoolExecutor(limits.sync_threads, thread_name_prefix="sync")
        self._batch = Batch(self._index, volume, self._sync_threads)
        self.batch_sizes: Counter[int] = Counter()  # objects that one commit took -> commits
        self._last_batch = 0
        self._audit: deque[tuple[AuditRow, int]] = deque()  # filled on the loop, emptied on the thread
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    # From the loop

    def check(self) -> None:
        """StorageUnavailable or Busy when an object would be refused at the moment."""
        self._check_open()
        self._volume.check()
        if self.reason is not None:
            raise StorageUnavailable(self.reason)
        if self.waiting >= self._limits.commit_queue_max:
            raise Busy("too many objects wait to be committed")

    def _check_open(self) -> None:
        if self._closing:  # what is put behind the end of the queue would wait for ever
            raise StorageUnavailable("the archive is closing")

    def begin(self, pen: Pen) -> None:
        """Begin to sync a file that is complete, before it is submitted: where the next will not come with it."""
        if self._last_batch <= 1 and not self.waiting:
            pen.sync(self._sync_threads)

    async def submit(self, arrival: Arrival, pen: Pen, spool: Spool, policy: str) -> Outcome:
        """Returns once the object is durable and visible. Raises a SagittalError; then nothing of it remains."""
        try:
            self.check()
        except SagittalError:
            pen.discard()
            spool.discard()
            raise
        incoming = Incoming(arrival, pen, spool, policy, self._loop.create_future())
        self.waiting += 1
        incoming.answer.add_done_callback(self._answered)
        pen.sync(self._sync_threads)
        self._queue.put(incoming)
        return await asyncio.shield(incoming.answer)

    async def act(self, run: Callable[[sqlite3.Connection], T], audit: AuditRow | None = None) -> T:
        """`run(connection)` in a transaction of its own on the committer thread, committed with its audit row."""
        self._check_open()
        act = Act(run, audit, self._loop.create_future())
        self._queue.put(act)
        result: T = await asyncio.shield(act.answer)
        return result

    def audit(self, row: AuditRow) -> None:
        """A row for the audit log, written with the next batch, or within `audit_seconds_max`.

        Busy when `audit_rows_max` wait: the index has not taken any for long.
        """
        if len(self._audit) >= self._limits.audit_rows_max:
            raise Busy("too many rows wait for the audit log")
        self._audit.append((row, clock()))

    async def close(self) -> None:
        """Finish what was submitted, then end the thread and close the connection."""
        self._closing = True
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _answered(self, answer: asyncio.Future[Outcome]) -> None:
        self.waiting -= 1
        if not answer.cancelled():
            answer.exception()  # a sender that is gone must not leave "never retrieved" behind

    # The thread

    def _run(self) -> None:
        running = True
        while running:
            batch: list[Incoming] = []
            acts: list[Act] = []
            running = self._gather(batch, acts, self._limits.audit_seconds_max)
            try:
                self._turn(batch, acts)
            except Exception as error:  # one batch must not end the thread that every other one needs
                log.exception("the committer failed")
                self._answer([(incoming.answer, _internal(error)) for incoming in batch])
                self._answer([(act.answer, _internal(error)) for act in acts])
        self._comparer.close()
        self._sync_threads.shutdown()
        self._leave()
        leftover: list[Incoming] = []
        self._gather(leftover, [], 0.0)
        for incoming in leftover:
            incoming.discard()
        self._answer([(incoming.answer, StorageUnavailable("the archive is closing")) for incoming in leftover])

    def _leave(self) -> None:
        try:
            recovery.leave(self._index.connection)
        except (sqlite3.Error, OSError) as error:  # the mark of the opening stands
            log.warning("closing could not be written down: %s", error)
        self._index.connection.close()

    def _gather(self, batch: list[Incoming], acts: list[Act], seconds: float) -> bool:
        """Take what has piled up; waits `seconds` for something. False when the archive is closing."""
        try:
            item = self._queue.get(timeout=seconds)
            while item is not None:
                if isinstance(item, Act):
                    acts.append(item)
                else:
                    batch.append(item)
                if len(batch) >= self._limits.commit_batch_max:
                    return True
                item = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _turn(self, batch: list[Incoming], acts: list[Act]) -> None:
        unwell = self._volume.reason is not None or self.reason is not None or self._batch.has_doubts
        if unwell and not batch:  # nothing is taken in while unwell, so this comes within `audit_seconds_max`
            self._recover()
        while batch:
            batch = self._store(batch)
        for act in acts:
            self._act(act)
        if self._audit:
            self._write_audit()

    # Batches

    def _store(self, batch: list[Incoming]) -> list[Incoming]:
        """Commit and answer a batch; gives those that had to wait for it."""
        chosen, later = batch, list[Incoming]()
        audit = self._take_audit()
        try:
            if reason := self._volume.reason or self.reason:
                raise StorageUnavailable(reason)
            self._volume.faults.hit("index.begin")
            self._index.begin()
            chosen, compare, later = self._batch.choose(batch)
            for incoming in compare:
                self._compare(incoming)
            if not chosen:
                self._index.rollback()
                self._audit.extendleft(reversed(audit))
                return later
            self._batch.write(chosen, audit)
        except Exception as error:
            self._audit.extendleft(reversed(audit))
            self._failed(chosen, error)
            return later
        self._volume.faults.hit("index.committed")
        self.batch_sizes[len(chosen)] += 1
        self._last_batch = len(chosen)
        answers = self._batch.after(chosen)
        self._volume.faults.hit("answer")
        self._answer([(incoming.answer, answer) for incoming, answer in zip(chosen, answers, strict=True)])
        return later

    def _failed(self, chosen: list[Incoming], error: Exception) -> None:
        answer = self._meaning(error)
        alone = answer is None and len(chosen) > 1  # find out whose fault it is
        self._batch.take_back(chosen, keep_files=alone)
        if alone:
            for incoming in chosen:
                self._store([incoming])
            return
        if answer is None:
            log.error("an object could not be indexed", exc_info=error)
            answer = _internal(error)
        self._answer([(incoming.answer, answer) for incoming in chosen])

    def _meaning(self, error: Exception) -> SagittalError | None:
        """The answer that a failure of volume or index means; None: it is something about the object."""
        if isinstance(error, SagittalError):
            return error
        if not _is_index_failure(error):
            return None
        self.reason = f"the index cannot be written: {error}"
        log.error("%s", self.reason)
        return StorageUnavailable(self.reason)

    def _compare(self, incoming: Incoming) -> None:
        """Have it compared with the version that is held; it comes back into the queue."""
        held, arrival = incoming.held, incoming.arrival
        assert held is not None

        def version() -> Version:
            if incoming.pen.synced is not None:
                incoming.pen.synced.result()
            staged = incoming.pen.settle()
            length, header_length = arrival.length, arrival.header_length
            return Version(staged.fd, header_length, length, arrival.syntax_uid, arrival.digest, incoming.spool)

        def done(verdict: Verdict | Exception) -> None:
            if isinstance(verdict, Verdict):
                incoming.verdict = verdict
                self._queue.put(incoming)
                return
            incoming.discard()
            self._answer([(incoming.answer, self._meaning(verdict) or _internal(verdict))])

        self._comparer.submit(version, Held(*held), done)

    # Acts, audit, health

    def _act(self, act: Act) -> None:
        try:
            self._volume.faults.hit("index.begin")
            self._index.begin()
            result = act.run(self._index.connection)
            if act.audit is not None:
                self._index.audit((act.audit,), clock())
                self._index.flush(clock())
            self._volume.faults.hit("index.commit")
            self._index.commit()
        except Exception as error:
            self._index.rollback()
            self._answer([(act.answer, self._meaning(error) or error)])
            return
        self._index.hierarchy.forget()  # the act may have changed any table
        self._volume.faults.hit("index.committed")
        self._answer([(act.answer, result)])

    def _take_audit(self) -> list[tuple[AuditRow, int]]:
        return [self._audit.popleft() for _ in range(len(self._audit))]

    def _write_audit(self) -> None:
        rows = self._take_audit()
        try:
            self._index.begin()
            for row, at in rows:
                self._index.audit((row,), at)
            self._index.flush(clock())
            self._index.commit()
        except Exception as error:
            self._index.rollback()
            self._audit.extendleft(reversed(rows))
            if self._meaning(error) is None:
                raise

    def _recover(self) -> None:
        """Probe what is unwell; once all is well, remove what failed commits may have left."""
        if self._volume.reason is not None and self._volume.probe() is None:
            log.warning("the volume is well again")
        try:
            self._volume.faults.hit("index.begin")
            self._index.begin()
            settings.write(self._index.connection, "probed_at", clock())
            self._volume.faults.hit("index.commit")
            self._index.commit()
        except (sqlite3.Error, OSError) as error:
            self._index.rollback()
            self.reason = f"the index cannot be written: {error}"
            return
        if self.reason is not None:
            self.reason = None
            log.warning("the index is well again")
        if self._volume.reason is None:
            self._batch.settle_doubts()

    def _answer(self, answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
        """All answers in one hop to the loop."""
        if answers and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, answers)

    def _deliver(self, answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
        for future, answer in answers:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._committed()


def _is_index_failure(error: Exception) -> bool:
    return isinstance(error, OSError) or failure(error) is not None


def _internal(error: Exception) -> SagittalError:
    return SagittalError(f"the object could not be indexed: {type(error).__name__}")
