"""The application over an in-process transport, with an archive that is made up of what a test puts into it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from sagittal.archive.access import Principal, authorize
from sagittal.archive.changes import Change
from sagittal.archive.ingest import Outcome
from sagittal.archive.query import Query, Rows, Tag
from sagittal.archive.references import InstanceRef, OpenObject
from sagittal.archive.upkeep.statistics import Counts, Figures, LatestStudy
from sagittal.dicom.part10 import meta_group
from sagittal.errors import IdentifierMismatch, LimitExceeded, NotFound
from sagittal.limits import Limits
from sagittal.web.app import WebApp, create_app
from sagittal.web.house import Settings
from sagittal.workers.pool import Pool

CT = "1.2.840.10008.5.1.4.1.1.2"


class MadeUpTransfer:
    def __init__(self, archive: MadeUpArchive) -> None:
        self._archive = archive
        self._data = bytearray()
        self.discarded = False

    def write(self, fragments: bytes | memoryview) -> None:
        self._data += fragments
        if b"REFUSE" in self._data:
            raise IdentifierMismatch("SOP Instance UID (0008,0018) is missing or empty")

    def ready(self) -> Awaitable[object] | None:
        return None

    async def commit(self, expected_study_uid: str | None = None, expected_class_uids: Collection[str] = ()) -> Outcome:
        await asyncio.sleep(0)
        if self._archive.commit_error is not None:
            raise self._archive.commit_error
        self._archive.received.append(bytes(self._data))
        number = len(self._archive.received)
        status = "kept" if b"KEPT" in self._data else "stored"
        warnings = ("odd-length",) if b"DEFECTS" in self._data else ()
        study_uid = expected_study_uid or (self._archive.studies.pop() if self._archive.studies else "1.2.1")
        return Outcome(status, CT, f"1.2.3.{number}", "1.2.2", study_uid, "digest", warnings)

    def discard(self) -> None:
        self.discarded = True
        self._archive.discarded += 1


@dataclass
class MadeUpArchive:
    """As much of `archive.Archive` as the web room asks for."""

    folder: Path
    received: list[bytes] = field(default_factory=list)
    discarded: int = 0
    studies: list[str] = field(default_factory=list)  # of what comes next; then all of one
    begin_error: Exception | None = None
    commit_error: Exception | None = None
    refs: list[InstanceRef] = field(default_factory=list)
    texts: dict[int, bytes] = field(default_factory=dict)
    ranges: dict[int, list[list[tuple[int, int]]]] = field(default_factory=dict)
    rows: Rows = field(default_factory=lambda: Rows((0x00080018, 0x0020000D, 0x0020000E), []))
    queries: list[Query] = field(default_factory=list)
    counted: list[Query] = field(default_factory=list)
    number: int | Exception = 0
    too_long: frozenset[int] = frozenset()
    principals: list[Principal] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    commits: int = 0
    readers: None = None  # of the report on images, which no test of these asks for
    feed: list[list[Change]] = field(default_factory=list)
    stores: dict[str, int] = field(default_factory=lambda: {"main": 1})

    def hold(self, data_set: bytes, syntax: str, frames: int | None = None, study: str = "1.2.1") -> InstanceRef:
        number = len(self.refs) + 1
        uid = f"1.2.3.{number}"
        head = meta_group(CT, uid, syntax)
        digest = hashlib.sha256(head + data_set).hexdigest()
        (self.folder / digest).write_bytes(head + data_set)
        size = len(head) + len(data_set)
        ref = InstanceRef(
            number, study, "1.2.2", CT, uid, syntax, digest, size, len(head), frames, 1, digest, 0, 1, 1
        )  # fmt: skip
        self.refs.append(ref)
        self.texts[number] = b'{"7FE00010":{"vr":"OW","BulkDataURI":"7FE00010?offset=0&length=4"}}'
        return ref

    def doubt(self, ref: InstanceRef) -> None: ...

    def ready(self) -> list[str]:
        return self.reasons

    def audited(self, principal: Principal, verb: str, study_uid: str = "") -> AbstractContextManager[None]:
        return nullcontext()

    def permit(
        self, principal: Principal, verb: str, detail: str = "", *, study_uid: str = "", number: int = 0
    ) -> None:
        authorize(principal, verb)

    def figures(self) -> Figures:
        return Figures({("dimse", "stored", 0): 7, ("stow", "refused", 0xA900): 2}, 3, {1: 4, 3: 1, 300: 1})

    def store_begin_part10(self, principal: Principal, source: Any) -> MadeUpTransfer:
        authorize(principal, "store")
        self.principals.append(principal)
        if self.begin_error is not None:
            raise self.begin_error
        return MadeUpTransfer(self)

    async def instances(
        self,
        principal: Principal,
        *,
        study_uid: str | None = None,
        series_uid: str | None = None,
        sop_instance_uids: Iterable[str] | None = None,
    ) -> list[InstanceRef]:
        authorize(principal, "get")
        wanted = None if sop_instance_uids is None else set(sop_instance_uids)
        found = [
            ref
            for ref in self.refs
            if ref.study_uid == study_uid
            and series_uid in (None, ref.series_uid)
            and (wanted is None or ref.sop_instance_uid in wanted)
        ]
        if not found:
            raise NotFound("no such instances")
        return found

    def open_object(self, ref: InstanceRef) -> OpenObject:
        import os

        return OpenObject(os.open(self.folder / ref.key, os.O_RDONLY), ref.offset, ref.size, ref.header_length)

    def damage(self, refs: list[InstanceRef]) -> dict[str, str]:
        return {}

    async def metadata(self, principal: Principal, refs: list[InstanceRef]) -> AsyncIterator[list[bytes]]:
        for ref in refs:
            yield [self.texts[ref.id]]

    async def metadata_parts(self, principal: Principal, ref: InstanceRef) -> AsyncIterator[bytes]:
        for at in range(0, len(self.texts[ref.id]), 7):
            yield self.texts[ref.id][at : at + 7]

    async def frame_ranges(self, ref: InstanceRef, frames: list[int]) -> list[list[tuple[int, int]]]:
        return [self.ranges[ref.id][number - 1] for number in frames]

    async def find(self, principal: Principal, query: Query, spare: frozenset[Tag] = frozenset()) -> Rows:
        authorize(principal, "find")
        self.queries.append(query)
        if self.too_long & (query.include - spare):
            raise LimitExceeded("too long")
        return self.rows

    async def count(self, principal: Principal, query: Query, beside: bool = False) -> int:
        authorize(principal, "find")
        self.counted.append(query)
        if isinstance(self.number, Exception):
            raise self.number
        return self.number

    async def statistics(self, principal: Principal) -> Counts:
        authorize(principal, "find")
        return Counts(1, 2, 3, 4, 0, 0, 5)

    async def latest_studies(self, principal: Principal, limit: int) -> list[LatestStudy]:
        return [LatestStudy("1.2.1", "ID", "Doe^Jane", "20260102", "<script>", "CT", 1, 4, 0)]

    async def newest_change(self, principal: Principal) -> str:
        return "c0"

    async def changes(self, principal: Principal, since: str | None, limit: int) -> tuple[list[Change], str]:
        return [change for group in self.feed for change in group][:limit], "c9"

    async def subscribe(self, principal: Principal, since: str | None) -> AsyncIterator[list[Change]]:
        for group in self.feed:
            yield group
        await asyncio.Event().wait()


@dataclass
class Web:
    """A made-up archive, the application on it, and requests to it."""

    archive: MadeUpArchive
    settings: Settings = field(default_factory=Settings)

    def run(self, act: Callable[[httpx.AsyncClient], Awaitable[Any]], raise_errors: bool = False) -> Any:
        """`act` with a client, in a loop of its own."""

        async def inside() -> Any:
            app = self.app()
            try:
                async with client_of(app, raise_errors) as client:
                    return await act(client)
            finally:
                app.close()
                await app.house.workers.close()

        return asyncio.run(inside())

    def app(self) -> WebApp:
        return create_app(self.archive, self.settings, Pool(self.settings.limits.workers))  # type: ignore[arg-type]

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer: httpx.Response = self.run(lambda client: client.request(method, path, **more))
        return answer

    def get(self, path: str, accept: str | None = None, **headers: str) -> httpx.Response:
        if accept is not None:
            headers["accept"] = accept
        return self.request("GET", path, headers=headers)


def client_of(app: WebApp, raise_errors: bool = False) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=raise_errors)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8042")


@pytest.fixture
def archive(tmp_path: Path) -> MadeUpArchive:
    return MadeUpArchive(tmp_path)


@pytest.fixture
def web(archive: MadeUpArchive) -> Web:
    return Web(archive)
