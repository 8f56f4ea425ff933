"""Is it alive, is it ready, and how is it doing: /healthz, /readyz, /metrics (the Prometheus text format).

Readiness is for the archive and for `serve` to say; nothing is probed here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from starlette.requests import Request

    from sagittal.archive.upkeep.statistics import Counts
    from sagittal.web.app import House

# A field of `archive.upkeep.statistics.Counts` -> what it is.
FIGURES: Mapping[str, str] = {
    "patients": "Patients held.",
    "studies": "Studies held.",
    "series": "Series held.",
    "instances": "Current instances held.",
    "other_versions": "Versions kept beside the current ones.",
    "deleted": "Versions that can still be undeleted.",
    "bytes": "Bytes of all versions.",
}


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
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        counts = await self._house.archive.statistics(request.scope["principal"])
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Figures(self._house, counts, self._started_at))
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


class _Figures:
    """A collector of one scrape."""

    def __init__(self, house: House, counts: Counts, started_at: float) -> None:
        self._counts, self._answers, self._started_at = counts, house.answers, started_at
        self._durability, self._ready = house.settings.durability, not (house.archive.ready() or house.settings.ready())

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for name, text in FIGURES.items():
            yield GaugeMetricFamily(f"sagittal_{name}", text, value=getattr(self._counts, name))
        requests = CounterMetricFamily("sagittal_http_requests", "Answers by status.", labels=["status"])
        for status, count in sorted(self._answers.items()):
            requests.add_metric([str(status)], count)
        yield requests
        yield GaugeMetricFamily("sagittal_ready", "1 when /readyz says so.", value=int(self._ready))
        durable = GaugeMetricFamily("sagittal_durability", "1 for the mode in force: full or off.", labels=["mode"])
        for mode in ("full", "off"):
            durable.add_metric([mode], int(mode == self._durability))
        yield durable
        yield GaugeMetricFamily("sagittal_start_time_seconds", "When this process started.", value=self._started_at)
