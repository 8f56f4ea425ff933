"""Answers that are longer than memory should hold: batches made on a reader thread, one ahead of the socket.

A batch is about `chunk_bytes`, however many pieces it has, so that a thread is entered seldom; large pieces go to the
socket as they are, without another copy, and small ones are joined. It doesn't know what the bytes are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sagittal.errors import NotAcceptable, PreconditionFailed

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from sagittal.web.wire.conditions import Header

T = TypeVar("T")
_SMALL_BYTES = 32 << 10  # joining costs less than one more call
_UNWATCHED_SECONDS = 0.05  # what is done within is done whether somebody waits for it or not


def batched(pieces: Iterable[bytes], chunk_bytes: int) -> Generator[list[bytes]]:
    """The same bytes in lists of about `chunk_bytes`, small neighbours joined."""
    batch: list[bytes] = []
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if len(piece) <= _SMALL_BYTES:
            small.append(piece)
        else:
            if small:
                batch.append(b"".join(small))
                small = []
            batch.append(piece)
        if size >= chunk_bytes:
            yield [*batch, b"".join(small)] if small else batch
            batch, small, size = [], [], 0
    if small:
        batch.append(b"".join(small))
    if batch:
        yield batch


class Whole(Response):
    """An answer whose body is there: no more is done to it than to send it."""

    def __init__(self, body: bytes | bytearray, content_type: str, headers: Iterable[Header] = ()) -> None:
        self.status_code, self.background, self.body = 200, None, memoryview(body)
        length = b"%d" % len(body)
        self.raw_headers = [(b"content-type", content_type.encode("latin-1")), *headers, (b"content-length", length)]


class Streamed(Response):
    """An answer whose body is an iterator, run on `readers`; errors before the first bytes still become an answer."""

    def __init__(
        self,
        readers: ThreadPoolExecutor,
        pieces: Iterator[bytes],
        content_type: str,
        length: int | None = None,
        *,
        chunk_bytes: int = 1 << 20,
        status: int = 200,
        headers: Iterable[Header] = (),
    ) -> None:
        self._readers, self._pieces = readers, pieces
        self._batches = batched(pieces, chunk_bytes)
        self.status_code, self.background, self.body = status, None, b""
        self.raw_headers = [(b"content-type", content_type.encode("latin-1")), *headers]
        if length is not None:
            self.raw_headers.append((b"content-length", b"%d" % length))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        ahead = loop.run_in_executor(self._readers, next, self._batches, None)
        gone = asyncio.ensure_future(until_disconnect(receive))
        try:
            batch = await ahead
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while batch is not None and not gone.done() and scope["method"] != "HEAD":
                ahead = loop.run_in_executor(self._readers, next, self._batches, None)
                for piece in batch:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                batch = await ahead
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            if not ahead.done():
                await asyncio.wait([ahead])
            self._batches.close()
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()


class Pushed(Response):
    """An answer whose body is made on the loop by an asynchronous iterator."""

    def __init__(
        self, chunks: AsyncGenerator[bytes], content_type: str, headers: Iterable[Header] = (), status: int = 200
    ) -> None:
        self._pushed = chunks
        self.status_code, self.background, self.body = status, None, b""
        self.raw_headers = [(b"content-type", content_type.encode("latin-1")), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(until_disconnect(receive))
        try:
            started = False
            while (chunk := await _unless(gone, anext(self._pushed, None))) is not None:
                if not started:
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                    started = True
                if scope["method"] == "HEAD":
                    break
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            await self._pushed.aclose()


class Either(Response):
    """The first of some answers that can be given, and is wanted by If-Match. Whether one is shows before it begins, by
    NotAcceptable or PreconditionFailed.
    """

    def __init__(self, answers: Sequence[Callable[[], Response]]) -> None:
        self._answers = answers
        self.status_code, self.background, self.body, self.raw_headers = 200, None, b"", []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        *first, last = self._answers
        for answer in first:
            with suppress(NotAcceptable, PreconditionFailed):
                return await answer()(scope, receive, send)
        await last()(scope, receive, send)


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """What `work` gives; when the client goes away first, work is cancelled: nobody waits for it any more.

    Work is awaited in the task that asks, since another one costs more turns of the loop than a picture may take; and
    the client is watched only when it takes longer than most.
    """
    watch = _Watch(receive)
    beginning = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, watch.begin)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.gone and watch.asking.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        beginning.cancel()
        watch.end()


class _Watch:
    """Cancels the task that made it when the client goes away."""

    __slots__ = ("_over", "_receive", "_watching", "asking", "gone")

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.asking, self.gone, self._over = task, False, False
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(until_disconnect(self._receive))
        self._watching.add_done_callback(self._ended)

    def end(self) -> None:
        """The work is done: who goes now goes too late to cancel anything."""
        self._over = True
        if self._watching is not None:
            self._watching.cancel()

    def _ended(self, watching: asyncio.Task[None]) -> None:
        if not self._over:
            self.gone = True
            self.asking.cancel()


async def _unless(gone: asyncio.Future[None], work: Awaitable[T]) -> T:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


async def drawn(readers: ThreadPoolExecutor, pieces: Iterator[bytes], chunk_bytes: int) -> AsyncGenerator[bytes]:
    """The pieces as an asynchronous iterator on the loop, made on `readers`."""
    loop = asyncio.get_running_loop()
    batches = batched(pieces, chunk_bytes)
    while (batch := await loop.run_in_executor(readers, next, batches, None)) is not None:
        for piece in batch:
            yield piece


async def until_disconnect(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
