"""Statements of corrections: kept beside what objects say, laid over the rows of patient, study and series.

A correction is one row, active until it is undone; rows of study and series have the effective values, and each row
here what the objects say instead, so that any of them can be undone in any order. Patients follow the studies:
a study with another identifier belongs to another patient. Deliberately not here: which attributes may be corrected.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sagittal.archive.index.arrival import NAMES, PATIENT_COLUMNS, SERIES_COLUMNS, STUDY_COLUMNS
from sagittal.archive.index.finding import people
from sagittal.archive.index.upkeep import discrepancies
from sagittal.dicom.matching.names import fold_name
from sagittal.errors import NotFound

_COLUMNS = (
    "id, study_instance_uid, series_instance_uid, attributes, texts, replaced, code, reason, principal, at, undone_at, "
    "undone_by"
)
_OF_STUDY = f"SELECT {_COLUMNS} FROM correction WHERE store = ? AND study_instance_uid = ? {{}} ORDER BY id"
_ACTIVE, _ALL = _OF_STUDY.format("AND undone_at IS NULL"), _OF_STUDY.format("")
_OF_STUDIES = (
    f"SELECT {_COLUMNS} FROM correction WHERE store = ? AND undone_at IS NULL "
    "AND study_instance_uid IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_OF_INSTANCES = (
    "SELECT i.id, i.store, t.study_instance_uid, s.series_instance_uid, i.defects FROM instance i "
    "JOIN series s ON s.id = i.series JOIN study t ON t.id = s.study "
    "WHERE i.id IN (SELECT value FROM json_each(?)) AND EXISTS (SELECT 1 FROM correction c WHERE c.store = i.store "
    "AND c.study_instance_uid = t.study_instance_uid AND c.undone_at IS NULL)"
)
_INSERT = (
    "INSERT INTO correction (store, study_instance_uid, series_instance_uid, attributes, texts, replaced, code, "
    "reason, principal, at) VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_STUDY = f"SELECT id, {', '.join(STUDY_COLUMNS.values())} FROM study WHERE store = ? AND study_instance_uid = ?"
_SERIES = (
    f"SELECT id, {', '.join(SERIES_COLUMNS.values())} FROM series WHERE store = ? AND series_instance_uid = ? "
    "AND study = ?"
)
_CHANGE = (
    "INSERT INTO change (store, kind, study_instance_uid, series_instance_uid, sop_instance_uid, at) "
    "VALUES (?, 'corrected', ?, ?, '', ?)"
)
_TOUCH_STUDY = "UPDATE study SET revision = revision + 1, changed_at = ? WHERE id = ?"
_TOUCH_SERIES = (
    "UPDATE series SET revision = revision + 1, changed_at = ? WHERE study = ? AND ? IN ('', series_instance_uid)"
)
_MODALITIES = (
    "UPDATE study SET modalities_in_study = (SELECT coalesce(group_concat(modality, '\\'), '') FROM (SELECT DISTINCT "
    "modality FROM series WHERE series.study = :study AND modality <> '' AND number_of_instances > 0 "
    "ORDER BY modality)) WHERE id = :study"
)
_GIVEN = (
    "EXISTS (SELECT 1 FROM correction c WHERE c.store = study.store "
    "AND c.study_instance_uid = study.study_instance_uid AND c.series_instance_uid = '' AND c.undone_at IS NULL "
    "AND coalesce(json_type(c.attributes, '$.\"00100020\"'), json_type(c.attributes, '$.\"00100021\"')) IS NOT NULL)"
)
_OF_PATIENT = "(SELECT id FROM study WHERE patient = :patient AND {} ORDER BY id LIMIT 1)"
_FIRST = (
    f"SELECT coalesce({_OF_PATIENT.format(f'number_of_instances > 0 AND NOT {_GIVEN}')}, "
    f"{_OF_PATIENT.format('number_of_instances > 0')}, {_OF_PATIENT.format('TRUE')})"
)
_PATIENT = ", ".join((*PATIENT_COLUMNS.values(), "patient_name_search"))
_DESCRIBE = (
    f"UPDATE patient SET ({_PATIENT}) = (SELECT {_PATIENT} FROM study WHERE id = :study) "
    f"WHERE id = :patient AND ({_PATIENT}) IS NOT (SELECT {_PATIENT} FROM study WHERE id = :study)"
)


class Row(NamedTuple):
    """One correction as it is kept."""

    id: int
    study_uid: str
    series_uid: str  # "" for the study
    attributes: str  # JSON: tag -> element of DICOM JSON
    texts: str  # JSON: tag -> the same as the index has it
    replaced: str  # JSON: tag -> what the row of study or series had from the objects
    code: str
    reason: str
    principal: str
    at: int
    undone_at: int | None
    undone_by: str


class Acting(NamedTuple):
    """Who corrects, why, when (microseconds UTC)."""

    principal: str
    code: str
    reason: str
    at: int


_PECULIAR = (
    "SELECT id, (SELECT character_set FROM receipt WHERE instance = instance.id AND character_set <> '' "
    "ORDER BY receipt.id LIMIT 1), defects FROM instance WHERE id IN (SELECT value FROM json_each(?))"
)


def active(connection: sqlite3.Connection, store: int, study_uids: Iterable[str]) -> list[Row]:
    """The corrections in force of some studies, the oldest first."""
    return [Row._make(row) for row in connection.execute(_OF_STUDIES, (store, json.dumps(list(study_uids))))]


def peculiarities(connection: sqlite3.Connection, instances: Sequence[int]) -> dict[int, tuple[str, bool]]:
    """Of each: the character set in which it was read if it names none, and whether its elements are out of order."""
    rows = connection.execute(_PECULIAR, (json.dumps(instances),))
    return {instance: (charset or "", _is_unordered(defects)) for instance, charset, defects in rows}


def _is_unordered(defects: str) -> bool:
    return "tag-order" in defects.split()


def of_instances(connection: sqlite3.Connection, instances: Sequence[int]) -> dict[int, tuple[str, list[Row], bool]]:
    """Of those of some instances whose study has corrections in force: the series, those, and whether the elements are
    out of order.
    """
    if connection.execute("SELECT 1 FROM correction WHERE undone_at IS NULL LIMIT 1").fetchone() is None:
        return {}
    found = connection.execute(_OF_INSTANCES, (json.dumps(instances),)).fetchall()
    held: dict[tuple[int, str], list[Row]] = {}
    for store in {store for _, store, *_ in found}:
        for row in active(connection, store, {study for _, of, study, *_ in found if of == store}):
            held.setdefault((store, row.study_uid), []).append(row)
    return {
        instance: (series, held[store, study], _is_unordered(defects))
        for instance, store, study, series, defects in found
    }


def touched(connection: sqlite3.Connection, tags: Iterable[int]) -> frozenset[int]:
    """Those of some attributes that a correction in force is about."""
    rows = connection.execute(
        "SELECT DISTINCT name.key FROM correction, json_each(attributes) name WHERE undone_at IS NULL "
        "AND name.key IN (SELECT value FROM json_each(?))",
        (json.dumps([f"{tag:08X}" for tag in tags]),),
    )
    return frozenset(int(name, 16) for (name,) in rows)


def history(connection: sqlite3.Connection, store: int, study_uid: str) -> list[Row]:
    """All corrections of a study, undone ones too, the oldest first."""
    return [Row._make(row) for row in connection.execute(_ALL, (store, study_uid))]


def in_force(connection: sqlite3.Connection, store: int, study_uid: str) -> dict[str, dict[int, str]]:
    """The corrected tags by series ("" is the study), and what the objects say there, "" when none says anything."""
    found: dict[str, dict[int, str]] = {}
    for row in map(Row._make, connection.execute(_ACTIVE, (store, study_uid))):
        said = json.loads(row.replaced)
        tags = found.setdefault(row.series_uid, {})
        tags |= {int(tag, 16): said.get(tag, "") for tag in json.loads(row.attributes)}
    return found


def learn(connection: sqlite3.Connection, store: int, where: tuple[str, str], said: Mapping[int, str]) -> None:
    """Let the corrections of a study or series know what a later object says where the ones before said nothing."""
    study_uid, series_uid = where
    for row in map(Row._make, connection.execute(_ACTIVE, (store, study_uid)).fetchall()):
        if row.series_uid == series_uid:
            put_replaced(connection, row, said)


def correct(
    connection: sqlite3.Connection,
    store: int,
    where: tuple[str, str],
    attributes: Mapping[str, Any],
    values: Mapping[int, str],
    acting: Acting,
) -> int:
    """Keep a correction of (study, series or "") and lay it over; gives its number. NotFound."""
    study_uid, series_uid = where
    table, id, columns, kept = _target(connection, store, study_uid, series_uid)
    earlier = [
        row for row in history(connection, store, study_uid) if row.undone_at is None and row.series_uid == series_uid
    ]
    if not series_uid and values.keys() & PATIENT_COLUMNS.keys():
        discrepancies.forget_patient(connection, id)  # it may become another one's
    replaced = {f"{tag:08X}": kept[tag] for tag in values if tag in columns}
    for row in reversed(earlier):
        replaced |= {tag: value for tag, value in json.loads(row.replaced).items() if tag in replaced}
    told = {f"{tag:08X}": value for tag, value in values.items()}
    kept_as = [json.dumps(part, ensure_ascii=False) for part in (attributes, told, replaced)]
    bound = (store, study_uid, series_uid, *kept_as, acting.code, acting.reason, acting.principal, acting.at)
    number = connection.execute(_INSERT, bound).lastrowid
    assert number is not None
    write(connection, store, table, id, {tag: value for tag, value in values.items() if tag in columns}, acting.at)
    _touch(connection, store, study_uid, series_uid, acting.at)
    return number


def patient_of(
    connection: sqlite3.Connection, store: int, identifier: tuple[str, str]
) -> tuple[dict[int, str], list[str]]:
    """What a patient is known as, and the UIDs of the studies. NotFound."""
    row = connection.execute(
        f"SELECT patient.id, {', '.join('patient.' + column for column in PATIENT_COLUMNS.values())} "
        "FROM patient_identifier JOIN patient ON patient.id = patient_identifier.patient "
        "WHERE patient_identifier.store = ? AND value = ? AND issuer = ?",
        (store, *identifier),
    ).fetchone()
    if row is None:
        raise NotFound(f"no patient has the identifier {identifier[0][:64]!r} of this issuer")
    studies = connection.execute("SELECT study_instance_uid FROM study WHERE patient = ? ORDER BY id", (row[0],))
    return dict(zip(PATIENT_COLUMNS, row[1:], strict=True)), [uid for (uid,) in studies]


def study_of(connection: sqlite3.Connection, store: int, number: int) -> str:
    """The study that a correction is of. NotFound."""
    row = connection.execute(
        "SELECT study_instance_uid FROM correction WHERE store = ? AND id = ?", (store, number)
    ).fetchone()
    if row is None:
        raise NotFound("no correction has this number")
    return str(row[0])


def undo(connection: sqlite3.Connection, store: int, study_uid: str, number: int, who: str, at: int) -> Row:
    """Take a correction back. NotFound."""
    rows = [row for row in history(connection, store, study_uid) if row.undone_at is None]
    found = next((row for row in rows if row.id == number), None)
    if found is None:
        raise NotFound("no correction of this study that is in force has this number")
    connection.execute("UPDATE correction SET undone_at = ?, undone_by = ? WHERE id = ?", (at, who, number))
    values = _numbered(found.replaced)
    for row in rows:
        if row.id != number and row.series_uid == found.series_uid:
            values |= {tag: value for tag, value in _numbered(row.texts).items() if tag in values}
    table, id, columns, _ = _target(connection, store, study_uid, found.series_uid)
    write(connection, store, table, id, {tag: value for tag, value in values.items() if tag in columns}, at)
    _touch(connection, store, study_uid, found.series_uid, at)
    return found


def lay_again(connection: sqlite3.Connection, store: int, study_uid: str, series_uid: str, at: int) -> None:
    """After the row of a study or series was made from an object: the corrections in force come over it."""
    for row in history(connection, store, study_uid):
        if row.undone_at is not None or row.series_uid != series_uid:
            continue
        table, id, columns, kept = _target(connection, store, study_uid, series_uid)
        values = {tag: value for tag, value in _numbered(row.texts).items() if tag in columns}
        stored = {f"{tag:08X}": kept[tag] for tag in values}
        for other in history(connection, store, study_uid):
            if other.id < row.id and other.undone_at is None and other.series_uid == series_uid:
                stored |= {tag: value for tag, value in json.loads(other.replaced).items() if tag in stored}
        text = json.dumps(stored, ensure_ascii=False)
        connection.execute("UPDATE correction SET replaced = ? WHERE id = ?", (text, row.id))
        write(connection, store, table, id, values, at)


def _numbered(text: str) -> dict[int, str]:
    return {int(tag, 16): value for tag, value in json.loads(text).items()}


def _target(
    connection: sqlite3.Connection, store: int, study_uid: str, series_uid: str
) -> tuple[str, int, Mapping[int, str], dict[int, str]]:
    """Table, id, columns by tag and present values of what is corrected."""
    found = connection.execute(_STUDY, (store, study_uid)).fetchone()
    table, columns = "study", STUDY_COLUMNS
    if found is not None and series_uid:
        found = connection.execute(_SERIES, (store, series_uid, found[0])).fetchone()
        table, columns = "series", SERIES_COLUMNS
    if found is None:
        raise NotFound(f"no such {'series in this study' if series_uid else 'study'}")
    return table, found[0], columns, dict(zip(columns, found[1:], strict=True))


def put_replaced(connection: sqlite3.Connection, row: Row, stored: Mapping[int, str]) -> set[int]:
    """Let a correction know what the objects say instead; gives the tags that it is about."""
    replaced = json.loads(row.replaced)
    now = {tag: stored.get(int(tag, 16), value) for tag, value in replaced.items()}
    if now != replaced:
        text = json.dumps(now, ensure_ascii=False)
        connection.execute("UPDATE correction SET replaced = ? WHERE id = ?", (text, row.id))
    return {int(tag, 16) for tag in now}


def describe(connection: sqlite3.Connection, patient: int) -> None:
    """Let a patient be as the first study says; without any study the patient goes.

    One that is hidden, as all of it is deleted, has something to say only where there is no other; of the others so has
    one that a correction gave to the patient.
    """
    (first,) = connection.execute(_FIRST, {"patient": patient}).fetchone()
    if first is None:
        connection.execute("DELETE FROM patient_identifier WHERE patient = ?", (patient,))
        connection.execute("DELETE FROM patient WHERE id = ?", (patient,))
    elif connection.execute(_DESCRIBE, {"patient": patient, "study": first}).rowcount:
        discrepancies.compare_studies(connection, patient)


def write(connection: sqlite3.Connection, store: int, table: str, id: int, values: Mapping[int, str], at: int) -> None:
    """Write effective values of the row of a study or series, and what goes with them."""
    columns = STUDY_COLUMNS if table == "study" else SERIES_COLUMNS
    for tag, value in values.items():
        connection.execute(f"UPDATE {table} SET {columns[tag]} = ? WHERE id = ?", (value, id))
        if tag in NAMES:
            connection.execute(f"UPDATE {table} SET {columns[tag]}_search = ? WHERE id = ?", (fold_name(value), id))
    if table != "study":
        return
    if any(tag in people.TAGS for tag in values):
        people.forget(connection, id)
        names = connection.execute(f"SELECT {', '.join(people.TAGS.values())} FROM study WHERE id = ?", (id,))
        people.record(connection, store, id, zip(people.TAGS, names.fetchone(), strict=True))
    if any(tag in PATIENT_COLUMNS for tag in values):
        _place_patient(connection, store, id, at)


def _place_patient(connection: sqlite3.Connection, store: int, study: int, at: int) -> None:
    """The study goes to the patient of its identifier; without any, or if that is new, to a patient of its own."""
    before, *identifier = connection.execute(
        "SELECT patient, patient_id, issuer_of_patient_id FROM study WHERE id = ?", (study,)
    ).fetchone()
    owned = connection.execute(
        "SELECT patient FROM patient_identifier WHERE store = ? AND value = ? AND issuer = ?", (store, *identifier)
    ).fetchone()
    if owned is not None:
        (patient,) = owned
    elif connection.execute("SELECT 1 FROM study WHERE patient = ? AND id <> ?", (before, study)).fetchone():
        patient = connection.execute("INSERT INTO patient (store, created_at) VALUES (?, ?)", (store, at)).lastrowid
    else:
        patient = before
        connection.execute("DELETE FROM patient_identifier WHERE patient = ?", (patient,))
    if owned is None and identifier[0]:
        statement = "INSERT INTO patient_identifier (store, patient, value, issuer) VALUES (?,?,?,?)"
        connection.execute(statement, (store, patient, *identifier))
    connection.execute("UPDATE study SET patient = ? WHERE id = ?", (patient, study))
    for each in {before, patient}:
        describe(connection, each)
    discrepancies.compare_study(connection, study)


def _touch(connection: sqlite3.Connection, store: int, study_uid: str, series_uid: str, at: int) -> None:
    (study,) = connection.execute(
        "SELECT id FROM study WHERE store = ? AND study_instance_uid = ?", (store, study_uid)
    ).fetchone()
    connection.execute(_MODALITIES, {"study": study})
    connection.execute(_TOUCH_STUDY, (at, study))
    connection.execute(_TOUCH_SERIES, (at, study, series_uid))
    connection.execute(_CHANGE, (store, study_uid, series_uid, at))
