"""The HTTP listener: deadlines, ceilings and drain, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

import sagittal.web.connection as connection_module
import sagittal.web.server as server_module
from sagittal import lasting
from sagittal.limits import WebLimits
from sagittal.web.connection import Connection
from sagittal.web.server import HttpServer

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SOON = 20.0  # what must happen happens within this time, or the test fails


async def hello(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    if scope["path"].startswith("/reads"):
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
    if scope["path"] == "/waits":
        await asyncio.Event().wait()
    if scope["path"] == "/streams":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for text in (b"one ", b"", b"two"):
            await send({"type": "http.response.body", "body": text, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    text = b"%d" % len(body) if scope["path"] != "/reads/back" else body
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def served(act: Callable[[HttpServer], Awaitable[Any]], **limits: Any) -> Any:
    async def inside() -> Any:
        server = HttpServer(hello, "127.0.0.1", 0, replace(WebLimits(), **limits))
        await server.start()
        try:
            return await asyncio.wait_for(act(server), SOON)
        finally:
            await server.stop(0.1)

    return asyncio.run(inside())


async def opened(server: HttpServer, text: bytes = b"") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(text)
    return reader, writer


async def asked(server: HttpServer, text: bytes) -> bytes:
    """The answer until the connection closes."""
    reader, writer = await opened(server, text)
    try:
        return await reader.read()
    finally:
        writer.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


def test_answers() -> None:
    answer = served(lambda server: asked(server, GET + b"\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nserver:" not in answer.lower()


@pytest.mark.parametrize("wish", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize(
    ("line", "body"), [(b"GET /streams", b"one two"), (b"HEAD /streams", b""), (b"GET /", b"0")]
)  # fmt: skip
def test_http_1_0_gets_no_chunks(line: bytes, body: bytes, wish: bytes) -> None:
    """RFC 9112 6.1: it gets the plain bytes, and the end of the connection is that of the answer."""
    answer = served(lambda server: asked(server, line + b" HTTP/1.0\r\nHost: x\r\n" + wish + b"\r\n"))
    head, _, told = answer.partition(b"\r\n\r\n")
    assert told == body
    assert b"transfer-encoding" not in head and b"\r\nconnection: close" in head
    assert (b"\r\ncontent-length: 1" in head) == (line == b"GET /")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_who_expects_100_continue(version: bytes) -> None:
    head = GET.replace(b"GET /", b"POST /reads", 1).replace(b"1.1", version) + b"Expect: 100-continue\r\n"
    answer = served(lambda server: asked(server, head + b"Content-Length: 2\r\n\r\nab"))
    assert answer[9:12] == (b"200" if version == b"1.0" else b"100") and b"HTTP/1.1 200" in answer


def test_http_1_1_gets_chunks() -> None:
    answer = served(lambda server: asked(server, GET.replace(b"/ ", b"/streams ", 1) + b"\r\n"))
    head, _, told = answer.partition(b"\r\n\r\n")
    assert b"\r\ntransfer-encoding: chunked" in head
    assert told == b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"


H2C = b"Host: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
BODIES = {
    b"Content-Length: 5": b"hello",
    b"Transfer-Encoding: chunked": b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("cut", [0, 1, 40, 10_000])
@pytest.mark.parametrize("framing", BODIES)
def test_who_asks_for_another_protocol_goes_on_in_this_one(framing: bytes, cut: int) -> None:
    """So clients of HTTP/2 begin (Java's, `curl --http2`), also with a request that has a body (RFC 9110 7.8)."""
    first = b"POST /reads/back HTTP/1.1\r\n" + H2C + framing + b"\r\n\r\n" + BODIES[framing]
    whole = first + b"GET /reads HTTP/1.1\r\n" + H2C + b"\r\n" + GET + b"\r\n"
    at = len(whole) - cut if cut < len(whole) else len(first) - len(BODIES[framing])

    async def act(server: HttpServer) -> bytes:
        reader, writer = await opened(server, whole[:at])
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(whole[at:])
        try:
            return await reader.read()
        finally:
            writer.close()

    answer = served(act)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert b"\r\n\r\nhelloHTTP/1.1" in answer


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "this port speaks HTTP, not TLS"),
        (b"\x01\x00\x00\x00\x00\xcd\x00\x01", "this port speaks HTTP, not DICOM"),
        (b"HELO example.org\r\n", "not a valid HTTP/1.1 request"),
        ("GET /wado?objectUID=é HTTP/1.1\r\n\r\n".encode(), "the address is not percent-encoded (RFC 3986 2.1)"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "not a valid HTTP/1.1 request"),
    ],
)
def test_what_is_not_http_is_told(sent: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line, with the peer and the reason."""
    answer = served(lambda server: asked(server, sent))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and answer.endswith(reason.encode())
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    fields: Any = record.__dict__["fields"]
    assert fields["reason"] == reason and fields["peer"].startswith("127.0.0.1:")


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_request_buffer_bytes(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read is never longer; what is longer comes in several."""
    reads: list[int] = []
    received = Connection.data_received

    def counted(self: Connection, data: memoryview) -> None:
        reads.append(len(data))
        received(self, data)

    monkeypatch.setattr(Connection, "data_received", counted)
    head = GET.replace(b"GET /", b"POST /reads") + b"Content-Length: 4000\r\n\r\n"
    answer = served(lambda server: asked(server, head + bytes(4000)), request_buffer_bytes=len(head) + 4000 - more)
    assert answer.endswith(b"\r\n\r\n4000")
    assert reads == ([len(head) + 4000 - more, more] if more > 0 else [len(head) + 4000])


def test_bodies_that_come_in_turns_through_one_buffer() -> None:
    """Each is what its own client sent, whatever others send between its reads."""
    bodies = [bytes([number]) * (30_000 + number) for number in range(8)]

    async def act(server: HttpServer) -> list[bytes]:
        head = b"POST /reads/back HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        streams = [await opened(server, head % len(body)) for body in bodies]
        for start in range(0, 31_000, 1_000):
            for (_, writer), body in zip(streams, bodies, strict=True):
                writer.write(body[start : start + 1_000])
                await asyncio.sleep(0)
        answers = [await reader.read() for reader, _ in streams]
        for _, writer in streams:
            writer.close()
        return [answer.partition(b"\r\n\r\n")[2] for answer in answers]

    assert served(act, request_buffer_bytes=700) == bodies
    assert served(act) == bodies


def closings(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Level and reason of the lines about closed connections."""
    return [(r.levelno, r.fields["reason"]) for r in caplog.records if r.getMessage() == "connection closed"]  # type: ignore[attr-defined]


def test_silence_and_slow_heads_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands until all has come that comes."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(connection_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(server_module, "time", connection_module.time)

    async def act(server: HttpServer) -> list[bytes]:
        streams = [await opened(server, text) for text in (b"", b"GET / HT")]
        state: Any = server._uvicorn.server_state
        while sorted(each.head_bytes for each in state.connections) != [0, len(b"GET / HT")]:
            await asyncio.sleep(0)
        clock.now = 0.3
        answers = [await reader.read() for reader, _ in streams]
        for _, writer in streams:
            writer.close()
        return answers

    caplog.set_level(logging.INFO)
    assert served(act, header_seconds_max=0.2) == [b"", b""]
    reason = "no whole request head in time (limits.header_seconds_max)"
    assert sorted(closings(caplog)) == [(logging.INFO, reason), (logging.WARNING, reason)]


def test_a_head_that_dribbles_ends() -> None:
    async def act(server: HttpServer) -> bytes:
        reader, writer = await opened(server, b"GET / HTTP/1.1\r\nX: ")
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait((ended,), timeout=0.05)
        writer.close()
        with contextlib.suppress(ConnectionResetError):  # what was still on its way finds nobody
            return ended.result()
        return b""

    assert served(act, header_seconds_max=0.3) == b""


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_head_bytes(over: int) -> None:
    used = len(b"/") + len(b"Hostx") + len(b"Connectionclose") + len(b"X")
    request = GET + b"X: " + b"y" * (200 + over - used) + b"\r\n\r\n"
    answer = served(lambda server: asked(server, request), request_line_and_headers_bytes_max=200)
    assert answer.startswith(b"HTTP/1.1 431" if over > 0 else b"HTTP/1.1 200")


def test_a_header_without_end(caplog: pytest.LogCaptureFixture) -> None:
    answer = served(
        lambda server: asked(server, b"GET / HTTP/1.1\r\nX: " + b"y" * 5_000), request_line_and_headers_bytes_max=200
    )
    assert answer.startswith(b"HTTP/1.1 431")
    [(level, reason)] = closings(caplog)
    assert level == logging.WARNING and "limits.request_line_and_headers_bytes_max" in reason


def test_silent_connections_lock_nobody_out() -> None:
    async def act(server: HttpServer) -> bytes:
        silent = [await opened(server) for _ in range(8)]
        answer = await asked(server, GET + b"\r\n")
        assert server.connections <= 5
        for _, writer in silent:
            writer.close()
        return answer

    assert served(act, connections_max=4).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_connections_at_work(over: int) -> None:
    async def act(server: HttpServer) -> bytes:
        busy = [await opened(server, b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3 + over)]
        while len(server._uvicorn.server_state.tasks) < 3 + over:
            await asyncio.sleep(0)
        answer = await asked(server, GET + b"\r\n")
        for _, writer in busy:
            writer.close()
        return answer

    answer = served(act, connections_max=4)
    assert answer.startswith(b"HTTP/1.1 503" if over > 0 else b"HTTP/1.1 200")


def test_a_body_that_makes_no_progress_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_FLOOR_WINDOW_SECONDS", 0.2)
    head = b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"

    async def act(server: HttpServer) -> bytes:
        reader, writer = await opened(server, head)
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait((ended,), timeout=0.05)
        writer.close()
        with contextlib.suppress(ConnectionResetError):  # what was still on its way finds nobody
            return ended.result()
        return b""

    assert served(act, header_seconds_max=0.2, body_bytes_per_second_min=1_000) == b""


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"x\r\nTransfer-Encoding: chunked", b"gzip", b"Chunked "])
def test_transfer_codings(coding: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """One that isn't understood is an error (RFC 9112 6.1)."""
    head = GET.replace(b"GET /", b"POST /reads", 1) + b"Transfer-Encoding: " + coding
    answer = served(lambda server: asked(server, head + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    assert (answer[9:12], len(closings(caplog))) == ((b"200", 0) if coding == b"Chunked " else (b"501", 1))


def test_drain_lets_requests_finish() -> None:
    async def act(server: HttpServer) -> bytes:
        reader, writer = await opened(server, b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        while not server._uvicorn.server_state.tasks:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(server.stop(5.0))
        await asyncio.sleep(0)
        writer.write(b"345")
        answer = await reader.read()
        await stopping
        writer.close()
        return answer

    answer = served(act)
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"5")


@pytest.mark.parametrize("path", ["/waits", "/reads"])
def test_drain_has_an_end(path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == "/reads":  # its handler ends by itself, however long that takes
        monkeypatch.setattr(server_module, "_CUT_OFF_SECONDS", SOON)

    async def act(server: HttpServer) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12"
        reader, writer = await opened(server, head.encode())
        while not server._uvicorn.server_state.tasks:
            await asyncio.sleep(0)
        await server.stop(0.1)
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    served(act)
    assert closings(caplog) == [(logging.WARNING, "the archive is shutting down")]
    if path == "/reads":  # who waits for its client learns that it is gone
        assert not any(record.exc_info for record in caplog.records)


def test_a_port_that_is_taken() -> None:
    async def act(server: HttpServer) -> None:
        with pytest.raises(OSError):
            await HttpServer(hello, "127.0.0.1", server.port, WebLimits()).start()

    served(act)


def test_connections_are_looked_after_again_when_that_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Silent ones are ended, though the first round met an error that nobody thought of."""
    tick, rounds = uvicorn.Server.on_tick, list[int]()

    async def fail_once(self: uvicorn.Server, counter: int) -> bool:
        rounds.append(counter)
        if len(rounds) == 2:  # the first is made before anybody may connect
            raise ZeroDivisionError
        return await tick(self, counter)

    monkeypatch.setattr(uvicorn.Server, "on_tick", fail_once)
    monkeypatch.setattr(lasting, "PAUSES", (0.01, 0.01))

    async def act(server: HttpServer) -> bytes:
        return await asked(server, b"")

    assert served(act, header_seconds_max=0.2) == b""
    assert "looking after connections failed, and is tried again" in caplog.text


def test_a_connection_that_cannot_be_looked_after_is_closed_and_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever comes first in a round: of three the check raises, the fourth says nothing for too long."""
    overdue, doubtful = Connection.overdue, set[int]()

    def fail(self: Connection, now: float) -> str:
        if self.client is not None and self.client[1] in doubtful:
            raise ZeroDivisionError
        return overdue(self, now)

    monkeypatch.setattr(Connection, "overdue", fail)

    async def act(server: HttpServer) -> None:
        opened_ones = [await opened(server) for _ in range(4)]
        doubtful.update(writer.get_extra_info("sockname")[1] for _, writer in opened_ones[:3])
        assert [await reader.read() for reader, _ in opened_ones] == [b""] * 4
        for _, writer in opened_ones:
            writer.close()

    served(act, header_seconds_max=0.2)
    said = [record for record in caplog.records if record.getMessage() == "looking after a connection failed"]
    assert len(said) == 3 and all(record.exc_info is not None for record in said)
