"""STOW-RS: PS3.18 10.5, application/dicom in multipart/related or alone.

Each part goes, as it arrives, straight into a transfer of the archive, and its commit is not awaited before the next
part is read: so group commit works on one connection too. Nothing is held here but results. Metadata with bulk data
(the other form of 10.5) is refused with 415.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from sagittal.archive.access import Principal, authorize
from sagittal.archive.ingest import Outcome, Source
from sagittal.dicom.part10 import Part10Head
from sagittal.errors import BadRequest, SagittalError, UnsupportedMedia
from sagittal.limits import ReaderLimits
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM, DICOM_JSON
from sagittal.web.wire.multipart import Reader, boundary_of, content_type

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.archive import Archive
    from sagittal.archive.ingest.transfer import Transfer
    from sagittal.web.house import House

log = logging.getLogger("sagittal.web")
_PROCESSING_FAILURE = 0x0110
_BEGINNING_BYTES = 1024
_COERCED = 0xB000  # Coercion of data elements: another content is held under this UID


@dataclass(slots=True)
class _Part:
    """One instance of the request and what became of it."""

    beginning: bytes = b""  # enough of it to tell, should it fail, which instance it was
    outcome: Outcome | None = None
    error: Exception | None = None

    def uids(self) -> tuple[str | None, str | None]:
        """SOP Class and SOP Instance UID by the meta group, as far as it can be read."""
        head = Part10Head(ReaderLimits())
        with contextlib.suppress(SagittalError):
            head.feed(self.beginning)
        return head.sop_class_uid, head.sop_instance_uid

    @property
    def reason(self) -> int:
        return self.error.dimse_status if isinstance(self.error, SagittalError) else _PROCESSING_FAILURE

    @property
    def http_status(self) -> int:
        status = self.error.http_status if isinstance(self.error, SagittalError) else 500
        return status if status >= 500 else 409


class _Intake:
    """Takes the parts of one request; `Parts` of `web.multipart`."""

    def __init__(self, archive: Archive, principal: Principal, source: Source, study: str | None) -> None:
        self._archive, self._principal, self._source, self._study = archive, principal, source, study
        self.parts: list[_Part] = []
        self.commits: set[asyncio.Task[None]] = set()
        self.transfer: Transfer | None = None

    def begin(self, headers: Mapping[str, str]) -> None:
        part = _Part()
        self.parts.append(part)
        try:
            if content_type(headers.get("content-type", DICOM)).type != DICOM:
                raise UnsupportedMedia(f"a part is not {DICOM}")
            self.transfer = self._archive.store_begin_part10(self._principal, self._source)
        except SagittalError as error:
            part.error = error

    def data(self, data: memoryview) -> None:
        if self.transfer is None:
            return
        part = self.parts[-1]
        if len(part.beginning) < _BEGINNING_BYTES:
            part.beginning += bytes(data[: _BEGINNING_BYTES - len(part.beginning)])
        try:
            self.transfer.write(data)
        except SagittalError as error:
            self.fail(error)

    def end(self) -> None:
        if self.transfer is not None:
            commit = asyncio.ensure_future(self._commit(self.transfer, self.parts[-1]))
            self.commits.add(commit)
            commit.add_done_callback(self.commits.discard)
            self.transfer = None

    def fail(self, error: Exception) -> None:
        """The part under way can't be stored; what follows of it is passed over."""
        if self.transfer is not None:
            self.parts[-1].error = error
            self.transfer.discard()
            self.transfer = None

    async def _commit(self, transfer: Transfer, part: _Part) -> None:
        try:
            part.outcome = await transfer.commit(self._study)
            part.beginning = b""
        except Exception as error:
            if not isinstance(error, SagittalError):
                log.exception("a part could not be committed")
            part.error = error

    async def breathe(self, outstanding_max: int) -> None:
        """Wait while the disk is behind, or too many commits are under way."""
        if self.transfer is not None and (ready := self.transfer.ready()) is not None:
            await ready
        while len(self.commits) > outstanding_max:
            await asyncio.wait(self.commits, return_when=asyncio.FIRST_COMPLETED)

    async def settle(self) -> None:
        while self.commits:
            await asyncio.wait(self.commits)


