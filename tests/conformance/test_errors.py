"""Every error's statuses, by what RFC 9110 and PS3.7 Annex C, PS3.4 B.2.3 and C.4 call them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from pynetdicom.status import GENERAL_STATUS, QR_MOVE_SERVICE_CLASS_STATUS, STORAGE_SERVICE_CLASS_STATUS

from sagittal import errors
from sagittal.dimse.commands import InvalidCommand
from sagittal.dimse.status import of_error
from sagittal.ul.pdu import InvalidPDU

PROCESSING, NOT_AUTHORIZED, NO_INSTANCE = "Processing Failure", "Refused: Not Authorised", "No Such SOP Instance"
DUPLICATE, CLASS = "Duplication SOP Instance", "Refused: SOP Class Not Supported"
RESOURCES, DESTINATION = "Refused: Out of Resources", "Move destination unknown"
MISMATCH, UNREADABLE = "Data Set Does Not Match SOP Class", "Cannot Understand"
CODES: dict[str, int] = {}
for table in (STORAGE_SERVICE_CLASS_STATUS, QR_MOVE_SERVICE_CLASS_STATUS, GENERAL_STATUS):
    for code, (_, text) in sorted(table.items()):
        CODES.setdefault(text, code)

STATUSES: list[tuple[Any, HTTPStatus, str]] = [
    (errors.SagittalError, HTTPStatus.INTERNAL_SERVER_ERROR, PROCESSING),
    (errors.UsageError, HTTPStatus.BAD_REQUEST, PROCESSING),
    (errors.BadRequest, HTTPStatus.BAD_REQUEST, UNREADABLE),
    (errors.NotAuthenticated, HTTPStatus.UNAUTHORIZED, NOT_AUTHORIZED),
    (errors.NotAuthorized, HTTPStatus.FORBIDDEN, NOT_AUTHORIZED),
    (errors.NotFound, HTTPStatus.NOT_FOUND, NO_INSTANCE),
    (errors.Gone, HTTPStatus.GONE, NO_INSTANCE),
    (errors.NotAcceptable, HTTPStatus.NOT_ACCEPTABLE, CLASS),
    (errors.PixelsUndecodable, HTTPStatus.NOT_ACCEPTABLE, CLASS),
    (errors.UnsupportedMedia, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, PROCESSING),
    (errors.PreconditionFailed, HTTPStatus.PRECONDITION_FAILED, PROCESSING),
    (errors.RangeNotSatisfiable, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, PROCESSING),
    (errors.LimitExceeded, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, RESOURCES),
    (errors.Malformed, HTTPStatus.CONFLICT, UNREADABLE),
    (errors.IdentifierMismatch, HTTPStatus.CONFLICT, MISMATCH),
    (errors.DataSetMismatch, HTTPStatus.CONFLICT, MISMATCH),
    (errors.DuplicateInstance, HTTPStatus.CONFLICT, DUPLICATE),
    (errors.StorageUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, RESOURCES),
    (errors.Busy, HTTPStatus.SERVICE_UNAVAILABLE, RESOURCES),
    (errors.WorkerLost, HTTPStatus.INTERNAL_SERVER_ERROR, PROCESSING),
    (errors.DirectoryHeld, HTTPStatus.SERVICE_UNAVAILABLE, PROCESSING),
    (errors.UnknownDestination, HTTPStatus.BAD_REQUEST, DESTINATION),
    (errors.DamagedObject, HTTPStatus.INTERNAL_SERVER_ERROR, PROCESSING),
    (errors.PeerError, HTTPStatus.BAD_GATEWAY, PROCESSING),
    (errors.PeerUnreachable, HTTPStatus.BAD_GATEWAY, PROCESSING),
    (errors.PeerRefused, HTTPStatus.BAD_GATEWAY, PROCESSING),
    (InvalidCommand, HTTPStatus.INTERNAL_SERVER_ERROR, "Mistyped Argument"),
    (InvalidPDU, HTTPStatus.INTERNAL_SERVER_ERROR, PROCESSING),
]


@pytest.mark.parametrize(("error", "http", "dimse"), STATUSES, ids=lambda value: getattr(value, "__name__", ""))
def test_an_error_has_the_statuses_of_its_kind(error: Any, http: HTTPStatus, dimse: str) -> None:
    raised = error("odd-length", "why") if error is errors.Malformed else error("why")
    assert (raised.http_status, of_error(raised)) == (http, (CODES[dimse], "why"))


def test_every_error_of_the_tree_is_here() -> None:
    ours = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.SagittalError)}
    assert ours == {error for error, *_ in STATUSES} - {InvalidCommand, InvalidPDU}
