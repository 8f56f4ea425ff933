"""Patients, studies and series as the writer keeps them up: found or made once, then counted in memory.

The first non-empty value wins; other values are listed as discrepancies. What is not held any more wins nothing: a
study or series of which all is deleted is as the object says that comes next. Counts and the lists of modalities and
SOP classes are written once a batch for each study and series that it touched. Whoever changes these tables by other
means calls `forget` afterwards. Deliberately not here: instances.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from sagittal.archive.index import CURRENT, OTHER, corrections
from sagittal.archive.index.arrival import (
    ISSUER_OF_PATIENT_ID,
    MODALITY,
    NAMES,
    PATIENT_COLUMNS,
    PATIENT_ID,
    SERIES_COLUMNS,
    STUDY_COLUMNS,
    Arrival,
)
from sagittal.archive.index.finding import people
from sagittal.archive.index.upkeep import discrepancies, settings, settling
from sagittal.dicom.matching.names import fold_name

_STUDIES_HELD = 1_000  # studies that are being received at one time, generously

_STUDY_TAGS, _SERIES_TAGS, _PATIENT_TAGS = tuple(STUDY_COLUMNS), tuple(SERIES_COLUMNS), tuple(PATIENT_COLUMNS)
_PEOPLE = [(_STUDY_TAGS.index(tag), tag) for tag in people.TAGS]
_PATIENTS = len(_PATIENT_TAGS)  # the patient's attributes come first in a study's
_IDENTIFIER = frozenset((PATIENT_ID, ISSUER_OF_PATIENT_ID))  # the first of them


def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ",".join("?" * len(columns))
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})"


def _columns(table: dict[int, str]) -> tuple[str, ...]:
    searched = (f"{column}_search" for tag, column in table.items() if tag in NAMES)
    return (*table.values(), *searched)


def _values(tags: tuple[int, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    return (*values, *(fold_name(value) for tag, value in zip(tags, values, strict=True) if tag in NAMES))


_MADE = ("revision", "created_at", "changed_at")
_INSERT_PATIENT = _insert("patient", ("id", "store", "created_at", *_columns(dict(PATIENT_COLUMNS))))
_INSERT_STUDY = _insert(
    "study",
    ("id", "store", "patient", "study_instance_uid", *_columns(dict(STUDY_COLUMNS)), *_MADE, "number_of_instances"),
)
_INSERT_SERIES = _insert(
    "series", ("id", "store", "study", "series_instance_uid", *_columns(dict(SERIES_COLUMNS)), *_MADE)
)
_SELECT_STUDY = (
    f"SELECT id, number_of_series, number_of_instances, modalities_in_study, sop_classes_in_study, "
    f"{','.join(STUDY_COLUMNS.values())} FROM study WHERE store = ? AND study_instance_uid = ?"
)
_SELECT_SERIES = (
    f"SELECT id, number_of_instances, {','.join(SERIES_COLUMNS.values())} "
    f"FROM series WHERE store = ? AND study = ? AND series_instance_uid = ?"
)
_UPDATE_STUDY = (
    "UPDATE study SET number_of_series = ?, number_of_instances = ?, modalities_in_study = ?, "
    "sop_classes_in_study = ?, revision = revision + 1, changed_at = ? WHERE id = ?"
)
_UPDATE_SERIES = "UPDATE series SET number_of_instances = ?, revision = revision + 1, changed_at = ? WHERE id = ?"
_DISAGREE = (
    "INSERT INTO discrepancy (store, level, parent, tag, value, kept, instance, at) VALUES (?,?,?,?,?,?,?,?) "
    "ON CONFLICT (store, level, parent, tag, value) DO UPDATE SET number_of_instances = number_of_instances + 1"
)
_RECOUNT_SERIES = (
    "UPDATE series SET revision = revision + 1, changed_at = ?, number_of_instances = "
    "(SELECT count(*) FROM instance WHERE instance.series = series.id AND state = ?) WHERE study = ?"
)
# The last numbers of rows that are gone. What was read of such a row may still be asked for by its number, and a client
# may still hold a tag that was made of its revision: neither is to come to mean another row.
INSTANCE, REVISION = "last_instance", "last_revision"
_RETIRE = (
    "INSERT INTO setting (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))"
)
_NOTHING = "SELECT 1 WHERE FALSE"
_FORGET = "DELETE FROM discrepancy WHERE store IN (SELECT id FROM store) AND parent = ?"  # the index begins with it
_CURRENT_OF_STUDY = (
    "SELECT DISTINCT series.modality, instance.sop_class_uid, series.id FROM series "
    "JOIN instance ON instance.series = series.id WHERE series.study = ? AND instance.state = ?"
)


@dataclass(slots=True)
class Series:
    """A series as the writer holds it."""

    id: int
    values: list[str]  # that objects say
    modality: str  # with corrections
    instances: int = 0


@dataclass(slots=True)
class Study:
    """A study as the writer holds it."""

    id: int
    store: int
    values: list[str]  # that objects say
    number_of_series: int = 0
    instances: int = 0
    modalities: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    series: dict[str, Series] = field(default_factory=dict)
    corrected: dict[str, dict[int, str]] = field(default_factory=dict)  # see `corrections.in_force`


class Hierarchy:
    """The studies of one writing connection. Every call is inside its transaction; `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._studies: dict[tuple[int, str], Study] = {}  # by store and Study Instance UID
        self._touched: dict[int, Study] = {}
        self._touched_series: dict[int, Series] = {}
        self._next: dict[str, int] = {}

    def forget(self) -> None:
        """Trust the tables again, not the memory."""
        self._studies.clear()
        self._touched.clear()
        self._touched_series.clear()
        self._next.clear()

    def next_id(self, table: str) -> int:
        """The id for a new row; ids are given out by the writer alone."""
        given = self._next.get(table)
        if given is None:
            row = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
            gone = retired(self._connection, INSTANCE) if table == "instance" else 0
            given = max(int(row[0]), gone) + 1
        self._next[table] = given + 1
        return given

    def place(self, arrival: Arrival, instance: int, state: int) -> tuple[int, int]:
        """The ids of the study and series that the object belongs to, made when new, and made anew by a current one
        when they hold no other; discrepancies are listed, but of what is deleted.
        """
        current = state == CURRENT
        get = arrival.values.get
        got = [get(tag, "") for tag in _STUDY_TAGS]
        study = self._studies.get((arrival.store, arrival.study_uid)) or self._find_study(arrival)
        if study is None or (current and not study.instances):
            study = self._make_study(arrival, got, instance, study, current)
        elif got != study.values and state in (CURRENT, OTHER):
            self._merge(study, study, got, arrival, instance, current)
        got = [get(tag, "") for tag in _SERIES_TAGS]
        series = study.series.get(arrival.series_uid) or self._find_series(study, arrival.series_uid)
        if series is None or (current and not series.instances):
            series = self._make_series(study, arrival, got, series)
        elif got != series.values and state in (CURRENT, OTHER):
            self._merge(study, series, got, arrival, instance, current)
        return study.id, series.id

    def count(self, arrival: Arrival) -> None:
        """One more current instance, of the object just placed."""
        study = self._studies[arrival.store, arrival.study_uid]
        series = study.series[arrival.series_uid]
        if not series.instances:
            study.number_of_series += 1
        series.instances += 1
        study.instances += 1
        study.classes.add(arrival.sop_class_uid)
        if series.modality:
            study.modalities.add(series.modality)
        self._touched[study.id] = study
        self._touched_series[series.id] = series

    def flush(self, at: int) -> None:
        """Write the counts of what was touched."""
        if self._touched:
            join = "\\".join
            rows = [
                (s.number_of_series, s.instances, join(sorted(s.modalities)), join(sorted(s.classes)), at, s.id)
                for s in self._touched.values()
            ]
            self._connection.executemany(_UPDATE_STUDY, rows)
            series = [(s.instances, at, s.id) for s in self._touched_series.values()]
            self._connection.executemany(_UPDATE_SERIES, series)
            self._touched.clear()
            self._touched_series.clear()
        while len(self._studies) > _STUDIES_HELD:
            del self._studies[next(iter(self._studies))]

    # Studies

    def _find_study(self, arrival: Arrival) -> Study | None:
        store, uid = arrival.store, arrival.study_uid
        row = self._connection.execute(_SELECT_STUDY, (store, uid)).fetchone()
        if row is None:
            return None
        corrected = corrections.in_force(self._connection, store, uid)
        values = _said(_STUDY_TAGS, row[5:], corrected.get("", {}))
        study = Study(row[0], store, values, row[1], row[2], _set(row[3]), _set(row[4]), corrected=corrected)
        self._studies[store, uid] = study
        return study

    def _make_study(self, arrival: Arrival, got: list[str], instance: int, empty: Study | None, current: bool) -> Study:
        if empty is not None:
            remove_study(self._connection, empty.id)
        id, at = empty.id if empty else self.next_id("study"), arrival.received_at
        store, uid = arrival.store, arrival.study_uid
        corrected = corrections.in_force(self._connection, store, uid)  # if it was held before
        spared = corrected.get("", {}).keys() if current else _IDENTIFIER  # what is hidden differs from no patient
        patient, new = self._patient(got, id, arrival, instance, spared)
        values, revision = _values(_STUDY_TAGS, tuple(got)), retired(self._connection, REVISION)
        self._connection.execute(
            _INSERT_STUDY, (id, arrival.store, patient, arrival.study_uid, *values, revision, at, at, current)
        )
        if not new:
            corrections.describe(self._connection, patient)
        people.record(self._connection, arrival.store, id, ((tag, got[at]) for at, tag in _PEOPLE))
        study = self._studies[store, uid] = Study(id, store, got)
        if corrected:
            corrections.lay_again(self._connection, store, uid, "", at)
            self._next.pop("patient", None)  # one may have come of it
            study.corrected = corrections.in_force(self._connection, store, uid)
        return study

    def _merge(
        self, study: Study, held: Study | Series, got: list[str], arrival: Arrival, instance: int, current: bool
    ) -> None:
        """List what differs, fill what was empty with what a `current` object says; an empty value claims nothing."""
        filled, of_study = dict[int, str](), held is study
        tags = _STUDY_TAGS if of_study else _SERIES_TAGS
        for position, (tag, old, new) in enumerate(zip(tags, held.values, got, strict=True)):
            if new == old or not new:
                continue
            if old:
                level = "series" if not of_study else "patient" if tag in PATIENT_COLUMNS else "study"
                self._disagree(level, held.id, tag, new, old, arrival, instance)
            elif current:
                held.values[position] = filled[tag] = new
        if filled:
            self._fill(study, held, filled, arrival)

    def _fill(self, study: Study, held: Study | Series, filled: Mapping[int, str], arrival: Arrival) -> None:
        """Where it is corrected, the correction keeps what an object says."""
        table, uid = ("study", "") if held is study else ("series", arrival.series_uid)
        corrected = study.corrected.get(uid, {})
        if filled.keys() & corrected.keys():
            corrections.learn(self._connection, study.store, (arrival.study_uid, uid), filled)
        written = {tag: new for tag, new in filled.items() if tag not in corrected}
        corrections.write(self._connection, study.store, table, held.id, written, arrival.received_at)
        self._next.pop("patient", None)  # one may have come of it
        if isinstance(held, Series):
            held.modality = written.get(MODALITY, held.modality)

    def _disagree(
        self, level: str, parent: int, tag: int, value: str, kept: str, arrival: Arrival, instance: int
    ) -> None:
        row = (arrival.store, level, parent, tag, value, kept, instance, arrival.received_at)
        self._connection.execute(_DISAGREE, row)

    def _patient(
        self, got: list[str], study: int, arrival: Arrival, instance: int, corrected: Set[int]
    ) -> tuple[int, bool]:
        """The patient by identifier and issuer, without one a patient of its own (PS3.3 C.7.1.1); and if it is new."""
        values, identifier = got[:_PATIENTS], got[: len(_IDENTIFIER)]
        if identifier[0]:
            row = self._connection.execute(
                f"SELECT patient.id, {','.join('patient.' + column for column in PATIENT_COLUMNS.values())} "
                "FROM patient_identifier JOIN patient ON patient.id = patient_identifier.patient "
                "WHERE patient_identifier.store = ? AND value = ? AND issuer = ?",
                (arrival.store, *identifier),
            ).fetchone()
            if row is not None:
                for tag, old, new in zip(_PATIENT_TAGS, row[1:], values, strict=True):
                    # Where it is corrected it does not differ, nor where it is another one's study by that.
                    if old and new and old != new and not (_IDENTIFIER | {tag}) & corrected:
                        self._disagree("patient", study, tag, new, old, arrival, instance)
                return int(row[0]), False
        id = self.next_id("patient")
        described = _values(_PATIENT_TAGS, tuple(values))
        self._connection.execute(_INSERT_PATIENT, (id, arrival.store, arrival.received_at, *described))
        if identifier[0]:
            statement = "INSERT INTO patient_identifier (store, patient, value, issuer) VALUES (?,?,?,?)"
            self._connection.execute(statement, (arrival.store, id, *identifier))
        return id, True

    # Series

    def _find_series(self, study: Study, uid: str) -> Series | None:
        row = self._connection.execute(_SELECT_SERIES, (study.store, study.id, uid)).fetchone()
        if row is None:
            return None
        values = _said(_SERIES_TAGS, row[2:], study.corrected.get(uid, {}))
        series = study.series[uid] = Series(row[0], values, row[2], row[1])
        return series

    def _make_series(self, study: Study, arrival: Arrival, got: list[str], empty: Series | None) -> Series:
        if empty is not None:
            remove_series(self._connection, empty.id)
        id, at = empty.id if empty else self.next_id("series"), arrival.received_at
        values, revision = _values(_SERIES_TAGS, tuple(got)), retired(self._connection, REVISION)
        row = (id, study.store, study.id, arrival.series_uid, *values, revision, at, at)
        self._connection.execute(_INSERT_SERIES, row)
        series = study.series[arrival.series_uid] = Series(id, got, got[0])
        if arrival.series_uid in study.corrected:
            corrections.lay_again(self._connection, study.store, arrival.study_uid, arrival.series_uid, at)
            study.corrected = corrections.in_force(self._connection, study.store, arrival.study_uid)
            if found := self._find_series(study, arrival.series_uid):
                return found
        return series


def retire(connection: sqlite3.Connection, name: str, number: int) -> None:
    """A row with this number goes: INSTANCE its id, REVISION the revision of a study or series."""
    connection.execute(_RETIRE, (name, str(number)))


def retired(connection: sqlite3.Connection, name: str) -> int:
    """The highest number of the rows that went; 0 when none did."""
    return int(settings.read(connection, name) or 0)


def remove_study(connection: sqlite3.Connection, id: int, unless: str = _NOTHING) -> None:
    """Take out a study, what is listed of it, and its patient if that has no other; not if `unless` finds something."""
    row = connection.execute("SELECT patient FROM study WHERE id = ?", (id,)).fetchone()
    if _remove(connection, "study", id, unless):
        connection.execute(f"{_FORGET} AND level IN ('study', 'patient')", (id,))
        people.forget(connection, id)
        corrections.describe(connection, *row)


def remove_series(connection: sqlite3.Connection, id: int, unless: str = _NOTHING) -> None:
    """Take out a series and what is listed of it; not if `unless` finds something."""
    if _remove(connection, "series", id, unless):
        connection.execute(f"{_FORGET} AND level = 'series'", (id,))


def _remove(connection: sqlite3.Connection, table: str, id: int, unless: str) -> bool:
    statement = f"DELETE FROM {table} WHERE id = :id AND NOT EXISTS ({unless}) RETURNING revision"
    found = connection.execute(statement, {"id": id}).fetchall()
    for (revision,) in found:
        retire(connection, REVISION, revision)
    return bool(found)


def recount(
    connection: sqlite3.Connection, study: int, at: int, went: Sequence[int] = (), came: Sequence[int] = (),
    looked: settling.Objects | None = None,
) -> None:  # fmt: skip
    """After anything but an addition: count what is current, which says how the study is (`settling.settle`)."""
    settling.settle(connection, study, at, went, came, looked)
    count(connection, study, at)


def count(connection: sqlite3.Connection, study: int, at: int) -> None:
    """Count a study's current instances anew, with its series."""
    connection.execute(_RECOUNT_SERIES, (at, CURRENT, study))
    rows = connection.execute(_CURRENT_OF_STUDY, (study, CURRENT)).fetchall()
    modalities = "\\".join(sorted({row[0] for row in rows if row[0]}))
    classes = "\\".join(sorted({row[1] for row in rows}))
    instances = connection.execute(
        "SELECT coalesce(sum(number_of_instances), 0) FROM series WHERE study = ?", (study,)
    ).fetchone()[0]
    series = len({row[2] for row in rows})
    before, patient = connection.execute(
        "SELECT number_of_instances, patient FROM study WHERE id = ?", (study,)
    ).fetchone()
    connection.execute(_UPDATE_STUDY, (series, instances, modalities, classes, at, study))
    if bool(before) != bool(instances):  # what is hidden describes no patient, and differs from none
        corrections.describe(connection, patient)
        discrepancies.compare_study(connection, study)


def _said(tags: tuple[int, ...], row: Sequence[str], corrected: Mapping[int, str]) -> list[str]:
    """What objects say, of the values of a row."""
    return [corrected.get(tag, value) for tag, value in zip(tags, row, strict=True)]


def _set(joined: str) -> set[str]:
    return set(joined.split("\\")) if joined else set()


assert _SERIES_TAGS[0] == MODALITY and _STUDY_TAGS[:2] == (PATIENT_ID, ISSUER_OF_PATIENT_ID)