class Stow:
    """POST /studies and /studies/{study}."""

    def __init__(self, house: House) -> None:
        self._house, self._limits = house, house.settings.limits.web

    async def store(self, request: Request) -> Response:
        study = request.path_params.get("study")
        if study is not None:
            uri.uid(study, "Study Instance UID")
        with self._house.archive.audited(request.scope["principal"], "store"):
            authorize(request.scope["principal"], "store")  # once for all parts, as an answer of its own
        intake = self._intake(request, study)
        try:
            await self._read(request, intake)
        except SagittalError as error:
            if not intake.parts:
                raise
            # Some are stored already, or will be: the client must learn which, not just that the end is broken.
            if intake.transfer is None:
                intake.parts.append(_Part(error=error))
            else:
                intake.fail(error)
        finally:
            intake.fail(BadRequest("the request ended within this part"))
            await asyncio.shield(intake.settle())
        if not intake.parts:
            raise BadRequest("the request holds no part")
        return _answer(intake.parts, uri.addresses(request, self._house.settings), study)

    def _intake(self, request: Request, study: str | None) -> _Intake:
        principal: Principal = request.scope["principal"]
        address = request.client.host if request.client else ""
        source = Source(
            kind="stow",
            calling_aet=principal.name,
            called_aet="",
            address=address,
            policy=self._house.settings.duplicates,
        )
        return _Intake(self._house.archive, principal, source, study)

    async def _read(self, request: Request, intake: _Intake) -> None:
        payload = content_type(request.headers.get("content-type"))
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("a compressed request body is not taken")
        outstanding = self._limits.commits_outstanding_max
        body = request.stream()
        if payload.type == DICOM:
            await _read_alone(body, intake, outstanding)
            return
        boundary = boundary_of(payload, self._limits)
        if payload.parameters.get("type", DICOM).lower() != DICOM:
            raise UnsupportedMedia(f'multipart/related is taken with type="{DICOM}" only')
        reader = Reader(boundary, intake, self._limits)
        async for chunk in body:
            reader.feed(chunk)
            await intake.breathe(outstanding)
            if reader.ended:
                break
        reader.finish()


async def _read_alone(body: AsyncIterator[bytes], intake: _Intake, outstanding: int) -> None:
    intake.begin({"content-type": DICOM})
    async for chunk in body:
        intake.data(memoryview(chunk))
        await intake.breathe(outstanding)
    intake.end()


def _answer(parts: list[_Part], addresses: uri.Addresses, study: str | None) -> Response:
    """PS3.18 Table 10.5.3-1 and Annex I.2.2."""
    stored = [p for p in parts if p.outcome is not None]
    failed = [p for p in parts if p.outcome is None]
    referenced = [_referenced(p.outcome, addresses) for p in stored if p.outcome is not None]
    studies = {p.outcome.study_uid for p in stored if p.outcome is not None and p.outcome.study_uid}
    body: dict[str, Any] = {}
    if study or len(studies) == 1:
        body["00081190"] = _value("UR", addresses.study(study or studies.pop()))
    known: list[dict[str, Any]] = []
    unknown: list[dict[str, Any]] = []
    for part in failed:
        item = _failed(part)
        (known if "00081155" in item else unknown).append(item)
    # FailedSOPSequence, ReferencedSOPSequence, OtherFailuresSequence
    for tag, items in (("00081198", known), ("00081199", referenced), ("0008119A", unknown)):
        if items:
            body[tag] = {"vr": "SQ", "Value": items}
    warned = any("00081196" in item for item in referenced)
    status = 200 if not failed and not warned else 202 if stored else max(p.http_status for p in failed)
    headers = {"retry-after": "5"} if status == 503 else None
    return Response(orjson.dumps(body), status, headers, media_type=DICOM_JSON)


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _referenced(outcome: Outcome, addresses: uri.Addresses) -> dict[str, Any]:
    item = {
        "00081150": _value("UI", outcome.sop_class_uid),
        "00081155": _value("UI", outcome.sop_instance_uid),
    }
    if outcome.study_uid and outcome.series_uid:
        address = addresses.instance(outcome.study_uid, outcome.series_uid, outcome.sop_instance_uid)
        item["00081190"] = _value("UR", address)
    if outcome.status == "kept":
        item["00081196"] = _value("US", _COERCED)
    return item


def _failed(part: _Part) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for tag, text in zip(("00081150", "00081155"), part.uids(), strict=True):
        if text:
            item[tag] = _value("UI", text)
    item["00081197"] = _value("US", part.reason)
    # Error Comment (0000,0902), as other archives do: FailureReason alone tells nobody what to mend.
    item["00000902"] = _value("LO", str(part.error)[:1024])
    return item
