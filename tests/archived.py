"""The web application on a real archive that holds what a test builds, asked over an in-process transport."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from builders import Built, opened

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.web.app import WebApp, create_app
from sagittal.web.house import Settings
from sagittal.workers.pool import Pool

BASE = "http://127.0.0.1:8042"


async def hold(archive: Archive, *objects: Built, data: bytes | None = None) -> None:
    """Store the objects; `data` instead of what was built, for one."""
    for held in objects:
        transfer = archive.store_begin(LOCAL, Source("dimse"), syntax_uid=held.syntax_uid)
        transfer.write(held.data if data is None else data)
        await transfer.commit()


@asynccontextmanager
async def applied(archive: Archive, settings: Settings | None = None) -> AsyncIterator[WebApp]:
    """The application on an archive, with workers of its own."""
    settings = settings or Settings()
    workers = Pool(settings.limits.workers)
    app = create_app(archive, settings, workers)
    try:
        yield app
    finally:
        app.close()
        await workers.close()


@asynccontextmanager
async def asking(
    folder: Path, objects: list[Built], settings: Settings | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Archive]]:
    """A client of an archive that holds `objects`; `headers` go with every request."""
    async with opened(folder) as archive:
        await hold(archive, *objects)
        async with applied(archive, settings) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
                yield client, archive


@asynccontextmanager
async def asking_with(verbs: frozenset[str], folder: Path, objects: list[Built]) -> AsyncIterator[httpx.AsyncClient]:
    """The same with a token that has these verbs."""
    tokens = {hashlib.sha256(b"secret").hexdigest(): Principal("asking", "token", verbs)}
    bearer = {"authorization": "Bearer secret"}
    async with asking(folder, objects, Settings(tokens=lambda: tokens), bearer) as (client, _):
        yield client


def answers(folder: Path, objects: list[Built], *asks: tuple[str, dict[str, str]]) -> list[httpx.Response]:
    """The answers to GETs of paths with headers."""

    async def run() -> list[httpx.Response]:
        async with asking(folder, objects) as (client, _):
            return [await client.get(path, headers=headers) for path, headers in asks]

    return asyncio.run(run())


def study_of(held: Built) -> str:
    return f"/dicom-web/studies/{held.study_uid}"


def series_of(held: Built) -> str:
    return f"{study_of(held)}/series/{held.series_uid}"


def instance_of(held: Built) -> str:
    return f"{series_of(held)}/instances/{held.sop_instance_uid}"


def parts(answer: httpx.Response, status: int = 200) -> list[tuple[dict[str, str], bytes]]:
    """Headers and content of each part, cut by the boundary: what no code of ours has read."""
    assert answer.status_code == status, answer.text
    boundary = answer.headers["content-type"].partition("boundary=")[2].partition(";")[0].strip('"').encode()
    first, *inside, last = answer.content.split(b"--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    found = []
    for part in inside:
        head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = (line.split(": ", 1) for line in head.decode().split("\r\n"))
        found.append(({name.lower(): value for name, value in lines}, body[:-2]))
    return found
