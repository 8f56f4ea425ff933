"""Pictures that come next are made while somebody looks at this one.

Who asks for three in a row, forwards or backwards, goes on with it, as a rule: through the frames of an object, through
the instances of a series. Then some more are made by one call of a worker, which costs a fraction of as many calls;
before the last of them are wanted, some more again. Who asks for one after the other in no such order, as with a slider
or as viewers load a stack from its middle outwards, has those about each of them made, a batch for each that is new.
How many a batch has depends on how long they take. Deliberately not here: what comes next, and making it (`walks`);
keeping it (`shelf`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from itertools import chain, islice
from time import perf_counter
from typing import Any, Protocol

from sagittal.errors import SagittalError
from sagittal.web.render.shelf import Shelf

_RUNS_MAX = 64  # clients, or windows of clients, that go through something at one time
_BATCHES_MAX = 4  # under way at one time, of all runs: they wait for the same workers
_ALIKE_MIN = 2  # steps, before they count as a run
_SCATTERED_MIN = 5  # different ones, before those about them are made
_ABOUT_MAX = 200  # places before and behind one that count as about it
_SEEN_MAX = 4096  # places remembered
_STRANGE_MIN = 3  # places that no order has, before the next one is asked for: who wants one picture costs no query
_BATCH_SECONDS = 0.02  # what a batch should take: who catches up with it waits no longer
log = logging.getLogger("sagittal.web")
Place = Hashable  # the number of a frame, the UID of an instance


class Walk(Protocol):
    """A place in what somebody goes through: pictures one after the other, all asked for in the same way."""

    @property
    def key(self) -> Hashable: ...  # the same for all that is gone through

    @property
    def at(self) -> Place: ...

    @property
    def shelf(self) -> Shelf: ...

    @property
    def order(self) -> Sequence[Place]: ...  # what there is, when it is known without asking

    async def orders(self) -> Sequence[Sequence[Place]]:
        """What is before and behind this place, in each of the orders that clients go by."""

    async def pictures(self, places: Sequence[Place]) -> dict[bytes, Any]:
        """The names of pictures, and what each is made of; without those that can't be made ahead."""

    async def make(self, pictures: Mapping[bytes, Any]) -> None:
        """Put them on the shelf, by one call of a worker."""


class _Way:
    """Steps along one order."""

    __slots__ = ("alike", "asked", "is_new", "last", "made", "made_to", "order", "step")

    def __init__(self, order: Sequence[Place]) -> None:
        self.order = order
        self.last, self.step, self.alike, self.made_to = -1, 0, 0, -1
        self.asked: set[int] = set()
        self.made: set[int] = set()  # of those about them
        self.is_new = False

    @property
    def is_scattered(self) -> bool:
        return self.is_new and len(self.asked) >= _SCATTERED_MIN

    @property
    def is_run(self) -> bool:
        return abs(self.step) == 1 and self.alike >= _ALIKE_MIN

    def to(self, place: Place) -> bool:
        """One step; False when the place is not of this order."""
        try:
            at = self.order.index(place)
        except ValueError:
            self.alike, self.is_new = 0, False
            return False
        self.is_new = at not in self.asked
        if len(self.asked) + len(self.made) >= _SEEN_MAX:
            self.asked, self.made = set(), set()
        self.asked.add(at)
        step, self.last = at - self.last, at
        if step != self.step:
            self.step, self.alike, self.made_to = step, 0, at
        self.alike += 1
        return True

    def ahead(self, at_once: int, most: int) -> list[Place]:
        """What is to be made now, so that at most `most` are; nothing as long as there is enough."""
        made = max(0, (self.made_to - self.last) * self.step)
        more = min(at_once, most - made)
        if made > at_once // 2 or more < 1:
            return []
        first = self.last + (made + 1) * self.step
        found = [n for n in range(first, first + more * self.step, self.step) if 0 <= n < len(self.order)]
        if found:
            self.made_to = found[-1]
        return [self.order[n] for n in found]

    def about(self, at_once: int) -> list[Place]:
        """The nearest that nobody asked for and that were not made, to be made now."""
        near = chain.from_iterable((self.last + n, self.last - n) for n in range(1, _ABOUT_MAX + 1))
        new = (n for n in near if 0 <= n < len(self.order) and n not in self.asked and n not in self.made)
        found = list(islice(new, at_once))
        self.made.update(found)
        return [self.order[n] for n in found]


