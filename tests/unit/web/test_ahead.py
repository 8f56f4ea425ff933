"""Which pictures are made before they are asked for, and how many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from sagittal.errors import PixelsUndecodable
from sagittal.web.render import ahead as module
from sagittal.web.render.ahead import Ahead
from sagittal.web.render.shelf import Shelf

TOTAL = 100
BY_NUMBER = range(1, TOTAL + 1)
AS_THEY_CAME = [n * 37 % 101 for n in range(1, TOTAL + 1)]


@pytest.fixture(autouse=True)
def _however_slow_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 60.0)


class Walk:
    """Through what a maker makes, at one place of it."""

    def __init__(self, maker: Maker, at: int, key: object = "all") -> None:
        self.maker, self.at, self.key = maker, at, key
        self.shelf, self.order = maker.shelf, maker.order

    def name(self, place: int) -> bytes:
        return b"%d of " % place + str(self.key).encode()

    async def orders(self) -> Sequence[Sequence[int]]:
        self.maker.looks += 1
        await self.maker.held.wait()
        return self.maker.orders(self.at)

    async def pictures(self, places: Sequence[Any]) -> dict[bytes, Any]:
        self.maker.finds += 1
        return {self.name(place): place for place in places if place not in self.maker.unfit}

    async def make(self, pictures: Mapping[bytes, Any]) -> None:
        maker = self.maker
        maker.batches.append(list(pictures.values()))
        await maker.held.wait()
        if maker.error is not None:
            raise maker.error
        for name, place in pictures.items():
            self.shelf.put(name, b"picture %d" % place)


class Maker:
    """Has pictures made, and says which: of frames, whose order everybody knows, or along orders that are told."""

    def __init__(
        self,
        most: int = 16,
        shelf: Shelf | None = None,
        orders: Callable[[int], Sequence[Sequence[int]]] | None = None,
    ) -> None:
        self.shelf = shelf or Shelf(1 << 20)
        self.ahead = Ahead(most)
        self.order = range(1, TOTAL + 1) if orders is None else ()
        self.orders = orders or (lambda _: [])
        self.looks = self.finds = 0
        self.unfit: set[int] = set()
        self.batches: list[list[int]] = []
        self.alone: list[int] = []
        self.held = asyncio.Event()  # batches end when it is set
        self.held.set()
        self.error: Exception | None = None

    async def ask(self, *numbers: int) -> list[bytes]:
        """As a client does, who takes a while to look at each."""
        got = []
        for number in numbers:

            async def make(number: int = number) -> bytes:
                self.alone.append(number)
                return b"picture %d" % number

            walk = Walk(self, number)
            name = walk.name(number)
            got.append(self.shelf.get(name) or await self.ahead.come_or(walk, name, make))
            self.ahead.asked(walk)
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
        ([*range(1, 20), 50, 51, 52, 53], [1, 2, 50], range(54, 60)),
    ],
)
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


@pytest.mark.parametrize(
    "asked", [[90, 7, 8, 50], [1, 1, 1, 1, 1, 1], [5, 6, 5, 6, 5, 6, 5], [50], [10, 12, 14, 16], [9, 10]]
)
async def test_who_does_not_gets_only_what_was_asked(asked: Iterable[int]) -> None:
    maker = Maker()
    await maker.ask(*asked)
    assert maker.batches == []


OUTWARDS = [50, *(n for away in range(1, 50) for n in (50 + away, 50 - away)), 100]


@pytest.mark.parametrize("asked", [AS_THEY_CAME, range(1, 101, 7), OUTWARDS])
@pytest.mark.parametrize("told", [False, True])
async def test_who_goes_to_one_and_another_finds_those_about_them_made(asked: Iterable[int], told: bool) -> None:
    """All of it, in whatever order; never one twice, nor what was asked for before, nor more than a batch for each."""
    maker, asked, made = Maker(orders=windows(BY_NUMBER) if told else None), list(asked), set[int]()
    for at, number in enumerate(asked):
        before = len(maker.batches)
        assert await maker.ask(number) == [b"picture %d" % number]
        for batch in maker.batches[before:]:
            assert not made & {*batch} and not {*asked[: at + 1]} & {*batch}
            assert len(batch) <= 16 and {*batch} <= {*range(1, TOTAL + 1)}
            made |= {*batch}
        assert len(maker.batches) - before <= 1
    assert len(maker.alone) <= 20 and len(set(asked)) - len(maker.alone) <= len(made)


async def test_the_nearest_are_made_first() -> None:
    maker = Maker()
    await maker.ask(90, 10, 80, 20, 50)
    assert [sorted(batch) for batch in maker.batches] == [[49, 51]]
    await maker.ask(50, 20, 80)  # nothing new
    assert len(maker.batches) == 1


async def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SEEN_MAX", 50)
    maker = Maker()
    for number in AS_THEY_CAME * 3:
        await maker.ask(number)
        (run,) = maker.ahead._runs.values()
        assert all(len(way.asked) + len(way.made) <= 50 + 16 for way in run.ways)


@pytest.mark.parametrize("most", [0, 1, 2, 3, 16])
async def test_pictures_ahead_max(most: int) -> None:
    """There are never more, and as many at some time."""
    maker, beyond = Maker(most), [0]
    for number in range(1, 60):
        await maker.ask(number)
        beyond.append(max((n for batch in maker.batches for n in batch), default=number) - number)
    assert max(beyond) == most and (maker.batches == []) == (most == 0)


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
async def test_what_goes_wrong_ahead_is_told_to_nobody(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for the frame has it made, and is told then; a bug leaves its line in the log. It is tried once."""
    maker = Maker()
    maker.error = error
    assert await maker.ask(*range(1, 9)) == [b"picture %d" % number for number in range(1, 9)]
    assert maker.alone == [*range(1, 9)] and maker.batches == [[3, 4]] and maker.ahead._coming == {}
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert bool(told) == isinstance(error, RuntimeError)


