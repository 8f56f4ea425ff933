"""Which frames are made before they are asked for, and how many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest

from sagittal.errors import PixelsUndecodable
from sagittal.web.render import ahead as module
from sagittal.web.render.ahead import Ahead, Frames
from sagittal.web.render.shelf import Shelf

TOTAL = 100


@pytest.fixture(autouse=True)
def _however_slow_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 60.0)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**arguments), 10))

    return run


class Maker:
    """Has the frames of one object made, and says which."""

    def __init__(self, most: int = 16, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf(1 << 20)
        self.ahead = Ahead(self.shelf, most)
        self.batches: list[list[int]] = []
        self.alone: list[int] = []
        self.held = asyncio.Event()  # batches end when it is set
        self.held.set()
        self.error: Exception | None = None
        self.frames = Frames("object", TOTAL, lambda number: b"%d" % number, self.make)

    async def make(self, numbers: Sequence[int]) -> None:
        self.batches.append(list(numbers))
        await self.held.wait()
        if self.error is not None:
            raise self.error
        for number in numbers:
            self.shelf.put(b"%d" % number, b"picture %d" % number)

    async def ask(self, *numbers: int) -> list[bytes]:
        """As a client does, who takes a while to look at each."""
        got = []
        for number in numbers:

            async def make(number: int = number) -> bytes:
                self.alone.append(number)
                return b"picture %d" % number

            got.append(self.shelf.get(b"%d" % number) or await self.ahead.come_or(b"%d" % number, make))
            self.ahead.asked(self.frames, number)
            await self.rest()
        return got

    async def rest(self) -> None:
        while self.held.is_set() and (tasks := self.ahead._tasks):
            await asyncio.wait(tasks)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("asked", "alone", "last"),
    [
        (range(1, 31), [1, 2], range(31, 39)),  # from the first frame on, two tell it
        (range(40, 71), [40, 41, 42], range(71, 79)),
        (range(70, 39, -1), [70, 69, 68], range(32, 40)),
        (range(1, TOTAL + 1), [1, 2], ()),
        (range(TOTAL, 0, -1), [100, 99, 98], ()),
        ([*range(1, 20), 50, 51, 52], [1, 2, 50, 51, 52], range(53, 60)),
    ],
)
@on_a_loop
async def test_who_goes_from_one_to_the_next_finds_them_made(
    asked: Iterable[int], alone: list[int], last: Iterable[int]
) -> None:
    maker, asked = Maker(), list(asked)
    assert await maker.ask(*asked) == [b"picture %d" % number for number in asked]
    assert maker.alone == alone
    made = [number for batch in maker.batches for number in batch]
    assert len(made) == len(set(made)) and all(1 <= number <= TOTAL for number in made)
    assert {*last} <= {*made} and all(len(batch) <= 16 for batch in maker.batches)
    assert maker.ahead._coming == {}


@pytest.mark.parametrize("asked", [range(1, 100, 7), [1, 1, 1, 1], [5, 6, 5, 6, 5], [50], [10, 12, 14, 16], [9, 10]])
@on_a_loop
async def test_who_does_not_gets_only_what_was_asked(asked: Iterable[int]) -> None:
    maker = Maker()
    await maker.ask(*asked)
    assert maker.batches == []


@pytest.mark.parametrize("most", [0, 1, 2, 3, 16])
@on_a_loop
async def test_frames_ahead_max(most: int) -> None:
    """There are never more, and as many at some time."""
    maker, beyond = Maker(most), [0]
    for number in range(1, 60):
        await maker.ask(number)
        beyond.append(max((n for batch in maker.batches for n in batch), default=number) - number)
    assert max(beyond) == most and (maker.batches == []) == (most == 0)


@on_a_loop
async def test_who_catches_up_waits_for_the_batch() -> None:
    maker = Maker()
    await maker.ask(1)
    maker.held.clear()
    await maker.ask(2)
    waiting = asyncio.ensure_future(maker.ask(3))
    gone = asyncio.ensure_future(maker.ask(4))
    await asyncio.sleep(0)
    gone.cancel()  # who goes away takes nothing from others
    await asyncio.sleep(0)
    assert maker.batches == [[3, 4]] and not waiting.done()
    maker.held.set()
    assert await waiting == [b"picture 3"] and maker.alone == [1, 2]


@pytest.mark.parametrize("error", [PixelsUndecodable("a frame is broken"), RuntimeError("a bug")])
@on_a_loop
async def test_what_goes_wrong_ahead_is_told_to_nobody(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for the frame has it made, and is told then; a bug leaves its line in the log. It is tried once."""
    maker = Maker()
    maker.error = error
    assert await maker.ask(*range(1, 9)) == [b"picture %d" % number for number in range(1, 9)]
    assert maker.alone == [*range(1, 9)] and maker.batches == [[3, 4]] and maker.ahead._coming == {}
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert bool(told) == isinstance(error, RuntimeError)


@on_a_loop
async def test_what_is_too_large_to_be_kept_is_not_made_ahead() -> None:
    maker = Maker(shelf=Shelf(8 * 1000))
    assert await maker.ask(*range(1, 9)) == [b"picture %d" % number for number in range(1, 9)]
    assert maker.batches == [[3, 4]]


@on_a_loop
async def test_batches_that_take_long_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    maker = Maker()
    await maker.ask(*range(1, 20))
    assert {len(batch) for batch in maker.batches[1:]} == {1}


@on_a_loop
async def test_no_more_batches_at_one_time_than_workers_can_take() -> None:
    maker = Maker()
    maker.held.clear()
    for number in range(10):
        for frame in (1, 2):
            maker.ahead.asked(maker.frames._replace(key=number, name=lambda n, of=number: b"%d %d" % (of, n)), frame)
    await asyncio.sleep(0)
    assert len(maker.batches) == module._BATCHES_MAX


@on_a_loop
async def test_runs_that_were_given_up_are_forgotten() -> None:
    maker = Maker(0)
    for number in range(1000):
        maker.ahead.asked(maker.frames._replace(key=number), 1)
    assert len(maker.ahead._runs) == module._RUNS_MAX


@on_a_loop
async def test_the_end_ends_them() -> None:
    maker = Maker()
    maker.held.clear()
    await maker.ask(1, 2)
    (task,) = maker.ahead._tasks
    maker.ahead.close()
    await asyncio.wait((task,))
    assert task.cancelled() and maker.shelf.get(b"3") is None
