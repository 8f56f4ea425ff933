"""The figures of /metrics, in the Prometheus text format; of stores those that are open to who asks.

Imported when it is first asked for. Deliberately not here: counting, which each does whose figures they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from starlette.responses import Response

from sagittal.archive.access import Principal, places

if TYPE_CHECKING:
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
Rows = Iterable[tuple[tuple[str, ...], float]]  # the values of the labels, and the figure


async def scraped(house: House, principal: Principal, started_at: float) -> Response:
    """All figures as they are now."""
    entered = places(principal, house.archive.stores)
    counts = await house.archive.statistics(principal)
    stores = {name: await house.archive.statistics(who) for name, who in entered.items()}
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector([*_held(counts, stores), *_served(house, entered, started_at)]))
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


class _Collector:
    """Of one scrape."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _by(
    kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, text: str, labels: tuple[str, ...], rows: Rows
) -> Metric:
    """A figure for each of the values of some labels."""
    family = kind(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _held(counts: Counts, stores: Mapping[str, Counts]) -> Iterator[Metric]:
    for name, text in FIGURES.items():
        yield GaugeMetricFamily(f"sagittal_{name}", text, getattr(counts, name))
        rows = [((store,), getattr(of_store, name)) for store, of_store in stores.items()]
        yield _by(GaugeMetricFamily, f"sagittal_store_{name}", f"{text[:-1]}, by store.", ("store",), rows)


def _served(house: House, stores: Mapping[str, Principal], started_at: float) -> Iterator[Metric]:
    settings, archive = house.settings, house.archive
    yield from _ingest(archive.figures())
    if settings.listener is not None:
        yield from _associations(settings.listener)
    answers = [((str(status),), count) for status, count in sorted(house.answers.items())]
    yield _by(CounterMetricFamily, "sagittal_http_requests", "Answers by status.", ("status",), answers)
    yield from _workers(house.workers)
    if settings.by_rule is not None and settings.by_rule.rules:
        yield _transcodings(settings.by_rule, stores)
    is_ready = not (archive.ready() or settings.ready())
    yield GaugeMetricFamily("sagittal_ready", "1 when /readyz says so.", int(is_ready))
    modes = [((mode,), int(mode == settings.durability)) for mode in ("full", "off")]
    yield _by(GaugeMetricFamily, "sagittal_durability", "1 for the mode in force: full or off.", ("mode",), modes)
    yield GaugeMetricFamily("sagittal_start_time_seconds", "When this process started.", started_at)


def _transcodings(by_rule: ByRule, stores: Mapping[str, Principal]) -> Metric:
    text = "Objects that a rule transcoded, or could not transcode, by store."
    outcomes = ("done", "failed")
    rows = [((name, what), by_rule.counts[who.store, what]) for name, who in stores.items() for what in outcomes]
    return _by(CounterMetricFamily, "sagittal_transcodings", text, ("store", "outcome"), rows)


def _ingest(figures: Figures) -> Iterator[Metric]:
    text = "Objects by the way they came, what became of them, and the DIMSE status of a refusal."
    objects = sorted(figures.outcomes.items())
    rows = [((source, outcome, f"{status:04X}"), count) for (source, outcome, status), count in objects]
    yield _by(CounterMetricFamily, "sagittal_objects", text, ("source", "outcome", "status"), rows)
    yield GaugeMetricFamily("sagittal_commit_queue", "Objects that wait for their commit.", figures.waiting)
    sizes = figures.batch_sizes
    buckets = [(str(top), float(sum(n for size, n in sizes.items() if size <= top))) for top in BATCH_SIZES]
    buckets.append(("+Inf", float(sum(sizes.values()))))
    total = float(sum(size * count for size, count in sizes.items()))
    text = "Objects that one commit took."
    yield HistogramMetricFamily("sagittal_commit_batch_objects", text, buckets=buckets, sum_value=total)


def _workers(pool: Pool) -> Iterator[Metric]:
    yield GaugeMetricFamily("sagittal_workers_busy", "Requests that a worker process is at.", pool.turns.running)
    yield GaugeMetricFamily("sagittal_workers_waiting", "Requests that wait for one.", pool.turns.waiting)
    losses = [((reason,), pool.losses[reason]) for reason in ("crash", "time")]
    yield _by(CounterMetricFamily, "sagittal_workers_lost", "Workers lost, by crash or by time.", ("reason",), losses)
    text = "Workers ended because the client went away."
    yield CounterMetricFamily("sagittal_workers_abandoned", text, pool.abandoned)


def _associations(listener: DimseServer) -> Iterator[Metric]:
    yield GaugeMetricFamily("sagittal_associations", "Associations open.", len(listener.associations))
    yield GaugeMetricFamily("sagittal_dimse_connections", "Open connections to the DIMSE port.", listener.connections)
    yield CounterMetricFamily("sagittal_associations_accepted", "Associations accepted.", listener.accepted)
    text = "Associations rejected, by result/source/reason (PS3.8 Table 9-21)."
    rejected = [((code,), count) for code, count in sorted(listener.rejections.items())]
    yield _by(CounterMetricFamily, "sagittal_associations_rejected", text, ("code",), rejected)
