"""A step that fails is told and tried again, after pauses that grow, until one goes well; and several at one time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from sagittal import lasting
from sagittal.errors import StorageUnavailable

log = logging.getLogger("sagittal.test")


def test_steps(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    ends = [
        True,
        KeyError("mistake"),
        StorageUnavailable("full"),
        OSError("gone"),
        True,
        ValueError("again"),
        False,
        True,
    ]
    left, pauses = list(ends), list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def step() -> bool:
        end = left.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(lasting, "PAUSES", (1.0, 3.0))
    asyncio.run(lasting.lasting(step, "the work", log))
    assert left == [True] and pauses == [1.0, 2.0, 3.0, 1.0]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the work failed, and is tried again",
        "the work waits: full",
        *["the work failed, and is tried again"] * 2,
    ]
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True, True]


def test_one_of_many_fails_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    done = list[str]()

    def fail() -> None:
        done.append("fail")
        raise KeyError("mistake")

    def give_up() -> None:
        done.append("give up")

    for act, otherwise in ((fail, give_up), (fail, fail), (lambda: done.append("good"), give_up)):
        lasting.guarded(act, otherwise, "one of them", log)
    assert done == ["fail", "give up", "fail", "fail", "good"]
    assert [record.getMessage() for record in caplog.records] == ["one of them failed"] * 3
    assert all(record.exc_info is not None for record in caplog.records)


async def test_it_ends_when_it_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def step() -> bool:
        await asyncio.Event().wait()
        return True

    task = asyncio.create_task(lasting.lasting(step, "the work", log))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not caplog.records


async def test_several_at_one_time() -> None:
    """As many as may be, and whoever has seen enough ends those that are under way."""
    begun, ended = list[int](), list[int]()

    async def act(number: int) -> int:
        begun.append(number)
        try:
            await asyncio.sleep(0 if number < 2 else 60)
        finally:
            ended.append(number)
        return number

    async with aclosing(lasting.several(iter(range(1, 9)), act, 3)) as found:
        assert await anext(found) == 1
    assert sorted(begun) == sorted(ended) == [1, 2, 3]
