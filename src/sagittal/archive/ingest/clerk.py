"""The clerk: a thread that does what has to wait, one turn at a time: files that are synced, commits, acts of others.
A turn that waits for the names of its files only is done by the thread that gives them.

When volume or index fail, every turn is refused until a probe goes through; no restart is needed. Deliberately not
here: what a turn is made of (`committer`), the steps of a batch (`batch`).
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
from dataclasses import dataclass, field
from typing import Any, Protocol

from sagittal.archive.index import clock
from sagittal.archive.index.connection import (
    TAKES_NOTHING,
    failure,
    is_of_the_moment,
    is_read_only,
    wait_for_nobody,
    wait_for_others,
)
from sagittal.archive.index.upkeep import settings
from sagittal.archive.index.writer import AuditRow, Held, IndexWriter
from sagittal.archive.ingest import recovery
from sagittal.archive.ingest.batch import Batch, Begun
from sagittal.archive.ingest.compare import Version
from sagittal.archive.ingest.incoming import Incoming
from sagittal.archive.ingest.versions import Comparer, Verdict
from sagittal.archive.local import LocalVolume
from sagittal.errors import SagittalError, StorageUnavailable, words_of
from sagittal.limits import ArchiveLimits

log = logging.getLogger("sagittal.archive")
Answers = list[tuple[asyncio.Future[Any], Any]]
Recovery = Callable[[], None]  # from a crash


@dataclass(slots=True)
class Act:
    """What another writer wants done."""

    run: Callable[[sqlite3.Connection], Any]
    audit: AuditRow | None
    answer: asyncio.Future[Any]


@dataclass(slots=True)
class Turn:
    """A batch, then acts. Without either: a probe of what is unwell, and the rows that wait for the audit log."""

    batch: list[Incoming] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    begun: Begun | None = None  # the batch, when its rows are written already


class Desk(Protocol):
    """Who gives the turns; called on the loop."""

    def deliver(self, answers: Answers) -> None:
        """Answers of a turn that goes on."""

    def ended(self, answers: Answers) -> None:
        """The turn has ended; the answers are those that were not delivered before."""

    def again(self, incoming: Incoming) -> None:
        """An arrival was compared, and wants another turn."""

    def look(self) -> None:
        """No turn came for `audit_seconds_max`."""


class Clerk:
    """`take`, `is_unwell` and `join` are for the loop; the rest runs on the thread.

    The index is the clerk's from `take` to `Desk.ended`, the loop's else.
    """

    def __init__(
        self,
        desk: Desk,
        index: IndexWriter,
        volume: LocalVolume,
        limits: ArchiveLimits,
        comparer: Comparer,
        recovery: Recovery | None,
    ) -> None:
        self.reason: str | None = None  # why the index takes nothing at the moment
        self.outlived = False  # the disk takes again what it did not as the index was opened, which has to be done anew
        self._took_nothing = False
        self.sync_threads = ThreadPoolExecutor(limits.sync_threads, thread_name_prefix="sync")
        self.batch = Batch(index, volume, self.sync_threads, limits.slow_rows_seconds)
        self.batch_sizes: Counter[int] = Counter()  # objects that one commit took -> commits
        self.last_batch = 0
        self.audit: deque[tuple[AuditRow, int]] = deque()  # filled on the loop, emptied by whose turn it is
        self._desk, self._index, self._volume, self._comparer = desk, index, volume, comparer
        self._recovery = recovery
        self._settle()
        wait_for_nobody(index.connection)  # the loop may use it
        self._idle_seconds = limits.audit_seconds_max
        self._spare_threads = limits.sync_threads > 1  # a turn may wait for files of its own
        self._loop = asyncio.get_running_loop()
        self._turns: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._answers: Answers = []
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def take(self, turn: Turn) -> None:
        """Do a turn, once the last has ended. If a thread is naming its files, that one does it: it is awake."""
        naming = None if turn.begun is None or turn.begun.error is not None else turn.begun.naming
        if naming is None or not self._spare_threads or not naming.then(lambda: self._do(turn)):
            self._turns.put(turn)

    async def join(self) -> None:
        """End the thread, and close the connection."""
        self._turns.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    @property
    def is_unwell(self) -> bool:
        return self._volume.reason is not None or self.reason is not None or self.batch.has_doubts

    # Turns

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            self._do(turn)
        self._comparer.close()
        self.sync_threads.shutdown()
        try:
            if self.audit:
                self._write_audit()
            wait_for_others(self._index.connection)  # the loop does not use it any more
            recovery.leave(self._index.connection)
        except (sqlite3.Error, OSError) as error:  # the mark of the opening stands
            log.warning("closing could not be written down: %s", error)
        self._index.connection.close()

    def _next(self) -> Turn | None:
        while True:
            try:
                return self._turns.get(timeout=self._idle_seconds)
            except queue.Empty:
                if self.audit or self.is_unwell:
                    self._tell(self._desk.look)

    def _do(self, turn: Turn) -> None:
        try:
            self._turn(turn)
        except Exception as error:  # one batch must not end the thread that every other one needs
            log.exception("the committer failed")
            waiting = [*(each.answer for each in turn.batch), *(each.answer for each in turn.acts)]
            self._answers += [(answer, _internal(error)) for answer in waiting]
        answers, self._answers = self._answers, []
        self._tell(self._desk.ended, answers)

    def _turn(self, turn: Turn) -> None:
        if self.is_unwell and not turn.batch:  # nothing is taken in while unwell, so this comes within its time
            self._recover()
        if turn.batch:
            self._store(turn.batch, turn.begun)
        for act in turn.acts:
            self._deliver()
            self._act(act)
        if self.audit and (not (turn.batch or turn.acts) or clock() - self.audit[0][1] >= self._idle_seconds * 1e6):
            self._deliver()  # no batch took them along
            self._write_audit()

    def _deliver(self) -> None:
        """What the turn has come to, before it goes on."""
        if self._answers:
            answers, self._answers = self._answers, []
            self._tell(self._desk.deliver, answers)

    def _tell(self, what: Callable[..., None], *given: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *given)

    # Batches

    def begin(self, batch: list[Incoming], *, patient: bool) -> Begun:
        """The rows of a batch; of whose turn it is."""
        return self.batch.begin(batch, [self.audit.popleft() for _ in range(len(self.audit))], patient=patient)

    def _store(self, batch: list[Incoming], begun: Begun | None) -> None:
        """Commit and answer a batch."""
        if begun is not None and begun.is_held_up:
            self.audit.extendleft(reversed(begun.audit))
            begun = None
        if reason := self._volume.reason or self.reason:
            begun = begun or Begun(batch, [])
            begun.error = begun.error or StorageUnavailable(reason)
        begun = begun or self.begin(batch, patient=True)
        for incoming in begun.compare:
            self._compare(incoming)
        try:
            self.batch.finish(begun)
        except Exception as error:
            self.audit.extendleft(reversed(begun.audit))
            self._failed(begun.chosen, error)
            return
        if not begun.chosen:
            self.audit.extendleft(reversed(begun.audit))
            return
        self._volume.faults.hit("index.committed")
        self.batch_sizes[len(begun.chosen)] += 1
        self.last_batch = len(begun.chosen)
        answers = self.batch.after(begun.chosen)
        self._volume.faults.hit("answer")
        self._answers += [(incoming.answer, answer) for incoming, answer in zip(begun.chosen, answers, strict=True)]

    def _failed(self, chosen: list[Incoming], error: Exception) -> None:
        answer = self._meaning(error)
        alone = answer is None and len(chosen) > 1  # find out whose fault it is
        self.batch.take_back(chosen, keep_files=alone)
        if alone:
            for incoming in chosen:
                self._store([incoming], None)
            return
        if answer is None:
            log.error("an object could not be indexed", exc_info=error)
            answer = _internal(error)
        self._answers += [(incoming.answer, answer) for incoming in chosen]

    def _meaning(self, error: Exception) -> SagittalError | None:
        """The answer that a failure of volume or index means; None: it is something about the object."""
        if isinstance(error, SagittalError):
            return error
        if not _is_index_failure(error):
            return None
        before, self.reason = self.reason, f"the index cannot be written: {error}"
        if self.reason != before:  # rows for the audit log are tried again every moment
            log.error("%s", self.reason)
        return StorageUnavailable(self.reason)

    def _compare(self, incoming: Incoming) -> None:
        """Have it compared with the version that is held; it comes back for another turn."""
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
                self._tell(self._desk.again, incoming)
                return
            incoming.discard()
            self._tell(self._desk.deliver, [(incoming.answer, self._meaning(verdict) or _internal(verdict))])

        try:
            self._comparer.submit(version, Held(*held), done)
        except Exception as error:  # no thread is to be had
            done(error)

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
            self._answers.append((act.answer, self._meaning(error) or error))
            return
        self._index.hierarchy.forget()  # the act may have changed any table
        self._volume.faults.hit("index.committed")
        self._answers.append((act.answer, result))

    def _write_audit(self) -> None:
        rows = [self.audit.popleft() for _ in range(len(self.audit))]
        try:
            self._index.begin()
            for row, at in rows:
                self._index.audit((row,), at)
            self._index.flush(clock())
            self._index.commit()
        except Exception as error:
            self._index.rollback()
            self.audit.extendleft(reversed(rows))
            if self._meaning(error) is None:
                raise

    def _settle(self) -> bool:
        """Recover from the last crash, before anything is taken in. False when index or disk do not take it now."""
        if self._recovery is not None:
            try:
                self._recovery()
            except (sqlite3.Error, OSError, StorageUnavailable) as error:
                if not _is_for_want_of_room(error):
                    raise
                told = failure(error)
                self.outlived = self.outlived or (self._took_nothing and is_read_only(error))
                self._took_nothing = told is None
                self.reason = told.text if told else f"the opening cannot be written down: {words_of(error)}"
                return False
            self._recovery = None
        return True

    def _recover(self) -> None:
        """Probe what is unwell; once all is well, remove what failed commits may have left."""
        if self._volume.reason is not None and self._volume.probe() is None:
            log.warning("the volume is well again")
        if self._recovery is not None and (self._volume.reason is not None or not self._settle()):
            return
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
        if self.reason is not None and (remaining := self._volume.remaining()) is not None:
            self.reason = remaining
        elif self.reason is not None:
            self.reason = None
            log.warning("the index is well again")
        if self._volume.reason is None:
            self.batch.settle_doubts()


def _is_index_failure(error: Exception) -> bool:
    return isinstance(error, OSError) or failure(error) is not None


def _is_for_want_of_room(error: Exception) -> bool:
    """Whether it failed for something that may pass, as a full disk."""
    full = isinstance(error, OSError) and error.errno in TAKES_NOTHING
    return full or isinstance(error, StorageUnavailable) or is_of_the_moment(error)


def _internal(error: Exception) -> SagittalError:
    return SagittalError(f"the object could not be indexed: {type(error).__name__}")
