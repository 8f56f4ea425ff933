"""STOW-RS: PS3.18 10.5. Here: application/dicom in multipart/related or alone, and who takes the other forms.

Each part goes, as it arrives, straight into a transfer of the archive, and its commit is not awaited before the next
part is read. Nothing is held here but results. Metadata with bulk data is `metadata`, the answer is `answer`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.archive.access import Principal, authorize
from sagittal.archive.ingest import Source
from sagittal.errors import BadRequest, SagittalError, UnsupportedMedia
from sagittal.web.problems import tell_refused
from sagittal.web.store.answer import Result, answer, answer_type
from sagittal.web.store.commits import Commits
from sagittal.web.store.metadata import ROOTS, Builder, Intake
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM, MediaType, acceptable
from sagittal.web.wire.multipart import Reader, boundary_of, content_type, part_type
from sagittal.web.wire.resources import classes_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.archive import Archive
    from sagittal.archive.ingest.transfer import Transfer
    from sagittal.web.house import House

_BEGINNING_BYTES = 1024
# Parts between two pauses for other requests and associations. Of those that hold an image a read has fewer.
_TAKEN_AT_ONCE, _TOLD_AT_ONCE = 200, 50
log = logging.getLogger("sagittal.web")


class _Files:
    """Takes the parts of one request that are files; `Parts` of `web.multipart`."""

    def __init__(self, archive: Archive, principal: Principal, source: Source, commits: Commits) -> None:
        self._archive, self._principal, self._source, self._commits = archive, principal, source, commits
        self.results: list[Result] = []
        self.transfer: Transfer | None = None

    def begin(self, headers: Mapping[str, str]) -> None:
        result = Result()
        self.results.append(result)
        try:
            if part_type(headers, DICOM).type != DICOM:
                raise UnsupportedMedia(f"a part is not {DICOM}")
            self.transfer = self._archive.store_begin_part10(self._principal, self._source)
        except SagittalError as error:
            result.fail(error)

    def data(self, data: memoryview) -> None:
        result = self.results[-1]
        if len(result.beginning) < _BEGINNING_BYTES:  # of what is refused, too: the client learns which instance it was
            result.beginning += bytes(data[: _BEGINNING_BYTES - len(result.beginning)])
        if self.transfer is None:
            return
        try:
            self.transfer.write(data)
        except SagittalError as error:
            self.fail(error)

    def end(self) -> None:
        if self.transfer is not None:
            self._commits.begin(self.transfer, self.results[-1])
            self.transfer = None
        else:
            self.results[-1].settle()

    def fail(self, error: Exception) -> None:
        """The part under way can't be stored; what follows of it is passed over."""
        if self.transfer is not None:
            self.results[-1].fail(error)
            self.transfer.discard()
            self.transfer = None

    async def breathe(self) -> None:
        """Wait while the disk is behind, or too many commits are under way."""
        if self.transfer is not None and (ready := self.transfer.ready()) is not None:
            await ready
        await self._commits.room()


