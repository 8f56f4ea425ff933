"""Requests that are sent before the answers to others are there, and clients that end their side or go meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

import sagittal.web.connection as connection_module
from sagittal.limits import WebLimits
from sagittal.web.connection import Connection
from sagittal.web.server import HttpServer

App = Callable[[Any, Any, Any], Awaitable[None]]
Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter, HttpServer], Awaitable[Any]]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def served(app: App, act: Act, **limits: Any) -> Any:
    """What comes of one connection."""

    async def inside() -> Any:
        server = HttpServer(app, "127.0.0.1", 0, replace(WebLimits(), **limits))
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            return await asyncio.wait_for(act(reader, writer, server), 20)
        finally:
            writer.close()
            await server.stop(0.1)

    return asyncio.run(inside())


@pytest.mark.parametrize("over", [-1, 0, 1, 1000])
def test_pipelined_max(over: int) -> None:
    """So many behind the one at work; with one more the connection ends with the last of them."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: HttpServer) -> bytes:
        writer.write(GET * (5 + over) + LAST)
        return await reader.read()

    answers = served(answer, act, pipelined_max=5)
    assert answers.count(b"HTTP/1.1 200") == min(6 + over, 6)
    assert answers.count(b"connection: close") == 1


@pytest.mark.parametrize("over", [0, 1])
def test_a_head_that_waits_has_an_end(over: int) -> None:
    """However long the answer before it takes: that of an event stream is never complete."""
    asked = asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: HttpServer) -> bool:
        writer.write(GET)
        await asked.wait()
        (connection,) = server._uvicorn.server_state.connections
        writer.write(b"GET / HTTP/1.1\r\nX: ".ljust(400 + over, b"y"))
        while connection.beside_bytes < 400 + over:  # type: ignore[union-attr]
            await asyncio.sleep(0)
        return connection.transport.is_closing()

    assert served(waiting, act, request_line_and_headers_bytes_max=200) == bool(over)


@pytest.mark.parametrize("behind", [0, 1])
def test_a_client_that_goes_is_told_to_the_request_at_work(behind: int) -> None:
    """And not to the one alone that waits behind it, which uvicorn takes for the one at work."""
    asked, heard = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.set()

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter, server: HttpServer) -> None:
        writer.write(GET + GET * behind)
        await asked.wait()
        for connection in server._uvicorn.server_state.connections:
            connection.transport.abort()
        await heard.wait()

    served(waiting, act)


@pytest.mark.parametrize("number", [1, 3])
def test_who_ends_its_side_gets_its_answers(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nc -N` and `socat` do when they have asked."""
    ended, found = asyncio.Event(), Connection.eof_received

    def seen(self: Connection) -> bool:
        ended.set()
        return found(self)

    left = number

    async def late(scope: Any, receive: Any, send: Any) -> None:
        nonlocal left
        left -= 1
        if not left:  # nothing is read while requests wait
            await ended.wait()
        await answer(scope, receive, send)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: HttpServer) -> bytes:
        writer.write(GET * number)
        writer.write_eof()
        return await reader.read()

    monkeypatch.setattr(Connection, "eof_received", seen)
    answers = served(late, act)
    assert answers.count(b"HTTP/1.1 200") == number
    assert answers.count(b"connection: close") == 1


def test_who_ends_its_side_gets_a_long_answer_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is, one that has begun by then."""
    looked, look = asyncio.Event(), Connection._end_unless_begun

    def seen(self: Connection) -> None:
        look(self)
        looked.set()

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await looked.wait()
        await send({"type": "http.response.body", "body": b"b"})

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: HttpServer) -> bytes:
        writer.write(GET)
        writer.write_eof()
        return await reader.read()

    monkeypatch.setattr(connection_module, "_HALF_CLOSED_SECONDS", 0.05)
    monkeypatch.setattr(Connection, "_end_unless_begun", seen)
    assert served(slowly, act).endswith(b"\r\n\r\nab")


@pytest.mark.parametrize("sent", [GET, GET[:-2], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na"])
def test_who_ends_its_side_is_not_waited_for_long(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor at all with half a request."""
    monkeypatch.setattr(connection_module, "_HALF_CLOSED_SECONDS", 0.05)

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: HttpServer) -> bytes:
        writer.write(sent)
        writer.write_eof()
        return await reader.read()

    assert served(waiting, act) == b""
