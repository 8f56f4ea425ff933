"""Discrepancies, values that lost against the one that came first: the list of them, and those of a study found anew.

Deliberately not here: which value wins (`anew`, and `hierarchy` at ingest).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sagittal.archive.index.arrival import ISSUER_OF_PATIENT_ID, PATIENT_COLUMNS, PATIENT_ID

# Levels patient and study have the study as their parent, which may carry any of both.
DISCREPANCIES = (
    "SELECT d.id, d.level, study.study_instance_uid, coalesce(series.series_instance_uid, ''), "
    "coalesce(instance.sop_instance_uid, ''), d.tag, d.kept, d.value, d.number_of_instances, d.at FROM discrepancy d "
    "LEFT JOIN series ON d.level = 'series' AND series.id = d.parent "
    "JOIN study ON study.id = CASE d.level WHEN 'series' THEN series.study ELSE d.parent END "
    "LEFT JOIN instance ON instance.id = d.instance "
    "WHERE d.store = ? AND (? = '' OR study.study_instance_uid = ?) ORDER BY d.id DESC LIMIT ?"
)
_LISTED = (
    "SELECT level, parent, tag, value, id FROM discrepancy WHERE store = ?1 AND (level IN ('patient', 'study') "
    "AND parent = ?2 OR level = 'series' AND parent IN (SELECT id FROM series WHERE study = ?2))"
)
# Of what was transcoded since, it is told of what it became.
_PUT = (
    "INSERT INTO discrepancy (store, level, parent, tag, value, kept, instance, number_of_instances, at) "
    "VALUES (?1,?2,?3,?4,?5,?6, coalesce((SELECT min(alias.instance) FROM alias JOIN instance original "
    "ON original.store = alias.store AND original.digest = alias.digest WHERE original.id = ?7), ?7), ?8,?9) "
    "ON CONFLICT (store, level, parent, tag, value) DO UPDATE SET kept = excluded.kept, "
    "instance = excluded.instance, number_of_instances = excluded.number_of_instances, at = excluded.at"
)
# About one attribute of a patient's other studies. What lost against the patient is what the study keeps.
_OTHERS = "SELECT id FROM study WHERE patient = :patient AND id <> :study"
_FORGET = (
    "DELETE FROM discrepancy WHERE store = :store AND level = 'patient' AND tag = :tag AND parent IN "
    f"({_OTHERS}) AND value = (SELECT {{column}} FROM study WHERE study.id = parent)"
)
_DISAGREE = (
    "INSERT INTO discrepancy (store, level, parent, tag, value, kept, instance, at) "
    "SELECT :store, 'patient', s.id, :tag, s.{column}, p.{column}, i.id, i.received_at FROM study s "
    "JOIN patient p ON p.id = s.patient JOIN instance i ON i.id = "
    "(SELECT min(id) FROM instance WHERE series IN (SELECT id FROM series WHERE study = s.id)) "
    f"WHERE s.id IN ({_OTHERS}) AND s.{{column}} <> '' AND p.{{column}} <> '' AND s.{{column}} <> p.{{column}} "
    "AND NOT EXISTS (SELECT 1 FROM correction c, json_each(c.attributes) corrected WHERE c.store = :store "
    "AND c.study_instance_uid = s.study_instance_uid AND c.series_instance_uid = '' AND c.undone_at IS NULL "
    "AND corrected.key IN (SELECT value FROM json_each(:tags)))"
)


class Claim(NamedTuple):
    """A value that lost, and where."""

    level: str  # as in the table
    parent: int
    tag: int
    value: str


@dataclass(slots=True)
class Lost:
    """Against what it lost, and who claims it: the first instance, when that came, how many there are."""

    kept: str
    instance: int
    at: int
    number_of_instances: int = 1


def put(connection: sqlite3.Connection, store: int, study: int, found: Mapping[Claim, Lost]) -> None:
    """Let those of a study be what was found. What was listed before keeps its place in the list."""
    listed = {Claim(*claim): id for *claim, id in connection.execute(_LISTED, (store, study))}
    gone = [(id,) for claim, id in listed.items() if claim not in found]
    connection.executemany("DELETE FROM discrepancy WHERE id = ?", gone)
    connection.executemany(
        _PUT,
        ((store, *claim, lost.kept, lost.instance, lost.number_of_instances, lost.at) for claim, lost in found.items()),
    )


def compare_others(connection: sqlite3.Connection, store: int, patient: int, study: int, tags: Iterable[int]) -> None:
    """After `study` described its patient otherwise in `tags`: list which of the patient's other studies differ now.

    But where that is corrected, or the study was given to the patient by a correction.
    """
    for tag in tags:
        corrected = json.dumps([f"{other:08X}" for other in (tag, PATIENT_ID, ISSUER_OF_PATIENT_ID)])
        bound = {"store": store, "patient": patient, "study": study, "tag": tag, "tags": corrected}
        for statement in (_FORGET, _DISAGREE):
            connection.execute(statement.format(column=PATIENT_COLUMNS[tag]), bound)