class Stow:
    """POST /studies and /studies/{study}."""

    def __init__(self, house: House) -> None:
        self._house, self._limits = house, house.settings.limits.web

    async def store(self, request: Request) -> Response:
        try:
            type_ = answer_type(acceptable(request, self._limits.accept_ranges_max))  # while nothing is stored yet
            results = await self._results(request)
        except SagittalError as error:
            _refused(request, error.http_status, error.text)
            raise
        for at, result in enumerate(results, 1):
            _tell(request, result)
            if at % _TOLD_AT_ONCE == 0:  # each is a line of the log, and there may be 100,000
                await asyncio.sleep(0)
        return await answer(type_, results, uri.addresses(request, self._house.settings))

    async def _results(self, request: Request) -> list[Result]:
        study = request.path_params.get("study")
        if study is not None:
            uri.uid(study, "Study Instance UID")
        principal: Principal = request.scope["principal"]
        with self._house.archive.audited(principal, "store"):
            authorize(principal, "store")  # once for all parts, as an answer of its own
        payload = content_type(request.headers.get("content-type"))
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("a compressed request body is not taken")
        commits = Commits(study, classes_of(request.scope["path"]), self._limits.commits_outstanding_max)
        root = payload.parameters.get("type", DICOM).lower()
        take = self._take_metadata if payload.type != DICOM and root in ROOTS else self._take_files
        results = await take(request, payload, commits)
        if not results:
            raise BadRequest("the request holds no instance")
        return results

    def _source(self, request: Request) -> Source:
        principal: Principal = request.scope["principal"]
        address = request.client.host if request.client else ""
        policy, (charset, timezone) = self._house.settings.duplicates, self._house.settings.assumed
        return Source("stow", principal.name, address=address, policy=policy, character_set=charset, timezone=timezone)

    async def _take_files(self, request: Request, payload: MediaType, commits: Commits) -> list[Result]:
        files = _Files(self._house.archive, request.scope["principal"], self._source(request), commits)
        try:
            if payload.type == DICOM:
                await _read_alone(_body(request), files)
            else:
                await self._read(request, payload, files)
        except SagittalError as error:
            if not files.results:
                raise
            # Some are stored already, or will be: the client must learn which, not just that the end is broken.
            if files.transfer is None:
                files.results.append(Result().fail(error))
            else:
                files.fail(error)
        finally:
            files.fail(BadRequest("the request ended within this part"))
            await commits.settle()
        return files.results

    async def _take_metadata(self, request: Request, payload: MediaType, commits: Commits) -> list[Result]:
        """Nothing is stored of a payload that is broken or ends early: what it lacks may be any instance's."""
        intake = Intake(self._house)
        try:
            await self._read(request, payload, intake)
            builder = Builder(self._house, intake, request.scope["principal"], self._source(request), commits)
            builder.classes = classes_of(request.scope["path"])
            try:
                await builder.run()
            finally:
                await commits.settle()
        finally:
            intake.scratch.discard()
        return builder.results

    async def _read(self, request: Request, payload: MediaType, parts: _Files | Intake) -> None:
        boundary = boundary_of(payload, self._limits)
        if payload.parameters.get("type", DICOM).lower() not in (DICOM, *ROOTS):
            raise UnsupportedMedia(f"multipart/related is taken with the types {DICOM}, {' and '.join(ROOTS)}")
        reader = Reader(boundary, parts, self._limits)
        async for chunk in _body(request):
            at = 0
            while at < len(chunk):  # one read of the socket may have 10,000 parts of no length
                if at:
                    await asyncio.sleep(0)
                at = reader.feed(chunk, at, _TAKEN_AT_ONCE)
                await parts.breathe()
            if reader.ended:
                break
        reader.finish()


async def _body(request: Request) -> AsyncIterator[bytes]:
    """What comes, for as long as who sends it is let in."""
    async for chunk in request.stream():
        request.scope["standing"]()
        yield chunk


async def _read_alone(body: AsyncIterator[bytes], files: _Files) -> None:
    files.begin({"content-type": DICOM})
    async for chunk in body:
        files.data(memoryview(chunk))
        await files.breathe()
    files.end()


def _tell(request: Request, result: Result) -> None:
    """The line of the log that a C-STORE of this would leave: what is wrong with the object, or why it was refused."""
    if result.failure is not None:
        _refused(request, result.failure.http_status, result.failure.comment, result.uids()[1] or "")
    elif result.outcome is not None and result.outcome.warnings:
        fields = {"instance": result.outcome.sop_instance_uid, "defects": " ".join(result.outcome.warnings)}
        log.info("stored with defects", extra={"fields": fields})


def _refused(request: Request, status: int, reason: str, instance: str = "") -> None:
    tell_refused(request.scope, request.scope["path"], status, reason, instance)
