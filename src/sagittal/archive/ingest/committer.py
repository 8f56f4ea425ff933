"""The committer: what has arrived waits here for its turn, and comes batch by batch into the index.

All associations meet here, so that many objects share one sync of the directory and one commit. The loop itself writes
the rows of a few objects, as it does their bytes, because that costs less than two threads that want the interpreter;
those of many, or while rows take long, the clerk writes, who does all that has to wait. Other writers hand their act to
the same turns. Deliberately not here: the thread (`clerk`), the steps of a batch (`batch`), what becomes of a UID that
is held (`versions`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sagittal.archive.index import clock
from sagittal.archive.index.arrival import Arrival
from sagittal.archive.index.finding.attributes import Attribute
from sagittal.archive.index.writer import AuditRow, IndexWriter
from sagittal.archive.ingest import Outcome
from sagittal.archive.ingest.clerk import Act, Answers, Clerk, Recovery, Turn
from sagittal.archive.ingest.incoming import Incoming
from sagittal.archive.ingest.spool import Spool
from sagittal.archive.ingest.staging import Pen
from sagittal.archive.ingest.versions import Comparer
from sagittal.archive.local import LocalVolume
from sagittal.errors import Busy, SagittalError, StorageUnavailable
from sagittal.limits import ArchiveLimits

T = TypeVar("T")


class Committer:
    """All of it runs on the loop. `turn`s are the clerk's, one at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        volume: LocalVolume,
        limits: ArchiveLimits,
        comparer: Comparer,
        committed: Callable[[], None],
        wanted: tuple[Attribute, ...] = (),
        recovery: Recovery | None = None,
    ) -> None:
        """`committed` is called after every commit; `wanted` are attributes to index besides. As long as `recovery`
        can't be done nothing is taken in.
        """
        self.waiting = 0  # objects between `submit` and their answer
        self._volume = volume
        self._limits = limits
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._arrivals: list[Incoming] = []
        self._behind: dict[tuple[int, str], list[Incoming]] = {}  # what waits for an earlier one of its UID, in a store
        self._acts: list[Act] = []
        self._coming = self._under_way = False  # a turn: about to begin, and begun
        self._closing = self._closed = False
        self._rest = asyncio.Event()
        self._clerk = Clerk(self, IndexWriter(connection, wanted), volume, limits, comparer, recovery)
        self.batch_sizes = self._clerk.batch_sizes

    @property
    def reason(self) -> str | None:
        """Why the index takes nothing at the moment."""
        return self._clerk.reason

    @property
    def outlived(self) -> bool:
        """Whether the directory has to be opened anew to be written."""
        return self._clerk.outlived

    def inherit(self, other: Committer) -> None:
        """The rows for the audit log that another, closed, could not write."""
        self._clerk.audit.extendleft(reversed(other._clerk.audit))

    def check(self) -> None:
        """StorageUnavailable or Busy when an object would be refused at the moment."""
        self._check_open()
        self._volume.check()
        if self.reason is not None:
            raise StorageUnavailable(self.reason)
        if self.waiting >= self._limits.commit_queue_max:
            raise Busy("too many objects wait to be committed")

    def _check_open(self) -> None:
        if self._closing:  # nobody would come for what is put behind the end
            raise StorageUnavailable("the archive is closing")

    def begin(self, pen: Pen) -> None:
        """Begin to sync a file that is complete, before it is submitted: where the next will not come with it."""
        if self._clerk.last_batch <= 1 and not self.waiting:
            pen.sync(self._clerk.sync_threads)

    async def submit(self, arrival: Arrival, pen: Pen, spool: Spool, policy: str) -> Outcome:
        """Returns once the object is durable and visible. Raises a SagittalError; then nothing of it remains."""
        try:
            self.check()
            pen.sync(self._clerk.sync_threads)
        except (SagittalError, RuntimeError):  # no thread is to be had
            pen.discard()
            spool.discard()
            raise
        incoming = Incoming(arrival, pen, spool, policy, self._loop.create_future())
        self.waiting += 1
        place = arrival.store, arrival.sop_instance_uid
        incoming.answer.add_done_callback(partial(self._answered, place))
        if (behind := self._behind.get(place)) is not None:
            behind.append(incoming)
        else:
            self._behind[place] = []
            self.again(incoming)
        return await asyncio.shield(incoming.answer)

    async def act(self, run: Callable[[sqlite3.Connection], T], audit: AuditRow | None = None) -> T:
        """`run(connection)` in a transaction of its own on the clerk's thread, committed with its audit row."""
        self._check_open()
        act = Act(run, audit, self._loop.create_future())
        self._acts.append(act)
        self._call()
        result: T = await asyncio.shield(act.answer)
        return result

    def audit(self, row: AuditRow) -> None:
        """A row for the audit log, written with the next batch, or within `audit_seconds_max`.

        Busy when `audit_rows_max` wait: the index has not taken any for long.
        """
        if len(self._clerk.audit) >= self._limits.audit_rows_max:
            raise Busy("too many rows wait for the audit log")
        self._clerk.audit.append((row, clock()))

    async def close(self) -> None:
        """Finish what was submitted, then end the thread and close the connection."""
        self._closing = True
        self._call()
        while self.waiting or self._coming or self._under_way:
            await self._rest.wait()
        self._closed = True
        await self._clerk.join()

    def _answered(self, place: tuple[int, str], answer: asyncio.Future[Outcome]) -> None:
        self.waiting -= 1
        if behind := self._behind[place]:
            self.again(behind.pop(0))
        else:
            del self._behind[place]
        if not answer.cancelled():
            answer.exception()  # a sender that is gone must not leave "never retrieved" behind
        if self._closing:  # for this one, perhaps
            self._call()

    # Turns

    def _call(self) -> None:
        """Begin a turn, once what has come from the sockets meanwhile is with those that wait for it."""
        self._rest.clear()
        if not (self._coming or self._under_way or self._closed):
            self._coming = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._coming = False
        most = self._limits.commit_batch_max
        batch, self._arrivals = self._arrivals[:most], self._arrivals[most:]
        acts, self._acts = self._acts, []
        if batch or acts:
            self._begin(Turn(batch, acts))
        elif not self.waiting:
            self._rest.set()

    def _begin(self, turn: Turn) -> None:
        self._under_way = True
        self._rest.clear()
        if self._is_brief(turn.batch):
            turn.begun = self._clerk.begin(turn.batch, patient=False)
        self._clerk.take(turn)

    def _is_brief(self, batch: list[Incoming]) -> bool:
        """Whether the loop may write these rows itself."""
        few = 0 < len(batch) <= self._limits.rows_inline_max and all(incoming.spool.is_brief for incoming in batch)
        if not few or len(self._clerk.audit) > self._limits.audit_rows_inline_max:
            return False
        return self._volume.has_room(len(batch)) and not (self._clerk.batch.is_slow or self._clerk.is_unwell)

    # For the clerk

    def deliver(self, answers: Answers) -> None:
        for future, answer in answers:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._committed()

    def ended(self, answers: Answers) -> None:
        self._under_way = False
        try:
            self.deliver(answers)
        finally:
            self._call()

    def again(self, incoming: Incoming) -> None:
        self._arrivals.append(incoming)
        self._call()

    def look(self) -> None:
        if not (self._coming or self._under_way or self._closed):
            self._begin(Turn())