async def test_what_is_too_large_to_be_kept_is_not_made_ahead() -> None:
    maker = Maker(shelf=Shelf(8 * 1000))
    assert await maker.ask(*range(1, 9)) == [b"picture %d" % number for number in range(1, 9)]
    assert maker.batches == [[3, 4]]


async def test_batches_that_take_long_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    maker = Maker()
    await maker.ask(*range(1, 20))
    assert {len(batch) for batch in maker.batches[1:]} == {1}


def windows(*orders: Sequence[int], most: int = 1_000) -> Callable[[int], Sequence[Sequence[int]]]:
    """What is about a place in each of these orders, as far as the index is asked."""

    def about(place: int) -> Sequence[Sequence[int]]:
        found = [(order, order.index(place)) for order in map(list, orders) if place in order]
        return [order[max(0, at - most) : at + most + 1] for order, at in found]

    return about


@pytest.mark.parametrize(
    ("asked", "alone"),
    [
        (range(1, 31), [1, 2, 3]),
        (range(70, 39, -1), [70, 69, 68]),
        (AS_THEY_CAME[20:60], AS_THEY_CAME[20:23]),
        (AS_THEY_CAME[60:20:-1], AS_THEY_CAME[60:57:-1]),
        ([*range(1, 20), *range(60, 80)], [1, 2, 3, 60]),
        ([80, 10, 12, *range(30, 60)], [80, 10, 12, 30, 31]),
    ],
)
async def test_orders_that_are_told(asked: Iterable[int], alone: list[int]) -> None:
    """Whoever goes along one of them finds pictures made, for one look at the index."""
    maker, asked = Maker(orders=windows(BY_NUMBER, AS_THEY_CAME)), list(asked)
    assert await maker.ask(*asked) == [b"picture %d" % number for number in asked]
    assert (maker.alone, maker.looks) == (alone, 1)
    made = [number for batch in maker.batches for number in batch]
    assert len(made) == len(set(made)) and all(1 <= number <= TOTAL for number in made)


@pytest.mark.parametrize(("asked", "looks"), [([5], 0), ([5, 6], 0), ([5, 6, 7], 1), (range(1, 100, 7), 1)])
async def test_who_asks_for_one_costs_no_look(asked: Iterable[int], looks: int) -> None:
    maker = Maker(orders=windows(BY_NUMBER))
    await maker.ask(*asked)
    assert maker.looks == looks


