"""DELETE below /dicom-web: hidden with a tombstone, and back again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from archived import asking, instance_of, series_of, study_of
from builders import Built, build

from sagittal.archive.access import LOCAL, Principal
from sagittal.web.house import Settings


@pytest.mark.parametrize("level", [study_of, series_of, instance_of])
async def test_there_and_back(tmp_path: Path, level: Callable[[Built], str]) -> None:
    held, other = build(), build(study=2)
    async with asking(tmp_path, [held, other]) as (client, archive):
        path = level(held)
        answer = await client.delete(path, params={"reason": "wrong patient"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get(path)).status_code == 410
        assert (await client.delete(path)).status_code == 404
        assert (await client.get(level(other))).status_code == 200
        (tombstone,) = await archive.tombstones(LOCAL)
        assert (tombstone.reason, tombstone.principal) == ("wrong patient", "local")
        back = await client.post(path.replace("/dicom-web", "/api") + "/undelete")
        assert back.json() == {"instances": 1}
        assert (await client.get(path)).status_code == 200


async def test_who_may_not(tmp_path: Path) -> None:
    reader = Principal("reader", "token", frozenset({"find", "get"}))
    settings = Settings(tokens=lambda: {hashlib.sha256(b"sesame").hexdigest(): reader})
    held = build()
    async with asking(tmp_path, [held], settings) as (client, _):
        bearer = {"authorization": "Bearer sesame"}
        assert (await client.delete(study_of(held), headers=bearer)).status_code == 403
        assert (await client.get(study_of(held), headers=bearer)).status_code == 200


@pytest.mark.parametrize(("count", "status"), [(1000, 204), (1001, 400)])
async def test_the_reason_is_short(tmp_path: Path, count: int, status: int) -> None:
    held = build()
    async with asking(tmp_path, [held]) as (client, _):
        assert (await client.delete(study_of(held), params={"reason": "x" * count})).status_code == status