class _Run:
    __slots__ = ("at_once", "patience", "strange", "task", "trail", "ways")

    def __init__(self, order: Sequence[Place]) -> None:
        self.ways = [_Way(order)] if order else []
        self.trail: deque[Place] = deque(maxlen=_ALIKE_MIN + 1)
        self.strange, self.patience = 0, _STRANGE_MIN
        self.at_once = 2
        self.task: asyncio.Task[None] | None = None

    def to(self, place: Place) -> None:
        known = [way.to(place) for way in self.ways]
        self.trail.append(place)
        self.strange = 0 if known and all(known) else self.strange + 1

    def along(self, orders: Sequence[Sequence[Place]]) -> None:
        """The way so far, seen in these orders. Who goes along none of them is asked after ever less often."""
        self.ways = [_Way(order) for order in orders]
        for place in self.trail:
            for way in self.ways:
                way.to(place)
        self.strange, self.patience = 0, 1 if self._along_one else max(_STRANGE_MIN, 2 * self.patience)

    def wanted(self, most: int) -> list[Place]:
        """What is to be made now."""
        if (way := self._along_one) is not None:
            return way.ahead(self.at_once, most)
        if (way := next((way for way in self.ways if way.is_scattered), None)) is not None:
            return way.about(self.at_once)
        return []

    @property
    def _along_one(self) -> _Way | None:
        return next((way for way in self.ways if way.is_run), None)


class Ahead:
    """Get a picture by `come_or`, then tell `asked`."""

    def __init__(self, most: int) -> None:
        """At most `most` are made ahead of somebody; 0: none."""
        self._most = most
        self._runs: OrderedDict[Hashable, _Run] = OrderedDict()
        self._coming: dict[tuple[Hashable, Place], asyncio.Task[None]] = {}  # by key and place
        self._now: set[tuple[Hashable, Place]] = set()  # what somebody waits for is not made ahead, too
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Nobody asks any more."""
        for task in self._tasks:
            task.cancel()

    async def come_or(self, walk: Walk, name: bytes, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """A picture out of the batch under way that has it; else made now, if it went wrong there, too."""
        place = walk.key, walk.at
        if (task := self._coming.get(place)) is not None:
            await asyncio.wait((task,))
        if (held := walk.shelf.get(name)) is not None:
            return held
        self._now.add(place)
        try:
            return await make()
        finally:
            self._now.discard(place)

    def asked(self, walk: Walk) -> None:
        """A picture was asked for."""
        if not self._most:
            return
        run = self._runs.pop(walk.key, None) or _Run(walk.order)
        self._runs[walk.key] = run
        if len(self._runs) > _RUNS_MAX:
            self._runs.popitem(last=False)
        run.to(walk.at)
        self._go_on(run, walk)

    def _go_on(self, run: _Run, walk: Walk) -> None:
        if run.task is not None or len(self._tasks) >= _BATCHES_MAX:
            return
        places = [(walk.key, place) for place in run.wanted(self._most)]
        if places := [place for place in places if place not in self._now]:
            task = self._started(run, self._make(run, walk, places))
            self._coming.update(dict.fromkeys(places, task))
        elif run.strange >= run.patience:
            self._started(run, self._look(run, walk))

    def _started(self, run: _Run, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        run.task = task = asyncio.ensure_future(_told_to_nobody(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look(self, run: _Run, walk: Walk) -> None:
        try:
            run.along(await walk.orders())
        finally:
            run.task = None
        self._go_on(run, walk)

    async def _make(self, run: _Run, walk: Walk, places: Sequence[tuple[Hashable, Place]]) -> None:
        names: dict[bytes, Any] = {}
        at_once, run.at_once = run.at_once, 0  # if it goes wrong
        try:
            names = await walk.pictures([place for _, place in places])
            wanted = {name: of for name, of in names.items() if walk.shelf.get(name) is None}
            if wanted:
                began = perf_counter()
                await walk.make(wanted)
                each = (perf_counter() - began) / len(wanted)
                at_once = max(1, min(2 * at_once, self._most, int(_BATCH_SECONDS / each)))
            else:  # they were made before: it is looked less often whether there are others
                at_once = min(2 * at_once, self._most)
            if not names or any(walk.shelf.get(name) for name in names):  # else too large to be kept, or not to be made
                run.at_once = at_once
        finally:
            run.task = None
            for place in places:
                self._coming.pop(place, None)


async def _told_to_nobody(work: Coroutine[Any, Any, None]) -> None:
    """What goes wrong is logged only: whoever asks for such a picture is told then."""
    try:
        await work
    except SagittalError as error:
        log.debug("pictures could not be made ahead: %s", error.text)
    except Exception:
        log.exception("pictures could not be made ahead")
