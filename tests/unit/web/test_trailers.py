"""What a request may have beside its body: the parser keeps trailers, and nobody asks for a token before them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest

from sagittal.limits import WebLimits
from sagittal.web.server import HttpServer

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = replace(WebLimits(), request_line_and_headers_bytes_max=200)
SOON = 20.0


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """As `security` does, without reading the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def answers(*beside: bytes, ends: bool = True) -> int:
    """How many requests are answered: the first with this after its body, and one behind it if that `ends`."""

    async def act() -> int:
        server = HttpServer(refuse, "127.0.0.1", 0, LIMITS)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(HEAD + b"1\r\nx\r\n")
            got = await reader.readuntil(b"\r\n\r\n")
            for piece in beside:
                writer.write(piece)
                await writer.drain()
            if ends:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                got += await asyncio.wait_for(reader.read(), SOON)
            return got.count(b"HTTP/1.1 401")
        finally:
            writer.close()
            await server.stop(0.1)

    return asyncio.run(act())


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("begun", [b"0\r\na: ", b"0\r\na: 1\r\nb: "])
def test_trailers(begun: bytes, over: int) -> None:
    """Twice as much as a head may have, since what is no whole header is counted too."""
    trailers = begun + b"x" * (400 - len(begun) + over)
    if over > 0:
        assert answers(trailers, ends=False) == 1
    else:
        assert answers(trailers, b"\r\n\r\n") == 2


def test_trailers_that_never_end() -> None:
    assert answers(b"0\r\n", *[b"a: bbbbbbbb\r\n"] * 100, ends=False) == 1


def test_extensions_of_chunks_that_never_end() -> None:
    assert answers(b"5;", *[b"x" * 20] * 100, ends=False) == 1


def test_small_chunks_go_on() -> None:
    assert answers(*[b"1\r\nx\r\n"] * 200, b"0\r\n\r\n") == 2
