"""What a study and its series say after all of its objects were read again: the first instance wins, as at ingest.

Corrections in force stay on top, and know from now on what the objects say instead. What the sender's node gave where
objects have none (issuer of the Patient ID, offset from UTC) stays, too, as in a reindex. Deliberately not here:
reading objects (`archive.upkeep.rereading`); discrepancies, which are kept as they were found.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sagittal.archive.index import PURGING, corrections
from sagittal.archive.index.arrival import (
    ISSUER_OF_PATIENT_ID,
    PATIENT_COLUMNS,
    PATIENT_ID,
    SERIES_COLUMNS,
    STUDY_COLUMNS,
    TIMEZONE_OFFSET_FROM_UTC,
)
from sagittal.archive.index.hierarchy import recount

_OF_STUDY = f"FROM instance WHERE series IN (SELECT id FROM series WHERE study = ?) AND id > ? AND state <> {PURGING}"
_AFTER = f"SELECT id {_OF_STUDY} ORDER BY id"
_MORE = f"SELECT 1 {_OF_STUDY} LIMIT 1"
_STUDY = f"SELECT store, study_instance_uid, {', '.join(STUDY_COLUMNS.values())} FROM study WHERE id = ?"
_SERIES = f"SELECT id, series_instance_uid, {', '.join(SERIES_COLUMNS.values())} FROM series WHERE study = ?"
_FROM_NODES = frozenset((ISSUER_OF_PATIENT_ID, TIMEZONE_OFFSET_FROM_UTC))


class Said:
    """What the objects of a study say, added in the order of their ids."""

    def __init__(self, study: int) -> None:
        self.study = study
        self.last = 0  # the instance that was added last
        self.values: dict[int, str] = {}  # of the study: tag -> the first that is not empty
        self.series: dict[int, dict[int, str]] = {}

    def add(self, instance: int, series: int, values: Mapping[int, str]) -> None:
        """One more object."""
        self.last = instance
        for tags, kept in ((STUDY_COLUMNS, self.values), (SERIES_COLUMNS, self.series.setdefault(series, {}))):
            for tag in tags:
                if value := values.get(tag, ""):
                    kept.setdefault(tag, value)


class _Place(NamedTuple):
    """The row of a study or series."""

    store: int
    table: str
    id: int
    columns: Mapping[int, str]
    present: dict[int, str]


def instances_after(connection: sqlite3.Connection, study: int, instance: int) -> list[int]:
    """The ids of all versions of a study beyond one, in order."""
    return [id for (id,) in connection.execute(_AFTER, (study, instance))]


def put(connection: sqlite3.Connection, said: Said, at: int) -> bool:
    """Bring the rows of a study, its patient and its series to what was said; False when it has more objects."""
    if connection.execute(_MORE, (said.study, said.last)).fetchone() is not None:
        return False
    found = connection.execute(_STUDY, (said.study,)).fetchone()
    if found is None:
        return True
    store, study_uid, *values = found
    active = corrections.active(connection, store, [study_uid])
    place = _Place(store, "study", said.study, STUDY_COLUMNS, dict(zip(STUDY_COLUMNS, values, strict=True)))
    changed = _bring(connection, place, said.values, [row for row in active if not row.series_uid], at)
    if changed & PATIENT_COLUMNS.keys():
        corrections.describe_by_first(connection, said.study)
    for id, series_uid, *values in connection.execute(_SERIES, (said.study,)).fetchall():
        if id in said.series:
            place = _Place(store, "series", id, SERIES_COLUMNS, dict(zip(SERIES_COLUMNS, values, strict=True)))
            changed |= _bring(
                connection, place, said.series[id], [row for row in active if row.series_uid == series_uid], at
            )
    if changed:
        recount(connection, said.study, at)  # the modalities may be others
    return True


def _bring(
    connection: sqlite3.Connection,
    place: _Place,
    said: Mapping[int, str],
    active: Sequence[corrections.Row],
    at: int,
) -> set[int]:
    """One row; gives the tags whose values are others now."""
    was = dict(place.present)  # but for corrections
    for row in active:
        was |= {int(tag, 16): value for tag, value in json.loads(row.replaced).items()}
    stored = {tag: said.get(tag, "") for tag in place.columns}
    for tag in _FROM_NODES & stored.keys():
        if not stored[tag] and (tag != ISSUER_OF_PATIENT_ID or stored[PATIENT_ID]):
            stored[tag] = was[tag]
    corrected = set[int]()
    for row in active:
        corrected |= corrections.put_replaced(connection, row, stored)
    changed = {tag: value for tag, value in stored.items() if tag not in corrected and value != place.present[tag]}
    if changed:
        corrections.write(connection, place.store, place.table, place.id, changed, at)
    return set(changed)
