"""What a study and its series say after all of its objects were read again: the first instance wins, as at ingest.

Corrections in force stay on top, and know from now on what the objects say instead. What the sender's node gave where
objects have none (issuer of the Patient ID, offset from UTC) stays, too, as in a reindex. What later instances say
otherwise is listed anew, but where that was corrected. Deliberately not here: reading objects
(`archive.upkeep.rereading`).
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
from sagittal.archive.index.upkeep import discrepancies
from sagittal.archive.index.upkeep.discrepancies import Claim, Cursor, Lost, Place
from sagittal.archive.index.upkeep.stale import Stale

_OF_STUDY = f"FROM instance WHERE series IN (SELECT id FROM series WHERE study = ?) AND id > ? AND state <> {PURGING}"
_AFTER = f"SELECT id {_OF_STUDY} ORDER BY id"
_MORE = f"SELECT 1 {_OF_STUDY} LIMIT 1"
_STUDY = f"SELECT store, study_instance_uid, {', '.join(STUDY_COLUMNS.values())} FROM study WHERE id = ?"
_SERIES = f"SELECT id, series_instance_uid, {', '.join(SERIES_COLUMNS.values())} FROM series WHERE study = ?"
_PATIENT = (
    f"SELECT {', '.join('patient.' + column for column in PATIENT_COLUMNS.values())} FROM study "
    "JOIN patient ON patient.id = study.patient WHERE study.id = ?"
)
_CLAIM_BYTES = 400  # what a claim takes beside its value
_IDENTIFIER = frozenset((PATIENT_ID, ISSUER_OF_PATIENT_ID))
_FROM_NODES = frozenset((ISSUER_OF_PATIENT_ID, TIMEZONE_OFFSET_FROM_UTC))


class Said:
    """What the objects of a study say, added in the order of their ids; what lost, as far as there is room for it."""

    def __init__(self, study: int, lost_bytes_max: int) -> None:
        self.study = study
        self.room = lost_bytes_max  # less than none: what lost is not known
        self.last = 0  # the instance that was added last
        self.values: dict[int, str] = {}  # of the study: tag -> the first that is not empty
        self.series: dict[int, dict[int, str]] = {}
        self.lost: dict[Claim, Lost] = {}
        self.patient: dict[int, str] = {}  # what was said of the patient when the Patient ID was,
        self.named_by = (0, 0)  # and by which instance, which came when
        self._held: set[int | None] = set()  # the series of which something is held; None: of the study

    def add(self, found: Stale, series: int, values: Mapping[int, str]) -> None:
        """One more object."""
        self.last = found.id
        if found.is_held:
            self._begin(series)
        places = (
            ("study", self.study, STUDY_COLUMNS, self.values),
            ("series", series, SERIES_COLUMNS, self.series.setdefault(series, {})),
        )
        for level, parent, tags, kept in places:
            for tag in tags:
                if (value := values.get(tag, "")) and kept.setdefault(tag, value) != value:
                    claim = Claim(level if tag not in PATIENT_COLUMNS else "patient", parent, tag, value)
                    self._claim(claim, kept[tag], found)
        if not self.patient and self.values.get(PATIENT_ID):
            self.patient = {tag: value for tag, value in self.values.items() if tag in PATIENT_COLUMNS}
            self.named_by = found.id, found.received_at

    def _begin(self, series: int) -> None:
        """What is held says how it is, and nothing that came before it, as at ingest."""
        if None not in self._held:
            self.values, self.patient = {}, {}
            self.lost = {claim: lost for claim, lost in self.lost.items() if claim.level == "series"}
        if series not in self._held:
            self.series[series] = {}
            self.lost = {claim: lost for claim, lost in self.lost.items() if claim[:2] != ("series", series)}
        self._held |= {None, series}

    def _claim(self, claim: Claim, kept: str, found: Stale) -> None:
        if claim not in self.lost:
            self.room -= len(claim.value) + _CLAIM_BYTES
        if self.room < 0:
            self.lost.clear()
            return
        lost = self.lost.setdefault(claim, Lost(kept, found.id, found.received_at, 0))
        lost.number_of_instances += not found.is_original  # what was made of it counts


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


def is_whole(connection: sqlite3.Connection, said: Said) -> bool:
    """Whether a study has no more objects than were added."""
    return connection.execute(_MORE, (said.study, said.last)).fetchone() is None


def put(connection: sqlite3.Connection, said: Said, at: int) -> bool:
    """Bring the rows of a study, its patient and its series to what was said; False when it has more objects."""
    if not is_whole(connection, said):
        return False
    found = connection.execute(_STUDY, (said.study,)).fetchone()
    if found is None:
        return True
    store, study_uid, *values = found
    active = corrections.active(connection, store, [study_uid])
    place = _Place(store, "study", said.study, STUDY_COLUMNS, dict(zip(STUDY_COLUMNS, values, strict=True)))
    changed = _bring(connection, place, said.values, [row for row in active if not row.series_uid], at)
    described = changed & PATIENT_COLUMNS.keys()
    if described and (patient := corrections.describe_by_first(connection, said.study)) is not None:
        discrepancies.compare_others(connection, store, patient, said.study, described)
    for id, series_uid, *values in connection.execute(_SERIES, (said.study,)).fetchall():
        if id in said.series:
            place = _Place(store, "series", id, SERIES_COLUMNS, dict(zip(SERIES_COLUMNS, values, strict=True)))
            changed |= _bring(
                connection, place, said.series[id], [row for row in active if row.series_uid == series_uid], at
            )
    if changed:
        recount(connection, said.study, at)  # the modalities may be others
    return True


def places(connection: sqlite3.Connection, said: Said) -> list[Place]:
    """After `put`: the discrepancies of what is not corrected, wherever there can be any. None: they stay."""
    found = connection.execute(_STUDY, (said.study,)).fetchone()
    if found is None or said.room < 0:
        return []
    store, study_uid, *_ = found
    corrected = corrections.in_force(connection, store, study_uid)
    uids = {("series", id): uid for id, uid, *_ in connection.execute(_SERIES, (said.study,))}
    uids |= {("patient", said.study): "", ("study", said.study): ""}
    stands: dict[tuple[str, int], list[tuple[Claim, Lost]]] = {place: [] for place in uids}
    for claim, lost in sorted((said.lost | _against_patient(connection, said, corrected.get("", {}))).items()):
        uid = uids.get(claim[:2])
        if lost.number_of_instances and uid is not None and claim.tag not in corrected.get(uid, {}):
            stands[claim[:2]].append((claim, lost))
    return [Place(store, *place, each) for place, each in stands.items()]


def put_some(connection: sqlite3.Connection, said: Said, listed: Sequence[Place], cursor: Cursor) -> Cursor | None:
    """Some of the list; None at the end of it, or when the study has more objects: `is_whole` has to be asked then."""
    return discrepancies.put_some(connection, listed, cursor) if is_whole(connection, said) else None


def _against_patient(connection: sqlite3.Connection, said: Said, corrected: Mapping[int, str]) -> dict[Claim, Lost]:
    """Where a study differs from its patient, whom another study described; one that was given another goes by that."""
    if not said.patient or _IDENTIFIER & corrected.keys():
        return {}
    patient = zip(PATIENT_COLUMNS, connection.execute(_PATIENT, (said.study,)).fetchone(), strict=True)
    return {
        Claim("patient", said.study, tag, value): Lost(kept, *said.named_by)
        for tag, kept in patient
        if (value := said.patient.get(tag, "")) and kept and kept != value
    }


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
