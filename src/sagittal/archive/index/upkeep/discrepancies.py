"""Discrepancies, values that lost against the one that came first: the list of them.

One of them wins when what won is deleted. Deliberately not here: which value wins (`settling`, and `hierarchy` at
ingest).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import NamedTuple

from sagittal.archive.index import CURRENT, DELETED, OTHER
from sagittal.archive.index.arrival import ISSUER_OF_PATIENT_ID, PATIENT_COLUMNS, PATIENT_ID

# Levels patient and study have the study as their parent, which may carry any of both. What is corrected is not told.
DISCREPANCIES = (
    "SELECT d.id, d.level, study.study_instance_uid, coalesce(series.series_instance_uid, ''), "
    "coalesce(instance.sop_instance_uid, ''), d.tag, d.kept, d.value, d.number_of_instances, d.at FROM discrepancy d "
    "LEFT JOIN series ON d.level = 'series' AND series.id = d.parent "
    "JOIN study ON study.id = CASE d.level WHEN 'series' THEN series.study ELSE d.parent END "
    "LEFT JOIN instance ON instance.id = d.instance "
    "WHERE d.store = ? AND (? = '' OR study.study_instance_uid = ?) AND NOT EXISTS (SELECT 1 FROM correction c "
    "WHERE c.store = d.store AND c.study_instance_uid = study.study_instance_uid "
    "AND c.series_instance_uid = coalesce(series.series_instance_uid, '') AND c.undone_at IS NULL "
    "AND json_type(c.attributes, printf('$.\"%08X\"', d.tag)) IS NOT NULL) ORDER BY d.id DESC LIMIT ?"
)
# Of what was transcoded since, it is told of what it became, not of what that had been before (there and back again);
# of what was deleted meanwhile, nothing.
_PUT = (
    "INSERT INTO discrepancy (store, level, parent, tag, value, kept, instance, number_of_instances, at) "
    "SELECT :store, :level, :parent, :tag, :value, :kept, "
    "coalesce((SELECT min(made.id) FROM instance original JOIN alias ON alias.store = original.store "
    f"AND alias.digest = original.digest JOIN instance made ON made.id = alias.instance "
    f"AND made.state IN ({CURRENT}, {OTHER}) WHERE original.id = :instance "
    f"AND original.state NOT IN ({CURRENT}, {OTHER})), :instance), :number, :at "
    "WHERE EXISTS (SELECT 1 FROM series WHERE :level = 'series' AND id = :parent "
    "UNION ALL SELECT 1 FROM study WHERE :level <> 'series' AND id = :parent) "
    "ON CONFLICT (store, level, parent, tag, value) DO "
)
_ANEW = (
    f"{_PUT} UPDATE SET kept = excluded.kept, instance = excluded.instance, "
    "number_of_instances = excluded.number_of_instances, at = min(at, excluded.at)"
)
_MORE = f"{_PUT} UPDATE SET number_of_instances = number_of_instances + excluded.number_of_instances"
_FEWER = (
    "UPDATE discrepancy SET number_of_instances = max(1, number_of_instances - ?) "
    "WHERE store = ? AND level = ? AND parent = ? AND tag = ? AND value = ?"
)
# About one attribute of studies. What lost against the patient is what the study keeps; but where that is corrected, or
# the study was given to the patient by a correction.
_UNCORRECTED = (
    "NOT EXISTS (SELECT 1 FROM correction c, json_each(c.attributes) corrected WHERE c.store = s.store "
    "AND c.study_instance_uid = s.study_instance_uid AND c.series_instance_uid = '' AND c.undone_at IS NULL "
    "AND corrected.key IN (SELECT value FROM json_each(:tags)))"
)
_FORGET = (
    "DELETE FROM discrepancy WHERE id IN (SELECT d.id FROM study s JOIN discrepancy d ON d.store = s.store "
    "AND d.level = 'patient' AND d.parent = s.id AND d.tag = :tag AND d.value = s.{column} "
    f"WHERE {{studies}} AND {_UNCORRECTED})"
)
_OF_STUDY = "FROM instance WHERE series IN (SELECT id FROM series WHERE study = s.id)"
_DISAGREE = (
    "INSERT OR IGNORE INTO discrepancy (store, level, parent, tag, value, kept, instance, at) "
    "SELECT s.store, 'patient', s.id, :tag, s.{column}, p.{column}, "
    f"coalesce((SELECT min(id) {_OF_STUDY} AND state IN ({CURRENT}, {OTHER})), 0), "
    "coalesce(i.received_at, s.changed_at) FROM study s JOIN patient p ON p.id = s.patient "
    f"LEFT JOIN instance i ON i.id = (SELECT min(id) {_OF_STUDY}) "  # whose row may not be written yet
    "WHERE {studies} AND s.number_of_instances > 0 "
    f"AND s.{{column}} <> '' AND p.{{column}} <> '' AND s.{{column}} <> p.{{column}} AND {_UNCORRECTED}"
)
_ABOUT = {"study": "level IN ('study', 'patient') AND parent = ?", "series": "level = 'series' AND parent = ?"}
_OF_ROW = "SELECT tag, value, id FROM discrepancy WHERE store = ? AND {}"
# Whose first instance is held no more; of one that was purged nothing is left.
_GONE = " UNION ALL ".join(
    "SELECT d.id, d.level, d.parent, d.tag, d.value, d.number_of_instances FROM discrepancy d "
    "LEFT JOIN instance i ON i.id = d.instance WHERE d.store = (SELECT store FROM study WHERE id = :study) "
    f"AND {where} AND coalesce(i.state, {DELETED}) NOT IN ({CURRENT}, {OTHER})"
    for where in (
        "level IN ('study', 'patient') AND parent = :study",
        "level = 'series' AND parent IN (SELECT id FROM series WHERE study = :study)",
    )
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


def compare_studies(connection: sqlite3.Connection, patient: int) -> None:
    """After a patient was described otherwise: list which of the studies differ from it."""
    _about_patients(connection, (_FORGET, _DISAGREE), "s.patient = :id", patient)


def compare_study(connection: sqlite3.Connection, study: int) -> None:
    """After a study was described otherwise, went or came back: list where it differs from its patient."""
    _about_patients(connection, (_FORGET, _DISAGREE), "s.id = :id", study)


def forget_patient(connection: sqlite3.Connection, study: int) -> None:
    """List no more where a study differs from its patient."""
    _about_patients(connection, (_FORGET,), "s.id = :id", study)


def _about_patients(connection: sqlite3.Connection, statements: Iterable[str], studies: str, id: int) -> None:
    for tag, column in PATIENT_COLUMNS.items():
        tags = json.dumps([f"{other:08X}" for other in (tag, PATIENT_ID, ISSUER_OF_PATIENT_ID)])
        for statement in statements:
            connection.execute(statement.format(column=column, studies=studies), {"id": id, "tag": tag, "tags": tags})


def listed(connection: sqlite3.Connection, store: int, table: str, id: int) -> list[tuple[int, str]]:
    """Tags and values that lost against the row of a study or series."""
    return [(tag, value) for tag, value, _ in connection.execute(_OF_ROW.format(_ABOUT[table]), (store, id))]


def forget(
    connection: sqlite3.Connection, row: tuple[int, str, int], tags: Set[int], but: Set[tuple[int, str]]
) -> set[tuple[int, str]]:
    """List nothing of some attributes of such a row (store, table, id) `but` some values; gives those, of all that are
    listed.
    """
    store, table, id = row
    listed = {(tag, text): at for tag, text, at in connection.execute(_OF_ROW.format(_ABOUT[table]), (store, id))}
    gone = [(at,) for key, at in listed.items() if key[0] in tags and key not in but]
    connection.executemany("DELETE FROM discrepancy WHERE id = ?", gone)
    return listed.keys() & but


def forget_gone(connection: sqlite3.Connection, study: int) -> dict[tuple[str, int], set[tuple[int, str]]]:
    """List no more what only instances say that went; gives tags and values, by table and row, that others may say, ""
    for what is none of another instance.
    """
    others: dict[tuple[str, int], set[tuple[int, str]]] = {}
    for id, level, parent, tag, value, instances in connection.execute(_GONE, {"study": study}).fetchall():
        connection.execute("DELETE FROM discrepancy WHERE id = ?", (id,))
        if instances > 1 or level == "patient":  # the study itself may differ from its patient
            key = "series" if level == "series" else "study", parent
            others.setdefault(key, set()).add((tag, value if instances > 1 else ""))
    return others


def put(connection: sqlite3.Connection, store: int, claim: Claim, lost: Lost) -> None:
    """List a value that lost, of all instances that carry it."""
    connection.execute(_ANEW, _bound(store, claim, lost))


def add(connection: sqlite3.Connection, store: int, claim: Claim, lost: Lost) -> None:
    """The same, of so many more if it is listed."""
    connection.execute(_MORE, _bound(store, claim, lost))


def count_down(connection: sqlite3.Connection, store: int, claim: Claim, fewer: int) -> None:
    """Of what is listed so many instances went; the first of all is held."""
    connection.execute(_FEWER, (fewer, store, *claim))


def _bound(store: int, claim: Claim, lost: Lost) -> dict[str, object]:
    return {
        "store": store,
        "level": claim.level,
        "parent": claim.parent,
        "tag": claim.tag,
        "value": claim.value,
        "kept": lost.kept,
        "instance": lost.instance,
        "number": lost.number_of_instances,
        "at": lost.at,
    }
