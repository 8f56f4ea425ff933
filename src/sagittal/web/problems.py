"""The one place where an error becomes an HTTP answer: problem details (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sagittal.errors import SagittalError

log = logging.getLogger("sagittal.web")


def problem(error: Exception) -> Response:
    """The answer for an error: the HTTP status its class carries, and its text."""
    headers = {}
    if isinstance(error, SagittalError):
        status, text = error.http_status, error.text
    elif isinstance(error, HTTPException):
        status, text, headers = error.status_code, error.detail, dict(error.headers or {})
    else:
        log.exception("a request failed", exc_info=error)
        status, text = 500, "the archive failed at this; its log says why"
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="sagittal"'
    if status == 503:
        headers["retry-after"] = "5"
    body: dict[str, Any] = {"status": status, "title": type(error).__name__, "detail": text}
    if isinstance(error, HTTPException):
        body["title"] = error.detail
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")