async def test_nobody_is_looked_after_when_nothing_is_made_ahead() -> None:
    maker = Maker(0, orders=windows(BY_NUMBER))
    await maker.ask(*range(1, 30))
    assert (maker.looks, maker.batches, maker.ahead._runs) == (0, [], {})


async def test_who_goes_on_beyond_what_was_told_is_told_more() -> None:
    maker = Maker(orders=windows(BY_NUMBER, most=20))
    asked = range(1, TOTAL + 1)
    assert await maker.ask(*asked) == [b"picture %d" % number for number in asked]
    assert maker.looks <= 5 and len(maker.alone) <= 2 + maker.looks


async def test_who_goes_along_no_order_is_asked_after_ever_less_often() -> None:
    total = 20_000
    maker = Maker(orders=windows(range(1, total + 1), most=5))
    await maker.ask(*(n * 7_919 % total + 1 for n in range(1_000)))
    assert maker.batches == [] and maker.looks <= 10


@pytest.mark.parametrize("stop", [3, 4, 7, 20])
@pytest.mark.parametrize("most", [1, 4, 16])
async def test_what_nobody_wants_is_never_more_than_the_limit(stop: int, most: int) -> None:
    maker = Maker(most, orders=windows(BY_NUMBER))
    await maker.ask(*range(1, stop + 1))
    made = {number for batch in maker.batches for number in batch}
    assert len(made - {*range(1, stop + 1)}) <= min(most, 2 if stop == 3 else 2 * stop)


async def test_what_does_not_fit_is_left_out() -> None:
    """As an object of many frames is, in a series of images, or one that went meanwhile."""
    maker = Maker(orders=windows(BY_NUMBER))
    maker.unfit = {7, 8, 9, 15}
    assert await maker.ask(*range(1, 31)) == [b"picture %d" % number for number in range(1, 31)]
    assert maker.alone == [1, 2, 3, 7, 8, 9, 15]


async def test_what_somebody_waits_for_is_not_made_ahead() -> None:
    maker, wanted = Maker(orders=windows(BY_NUMBER)), asyncio.Event()
    await maker.ask(1, 2)

    async def slowly() -> bytes:
        await wanted.wait()
        return b"picture 4"

    waiting = asyncio.ensure_future(maker.ahead.come_or(Walk(maker, 4), b"4 of all", slowly))
    await asyncio.sleep(0)
    await maker.ask(3)
    assert maker.batches == [[5]]
    wanted.set()
    assert await waiting == b"picture 4"


async def test_who_is_not_told_an_order_gets_only_what_was_asked() -> None:
    maker = Maker(orders=lambda _: [])
    assert await maker.ask(*range(1, 20)) == [b"picture %d" % number for number in range(1, 20)]
    assert maker.batches == [] and maker.looks <= 3


async def test_no_more_batches_at_one_time_than_workers_can_take() -> None:
    maker = Maker()
    maker.held.clear()
    for number in range(10):
        for frame in (1, 2):
            maker.ahead.asked(Walk(maker, frame, key=number))
    await asyncio.sleep(0)
    assert len(maker.batches) == module._BATCHES_MAX


async def test_runs_that_were_given_up_are_forgotten() -> None:
    maker = Maker(1)
    for number in range(1000):
        maker.ahead.asked(Walk(maker, 1, key=number))
    assert len(maker.ahead._runs) == module._RUNS_MAX


async def test_the_end_ends_them() -> None:
    maker = Maker()
    maker.held.clear()
    await maker.ask(1, 2)
    (task,) = maker.ahead._tasks
    maker.ahead.close()
    await asyncio.wait((task,))
    assert task.cancelled() and maker.shelf.get(b"3 of all") is None


async def test_what_is_kept_is_gone_through_with_few_looks_for_more() -> None:
    """A look for what comes next costs a query, where it is instances."""
    maker = Maker()
    for number in range(1, TOTAL + 1):
        walk = Walk(maker, number)
        maker.shelf.put(walk.name(number), b"picture")
    assert set(await maker.ask(*range(1, TOTAL + 1))) == {b"picture"}
    assert not maker.batches and not maker.alone and maker.finds <= TOTAL // 8 + 4
