"""The one place where an error becomes an HTTP answer: problem details (RFC 9457).

No problem has a type of its own, so its title is the phrase of its status (4.2.1); what is wrong stands in `detail`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sagittal.errors import SagittalError

if TYPE_CHECKING:
    from starlette.types import Scope

log = logging.getLogger("sagittal.web")

PROBLEM_JSON = "application/problem+json"
_ROUTING = {404: "there is no such resource", 405: "the resource does not take this method; `Allow` names its methods"}


def problem(error: Exception) -> Response:
    """The answer for an error: the HTTP status its class carries, and its text."""
    headers = {}
    if isinstance(error, SagittalError):
        status, text = error.http_status, error.text
    elif isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
        text = _ROUTING.get(status, error.detail)
    else:
        log.exception("a request failed", exc_info=error)
        status, text = 500, "the archive failed at this; its log says why"
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="sagittal"'
    if status == 503:
        headers["retry-after"] = "5"
    return told(status, text, headers)


def tell_refused(scope: Scope, path: str, status: int, reason: str, instance: str = "") -> None:
    """A line of the log, as a refusal over DIMSE leaves it; `path` has no value of a patient."""
    peer = "{}:{}".format(*scope["client"]) if scope.get("client") else ""
    fields = {"peer": peer, "request": f"{scope['method']} {path}", "instance": instance, "status": status}
    log.warning("request refused", extra={"fields": {**fields, "reason": reason}})


def told(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Problem details of a status and its text."""
    body = {"status": status, "title": HTTPStatus(status).phrase, "detail": text}
    return Response(orjson.dumps(body), status, headers, media_type=PROBLEM_JSON)
