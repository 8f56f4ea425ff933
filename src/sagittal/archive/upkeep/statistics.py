"""Counts for the page at `/`, the API and the metrics, from sums that ingest keeps and not by counting instances; and
discrepancies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from sagittal.archive.access import Principal
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.upkeep import counts, discrepancies


class Counts(NamedTuple):
    """What is held."""

    patients: int
    studies: int
    series: int
    instances: int  # current ones of studies, and non-patient objects
    other_versions: int
    deleted: int  # versions that can still be undeleted
    bytes: int  # of all versions


class Figures(NamedTuple):
    """What an open archive counted since it was opened."""

    outcomes: Mapping[tuple[str, str, int], int]  # (Source.kind, Outcome.status or "refused", DIMSE status) -> objects
    waiting: int  # objects between their last byte and their answer
    batch_sizes: Mapping[int, int]  # objects that one commit took -> commits


class LatestStudy(NamedTuple):
    """One of the studies that were made last."""

    study_uid: str
    patient_id: str
    patient_name: str
    study_date: str
    study_description: str
    modalities: str
    series: int
    instances: int
    changed_at: int


class Discrepancy(NamedTuple):
    """A value that differs from the one that came first and is kept for the study or series."""

    id: int
    level: str  # "patient" | "study" | "series"
    study_uid: str
    series_uid: str
    sop_instance_uid: str  # the first instance that carries it
    tag: int
    kept: str
    value: str
    instances: int  # that carry it
    at: int  # microseconds UTC


class Statistics:
    """The counts of one archive. Bytes are summed once and then only for what is new; `recount` after a purge."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._sums: dict[int, tuple[int, int]] = {}  # by store: bytes, and the last instance that is in the sum

    def recount(self) -> None:
        """Versions were removed: sum anew at the next question."""
        self._sums = {}  # who sums at the moment keeps the old one

    async def counts(self, principal: Principal) -> Counts:
        """What is held at the moment."""
        return await self._readers.run(_counts, principal.store, self._sums)

    async def latest(self, principal: Principal, limit: int) -> list[LatestStudy]:
        """The studies made last, newest first."""
        return await self._readers.rows(LatestStudy, counts.LATEST_STUDIES, (principal.store, limit))

    async def discrepancies(self, principal: Principal, study_uid: str, limit: int) -> list[Discrepancy]:
        """The latest discrepancies, of one study or ("") of all."""
        values = principal.store, study_uid, study_uid, limit
        return await self._readers.rows(Discrepancy, discrepancies.DISCREPANCIES, values)


def _counts(connection: sqlite3.Connection, store: int, sums: dict[int, tuple[int, int]]) -> Counts:
    studies, patients, series, instances = connection.execute(counts.STUDIES, (store,)).fetchone()
    others, deleted = connection.execute(counts.NOT_CURRENT, (store,)).fetchone()
    (without_study,) = connection.execute(counts.NON_PATIENT, (store,)).fetchone()
    summed, last = sums.get(store, (0, 0))
    new, last = connection.execute(counts.BYTES_SINCE, (last, last, store)).fetchone()
    sums[store] = summed + new, last
    return Counts(patients, studies, series, instances + without_study, others, deleted, summed + new)
