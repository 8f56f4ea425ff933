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

    from sagittal.archive.access import Principal
    from sagittal.archive.transcoding.byrule import ByRule
    from sagittal.archive.upkeep.statistics import Counts, Figures
    from sagittal.net.server import DimseServer
    from sagittal.web.house import House
    from sagittal.workers.pool import Pool

# A field of `archive.upkeep.statistics.Counts` -> what it is; of main, and of every store that is open to who asks.
FIGURES: Mapping[str, str] = {
    "patients": "Patients held.",
    "studies": "Studies held.",
    "series": "Series held.",
    "instances": "Current instances held.",
    "other_versions": "Versions kept beside the current ones.",
    "deleted": "Versions that can still be undeleted.",
    "bytes": "Bytes of all versions.",
}
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


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

        from sagittal.archive.access import places

        archive, principal = self._house.archive, request.scope["principal"]
        counts = await archive.statistics(principal)
        entered = places(principal, archive.stores)
        stores = {name: await archive.statistics(who) for name, who in entered.items()}
        registry = CollectorRegistry(auto_describe=False)
        transcodings = _transcodings(self._house.settings.by_rule, entered)
        registry.register(_Figures(self._house, counts, stores, transcodings, self._started_at))
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


class _Figures:
    """A collector of one scrape."""

    def __init__(
        self,
        house: House,
        counts: Counts,
        stores: Mapping[str, Counts],
        transcodings: Mapping[tuple[str, str], int],
        started_at: float,
    ) -> None:
        self._counts, self._stores, self._answers, self._started_at = counts, stores, house.answers, started_at
        self._transcodings = transcodings
        self._figures, self._listener = house.archive.figures(), house.settings.listener
        self._workers = house.workers
        self._durability, self._ready = house.settings.durability, not (house.archive.ready() or house.settings.ready())

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for name, text in FIGURES.items():
            yield GaugeMetricFamily(f"sagittal_{name}", text, value=getattr(self._counts, name))
            family = GaugeMetricFamily(f"sagittal_store_{name}", f"{text[:-1]}, by store.", labels=["store"])
            for store, counts in self._stores.items():
                family.add_metric([store], getattr(counts, name))
            yield family
        yield from _ingest(self._figures)
        if self._listener is not None:
            yield from _associations(self._listener)
        requests = CounterMetricFamily("sagittal_http_requests", "Answers by status.", labels=["status"])
        for status, count in sorted(self._answers.items()):
            requests.add_metric([str(status)], count)
        yield requests
        yield from _workers(self._workers)
        if self._transcodings:
            text = "Objects that a rule transcoded, or could not transcode, by store."
            transcodings = CounterMetricFamily("sagittal_transcodings", text, labels=["store", "outcome"])
            for labels, count in self._transcodings.items():
                transcodings.add_metric(labels, count)
            yield transcodings
        yield GaugeMetricFamily("sagittal_ready", "1 when /readyz says so.", value=int(self._ready))
        durable = GaugeMetricFamily("sagittal_durability", "1 for the mode in force: full or off.", labels=["mode"])
        for mode in ("full", "off"):
            durable.add_metric([mode], int(mode == self._durability))
        yield durable
        yield GaugeMetricFamily("sagittal_start_time_seconds", "When this process started.", value=self._started_at)


def _transcodings(by_rule: ByRule | None, stores: Mapping[str, Principal]) -> dict[tuple[str, str], int]:
    """(store, outcome) -> how often since the start; nothing without rules."""
    if by_rule is None or not by_rule.rules:
        return {}
    outcomes = ("done", "failed")
    return {(name, what): by_rule.counts[who.store, what] for name, who in stores.items() for what in outcomes}


def _ingest(figures: Figures) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    text = "Objects by the way they came, what became of them, and the DIMSE status of a refusal."
    objects = CounterMetricFamily("sagittal_objects", text, labels=["source", "outcome", "status"])
    for (source, outcome, status), count in sorted(figures.outcomes.items()):
        objects.add_metric([source, outcome, f"{status:04X}"], count)
    yield objects
    yield GaugeMetricFamily("sagittal_commit_queue", "Objects that wait for their commit.", value=figures.waiting)
    sizes = figures.batch_sizes
    buckets = [(str(top), float(sum(n for size, n in sizes.items() if size <= top))) for top in BATCH_SIZES]
    buckets.append(("+Inf", float(sum(sizes.values()))))
    total = float(sum(size * count for size, count in sizes.items()))
    batches = HistogramMetricFamily("sagittal_commit_batch_objects", "Objects that one commit took.")
    batches.add_metric([], buckets, total)
    yield batches


def _workers(pool: Pool) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("sagittal_workers_busy", "Requests that a worker process is at.", value=pool.turns.running)
    yield GaugeMetricFamily("sagittal_workers_waiting", "Requests that wait for one.", value=pool.turns.waiting)
    lost = CounterMetricFamily("sagittal_workers_lost", "Workers lost, by crash or by time.", labels=["reason"])
    for reason in ("crash", "time"):
        lost.add_metric([reason], pool.losses[reason])
    yield lost
    text = "Workers ended because the client went away."
    yield CounterMetricFamily("sagittal_workers_abandoned", text, value=pool.abandoned)


def _associations(listener: DimseServer) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("sagittal_associations", "Associations open.", value=len(listener.associations))
    yield GaugeMetricFamily(
        "sagittal_dimse_connections", "Open connections to the DIMSE port.", value=listener.connections
    )
    yield CounterMetricFamily("sagittal_associations_accepted", "Associations accepted.", value=listener.accepted)
    text = "Associations rejected, by result/source/reason (PS3.8 Table 9-21)."
    rejected = CounterMetricFamily("sagittal_associations_rejected", text, labels=["code"])
    for code, count in sorted(listener.rejections.items()):
        rejected.add_metric([code], count)
    yield rejected
