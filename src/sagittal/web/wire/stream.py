"""Answers that are longer than memory should hold: chunks made on a reader thread, one ahead of the socket.

A chunk is about `read_chunk_bytes`, many small objects to one, so that a thread is entered seldom and the loop copies
little. It doesn't know what the bytes are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


def gathered(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """The same bytes in chunks of about `chunk_bytes`."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= chunk_bytes:
            yield b"".join(held) if len(held) > 1 else piece
            held, size = [], 0
    if held:
        yield b"".join(held)


class Streamed(Response):
    """An answer whose body is an iterator, run on `readers`; errors before the first chunk still become an answer."""

    def __init__(
        self, readers: ThreadPoolExecutor, chunks: Iterator[bytes], content_type: str, length: int | None = None
    ) -> None:
        self._readers, self._chunks = readers, chunks
        self.status_code, self.background, self.body = 200, None, b""
        self.raw_headers = [(b"content-type", content_type.encode("latin-1"))]
        if length is not None:
            self.raw_headers.append((b"content-length", b"%d" % length))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        ahead = loop.run_in_executor(self._readers, next, self._chunks, None)
        gone = asyncio.ensure_future(until_disconnect(receive))
        try:
            chunk = await ahead
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while chunk is not None and not gone.done() and scope["method"] != "HEAD":
                ahead = loop.run_in_executor(self._readers, next, self._chunks, None)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await ahead
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            if not ahead.done():
                await asyncio.wait([ahead])
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()


class Pushed(Response):
    """An answer whose body is made on the loop by an asynchronous iterator."""

    def __init__(self, chunks: AsyncGenerator[bytes], content_type: str) -> None:
        self._pushed = chunks
        self.status_code, self.background, self.body = 200, None, b""
        self.raw_headers = [(b"content-type", content_type.encode("latin-1"))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(until_disconnect(receive))
        try:
            started = False
            async for chunk in self._pushed:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    started = True
                if gone.done():
                    return
                if scope["method"] != "HEAD":
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            await self._pushed.aclose()


async def until_disconnect(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
