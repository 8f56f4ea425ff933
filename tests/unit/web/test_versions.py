"""Versions, discrepancies, delete and undelete over REST, on a real archive."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from archived import asking_with
from builders import build

from sagittal.archive.access import VERBS

FIRST, BESIDE, NEXT = build(1), build(1, patient_name="Doe^Joan"), build(2, patient_name="Doe^Jan")
VERSIONS = f"/api/instances/{FIRST.sop_instance_uid}/versions"
SERIES = f"/api/studies/{FIRST.study_uid}/series/{FIRST.series_uid}"
INSTANCE = f"{SERIES}/instances/{FIRST.sop_instance_uid}"


def asking(path: Path, verbs: frozenset[str] = VERBS) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return asking_with(verbs, path, [FIRST, BESIDE, NEXT])


async def test_versions_are_listed_read_and_promoted(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        first, beside = (await client.get(VERSIONS)).json()
        assert (first["state"], beside["state"]) == ("current", "other")
        assert (first["digest"], first["size"]) == (FIRST.digest, len(FIRST.part10))
        assert first["study"] == FIRST.study_uid
        for name in (beside["id"], beside["digest"]):
            answer = await client.get(f"{VERSIONS}/{name}/file")
            assert (answer.status_code, answer.content) == (200, BESIDE.part10)
            assert answer.headers["content-type"] == "application/dicom"
            assert answer.headers["content-length"] == str(len(BESIDE.part10))
        again = (await client.post(f"{VERSIONS}/{beside['id']}/promote")).json()
        assert [version["state"] for version in again] == ["other", "current"]
        held = await client.get(
            f"/dicom-web{INSTANCE.removeprefix('/api')}", headers={"accept": "application/dicom; transfer-syntax=*"}
        )
        assert held.content == BESIDE.part10
        assert (await client.post(f"{VERSIONS}/{beside['id']}/promote")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/instances/1.2.3/versions", 404),
        ("GET", "/api/instances/../versions", 404),
        ("GET", "/api/instances/x/versions", 400),
        ("GET", f"{VERSIONS}/99/file", 404),
        ("GET", f"{VERSIONS}/{'0' * 64}/file", 404),
        ("GET", f"{VERSIONS}/x/file", 422),
        ("POST", f"{VERSIONS}/99/promote", 404),
        ("GET", "/api/discrepancies?study=x", 400),
        ("GET", "/api/discrepancies?limit=0", 422),
        ("DELETE", f"{SERIES}/instances/1.2.3", 404),
        ("DELETE", f"{SERIES}/instances/x", 400),
        ("POST", f"{INSTANCE}/undelete", 404),
    ],
)
async def test_what_is_not_there(tmp_path: Path, method: str, path: str, status: int) -> None:
    async with asking(tmp_path) as client:
        assert (await client.request(method, path)).status_code == status


async def test_who_may(tmp_path: Path) -> None:
    async with asking(tmp_path, frozenset({"get"})) as client:
        beside = (await client.get(VERSIONS)).json()[1]
        assert (await client.post(f"{VERSIONS}/{beside['id']}/promote")).status_code == 403
        assert (await client.delete(INSTANCE)).status_code == 403
        assert (await client.post(f"{INSTANCE}/undelete")).status_code == 403
        assert (await client.get("/api/discrepancies")).status_code == 403


@pytest.mark.parametrize("level", [INSTANCE, SERIES])
async def test_delete_and_undelete(tmp_path: Path, level: str) -> None:
    async with asking(tmp_path) as client:
        done = (await client.delete(level, params={"reason": "wrong patient"})).json()
        assert done["instances"] == (2 if level == INSTANCE else 3)
        first, beside = (await client.get(VERSIONS)).json()
        assert {first["state"], beside["state"]} == {"deleted"}
        assert (await client.get(f"{VERSIONS}/{first['id']}/file")).status_code == 410
        (tombstone,) = (await client.get("/api/tombstones")).json()
        assert (tombstone["reason"], tombstone["principal"]) == ("wrong patient", "asking")
        assert (await client.post(f"{level}/undelete")).json() == {"instances": done["instances"]}
        first, beside = (await client.get(VERSIONS)).json()
        assert (first["state"], beside["state"]) == ("current", "other")


async def test_discrepancies(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        latest, *_ = found = (await client.get("/api/discrepancies")).json()
        assert (latest["tag"], latest["kept"], latest["value"]) == ("00100010", "Doe^Jane", "Doe^Jan")
        assert (latest["study"], latest["instance"]) == (FIRST.study_uid, NEXT.sop_instance_uid)
        assert (await client.get(f"/api/discrepancies?study={FIRST.study_uid}")).json() == found
        assert (await client.get("/api/discrepancies?study=1.2")).json() == []


async def test_openapi_lists_them(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        paths = (await client.get("/api/openapi.json")).json()["paths"]
        instance = "/studies/{study}/series/{series}/instances/{instance}"
        assert {
            "/instances/{instance}/versions": {"get"},
            "/instances/{instance}/versions/{version}/file": {"get"},
            "/instances/{instance}/versions/{version}/promote": {"post"},
            "/discrepancies": {"get"},
            instance: {"delete"},
            instance + "/undelete": {"post"},
            "/studies/{study}/series/{series}/undelete": {"post"},
        }.items() <= {path: set(operations) for path, operations in paths.items()}.items()
        file = paths["/instances/{instance}/versions/{version}/file"]["get"]["responses"]["200"]
        assert list(file["content"]) == ["application/dicom"]
