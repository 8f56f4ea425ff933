"""Work for a client that may go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from sagittal.web.wire import stream
from sagittal.web.wire.stream import Pushed, unless_gone


class Client:
    """Goes away when it is told to."""

    def __init__(self) -> None:
        self.gone, self.watched, self.asked = asyncio.Event(), asyncio.Event(), 0

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self.asked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        self.watched.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def never(ended: list[str]) -> bytes:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise
    return b""


async def test_quick_work_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it afterwards, when it would have become slow."""
    client = Client()
    assert await unless_gone(client.receive, asyncio.sleep(0, b"picture")) == b"picture"
    monkeypatch.setattr(stream, "_UNWATCHED_SECONDS", 0)
    assert await unless_gone(client.receive, asyncio.sleep(0, b"picture")) == b"picture"
    for _ in range(3):
        await asyncio.sleep(0)
    assert client.asked == 0


async def test_slow_work_ends_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_UNWATCHED_SECONDS", 0.001)
    client = Client()

    async def work() -> bytes:
        await client.watched.wait()
        return b"picture"

    assert await unless_gone(client.receive, work()) == b"picture"
    assert client.asked == 2
    client.gone.set()  # afterwards it is nobody's concern
    await asyncio.sleep(0.01)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_work_for_a_client_that_has_gone_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_UNWATCHED_SECONDS", 0.001)
    client, ended = Client(), list[str]()
    client.gone.set()
    with pytest.raises(ClientDisconnect):
        await unless_gone(client.receive, never(ended))
    assert ended == ["cancelled"]
    await asyncio.sleep(0)  # the task that asked goes on


async def test_who_goes_as_work_ends_cancels_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_UNWATCHED_SECONDS", 0.001)
    going = asyncio.Event()

    async def receive() -> dict[str, Any]:
        going.set()  # work goes on in the turn of the loop in which this is told, too
        return {"type": "http.disconnect"}

    async def work() -> bytes:
        await going.wait()
        return b"picture"

    assert await unless_gone(receive, work()) == b"picture"
    await asyncio.sleep(0.01)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_cancelled_from_outside_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_UNWATCHED_SECONDS", 0.001)
    client, ended = Client(), list[str]()
    task = asyncio.ensure_future(unless_gone(client.receive, never(ended)))
    await client.watched.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_head_makes_no_more_than_the_beginning(method: str) -> None:
    """Objects in another syntax would all be made, for nobody."""
    made, sent = list[bytes](), list[Any]()

    async def chunks() -> AsyncGenerator[bytes]:
        for chunk in (b"a", b"b", b"c"):
            made.append(chunk)
            yield chunk

    async def send(message: Any) -> None:
        sent.append(message)

    await Pushed(chunks(), "text/plain")({"method": method}, Client().receive, send)
    made, (start, *bodies) = made, sent
    assert start["status"] == 200 and not bodies[-1]["more_body"]
    assert b"".join(each["body"] for each in bodies) == (b"abc" if method == "GET" else b"")
    assert made == ([b"a", b"b", b"c"] if method == "GET" else [b"a"])
