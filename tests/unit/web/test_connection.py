"""How slowly an answer may be taken, by the numbers that a look at the connection finds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

import sagittal.web.connection as connection_module
from sagittal.limits import WebLimits
from sagittal.web.connection import Connection


def answering(unsent: list[int], paused: bool) -> Connection:
    """A connection whose client leaves so much unsent, at each look."""
    connection: Any = object.__new__(Connection)
    connection.limits = WebLimits()
    connection.transport = SimpleNamespace(get_write_buffer_size=lambda: unsent.pop(0), get_extra_info=lambda _: None)
    connection.flow = SimpleNamespace(read_paused=False, write_paused=paused, pause_writing=lambda: None)
    connection.head_since, connection.receiving, connection.unsent, connection.unsent_since = None, False, 0, 0.0
    return cast(Connection, connection)


STALL = WebLimits().send_stall_seconds_max
FLOOR = int(WebLimits().body_bytes_per_second_min * STALL)


@pytest.mark.parametrize("beyond", [-0.1, 0.0, 0.1])
def test_an_answer_that_nobody_takes_ends(beyond: float) -> None:
    connection = answering([5, 5], paused=False)
    assert not connection.overdue(100.0)
    assert bool(connection.overdue(100.0 + STALL + beyond)) == (beyond > 0)


@pytest.mark.parametrize("taken", [FLOOR, FLOOR + 1_000])
def test_an_answer_that_is_taken_too_slowly_ends(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for its client: a byte a second would hold what was made for it for ever."""
    monkeypatch.setattr(connection_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    connection = answering([1 << 20, (1 << 20) - 1_000, (1 << 20) - taken, (1 << 20) - taken - 1], paused=True)
    connection.pause_writing()
    assert not connection.overdue(101.0)
    assert bool(connection.overdue(100.1 + STALL)) == (taken == FLOOR)
    assert not connection.overdue(101.0 + STALL)


def test_a_client_that_keeps_up_may_go_on_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written between two looks hides what was taken."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(connection_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    connection = answering([1 << 20] * 400, paused=True)
    while clock.now < 3 * STALL:
        connection.pause_writing()  # as each piece of the answer does that the buffer has no room for
        assert not connection.overdue(clock.now)
        clock.now += 1.0
    trickle = answering([500, 400, 500, 400] * 50, paused=False)
    assert not any(trickle.overdue(float(now)) for now in range(3 * int(STALL)))
