"""Is it alive, is it ready, and how is it doing: /healthz, /readyz, /metrics (what that says is in `metrics`).

Readiness is for the archive and for `serve` to say; nothing is probed here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.web.house import House


class Health:
    """GET of /healthz, /readyz and /metrics."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._started_at = time.time()

    async def live(self, request: Request) -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    async def ready(self, request: Request) -> Response:
        reasons = [*self._house.archive.ready(), *self._house.settings.ready()]
        body = orjson.dumps({"ready": not reasons, "reasons": reasons})
        return Response(body, 503 if reasons else 200, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        from sagittal.web.api.metrics import scraped

        return await scraped(self._house, request.scope["principal"], self._started_at)
