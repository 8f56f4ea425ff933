"""The answer to a store request: the Store Instances Response Module as DICOM JSON or XML (PS3.18 10.5.3, Annex I).

One `Result` for each instance of the request, or part that is none; there may be 100,000, so what is kept of each is
small, and the answer is made of some at a time. Deliberately not here: storing.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

from sagittal.archive.ingest import Outcome
from sagittal.dicom.models.members import element
from sagittal.dicom.part10 import Part10Head
from sagittal.errors import SagittalError
from sagittal.limits import ReaderLimits
from sagittal.web.store import became
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, DICOM_XML, MediaType, accepts
from sagittal.web.wire.resources import instance_address
from sagittal.web.wire.stream import Pushed

_PROCESSING_FAILURE = 0x0110
_COERCED = 0xB000  # Coercion of data elements: another content is held under this UID
_COMMENT_CHARACTERS_MAX = 1024
_AT_ONCE = 50  # between two pauses for other requests and associations
_SLICE_BYTES = 8 << 10  # of JSON made XML, the same
_FAILED, _REFERENCED, _OTHER = "00081198", "00081199", "0008119A"  # Failed, Referenced SOP, Other Failures Sequence


class Failure(NamedTuple):
    """Why an instance isn't stored: not the error itself, which holds what was read."""

    reason: int  # of (0008,1197)
    http_status: int
    comment: str


@dataclass(slots=True)
class Result:
    """One instance of the request and what became of it."""

    beginning: bytes = b""  # of a Part 10 file: enough to tell, should it fail, which instance it was
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    outcome: Outcome | None = None
    failure: Failure | None = None

    def fail(self, error: Exception) -> Result:
        """It is not stored."""
        reason, status = _PROCESSING_FAILURE, 500
        if isinstance(error, SagittalError):
            reason, status = error.dimse_status, error.http_status
        self.failure = Failure(reason, status if status >= 500 else 409, str(error)[:_COMMENT_CHARACTERS_MAX])
        return self

    def settle(self) -> None:
        """Nothing more comes of it: a request may have 100,000 that failed, so of its beginning the UIDs are kept."""
        sop_class_uid, sop_instance_uid = self.uids()
        self.sop_class_uid, self.sop_instance_uid = sop_class_uid or "", sop_instance_uid or ""
        self.beginning = b""

    def uids(self) -> tuple[str | None, str | None]:
        """SOP Class and SOP Instance UID, as far as they are known: of a file, by its meta group."""
        if not self.beginning:
            return self.sop_class_uid or None, self.sop_instance_uid or None
        head = Part10Head(ReaderLimits())
        with contextlib.suppress(SagittalError):
            head.feed(self.beginning)
        return head.sop_class_uid, head.sop_instance_uid


async def answer(type_: str, results: Sequence[Result], addresses: uri.Addresses) -> Response:
    """PS3.18 Table 10.5.3-1 and Annex I, as an `answer_type`."""
    body, warned = await _encoded(results, addresses)
    statuses = [p.failure.http_status for p in results if p.failure is not None]
    stored = len(statuses) < len(results)
    status = 200 if not statuses and not warned else 202 if stored else max(statuses)
    made = Pushed(_as_xml(body), type_, status=status) if type_ == DICOM_XML else Response(body, status, None, type_)
    if status == 503:
        made.headers["retry-after"] = "5"
    return made


def answer_type(ranges: Sequence[MediaType]) -> str:
    """XML when that is what the client asks for; whatever else it takes, it gets JSON: the objects are stored."""
    return DICOM_XML if accepts(ranges, DICOM_JSON, "application/json", DICOM_XML) == DICOM_XML else DICOM_JSON


async def _encoded(results: Sequence[Result], addresses: uri.Addresses) -> tuple[bytes, bool]:
    """The module as DICOM JSON, and whether it warns of something."""
    studies = {p.outcome.study_uid for p in results if p.outcome is not None and p.outcome.study_uid}
    only = studies.pop() if len(studies) == 1 else ""
    # Type 2, where the study is available (Table I.1-1): of none or several it is there, without a value.
    url = element("UR", addresses.study(only)) if only else element("UR")
    sequences = {_FAILED: bytearray(), _REFERENCED: bytearray(), _OTHER: bytearray()}
    warned = False
    for at, result in enumerate(results, 1):
        item = _failed(result) if result.outcome is None else _referenced(result.outcome, addresses)
        tag = _REFERENCED if result.outcome is not None else _FAILED if "00081155" in item else _OTHER
        sequences[tag] += orjson.dumps(dict(sorted(item.items()))) + b","  # PS3.18 F.2.2
        warned = warned or "00081196" in item
        if at % _AT_ONCE == 0:
            await asyncio.sleep(0)
    parts: list[bytes | bytearray] = [b'{"00081190":' + orjson.dumps(url)]
    for tag, items in sequences.items():
        if items:
            items[-1:] = b"]}"
            parts += [b',"%s":{"vr":"SQ","Value":[' % tag.encode(), items]
    return b"".join([*parts, b"}"]), warned


async def _as_xml(body: bytes) -> AsyncGenerator[bytes]:
    """It is twice as long, and never whole in memory."""
    from sagittal.dicom.models.xmlstream import XmlStream

    stream, decoder = XmlStream(len(body)), codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _SLICE_BYTES):
        yield b"".join(stream.feed(decoder.decode(body[start : start + _SLICE_BYTES])))
    yield b"".join(stream.finish())


def _referenced(outcome: Outcome, addresses: uri.Addresses) -> dict[str, Any]:
    item = {"00081150": element("UI", outcome.sop_class_uid), "00081155": element("UI", outcome.sop_instance_uid)}
    item["00081190"] = element("UR", instance_address(addresses, outcome))
    item |= became.encode(outcome.status)
    if outcome.status == "kept":
        item["00081196"] = element("US", _COERCED)
        item["00000902"] = element("LO", outcome.remark)  # as for what failed
    return item


def _failed(result: Result) -> dict[str, Any]:
    assert result.failure is not None
    item: dict[str, Any] = {}
    for tag, text in zip(("00081150", "00081155"), result.uids(), strict=True):
        if text:
            item[tag] = element("UI", text)
    item["00081197"] = element("US", result.failure.reason)
    # Error Comment (0000,0902), as other archives do: FailureReason alone tells nobody what to mend.
    item["00000902"] = element("LO", result.failure.comment)
    return item
