"""Pictures of the frames that come next are made while somebody looks at this one.

Who asks for three frames in a row, forwards or backwards, goes on with it, as a rule. Then some more are made by one
call of a worker, which costs a fraction of as many calls; before the last of them are wanted, some more again. How many
depends on how long they take. Deliberately not here: making them (`easel`), and keeping them (`shelf`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from time import perf_counter
from typing import NamedTuple

from sagittal.errors import SagittalError
from sagittal.web.render.shelf import Shelf

_RUNS_MAX = 64  # clients, or windows of clients, that go through frames at one time
_BATCHES_MAX = 4  # under way at one time, of all runs: they wait for the same workers
_ALIKE_MIN = 2  # steps, before they count as a run
_BATCH_SECONDS = 0.02  # what a batch should take: who catches up with it waits no longer
log = logging.getLogger("sagittal.web")


class Frames(NamedTuple):
    """The frames of one object, asked for in one manner."""

    key: Hashable
    total: int
    name: Callable[[int], bytes]  # of the picture of a frame, on the shelf
    make: Callable[[Sequence[int]], Awaitable[None]]  # put pictures there


class _Run:
    __slots__ = ("alike", "at_once", "last", "made_to", "step", "task")

    def __init__(self) -> None:
        self.last = self.step = self.alike = self.made_to = 0
        self.at_once = 2
        self.task: asyncio.Task[None] | None = None


class Ahead:
    """Get a picture by `come_or`, then tell `asked`."""

    def __init__(self, shelf: Shelf, frames_max: int) -> None:
        """At most `frames_max` are made ahead; 0: none."""
        self._shelf, self._frames_max = shelf, frames_max
        self._runs: OrderedDict[Hashable, _Run] = OrderedDict()
        self._coming: dict[bytes, asyncio.Task[None]] = {}  # by the names of pictures
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Nobody asks any more."""
        for task in self._tasks:
            task.cancel()

    async def come_or(self, name: bytes, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """A picture out of the batch under way that has it; else made now, if it went wrong there, too."""
        if (task := self._coming.get(name)) is not None:
            await asyncio.wait((task,))
        return self._shelf.get(name) or await make()

    def asked(self, frames: Frames, number: int) -> None:
        """A frame was asked for."""
        run = self._runs.pop(frames.key, None) or _Run()
        self._runs[frames.key] = run
        if len(self._runs) > _RUNS_MAX:
            self._runs.popitem(last=False)
        step, run.last = number - run.last, number
        if step != run.step:
            run.step, run.alike, run.made_to = step, 0, number
        run.alike += 1
        if abs(step) == 1 and run.alike >= _ALIKE_MIN and run.task is None and len(self._tasks) < _BATCHES_MAX:
            self._go_on(run, frames)

    def _go_on(self, run: _Run, frames: Frames) -> None:
        made = max(0, (run.made_to - run.last) * run.step)
        more = min(run.at_once, self._frames_max - made)
        if made > run.at_once // 2 or more < 1:
            return
        first = run.last + (made + 1) * run.step
        numbers = [n for n in range(first, first + more * run.step, run.step) if 1 <= n <= frames.total]
        names = {n: name for n in numbers if self._shelf.get(name := frames.name(n)) is None}
        if numbers:
            run.made_to = numbers[-1]
        if names:
            run.task = task = asyncio.ensure_future(self._make(run, frames, list(names)))
            self._tasks.add(task)
            self._coming.update(dict.fromkeys(names.values(), task))
            task.add_done_callback(self._tasks.discard)

    async def _make(self, run: _Run, frames: Frames, numbers: Sequence[int]) -> None:
        began = perf_counter()
        try:
            await frames.make(numbers)
        except SagittalError as error:  # told to who asks for that frame
            log.debug("frames could not be made ahead: %s", error.text)
        except Exception:
            log.exception("frames could not be made ahead")
        finally:
            run.task = None
            for number in numbers:
                self._coming.pop(frames.name(number), None)
        is_quick = perf_counter() - began < _BATCH_SECONDS
        if self._shelf.get(frames.name(numbers[-1])) is None:  # too large to be kept, or not to be made
            run.at_once = 0
        else:
            run.at_once = min(2 * run.at_once, self._frames_max) if is_quick else max(1, run.at_once // 2)
