"""Turns: how many at once, who is next, who gives up."""

from __future__ import annotations

import asyncio

import pytest

from sagittal.errors import Busy
from sagittal.workers.turns import Turns


class Queue:
    """Entrants, and the order in which they got their turn."""

    def __init__(self, size: int, waiting_max: int = 100) -> None:
        self.turns = Turns(size, waiting_max)
        self.got: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Those in capitals are of the background."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name))
        await self.settle()

    async def _enter(self, name: str) -> None:
        await self.turns.enter(background=name.isupper())
        self.got.append(name)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def leave(self, name: str) -> None:
        self.turns.leave(background=name.isupper())
        await self.settle()


async def test_background_work_never_has_all_workers() -> None:
    queue = Queue(3)
    await queue.come("A", "B", "C", "d")
    assert queue.got == ["A", "B", "d"]
    await queue.leave("d")
    assert queue.got == ["A", "B", "d"] and queue.turns.waiting == 1
    await queue.leave("A")
    assert queue.got[-1] == "C" and queue.turns.running == 2


async def test_one_worker_does_both() -> None:
    queue = Queue(1)
    await queue.come("A", "b", "C", "d")
    assert queue.got == ["A"]
    for name in ("A", "b", "d", "C"):
        await queue.leave(name)
    assert queue.got == ["A", "b", "d", "C"] and queue.turns.idle


async def test_background_work_is_not_starved() -> None:
    queue = Queue(1)
    await queue.come("a", "B", *"cdefghijkl")
    while len(queue.got) < 8:
        await queue.leave(queue.got[-1])
    assert "".join(queue.got) == "acdeBfgh"


async def test_waiting_has_an_end() -> None:
    queue = Queue(1, waiting_max=2)
    await queue.come("a", "b", "C", "d", "E")
    for name in ("d", "E"):
        with pytest.raises(Busy):
            queue.tasks[name].result()
    assert queue.turns.waiting == 2
    queue.turns.close()
    with pytest.raises(Busy):
        await queue.turns.enter(background=False)


async def test_who_gives_up_is_passed_over() -> None:
    queue = Queue(1)
    await queue.come("a", "b", "c")
    queue.tasks["b"].cancel()
    await queue.settle()
    assert queue.turns.waiting == 1
    await queue.leave("a")
    assert queue.got == ["a", "c"]
    await queue.leave("c")
    assert queue.turns.idle


async def test_a_turn_given_to_one_who_gives_up_goes_on() -> None:
    queue = Queue(1)
    await queue.come("a", "b", "c")
    queue.turns.leave(background=False)
    queue.tasks["b"].cancel()  # it was given the turn and has not run yet
    await queue.settle()
    assert queue.got == ["a", "c"]
