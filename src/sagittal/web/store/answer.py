"""The answer to a store request: the Store Instances Response Module as DICOM JSON or XML (PS3.18 10.5.3, Annex I).

One `Result` for each instance of the request, or part that is none. Deliberately not here: storing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from sagittal.archive.ingest import Outcome
from sagittal.dicom.part10 import Part10Head
from sagittal.errors import SagittalError
from sagittal.limits import ReaderLimits
from sagittal.web.store import became
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, MediaType, accepts
from sagittal.web.wire.resources import instance_address

DICOM_XML = "application/dicom+xml"
_PROCESSING_FAILURE = 0x0110
_COERCED = 0xB000  # Coercion of data elements: another content is held under this UID
_COMMENT_CHARACTERS_MAX = 1024


@dataclass(slots=True)
class Result:
    """One instance of the request and what became of it."""

    beginning: bytes = b""  # of a Part 10 file: enough to tell, should it fail, which instance it was
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    outcome: Outcome | None = None
    error: Exception | None = None

    def fail(self, error: Exception) -> Result:
        """It is not stored. The error is kept without the frames that it came through: they hold what was read."""
        self.error = error.with_traceback(None)
        self.error.__context__ = self.error.__cause__ = None
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

    @property
    def reason(self) -> int:
        return self.error.dimse_status if isinstance(self.error, SagittalError) else _PROCESSING_FAILURE

    @property
    def http_status(self) -> int:
        status = self.error.http_status if isinstance(self.error, SagittalError) else 500
        return status if status >= 500 else 409


def answer(type_: str, results: list[Result], addresses: uri.Addresses, study: str | None) -> Response:
    """PS3.18 Table 10.5.3-1 and Annex I, as an `answer_type`."""
    stored = [p for p in results if p.outcome is not None]
    failed = [p for p in results if p.outcome is None]
    referenced = [_referenced(p.outcome, addresses) for p in stored if p.outcome is not None]
    studies = {p.outcome.study_uid for p in stored if p.outcome is not None and p.outcome.study_uid}
    only = study or (studies.pop() if len(studies) == 1 else "")
    # Type 2 (Table I.1-1): of several studies it is there, without a value.
    body: dict[str, Any] = {"00081190": _value("UR", addresses.study(only)) if only else {"vr": "UR"}}
    known: list[dict[str, Any]] = []
    unknown: list[dict[str, Any]] = []
    for result in failed:
        item = _failed(result)
        (known if "00081155" in item else unknown).append(item)
    # FailedSOPSequence, ReferencedSOPSequence, OtherFailuresSequence
    for tag, items in (("00081198", known), ("00081199", referenced), ("0008119A", unknown)):
        if items:
            body[tag] = {"vr": "SQ", "Value": items}
    warned = any("00081196" in item for item in referenced)
    status = 200 if not failed and not warned else 202 if stored else max(p.http_status for p in failed)
    headers = {"retry-after": "5"} if status == 503 else None
    return Response(_encoded(body, type_), status, headers, media_type=type_)


def answer_type(ranges: Sequence[MediaType]) -> str:
    """XML when that is what the client asks for; whatever else it takes, it gets JSON: the objects are stored."""
    return DICOM_XML if accepts(ranges, DICOM_JSON, "application/json", DICOM_XML) == DICOM_XML else DICOM_JSON


def _encoded(body: dict[str, Any], type_: str) -> bytes:
    if type_ == DICOM_XML:
        from sagittal.dicom.models.xml import to_xml

        return to_xml(body)
    return orjson.dumps(body)


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _referenced(outcome: Outcome, addresses: uri.Addresses) -> dict[str, Any]:
    item = {
        "00081150": _value("UI", outcome.sop_class_uid),
        "00081155": _value("UI", outcome.sop_instance_uid),
    }
    item["00081190"] = _value("UR", instance_address(addresses, outcome))
    item |= became.encode(outcome.status)
    if outcome.status == "kept":
        item["00081196"] = _value("US", _COERCED)
        item["00000902"] = _value("LO", outcome.remark)  # as for what failed
    return item


def _failed(result: Result) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for tag, text in zip(("00081150", "00081155"), result.uids(), strict=True):
        if text:
            item[tag] = _value("UI", text)
    item["00081197"] = _value("US", result.reason)
    # Error Comment (0000,0902), as other archives do: FailureReason alone tells nobody what to mend.
    item["00000902"] = _value("LO", str(result.error)[:_COMMENT_CHARACTERS_MAX])
    return item
