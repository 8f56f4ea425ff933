"""Objects that came in get another transfer syntax, by the rules of the configuration and after their senders' answer.

It follows the change feed: what an object came with is committed with it, so ingest does nothing more, and after a
crash this goes on where it was (`index.transcoding.queue`). A worker makes and verifies the file (`convert.verified`);
that goes the way of every object, and the transaction that makes it current lets the original go, if that is current
still (`ingest.versions`). What information is lost of is an instance of its own, beside the original or in its stead.

What can't be made stays as it came, with the reason: it is tried again only when somebody asks. Deliberately not here:
what a rule fits (`rules`).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.archive.access import Principal, audit_row, authorize
from sagittal.archive.index import clock
from sagittal.archive.index.arrival import Encodes
from sagittal.archive.index.transcoding import originals, queue
from sagittal.archive.index.transcoding.queue import Candidate, Failure, State
from sagittal.archive.index.upkeep import feed
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.references import InstanceRef
from sagittal.archive.transcoding.maker import uid_of_lossy
from sagittal.archive.transcoding.rules import Rule, first
from sagittal.errors import (
    PASSING,
    DamagedObject,
    NotAcceptable,
    NotFound,
    PixelsUndecodable,
    SagittalError,
    StorageUnavailable,
)
from sagittal.lasting import lasting
from sagittal.pixels.reach import loses
from sagittal.workers.worker import Input

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive
    from sagittal.limits import Limits
    from sagittal.workers.pool import Pool

log = logging.getLogger("sagittal.transcode")

_CALL = "sagittal.convert.verified:verified"
_CHANGES = 200  # looked at one time, and done again after a crash
_GATHER_SECONDS = 0.2  # after a commit: others follow, and are looked at together
_CHUNK_BYTES = 1 << 18  # what is written on the loop at one time
_REASON_CHARACTERS = 300


class Task(NamedTuple):
    """An object and the rule that fits it."""

    candidate: Candidate
    rule: Rule


class Report(NamedTuple):
    """How far the rules are, and what stayed as it came."""

    state: State
    failures: list[Failure]


class Tally(NamedTuple):
    """The same in four numbers."""

    rules: int
    waiting: int  # changes that they have not looked at yet
    done: int  # objects that this process transcoded
    failed: int  # objects that stay as they came, whoever tried


class ByRule:
    """Transcodes for one archive while `run` does."""

    def __init__(self, archive: Archive, workers: Pool, rules: Sequence[Rule], limits: Limits) -> None:
        self._archive, self._workers, self._rules, self._limits = archive, workers, tuple(rules), limits
        self._cursor = 0  # the last change that was looked at
        self._asked = asyncio.Event()  # somebody wants failed ones tried again
        self._settled: dict[int, bool] = {}  # of the page that is under way: versions, and whether it went well
        self.counts: Counter[tuple[int, str]] = Counter()  # (store, "done" | "failed") -> how often, since the start

    async def begin(self) -> None:
        """Before anything comes in: go on from where it was. What came before there were rules is none of theirs."""
        cursor = await self._archive.readers.run(queue.cursor)
        if cursor is not None and self._rules:
            self._cursor = cursor
        elif cursor is not None or self._rules:
            self._cursor = newest = await self._archive.readers.run(feed.newest)
            keep = partial(queue.advance, change=newest) if self._rules else queue.forget
            try:
                await self._archive.act(keep)
            except StorageUnavailable as error:  # then nothing comes in either
                log.warning("it could not be kept where transcoding by rule begins: %s", error)

    async def run(self) -> None:
        """For ever; without rules it ends at once."""
        await lasting(self._step, "transcoding by rule", log)

    async def _step(self) -> bool:
        """What came in next, or wait for something."""
        if not self._rules:
            return False
        archive, cursor = self._archive, self._cursor
        committed = archive.feed.committed()  # before reading, so that no commit falls between
        self._asked.clear()
        again = await archive.readers.run(queue.again, _CHANGES)
        found, last = await archive.readers.run(queue.page, cursor, _CHANGES)
        if not again and last == cursor:
            await self._wait(committed)
            return True
        committed.cancel()
        await self._page(again + found)
        archive.volume.faults.hit("transcode.advance")
        well = [one.instance for one in again if self._settled.get(one.instance, True)]
        await archive.act(partial(_looked_at, change=last, again=well))
        self._settled.clear()
        self._cursor = last
        return True

    async def _wait(self, committed: asyncio.Future[None]) -> None:
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((asked, committed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            committed.cancel()
        await asyncio.sleep(_GATHER_SECONDS)

    async def _page(self, found: Sequence[Candidate]) -> None:
        """Do what rules fit, as many at a time as there are workers. Raises what has to be waited for."""
        ruled = ((one, first(self._rules, one, self._archive.stores)) for one in found)
        tasks = (Task(one, rule) for one, rule in ruled if rule is not None and one.instance not in self._settled)
        at_once = [asyncio.ensure_future(self._some(tasks)) for _ in range(self._workers.turns.size)]
        try:
            await asyncio.gather(*at_once)
        finally:
            for each in at_once:
                each.cancel()
            await asyncio.wait(at_once)

    async def _some(self, tasks: Iterator[Task]) -> None:
        for task in tasks:
            well = True
            try:
                done = await self._one(task)
            except PASSING:
                raise
            except NotFound:
                pass  # it went meanwhile
            except Exception as error:  # one object must not keep the others from it
                self._archive.volume.check()  # it may have been the volume, which is waited for
                await self._failed(task, error)
                well = False
            else:
                self.counts[task.candidate.store, "done"] += done
            self._settled[task.candidate.instance] = well

    # One object

    async def _one(self, task: Task) -> bool:
        """Whether it has what the rule wants now, and not something that came meanwhile."""
        row = await self._archive.readers.run(queue.reference, task.candidate)
        if row is None:
            return False
        ref, (target, aside) = InstanceRef(*row), self._files()
        try:
            told = await self._made(ref, task.rule, target, aside)
            self._archive.volume.faults.hit("transcode.made")
            outcome = await self._store(ref, task, told, target)
        finally:
            os.close(target)
            os.close(aside)
        if outcome.status != "outdated":
            self._tell(ref, task.rule, told, outcome)
        if told["loses"]:
            await self._let_source_go(ref, task.rule, told, outcome)
        return outcome.status != "outdated"

    def _files(self) -> tuple[int, int]:
        target = self._archive.volume.unnamed()
        try:
            return target, self._archive.volume.unnamed()
        except BaseException:
            os.close(target)
            raise

    async def _made(self, ref: InstanceRef, rule: Rule, target: int, aside: int) -> Mapping[str, Any]:
        """What the worker tells of the file that it made and verified."""
        options = rule.options
        may_lose = rule.lossy and loses(ref.syntax_uid, rule.to)
        uid = uid_of_lossy(ref, rule.to, options) if may_lose else ""
        with self._archive.open_object(ref) as opened:
            files = [Input(opened.fd, opened.offset, opened.length), Input(target, 0, 0), Input(aside, 0, 0)]
            seconds = self._limits.archive.transcode_seconds_max
            answer = await self._workers.run(
                _CALL, files, seconds=seconds, background=True, digest=ref.digest, sop_class=ref.sop_class_uid,
                to_syntax=rule.to, options=options, instance_uid=uid, error_max=-1 if rule.near is None else rule.near,
            )  # fmt: skip
        return answer.told

    async def _store(self, ref: InstanceRef, task: Task, told: Mapping[str, Any], target: int) -> Outcome:
        """The way of every object, from the file that was made."""
        encodes = None if told["loses"] else Encodes(ref.id, told["digest"], told["pixels"])
        source = Source("transcode", character_set=task.candidate.character_set, encodes=encodes)
        transfer, at = self._archive.store_begin_part10(_principal(ref.store), source), 0
        try:
            while piece := os.pread(target, _CHUNK_BYTES, at):
                transfer.write(piece)
                at += len(piece)
                waiting = transfer.ready()
                await (asyncio.sleep(0) if waiting is None else waiting)
        except BaseException:
            transfer.discard()
            raise
        outcome = await transfer.commit()
        if outcome.status in ("outdated", "stored") and outcome.digest != told["digest"]:
            raise DamagedObject("what was stored is not what was verified")
        return outcome

    async def _let_source_go(self, ref: InstanceRef, rule: Rule, told: Mapping[str, Any], outcome: Outcome) -> None:
        """Of what is an instance of its own: delete the original if the rule says so, and if the other is held."""
        if (outcome.digest, outcome.sop_instance_uid) != (told["digest"], told["sop_instance_uid"]):
            raise DamagedObject("what is held is not what was verified")
        if rule.keep_original:
            return
        self._archive.volume.faults.hit("transcode.stored")
        who, made = _principal(ref.store), (outcome.sop_instance_uid, outcome.digest)
        await self._archive.act(
            lambda connection: originals.hide_source(connection, ref.id, made, rule.to, who.name, clock()),
            audit_row(who, "transcode", "done", "", ref.study_uid or "", f"{ref.sop_instance_uid} deleted", 1),
        )

    def _tell(self, ref: InstanceRef, rule: Rule, told: Mapping[str, Any], outcome: Outcome) -> None:
        fields = {"instance": ref.sop_instance_uid, "from": ref.syntax_uid, "to": rule.to, "outcome": outcome.status}
        if told["loses"]:
            fields |= {"derived": outcome.sop_instance_uid, "error_max": f"{told['error']:g}"}
        log.debug("transcoded by rule", extra={"fields": fields})

    async def _failed(self, task: Task, error: Exception) -> None:
        """One line in the log, one row: it stays as it came."""
        reason = error.text if isinstance(error, SagittalError) else f"{type(error).__name__}: {error}"
        one, to = task.candidate, task.rule.to
        fields = {"version": one.instance, "from": one.syntax_uid, "to": to}
        known = isinstance(error, SagittalError)
        cannot = isinstance(error, NotAcceptable) and not isinstance(error, PixelsUndecodable)  # nothing is wrong
        level = logging.INFO if cannot else logging.WARNING
        log.log(level, "not transcoded: %s", reason, exc_info=None if known else error, extra={"fields": fields})
        row = (one.instance, to, reason[:_REASON_CHARACTERS], clock())
        who = _principal(one.store)
        audit = audit_row(who, "transcode", "failed", detail=reason, number_of_instances=1)
        await self._archive.act(lambda connection: queue.failed(connection, *row), audit)
        self.counts[one.store, "failed"] += 1

    # For people

    @property
    def rules(self) -> int:
        """How many there are."""
        return len(self._rules)

    async def report(self, principal: Principal, limit: int) -> Report:
        """How far the rules are, and the latest objects of the principal's store that stayed as they came."""
        self._archive.permit(principal, "find", "transcoding")
        return await self._archive.readers.run(
            lambda connection: Report(
                queue.state(connection, principal.store), queue.failures(connection, principal.store, limit)
            )
        )

    async def tally(self, principal: Principal) -> Tally:
        """How far the rules are with the principal's store, as counts are: without a row of the audit log."""
        authorize(principal, "find")
        state = await self._archive.readers.run(queue.state, principal.store)
        return Tally(self.rules, state.waiting, self.counts[principal.store, "done"], state.failed)

    async def again(self, principal: Principal) -> int:
        """Try everything of the principal's store again that stayed as it came; gives how many."""
        with self._archive.audited(principal, "transcode again"):
            authorize(principal, "change")
            ask: Callable[..., int] = partial(queue.ask_again, store=principal.store)
            count = await self._archive.act(ask, audit_row(principal, "transcode again"))
        self._asked.set()
        return count


def _looked_at(connection: Any, change: int, again: list[int]) -> None:
    queue.advance(connection, change)
    queue.settled(connection, again)


def _principal(store: int) -> Principal:
    return Principal("transcode", "local", frozenset({"store"}), store)
