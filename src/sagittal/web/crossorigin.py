"""Pages of other origins that `web.origins` names: what lets a browser give them our answers (WHATWG Fetch 3.2, CORS).

Named origins only, and none by default: an archive on loopback that has no tokens shows all that it holds to a page
that may read. There is no `*`, and there are no credentials: a page sets the header with its token itself. Deliberately
not here: who may write (`security`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from sagittal.web.wire.conditions import Header

METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
# What clients of DICOMweb send beyond the headers that need no leave.
_SENT = "accept, authorization, content-type, if-match, if-none-match, if-range, last-event-id, range, x-requested-with"
_SHOWN = b"content-disposition, content-length, content-range, etag, link, location, retry-after, warning"
_REMEMBERED_SECONDS = "600"  # by browsers; an origin that is taken out of the configuration is out after that


def named(headers: Mapping[bytes, bytes], origins: Collection[str]) -> bytes:
    """The origin of the page that asks, as the browser says it, if it is one of `origins`; else nothing.

    For an image or a video that a page only shows it sends no Origin, but where that page is.
    """
    origin = headers.get(b"origin") or b"/".join(headers.get(b"referer", b"").split(b"/")[:3])
    return origin if origin and origin.decode("latin-1").lower() in origins else b""


def shown_to(origin: bytes) -> list[Header]:
    """What lets a browser give an answer to a page of `origin`, or show it; caches learn that it depends on that."""
    vary = (b"vary", b"origin, referer")
    if not origin:
        return [vary]
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _SHOWN),
        (b"cross-origin-resource-policy", b"cross-origin"),
        vary,
    ]


def preflight(method: str, headers: Mapping[bytes, bytes], origins: Collection[str]) -> Response | None:
    """The answer to a browser that asks whether a page may send what it wants to; None for any other request.

    It says nothing of what is held, and has no token: browsers send none with it.
    """
    if method != "OPTIONS" or b"access-control-request-method" not in headers or not named(headers, origins):
        return None
    told = {
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": _SENT,
        "access-control-max-age": _REMEMBERED_SECONDS,
    }
    return Response(status_code=204, headers=told)
