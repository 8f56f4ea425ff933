"""Who has a worker and who waits for one: two lanes, so that long work does not keep what somebody looks at waiting.

Background work has all workers but one at the most (of one worker, that one), and gets every fourth turn when urgent
work waits too. Deliberately not here: workers.
"""

from __future__ import annotations

import asyncio
from collections import deque

from sagittal.errors import Busy

_URGENT_IN_A_ROW = 3


class Turns:
    """At most `size` at once, and `waiting_max` that wait."""

    def __init__(self, size: int, waiting_max: int) -> None:
        self.size = size
        self._waiting_max = waiting_max
        self._background_max = max(1, size - 1)
        self._running = {False: 0, True: 0}  # background or not -> how many
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {False: deque(), True: deque()}
        self._in_a_row = 0  # urgent turns given while background work waited
        self._closed = False

    @property
    def running(self) -> int:
        """How many have a turn."""
        return sum(self._running.values())

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return sum(map(len, self._waiting.values()))

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn."""
        return not self.running

    async def enter(self, *, background: bool) -> None:
        """Wait for a turn; Busy when too many wait already, or nothing is taken any more."""
        if self._closed:
            raise Busy("the workers are ending")
        if not self._waiting[background] and self._may(background):
            self._running[background] += 1
            return
        if self.waiting >= self._waiting_max:
            raise Busy("too many requests wait for a worker")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[background].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given meanwhile
                self.leave(background=background)
            elif turn in self._waiting[background]:
                self._waiting[background].remove(turn)
            raise

    def leave(self, *, background: bool) -> None:
        """Give a turn back; the next who wait get theirs."""
        self._running[background] -= 1
        while (lane := self._next()) is not None:
            turn = self._waiting[lane].popleft()
            if not turn.done():
                self._running[lane] += 1
                turn.set_result(None)

    def close(self) -> None:
        """Take nothing new."""
        self._closed = True

    def _may(self, background: bool) -> bool:
        return self.running < self.size and not (background and self._running[True] >= self._background_max)

    def _next(self) -> bool | None:
        """The lane whose first gets a turn: True that of the background; None for neither."""
        urgent, background = (bool(self._waiting[lane]) and self._may(lane) for lane in (False, True))
        if urgent and not (background and self._in_a_row >= _URGENT_IN_A_ROW):
            self._in_a_row = self._in_a_row + 1 if background else 0
            return False
        if background:
            self._in_a_row = 0
        return True if background else None
