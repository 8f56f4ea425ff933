"""Stores over HTTP: below /stores/NAME, with addresses of that store in every answer, and nothing of another one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import applied
from builders import Built, build

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.web.house import Settings

BASE = "http://127.0.0.1:8042"
STORE = "/stores/research"
OURS, THEIRS = build(1), build(1, patient_id="R1", patient_name="Trial^One", rows=8, extra={"WindowCenter": "9"})
STUDY = f"/dicom-web/studies/{OURS.study_uid}"
INSTANCE = f"{STUDY}/series/{OURS.series_uid}/instances/{OURS.sop_instance_uid}"
JSON, DICOM = {"accept": "application/dicom+json"}, {"accept": 'multipart/related; type="application/dicom"'}


async def put(archive: Archive, store: int, built: Built) -> None:
    transfer = archive.store_begin_part10(replace(LOCAL, store=store), Source("import"))
    transfer.write(built.part10)
    await transfer.commit()


@asynccontextmanager
async def client_of(
    path: Path, settings: Settings | None = None, fill: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    archive = await Archive.open(path, durability="off", stores=["research", "empty"])
    try:
        await put(archive, 1, OURS)
        await put(archive, 2, THEIRS)
        async with applied(archive, settings) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                yield client
            app.drain()
    finally:
        await archive.close()


async def get(client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return await client.get(path, headers=headers or JSON)


async def test_every_answer_is_of_its_store_and_names_it(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        for prefix, name, built in (("", "Doe^Jane", OURS), (STORE, "Trial^One", THEIRS)):
            (row,) = (await get(client, f"{prefix}/dicom-web/studies")).json()
            assert row["00100010"]["Value"] == [{"Alphabetic": name}]
            assert row["00081190"]["Value"] == [f"{BASE}{prefix}{STUDY}"]
            assert (await get(client, f"{prefix}/dicom-web/studies/count")).json() == {"count": 1}
            (found,) = (await get(client, f"{prefix}{INSTANCE}/metadata")).json()
            assert found["00100010"]["Value"] == [{"Alphabetic": name}]
            assert found["7FE00010"]["BulkDataURI"].startswith(f"{BASE}{prefix}{INSTANCE}/bulkdata/")
            value = await get(client, found["7FE00010"]["BulkDataURI"].removeprefix(BASE), {"accept": "*/*"})
            assert built.frames[0] in value.content
            assert built.data in (await get(client, f"{prefix}{STUDY}", DICOM)).content
            assert built.frames[0] in (await get(client, f"{prefix}{INSTANCE}/frames/1", {"accept": "*/*"})).content
            uids = {
                "requestType": "WADO",
                "contentType": "application/dicom",
                "studyUID": built.study_uid,
                "seriesUID": built.series_uid,
                "objectUID": built.sop_instance_uid,
            }
            one = await client.get(f"{prefix}/wado", params=uids)
            assert built.data in one.content
            (version,) = (await get(client, f"{prefix}/api/instances/{built.sop_instance_uid}/versions")).json()
            assert version["digest"] == built.digest


async def test_pictures_are_of_their_store(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        paths = [f"{prefix}{INSTANCE}/{kind}" for kind in ("rendered", "thumbnail") for prefix in ("", STORE)]
        answers = [await get(client, path, {"accept": "image/png"}) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        ours, theirs, our_small, their_small = [answer.content for answer in answers]
    assert ours != theirs
    assert our_small != their_small


async def test_what_is_stored_below_a_store_is_there_only(tmp_path: Path) -> None:
    sent = build(5, study=5)
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + sent.part10 + b"\r\n--b--\r\n"
    kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=b', **JSON}
    async with client_of(tmp_path) as client:
        answer = await client.post(f"{STORE}/dicom-web/studies", content=body, headers=kind)
        assert answer.status_code == 200
        assert answer.json()["00081190"]["Value"] == [f"{BASE}{STORE}/dicom-web/studies/{sent.study_uid}"]
        assert (await get(client, f"{STORE}/dicom-web/studies/{sent.study_uid}/metadata")).status_code == 200
        for elsewhere in ("", "/stores/empty"):
            found = await get(client, f"{elsewhere}/dicom-web/studies/{sent.study_uid}/metadata")
            assert found.status_code == 404
        changes = (await get(client, f"{STORE}/api/changes")).json()["changes"]
        assert [change["instance"] for change in changes] == [THEIRS.sop_instance_uid, sent.sop_instance_uid]
        assert [c["instance"] for c in (await get(client, "/api/changes")).json()["changes"]] == [OURS.sop_instance_uid]
        assert (await get(client, "/stores/empty/api/changes")).json()["changes"] == []


async def test_what_is_changed_below_a_store_is_changed_there_only(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        before = await get(client, f"{INSTANCE}/metadata")
        change = {"attributes": {"PatientName": "ANON"}, "reason": "test"}
        answer = await client.patch(f"{STORE}/api/studies/{OURS.study_uid}", json=change)
        assert answer.status_code < 300, answer.text
        (found,) = (await get(client, f"{STORE}{INSTANCE}/metadata")).json()
        assert found["00100010"]["Value"] == [{"Alphabetic": "ANON"}]
        assert (await get(client, f"{INSTANCE}/metadata")).content == before.content
        assert (await client.delete(f"{STORE}{STUDY}")).status_code == 204
        assert (await get(client, f"{STORE}{STUDY}/metadata")).status_code == 410
        assert (await get(client, f"{INSTANCE}/metadata")).content == before.content
        assert (await get(client, "/api/tombstones")).json() == []
        (tombstone,) = (await get(client, f"{STORE}/api/tombstones")).json()
        assert (await client.post(f"/api/tombstones/{tombstone['id']}/undelete")).status_code == 404
        assert (await client.post(f"{STORE}/api/tombstones/{tombstone['id']}/undelete")).status_code == 200
        assert (await get(client, f"{STORE}{STUDY}/metadata")).status_code == 200


async def test_pages_link_within_their_store(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        for number in (2, 3):
            sent = build(number, study=number)
            body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + sent.part10 + b"\r\n--b--\r\n"
            kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=b', **JSON}
            await client.post(f"{STORE}/dicom-web/studies", content=body, headers=kind)
        answer = await get(client, f"{STORE}/dicom-web/studies?limit=1&orderby=StudyInstanceUID")
        link = answer.headers.get("link", "")
        assert link.startswith(f"<{BASE}{STORE}/dicom-web/studies?")
        assert len((await get(client, link[1:].partition(">")[0])).json()) == 1


@pytest.mark.parametrize(
    "path", ["/stores/none/dicom-web/studies", "/stores/research", "/stores/research/metrics", "/stores/research/",
             "/stores/research/stores/main/dicom-web/studies", "/stores//dicom-web/studies"],
)  # fmt: skip
async def test_what_is_no_store(tmp_path: Path, path: str) -> None:
    async with client_of(tmp_path) as client:
        assert (await get(client, path)).status_code == 404


async def test_a_slash_at_the_end_leads_nowhere_else(tmp_path: Path) -> None:
    """Not by a redirect either, that loses the store or the prefix of a proxy: what is written would be of `main`."""
    async with client_of(tmp_path, Settings(public_url="https://pacs.example/archive")) as client:
        (row,) = (await get(client, f"/archive{STORE}/dicom-web/studies/")).json()
        assert row["00100010"]["Value"] == [{"Alphabetic": "Trial^One"}]
        again = build(2, study=2)
        headers = {"content-type": "application/dicom"}
        stored = await client.post(f"{STORE}/dicom-web/studies/", content=again.part10, headers=headers)
        assert stored.status_code == 200 and STORE in stored.json()["00081190"]["Value"][0]
        assert (await client.delete(f"{STORE}/dicom-web/studies/{again.study_uid}/")).status_code == 204
        assert (await get(client, f"{STORE}/dicom-web/studies/{again.study_uid}", DICOM)).status_code == 410
        assert (await get(client, f"/dicom-web/studies/{again.study_uid}", DICOM)).status_code == 404
        for path in ("/api/changes/", "/api/nodes/", "/wado/?requestType=WADO", "/dicom-web/nothing/"):
            assert (await get(client, STORE + path)).status_code in (200, 400, 404), path


async def test_a_proxy_and_the_titles_of_stores(tmp_path: Path) -> None:
    settings = Settings(public_url="https://pacs.example/d", aets={2: "RESEARCH1"})
    async with client_of(tmp_path, settings) as client:
        (row,) = (await get(client, f"{STORE}/dicom-web/studies")).json()
        assert row["00081190"]["Value"] == [f"https://pacs.example/d{STORE}{STUDY}"]
        assert row["00080054"]["Value"] == ["RESEARCH1"]
        (row,) = (await get(client, "/dicom-web/studies")).json()
        assert row["00080054"]["Value"] == ["SAGITTAL"]
        assert len((await get(client, f"{STORE}/dicom-web/studies?RetrieveAETitle=RESEARCH1")).json()) == 1


@pytest.mark.parametrize(("public", "base"), [(None, BASE), ("https://pacs.example/d", "https://pacs.example/d")])
async def test_openapi_leads_into_the_store(tmp_path: Path, public: str | None, base: str) -> None:
    """A client that is made of the document deletes where it was read, not in main."""
    async with client_of(tmp_path, Settings(public_url=public)) as client:
        told = [(await get(client, f"{prefix}/api/openapi.json")).json() for prefix in (STORE, "", STORE)]
        assert all("/conformance" in each["paths"] for each in told)
        urls = [server["url"] for each in told for server in each["servers"]]
        assert urls == [f"{base}{STORE}/api", f"{base}/api", f"{base}{STORE}/api"]


async def test_a_token_lets_into_its_store_only(tmp_path: Path) -> None:
    reading = frozenset({"find", "get"})
    holders = {
        "main": Principal("main", "token", reading),
        "research": Principal("research", "token", reading, 2),
        "admin": Principal("admin", "token", reading | {"admin"}),
    }
    digests = {hashlib.sha256(secret.encode()).hexdigest(): principal for secret, principal in holders.items()}
    async with client_of(tmp_path, Settings(tokens=lambda: digests)) as client:
        found = {}
        for secret in holders:
            headers = {**JSON, "authorization": f"Bearer {secret}"}
            paths = [f"{prefix}{below}" for prefix in ("", STORE) for below in (f"{STUDY}/metadata", "/api/changes")]
            found[secret] = [(await get(client, path, headers)).status_code for path in paths]
        assert found == {
            "main": [200, 200, 403, 403],
            "research": [403, 403, 200, 200],
            "admin": [200, 200, 200, 200],
        }


async def test_the_page_and_the_metrics_tell_stores_apart(tmp_path: Path) -> None:
    secrets = {"main": 1, "research": 2, "admin": 1}
    verbs = frozenset({"find"})
    holders = {
        hashlib.sha256(name.encode()).hexdigest(): Principal(
            name, "token", verbs | {"admin"} if name == "admin" else verbs, store
        )
        for name, store in secrets.items()
    }
    async with client_of(tmp_path, Settings(tokens=lambda: holders, aets={2: "RESEARCH1"})) as client:
        for name, prefix, aet, seen in (
            ("main", "", "SAGITTAL", ["main"]),
            ("research", STORE, "RESEARCH1", ["research"]),
            ("admin", "", "SAGITTAL", ["main", "research", "empty"]),
            ("admin", STORE, "RESEARCH1", ["main", "research", "empty"]),
            ("admin", "/stores/empty", "", ["main", "research", "empty"]),
        ):
            headers = {"authorization": f"Bearer {name}"}
            body = (await client.get(f"{prefix}/api/summary", headers=headers)).json()
            assert (body["aet"], body["store"]) == (aet, prefix.rpartition("/")[2] or "main")
            assert body["stores"] == seen
            assert body["studies"] == len(body["latest"]) == (prefix != "/stores/empty")
        text = (await client.get("/metrics", headers={"authorization": "Bearer admin"})).text
        assert "sagittal_studies 1.0" in text  # of main
        for store, number in (("main", 1.0), ("research", 1.0), ("empty", 0.0)):
            assert f'sagittal_store_studies{{store="{store}"}} {number}' in text
        text = (await client.get("/metrics", headers={"authorization": "Bearer main"})).text
        assert 'sagittal_store_bytes{store="main"}' in text
        assert "research" not in text and "empty" not in text


class Table:
    def list(self) -> list[dict[str, Any]]:
        return [{"aet": name.upper(), "store": name} for name in ("", "main", "research", "empty")]


async def test_nodes_of_another_store_are_not_told(tmp_path: Path) -> None:
    """Their addresses are nobody's business who is not let in there; those of no store may be sent to from any."""
    verbs = frozenset({"find"})
    holders = {"main": Principal("m", "token", verbs), "research": Principal("r", "token", verbs, 2)}
    holders["admin"] = Principal("a", "token", verbs | {"admin"})
    digests = {hashlib.sha256(secret.encode()).hexdigest(): principal for secret, principal in holders.items()}
    async with client_of(tmp_path, Settings(tokens=lambda: digests, nodes=Table())) as client:
        for secret, prefix, seen in (
            ("main", "", ["", "MAIN"]),
            ("research", STORE, ["", "RESEARCH"]),
            ("admin", STORE, ["", "MAIN", "RESEARCH", "EMPTY"]),
        ):
            headers = {"authorization": f"Bearer {secret}"}
            rows = (await get(client, f"{prefix}/api/nodes", headers)).json()
            assert [row["aet"] for row in rows] == seen
            for name in ("MAIN", "RESEARCH", "EMPTY"):
                answer = await get(client, f"{prefix}/api/nodes/{name}", headers)
                assert answer.status_code == (200 if name in seen else 404)
