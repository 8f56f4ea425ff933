"""Two stores of one archive and two archives with one store each, and what is done in any of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from builders import MR, build

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.archive.upkeep.importer import import_files
from sagittal.web.app import WebApp, create_app
from sagittal.web.house import Settings
from sagittal.workers.pool import Pool

BASE = "http://127.0.0.1:8042"
OBJECTS = [
    build(1),
    build(1, patient_id="R1", patient_name="Trial^One", rows=8),  # the same UIDs, other content, another patient
    build(1, patient_name="Doe^Joan"),
    build(2, frames=2),
    build(3, series=2, sop_class_uid=MR, modality="MR"),
    build(4, study=2, patient_id="P2", patient_name="Roe^Tom"),
    build(4, study=2, patient_id="R1", patient_name="Trial^One"),
    build(5, study=2, series=2, extra={"PatientComments": "noted"}),
]
STUDIES = sorted({built.study_uid for built in OBJECTS})
SERIES = sorted({(built.study_uid, built.series_uid) for built in OBJECTS})
INSTANCES = sorted({(built.study_uid, built.series_uid, built.sop_instance_uid) for built in OBJECTS})
Answer = tuple[int, Any]  # status and body
Act = tuple[Any, ...]  # the name of a method of `Side`, and its arguments


@dataclass
class Side:
    """One who works in one store; what is done there is told in numbers of this side."""

    archive: Archive
    principal: Principal
    app: WebApp
    prefix: str
    folder: Path
    tombstones: list[int] = field(default_factory=list)
    corrections: list[int] = field(default_factory=list)
    exported: Iterator[int] = field(default_factory=itertools.count)

    async def put(self, number: int, policy: str) -> object:
        source = Source("dimse", "CT", policy=policy)
        transfer = self.archive.store_begin_part10(self.principal, source)
        transfer.write(OBJECTS[number].part10)
        return astuple(await transfer.commit())

    async def stow(self, number: int) -> object:
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + OBJECTS[number].part10 + b"\r\n--b--\r\n"
        kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
        return await self.ask("POST", "/dicom-web/studies", kind, body)

    async def bring(self, number: int) -> object:
        path = self.folder / "in.dcm"
        path.write_bytes(OBJECTS[number].part10)
        found = import_files(self.archive, self.principal, [path], Source("import"))
        return [one.status async for one in found]

    async def delete(self, target: tuple[str, ...]) -> object:
        done = await self.archive.delete(self.principal, Target(*target), "why")
        self.tombstones.append(done.tombstone)
        return done.instances

    async def erase(self, place: int) -> object:
        return await self.ask("DELETE", "/dicom-web" + paths_of(INSTANCES[place % len(INSTANCES)])[place % 3])

    async def undelete(self, target: tuple[str, ...]) -> object:
        return await self.archive.undelete(self.principal, Target(*target))

    async def bring_back(self, place: int) -> object:
        if not self.tombstones:
            return None
        number = self.tombstones[place % len(self.tombstones)]
        return await self.archive.undelete(self.principal, Target(), number)

    async def correct(self, where: tuple[str, str], value: str) -> object:
        attributes = {"SeriesDescription": value} if where[1] else {"PatientName": value, "PatientID": value}
        number = await self.archive.correct(self.principal, where, attributes, "why", "CORRECT")
        self.corrections.append(number)
        return None

    async def patch(self, where: tuple[str, str], value: str) -> object:
        path = f"/api/studies/{where[0]}" + (f"/series/{where[1]}" if where[1] else "")
        name = "ProtocolName" if where[1] else "StudyDescription"
        body = json.dumps({"attributes": {name: value}, "reason": "why"}).encode()
        return await self.ask("PATCH", path, {"content-type": "application/json"}, body)

    async def undo(self, place: int) -> object:
        if not self.corrections:
            return None
        number = self.corrections[place % len(self.corrections)]
        return await self.archive.undo_corrections(self.principal, [number])

    async def merge(self, patient: str, into: str) -> object:
        made = await self.archive.merge_patient(self.principal, (patient, ""), (into, ""), "why")
        self.corrections += made
        return len(made)

    async def promote(self, place: int) -> object:
        held = await self.archive.versions(self.principal, INSTANCES[place % len(INSTANCES)][2])
        return await self.archive.promote(self.principal, held[place % len(held)]) if held else None

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Status and body over HTTP; the address of the store and the boundary are the same everywhere."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            headers = {"accept": "*/*", **(headers or {})}
            answer = await client.request(method, self.prefix + path, headers=headers, content=body)
        boundary = re.search(rb"boundary=(\w+)", answer.headers.get("content-type", "").encode())
        content = answer.content.replace(boundary[1], b"boundary") if boundary else answer.content
        content = content.replace(f"{BASE}{self.prefix}/".encode(), f"{BASE}/".encode())
        if answer.headers.get("content-type", "").startswith("application/json"):
            content = unnumbered(json.loads(content))
        return answer.status_code, content


def unnumbered(found: Any) -> Any:
    """Without what counts rows of the whole archive."""
    if isinstance(found, dict):
        away = ("id", "cursor", "correction", "tombstone")
        return {name: unnumbered(value) for name, value in found.items() if name not in away}
    return [unnumbered(value) for value in found] if isinstance(found, list) else found


def paths_of(uids: tuple[str, ...]) -> list[str]:
    study, series, instance = uids
    return [
        f"/studies/{study}",
        f"/studies/{study}/series/{series}",
        f"/studies/{study}/series/{series}/instances/{instance}",
    ]


@asynccontextmanager
async def sides(folder: Path, pool: Pool) -> AsyncIterator[tuple[list[Side], list[Side]]]:
    """Two stores of one archive; two archives."""
    async with AsyncExitStack() as stack:

        async def open_(name: str, *stores: str) -> tuple[Archive, WebApp, Path]:
            (path := folder / name).mkdir(parents=True)
            archive = await Archive.open(path / "data", durability="off", stores=stores)
            app = create_app(archive, Settings(), pool)
            stack.push_async_callback(archive.close)
            stack.callback(app.close)
            return archive, app, path

        archive, app, path = await open_("together", "research")
        for store in (1, 2):
            (path / str(store)).mkdir()
        together = [
            Side(archive, LOCAL, app, "", path / "1"),
            Side(archive, replace(LOCAL, store=2), app, "/stores/research", path / "2"),
        ]
        alone = []
        for name in ("first", "second"):
            archive, app, path = await open_(name)
            alone.append(Side(archive, LOCAL, app, "", path))
        yield together, alone
