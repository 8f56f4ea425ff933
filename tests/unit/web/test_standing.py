"""Requests that last longer than the token that they were let in with."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import BASE, applied, hold
from builders import build, opened

from sagittal.archive.access import Principal
from sagittal.limits import Limits, WebLimits
from sagittal.web.house import Settings

SECRET = b"told once"
DIGEST = hashlib.sha256(SECRET).hexdigest()
LIMITS = Limits(web=WebLimits(read_chunk_bytes=512))
READER = Principal("reader", "token", frozenset({"get", "store"}))
LESS = Principal("reader", "token", frozenset({"find"}))


def settings(known: dict[str, Principal]) -> Settings:
    return Settings(tokens=lambda: known, limits=LIMITS)


@pytest.mark.parametrize("after", [None, LESS], ids=["revoked", "other rights"])
@pytest.mark.parametrize(
    "accept", ["multipart/related; type=application/dicom", "application/zip",
               "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.5"]
)  # fmt: skip
async def test_a_download_ends_with_its_token(
    tmp_path: Path, accept: str, after: Principal | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off, not closed in order: what came so far is not all of it."""
    known = {DIGEST: READER}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message.get("more_body"):
            known.pop(DIGEST, None)
            known.update({DIGEST: after} if after else {"0" * 64: READER})

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    held = [build(number, rows=64, columns=64) for number in (1, 2)]
    headers = [(b"host", b"localhost"), (b"accept", accept.encode()), (b"authorization", b"Bearer " + SECRET)]
    path = f"/dicom-web/studies/{held[0].study_uid}"
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": path, "root_path": "", "query_string": b"",
             "headers": headers, "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2)}  # fmt: skip
    async with opened(tmp_path) as archive:
        await hold(archive, *held)
        async with applied(archive, settings(known)) as app:
            with caplog.at_level(logging.WARNING, "sagittal.web"):
                await app(scope, receive, send)
    assert [message.get("status") for message in sent] == [200, None]
    assert "an answer ends early: the bearer token" in caplog.text


@pytest.mark.parametrize("accept", ["application/dicom+json", "application/dicom+xml"])
async def test_an_upload_ends_with_its_token(tmp_path: Path, accept: str) -> None:
    """The client learns what was stored before, all of it."""
    known = {DIGEST: READER, "0" * 64: READER}

    async def body() -> AsyncIterator[bytes]:
        for number in (1, 2):
            yield b"--b\r\nContent-Type: application/dicom\r\n\r\n" + build(number).part10 + b"\r\n"
        known.pop(DIGEST)
        yield b"--b--\r\n"

    headers = {"authorization": f"Bearer {SECRET.decode()}", "content-type": "multipart/related; boundary=b"}
    headers["accept"] = accept
    async with opened(tmp_path) as archive, applied(archive, settings(known)) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            answer = await client.post("/dicom-web/studies", content=body(), headers=headers)
    assert answer.status_code == 202
    for of_one in ("00081199", "00081198"):
        assert answer.text.count(of_one) == 1
    assert answer.text.rstrip()[-1] in "}>"
