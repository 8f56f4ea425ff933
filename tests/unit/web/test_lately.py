"""Frames asked for one by one: what is remembered of a request's head is told anew as soon as it may be otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import applied
from builders import build, opened, store

from sagittal.archive.access import VERBS, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.opening import INDEX
from sagittal.web.app import WebApp
from sagittal.web.house import Settings

HELD = build(1, frames=3)
OTHER = build(1, frames=3, rows=8)  # under the same UID
BASE = f"/dicom-web/studies/{HELD.study_uid}/series/{HELD.series_uid}/instances/{HELD.sop_instance_uid}"
OCTETS = {"accept": "application/octet-stream"}
WHO = Principal("local", "local", VERBS)


@asynccontextmanager
async def asking(path: Path, settings: Settings | None = None) -> AsyncIterator[tuple[Archive, httpx.AsyncClient]]:
    async with opened(path) as archive:
        await store(archive, HELD)
        async with applied(archive, settings) as app:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                yield archive, client


async def frame(client: httpx.AsyncClient, number: int, **headers: str) -> httpx.Response:
    return await client.get(f"{BASE}/frames/{number}", headers=OCTETS | headers)


async def warm(client: httpx.AsyncClient) -> None:
    """So often that it is remembered, and its file open."""
    for number in (1, 2, 3, 1):
        answer = await frame(client, number)
        assert (answer.status_code, answer.content) == (200, HELD.frames[number - 1])


async def test_every_request_has_its_row_in_the_audit_log(tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, client):
        await warm(client)
    with sqlite3.connect(tmp_path / INDEX) as index:
        rows = index.execute(
            "SELECT outcome, study_instance_uid, detail, number_of_instances FROM audit WHERE verb = 'get'"
        ).fetchall()
    index.close()
    assert rows == [("done", HELD.study_uid, "", 1)] * 4


async def test_what_was_deleted_is_gone(tmp_path: Path) -> None:
    async with asking(tmp_path) as (archive, client):
        await warm(client)
        await archive.delete(WHO, Target(HELD.study_uid))
        assert (await frame(client, 1)).status_code == 410


async def test_what_was_replaced_is_not_answered_any_more(tmp_path: Path) -> None:
    async with asking(tmp_path) as (archive, client):
        await warm(client)
        before = await frame(client, 2)
        await store(archive, OTHER, policy="replace")
        after = await frame(client, 2, **{"if-none-match": before.headers["etag"]})
        assert (after.status_code, after.content) == (200, OTHER.frames[1])
        assert (await frame(client, 3)).content == OTHER.frames[2]


async def test_who_lost_a_right_is_refused(tmp_path: Path) -> None:
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    tokens = {digest: Principal("asking", "token", VERBS)}
    async with asking(tmp_path, Settings(tokens=lambda: tokens)) as (_, client):
        client.headers["authorization"] = "Bearer secret"
        await warm(client)
        tokens[digest] = Principal("asking", "token", VERBS - {"get"})
        assert (await frame(client, 1)).status_code == 403
        tokens.clear()
        assert (await frame(client, 1)).status_code == 401


async def test_addresses_are_as_the_client_named_us(tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, client):
        await warm(client)
        multipart = 'multipart/related; type="application/octet-stream"'
        for host in ("localhost:1", "127.0.0.1:2", "localhost:1"):
            answer = await frame(client, 1, host=host, accept=multipart)
            assert f"Content-Location: http://{host}{BASE}/frames/1\r\n".encode() in answer.content


async def test_other_heads_and_numbers_have_other_answers(tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, client):
        await warm(client)
        answer = await frame(client, 2)
        assert (await frame(client, 2, **{"if-none-match": answer.headers["etag"]})).status_code == 304
        assert (await frame(client, 3, **{"if-none-match": answer.headers["etag"]})).content == HELD.frames[2]
        assert (await frame(client, 4)).status_code == 404
        assert (await frame(client, 1, accept="image/nothing")).status_code == 406
        several = await client.get(f"{BASE}/frames/1,2", headers=OCTETS)
        assert several.status_code == 406 and "multipart/related" in several.text


def routed(answer: httpx.Response) -> Any:
    return (
        answer.status_code,
        answer.headers.get("etag"),
        answer.headers.get("allow"),
        answer.headers.get("content-type"),
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["/frames/2", "/frames/0", "/frames/", "/frames/2/", "/frames/1/rendered", "/rendered", "/thumbnail?viewport=8,8",
     "/frames/1/thumbnail", "/frames/1/nothing", "/rendered/1"],
)  # fmt: skip
async def test_what_is_asked_often_is_found_as_the_router_finds_it(tmp_path: Path, method: str, path: str) -> None:
    async with asking(tmp_path) as (_, client):
        app: WebApp = client._transport.app  # type: ignore[attr-defined]
        often = app._inside._app
        known, accept = often._known, {"accept": "image/png, application/octet-stream, application/json;q=0.1"}
        for address in (
            BASE + path,
            BASE.replace("studies/2", "studies/x") + path,
            BASE.replace("dicom-web", "x") + path,
        ):
            soon = await client.request(method, address, headers=accept)
            often._known = {}
            later = await client.request(method, address, headers=accept)
            often._known = known
            assert routed(soon) == routed(later)
