"""STOW-RS with metadata and bulk data: PS3.18 10.5.1.1.2, 8.7.3.

All parts go to one scratch file as they come: metadata (DICOM JSON, or Native DICOM Model documents) and bulk data
named by its Content-Location. At the end each instance is encoded and streamed into a transfer of the archive, the way
of every object; nothing but one instance's metadata is held. Bulk data that no metadata names is answered as a failure
of its own. Deliberately not here: what media types mean (`media`), and the form with application/dicom (`stow`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.archive.access import Principal
from sagittal.archive.ingest import Source
from sagittal.dicom.models.encode import Bulk, Encapsulated, data_set
from sagittal.dicom.models.jsontext import first_text
from sagittal.dicom.models.members import element
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import BadRequest, DataSetMismatch, LimitExceeded, SagittalError
from sagittal.web.store.answer import Result
from sagittal.web.store.bulk import BulkPart, Held
from sagittal.web.store.commits import Commits
from sagittal.web.store.cut import Cutter
from sagittal.web.store.media import DOCUMENT, DOCUMENTS, PIXEL_DATA, Pixels, pixels, plain_value
from sagittal.web.store.native import Native, decoded
from sagittal.web.wire.accept import DICOM_JSON, DICOM_XML
from sagittal.web.wire.multipart import part_type

if TYPE_CHECKING:
    from sagittal.web.house import House

ROOTS = (DICOM_JSON, DICOM_XML)
_JSON = (DICOM_JSON, "application/json")
_SOP_CLASS, _SOP_INSTANCE, _MIME_TYPE, _DOCUMENT_LENGTH = "00080016", "00080018", "00420012", "00420015"
_PIECE_BYTES = 1 << 16
_UIDS = {
    _SOP_CLASS: "SOP Class UID",
    _SOP_INSTANCE: "SOP Instance UID",
    "0020000D": "Study Instance UID",
    "0020000E": "Series Instance UID",
}
# PS3.3 C.7.6.3.1: Type 1 where there is Pixel Data.
_PIXEL_ATTRIBUTES = {
    "00280002": "Samples per Pixel",
    "00280004": "Photometric Interpretation",
    "00280010": "Rows",
    "00280011": "Columns",
    "00280100": "Bits Allocated",
    "00280101": "Bits Stored",
    "00280102": "High Bit",
    "00280103": "Pixel Representation",
}


class _Document(NamedTuple):
    """A part that holds metadata."""

    xml: bool
    start: int
    length: int


class Intake:
    """Takes the parts of one request into a scratch file; `Parts` of `web.multipart`."""

    def __init__(self, house: House) -> None:
        self.scratch = house.archive.scratch()
        self.documents: list[_Document] = []
        self.bulk: dict[str, list[BulkPart]] = {}
        self.failures: list[Result] = []
        self._under_way: _Document | BulkPart | None = None

    def begin(self, headers: Mapping[str, str]) -> None:
        self._under_way = None
        try:
            media = part_type(headers)
        except SagittalError as error:
            self.failures.append(Result().fail(error))
            return
        location, start = headers.get("content-location"), self.scratch.length
        if media.type in _JSON or media.type == DICOM_XML:
            self._under_way = _Document(media.type == DICOM_XML, start, 0)
        elif location is None:
            self.failures.append(Result().fail(BadRequest("a part of bulk data has no Content-Location")))
        else:
            self._under_way = BulkPart(media.type, media.parameters, start)
            self.bulk.setdefault(location, []).append(self._under_way)

    def data(self, data: memoryview) -> None:
        if self._under_way is not None:
            self.scratch.write(data)

    def end(self) -> None:
        part, self._under_way = self._under_way, None
        if isinstance(part, BulkPart):
            part.length = self.scratch.length - part.start
        elif part is not None:
            self.documents.append(part._replace(length=self.scratch.length - part.start))

    async def breathe(self) -> None:
        """Wait while the disk is behind."""
        if (ready := self.scratch.ready()) is not None:
            await ready


class Builder:
    """Makes instances of what an intake took, and stores them."""

    def __init__(self, house: House, intake: Intake, principal: Principal, source: Source, commits: Commits) -> None:
        self._house, self._intake, self._commits = house, intake, commits
        self._principal, self._source = principal, source
        self._held = Held(intake.scratch, intake.bulk)
        self._limits = house.settings.limits
        self.classes: tuple[str, ...] = ()  # the only ones that this resource takes: those of no patient
        self.results: list[Result] = []

    async def run(self) -> None:
        """All instances, then what was left over; the results are there when the commits are."""
        await self._intake.scratch.finish()
        most = self._limits.web.parts_max
        for document in self._intake.documents:
            try:
                async for obj in self._objects(document):
                    if len(self.results) >= most:
                        raise LimitExceeded(f"more than {most} instances (limits.parts_max)")
                    await self._store(obj)
            except SagittalError as error:
                self.results.append(Result().fail(error))
        for location, parts in self._intake.bulk.items():
            if not any(part.used for part in parts):
                text = f"no metadata names the bulk data at {location[:200]!r}"
                self.results.append(Result().fail(BadRequest(text)))
        self.results += self._intake.failures

    async def _objects(self, document: _Document) -> AsyncIterator[dict[str, Any]]:
        made = self._from_xml(document) if document.xml else self._from_json(document)
        while (obj := await self._on_thread(partial(next, made, None))) is not None:
            yield obj

    def _from_json(self, document: _Document) -> Iterator[dict[str, Any]]:
        cutter = Cutter(self._limits.web.json_body_bytes_max)
        for piece in self._intake.scratch.pieces(document.start, document.length, _PIECE_BYTES):
            for text in cutter.feed(piece):
                yield _parsed(text)
        cutter.finish()

    def _from_xml(self, document: _Document) -> Iterator[dict[str, Any]]:
        from sagittal.dicom.models.xml import from_xml

        if document.length > self._limits.web.json_body_bytes_max:
            raise BadRequest("the metadata of an instance is too long (limits.json_body_bytes_max)")
        yield from_xml(self._intake.scratch.read(document.start, document.length), self._limits.reader)

    async def _store(self, obj: dict[str, Any]) -> None:
        result = Result(sop_class_uid=_text(obj, _SOP_CLASS), sop_instance_uid=_text(obj, _SOP_INSTANCE))
        self.results.append(result)
        try:
            await self._commits.room()
            native = await decoded(self._house, self._held, self._intake.bulk.get(_address(obj, PIXEL_DATA) or "", ()))
            try:
                obj, ready = await self._on_thread(partial(self._completed, obj, native))
                await self._send(obj, ready, result)
            finally:
                if native is not None:
                    native.discard()
        except SagittalError as error:
            result.fail(error)

    def _completed(self, obj: dict[str, Any], native: Native | None) -> tuple[dict[str, Any], Pixels | None]:
        """The object with what its bulk data tells, and its pixel data; DataSetMismatch when something is missing."""
        for tag, name in _UIDS.items():
            if self.classes and tag not in (_SOP_CLASS, _SOP_INSTANCE):
                continue
            if not _text(obj, tag):
                raise DataSetMismatch(f"{name} ({tag[:4]},{tag[4:]}) is missing or empty")
        ready = None
        address = _address(obj, PIXEL_DATA)
        if address is not None:
            ready = pixels(self._held, address, obj, native)
            obj = {**obj, **ready.added}
        if PIXEL_DATA in obj:
            for tag, name in _PIXEL_ATTRIBUTES.items():
                given = obj.get(tag)
                if not (isinstance(given, Mapping) and given.get("Value")):
                    raise DataSetMismatch(f"{name} ({tag[:4]},{tag[4:]}) is missing or empty")
        address = _address(obj, DOCUMENT)
        if address is not None:
            obj = self._described(obj, address)
        return obj, ready

    def _described(self, obj: dict[str, Any], address: str) -> dict[str, Any]:
        """PS3.3 C.24.2: the type and length of an encapsulated document."""
        part = self._held.named(address)[0]
        if part.type not in DOCUMENTS:
            return obj
        said = _text(obj, _MIME_TYPE)
        if said and DOCUMENTS.get(said.lower()) != DOCUMENTS[part.type]:
            raise DataSetMismatch(f"MIME Type of Encapsulated Document is {said[:64]}, but the part is {part.type}")
        told = {_DOCUMENT_LENGTH: element("UL", part.length)}
        return {**told, **obj} if said else {**told, **obj, _MIME_TYPE: element("LO", part.type)}

    async def _send(self, obj: dict[str, Any], ready: Pixels | None, result: Result) -> None:
        """Through a transfer, as every object comes in."""
        uid = EXPLICIT_LE if ready is None else ready.syntax_uid

        def bulk(address: str) -> Bulk | Encapsulated:
            tag = _tag_of(obj, address)
            if ready is not None and tag == PIXEL_DATA:
                return ready.value
            return plain_value(self._held, address, tag, result.sop_class_uid)

        pieces = await self._on_thread(lambda: data_set(obj, syntax(uid), bulk, self._limits.reader))
        transfer = self._house.archive.store_begin(
            self._principal,
            self._source,
            syntax_uid=uid,
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
        )
        try:
            while (piece := await self._on_thread(partial(next, pieces, None))) is not None:
                transfer.write(piece)
                if (waiting := transfer.ready()) is not None:
                    await waiting
        except BaseException:
            transfer.discard()
            raise
        self._commits.begin(transfer, result)

    async def _on_thread(self, run: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._house.readers, run)


def _parsed(text: bytes) -> dict[str, Any]:
    """Numbers with a point stay texts, digit by digit as they came."""
    try:
        obj = json.loads(text, parse_float=str, parse_constant=str)
        if b"\\u" in text:
            json.dumps(obj, ensure_ascii=False).encode()  # half of a surrogate pair is no character (RFC 8259 8.2)
    except (ValueError, RecursionError):
        raise BadRequest("the metadata is no JSON") from None
    if not isinstance(obj, dict):
        raise BadRequest("the metadata is no JSON array of objects")
    return obj


def _text(obj: Mapping[str, Any], tag: str) -> str:
    return first_text(obj, tag).strip()


def _address(obj: Mapping[str, Any], tag: str) -> str | None:
    given = obj.get(tag)
    found = given.get("BulkDataURI") if isinstance(given, Mapping) else None
    return found if isinstance(found, str) else None


def _tag_of(obj: Mapping[str, Any], address: str) -> str:
    """Which of the two elements that are more than bytes the address is the value of; "" for all others."""
    return next((tag for tag in (PIXEL_DATA, DOCUMENT) if _address(obj, tag) == address), "")
