"""What a study and its series say after all of its objects were read again: the first instance wins, as at ingest.

Corrections in force stay on top, and know from now on what the objects say instead. What the sender's node gave where
objects have none (issuer of the Patient ID, offset from UTC) stays, too, as in a reindex. What later instances say
otherwise is listed anew, but where that was corrected. Deliberately not here: reading objects
(`archive.upkeep.rereading`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from sagittal.archive.index import PURGING
from sagittal.archive.index.arrival import (
    ISSUER_OF_PATIENT_ID,
    PATIENT_COLUMNS,
    PATIENT_ID,
    SERIES_COLUMNS,
    STUDY_COLUMNS,
    TIMEZONE_OFFSET_FROM_UTC,
)
from sagittal.archive.index.hierarchy import count
from sagittal.archive.index.upkeep import discrepancies
from sagittal.archive.index.upkeep.discrepancies import Claim, Cursor, Lost, Place
from sagittal.archive.index.upkeep.settling import Described, bring, described
from sagittal.archive.index.upkeep.stale import Stale

_OF_STUDY = f"FROM instance WHERE series IN (SELECT id FROM series WHERE study = ?) AND id > ? AND state <> {PURGING}"
_AFTER = f"SELECT id {_OF_STUDY} ORDER BY id"
_MORE = f"SELECT 1 {_OF_STUDY} LIMIT 1"
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
        elif found.is_deleted and None in self._held:
            return
        places = (
            ("study", self.study, STUDY_COLUMNS, self.values),
            ("series", series, SERIES_COLUMNS, self.series.setdefault(series, {})),
        )
        for level, parent, tags, kept in places:
            for tag in tags:
                value = values.get(tag, "")
                if value and (found.is_held or None not in self._held):
                    kept.setdefault(tag, value)
                if value and kept.get(tag, value) != value:
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
    changed = set[int]()
    for row in described(connection, said.study):
        if row.table == "study":
            changed |= bring(connection, row, _stored(row, said.values), at)
        elif row.id in said.series:
            changed |= bring(connection, row, _stored(row, said.series[row.id]), at)
    if changed:
        count(connection, said.study, at)  # the modalities may be others
    return True


def places(connection: sqlite3.Connection, said: Said) -> list[Place]:
    """After `put`: the discrepancies, wherever there can be any. None: they stay."""
    rows = described(connection, said.study)
    if not rows or said.room < 0:
        return []
    study, *series = rows
    keys = [("patient", study.id), ("study", study.id), *(("series", row.id) for row in series)]
    stands: dict[tuple[str, int], list[tuple[Claim, Lost]]] = {key: [] for key in keys}
    for claim, lost in sorted((said.lost | _against_patient(connection, said, study.corrected())).items()):
        if lost.number_of_instances and claim[:2] in stands:
            stands[claim[:2]].append((claim, lost))
    return [Place(study.store, *key, each) for key, each in stands.items()]


def put_some(connection: sqlite3.Connection, said: Said, listed: Sequence[Place], cursor: Cursor) -> Cursor | None:
    """Some of the list; None at the end of it, or when the study has more objects: `is_whole` has to be asked then."""
    return discrepancies.put_some(connection, listed, cursor) if is_whole(connection, said) else None


def _against_patient(connection: sqlite3.Connection, said: Said, corrected: set[int]) -> dict[Claim, Lost]:
    """Where a study differs from its patient, whom another study described; one that was given another goes by that."""
    if not said.patient or _IDENTIFIER & corrected:
        return {}
    patient = zip(PATIENT_COLUMNS, connection.execute(_PATIENT, (said.study,)).fetchone(), strict=True)
    return {
        Claim("patient", said.study, tag, value): Lost(kept, *said.named_by)
        for tag, kept in patient
        if (value := said.patient.get(tag, "")) and kept and kept != value and tag not in corrected
    }


def _stored(row: Described, said: Mapping[int, str]) -> dict[int, str]:
    """What its objects say, and their senders where they are silent."""
    was, stored = row.stored(), {tag: said.get(tag, "") for tag in row.columns}
    for tag in _FROM_NODES & stored.keys():
        if not stored[tag] and (tag != ISSUER_OF_PATIENT_ID or stored[PATIENT_ID]):
            stored[tag] = was[tag]
    return stored
