"""A data directory of our own: asked over DICOMweb, without a socket, or of the server that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from sagittal.client.dicomweb import WebArchive, open_url
from sagittal.client.place import Access, Url, listener_of
from sagittal.client.remote import Remark
from sagittal.errors import DirectoryHeld

_PIECES_MAX = 16  # of an answer that wait to be taken


@asynccontextmanager
async def open_directory(data: Path, access: Access, remark: Remark) -> AsyncIterator[WebArchive]:
    """The archive in `data`."""
    from sagittal.archive.archive import Archive
    from sagittal.archive.index.upkeep.stores import number_of
    from sagittal.web.app import create_app
    from sagittal.web.house import Settings
    from sagittal.workers.pool import Pool

    base = (f"/stores/{quote(access.store, safe='')}" if access.store else "") + "/dicom-web"
    try:
        archive = await Archive.open(data)
    except DirectoryHeld:
        url, token = await listener_of(data)
        direct = httpx.AsyncHTTPTransport()  # the token is for nobody between us and it
        async with open_url(Url(f"{url}{base}"), replace(access, token=token), remark, direct) as remote:
            yield remote
        return
    settings = Settings()
    workers = Pool(settings.limits.workers)
    app = create_app(archive, settings, workers)
    try:
        number_of(archive.stores, access.store)
        async with open_url(Url(f"http://localhost{base}"), Access(), remark, _Application(app)) as remote:
            yield remote
    finally:
        app.drain()
        app.close()
        await workers.close()
        await archive.close()


class _Application(httpx.AsyncBaseTransport):
    """Requests to an ASGI application, answers streamed as they are made."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = aiter(request.stream)
        answer: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_PIECES_MAX)
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:  # then the application waits for us to go away, which its task being cancelled says
                await asyncio.Event().wait()
            data = await anext(body, None)
            sent = data is None
            return {"type": "http.request", "body": data or b"", "more_body": not sent}

        async def run() -> None:
            try:
                await self._app(_scope(request), receive, answer.put)
            finally:
                await answer.put(None)

        task = asyncio.create_task(run())
        start = await answer.get()
        if start is None:
            await task
            raise httpx.ReadError("the archive did not answer")
        return httpx.Response(start["status"], headers=start["headers"], stream=_Answer(answer, task))


class _Answer(httpx.AsyncByteStream):
    """The body of an answer; closing it early ends the work for it."""

    def __init__(self, answer: asyncio.Queue[dict[str, Any] | None], task: asyncio.Task[None]) -> None:
        self._answer, self._task = answer, task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._answer.get()) is not None:
            if message.get("body"):
                yield bytes(message["body"])
        await self._task

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 0),
    }
