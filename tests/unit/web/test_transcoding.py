"""GET /api/transcoding and POST /api/transcoding/again, on a real archive with a rule."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from archived import BASE, applied
from builders import build
from ruled import Ruled, ruled

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.transcoding.rules import Rule
from sagittal.dicom.syntaxes import JPEG_LS_LOSSLESS, RLE_LOSSLESS
from sagittal.web.house import Settings

BROKEN = build(9, syntax_uid=RLE_LOSSLESS, rows=8, columns=8)
WHO = Principal("reader", "token", frozenset({"find"}))


@asynccontextmanager
async def ruling(tmp_path: Path, *rules: Rule) -> AsyncIterator[tuple[httpx.AsyncClient, Ruled]]:
    async with ruled(tmp_path / "a", *rules) as held:
        tokens = {hashlib.sha256(b"secret").hexdigest(): WHO}
        async with applied(held.archive, Settings(by_rule=held.by_rule, tokens=lambda: tokens)) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                yield client, held


async def test_what_failed_is_told_and_tried_again(tmp_path: Path) -> None:
    async with ruling(tmp_path, Rule(JPEG_LS_LOSSLESS)) as (client, held):
        assert (await client.get("/api/transcoding")).status_code == 401
        client.headers["authorization"] = "Bearer secret"
        await held.store(BROKEN, build(1, rows=8, columns=8))
        await held.settled()
        told = (await client.get("/api/transcoding")).json()
        assert (told["rules"], told["waiting"], told["failed"]) == (1, 0, 1)
        (failure,) = told["failures"]
        assert "RLE" in failure.pop("reason") and failure.pop("at") > 0
        assert failure == {
            "instance": BROKEN.sop_instance_uid, "study": BROKEN.study_uid, "transfer_syntax": RLE_LOSSLESS,
            "to": JPEG_LS_LOSSLESS, "again": False,
        }  # fmt: skip
        assert (await client.post("/api/transcoding/again")).status_code == 403


async def test_done_and_failed_are_counted_for_the_page_and_the_metrics(tmp_path: Path) -> None:
    async with ruling(tmp_path, Rule(JPEG_LS_LOSSLESS)) as (client, held):
        client.headers["authorization"] = "Bearer secret"
        assert 'sagittal_transcodings_total{outcome="failed",store="main"} 0.0' in (await client.get("/metrics")).text
        await held.store(BROKEN, *(build(number, rows=8, columns=8) for number in (1, 2)))
        await held.settled()
        text = (await client.get("/metrics")).text
        assert 'sagittal_transcodings_total{outcome="done",store="main"} 2.0' in text
        assert 'sagittal_transcodings_total{outcome="failed",store="main"} 1.0' in text
        told = (await client.get("/api/summary")).json()["transcoding"]
        assert told == {"rules": 1, "waiting": 0, "done": 2, "failed": 1}
        await held.by_rule.again(LOCAL)
        await held.settled()
        assert 'outcome="failed",store="main"} 2.0' in (await client.get("/metrics")).text  # tried twice
        assert (await client.get("/api/summary")).json()["transcoding"]["failed"] == 1


async def test_without_rules(tmp_path: Path) -> None:
    async with ruling(tmp_path) as (client, _):
        client.headers["authorization"] = "Bearer secret"
        assert "transcodings" not in (await client.get("/metrics")).text
        assert (await client.get("/api/summary")).json()["transcoding"] is None
        assert (await client.get("/api/transcoding")).json() == {
            "rules": 0, "waiting": 0, "failed": 0, "failures": [],
        }  # fmt: skip
        assert (await client.post("/api/transcoding/again")).status_code == 404
