"""Patients, studies and series as the writer keeps them up: found or made once, then counted in memory.

The first non-empty value wins; other values are listed as discrepancies. What is not held any more wins nothing: a
study or series of which all is deleted is as the object says that comes next. Counts and the lists of modalities and
SOP classes are written once a batch for each study and series that it touched. Whoever changes these tables by other
means calls `forget` afterwards. Deliberately not here: instances.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from sagittal.archive.index import CURRENT, corrections
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
from sagittal.archive.index.upkeep import discrepancies, settings
from sagittal.dicom.matching.names import fold_name

_STUDIES_HELD = 1_000  # studies that are being received at one time, generously

_STUDY_TAGS, _SERIES_TAGS = tuple(STUDY_COLUMNS), tuple(SERIES_COLUMNS)
_PATIENT_TAGS = tuple(PATIENT_COLUMNS)
_PEOPLE = [(_STUDY_TAGS.index(tag), tag) for tag in people.TAGS]
_PATIENTS = len(_PATIENT_TAGS)  # the patient's attributes come first in a study's
_IDENTIFIERS = 2  # and Patient ID and its issuer first of them


def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ",".join("?" * len(columns))
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})"


def _columns(table: dict[int, str]) -> tuple[str, ...]:
    searched = (f"{column}_search" for tag, column in table.items() if tag in NAMES)
    return (*table.values(), *searched)


def _values(tags: tuple[int, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    return (*values, *(fold_name(value) for tag, value in zip(tags, values, strict=True) if tag in NAMES))


_MADE = ("created_at", "changed_at")
_INSERT_PATIENT = _insert("patient", ("id", "store", "created_at"))
_INSERT_STUDY = _insert(
    "study",
    ("id", "store", "patient", "study_instance_uid", *_columns(dict(STUDY_COLUMNS)), "revision", *_MADE),
)
_INSERT_SERIES = _insert(
    "series",
    ("id", "store", "study", "series_instance_uid", *_columns(dict(SERIES_COLUMNS)), "revision", *_MADE),
)
_SELECT_STUDY = (
    f"SELECT id, patient, number_of_series, number_of_instances, modalities_in_study, sop_classes_in_study, "
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
_CURRENT_OF_STUDY = (
    "SELECT DISTINCT series.modality, instance.sop_class_uid, series.id FROM series "
    "JOIN instance ON instance.series = series.id WHERE series.study = ? AND instance.state = ?"
)


@dataclass(slots=True)
class Series:
    """A series as the writer holds it."""

    id: int
    values: list[str]
    instances: int = 0


@dataclass(slots=True)
class Study:
    """A study as the writer holds it."""

    id: int
    store: int
    patient: int
    values: list[str]
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

    def place(self, arrival: Arrival, instance: int, *, current: bool) -> tuple[int, int]:
        """The ids of the study and series that the object belongs to, made when new, and made anew by a `current` one
        when they hold no other; discrepancies are listed.
        """
        get = arrival.values.get
        got = [get(tag, "") for tag in _STUDY_TAGS]
        study = self._studies.get((arrival.store, arrival.study_uid)) or self._find_study(arrival)
        if study is None or (current and not study.instances):
            study = self._make_study(arrival, got, instance, study)
        elif (got := self._spared(study, "", _STUDY_TAGS, study.values, got, arrival)) != study.values:
            self._merge_study(study, got, arrival, instance)
        got = [get(tag, "") for tag in _SERIES_TAGS]
        series = study.series.get(arrival.series_uid) or self._find_series(study, arrival.series_uid)
        if series is None or (current and not series.instances):
            series = self._make_series(study, arrival, got, series)
        elif (
            got := self._spared(study, arrival.series_uid, _SERIES_TAGS, series.values, got, arrival)
        ) != series.values:
            self._merge(("series", series.id), _SERIES_TAGS, series.values, got, arrival, instance)
            self._list_modality(study, series)
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
        self._list_modality(study, series)
        self._touched[study.id] = study
        self._touched_series[series.id] = series

    def _list_modality(self, study: Study, series: Series) -> None:
        """What may have come with a version that is not current."""
        if series.instances and (modality := series.values[0]) and modality not in study.modalities:
            study.modalities.add(modality)
            self._touched[study.id] = study

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
        study = Study(row[0], store, row[1], list(row[6:]), row[2], row[3], _set(row[4]), _set(row[5]))
        study.corrected = corrections.in_force(self._connection, store, uid)
        self._studies[store, uid] = study
        return study

    def _make_study(self, arrival: Arrival, got: list[str], instance: int, empty: Study | None) -> Study:
        if empty is not None:
            remove_study(self._connection, empty.id)
        id, at = empty.id if empty else self.next_id("study"), arrival.received_at
        patient = self._patient(got, ("study", id), arrival, instance)
        values, revision = _values(_STUDY_TAGS, tuple(got)), retired(self._connection, REVISION)
        self._connection.execute(
            _INSERT_STUDY, (id, arrival.store, patient, arrival.study_uid, *values, revision, at, at)
        )
        corrections.describe(self._connection, patient)
        people.record(self._connection, arrival.store, id, ((tag, got[at]) for at, tag in _PEOPLE))
        store, uid = arrival.store, arrival.study_uid
        study = self._studies[store, uid] = Study(id, store, patient, got)
        if corrections.in_force(self._connection, store, uid):  # it was held before
            corrections.lay_again(self._connection, store, uid, "", at)
            self._next.pop("patient", None)  # one may have come of it
            study = self._find_study(arrival) or study
        return study

    def _spared(
        self, study: Study, series_uid: str, tags: tuple[int, ...], kept: list[str], got: list[str], arrival: Arrival
    ) -> list[str]:
        """What an object says, but where that was corrected; there, the correction keeps what it says."""
        corrected = study.corrected.get(series_uid)
        if not corrected:
            return got
        said = {tag: new for tag, new in zip(tags, got, strict=True) if new and corrected.get(tag) == ""}
        if said:
            corrections.learn(self._connection, study.store, (arrival.study_uid, series_uid), said)
            corrected |= said
        return [old if tag in corrected else new for tag, old, new in zip(tags, kept, got, strict=True)]

    def _merge_study(self, study: Study, got: list[str], arrival: Arrival, instance: int) -> None:
        before, patient = study.values[:_PATIENTS], study.patient
        self._merge(("study", study.id), _STUDY_TAGS, study.values, got, arrival, instance)
        if study.values[:_PATIENTS] == before:
            return
        if study.values[0] and study.values[:_IDENTIFIERS] != before[:_IDENTIFIERS]:  # which no instance had before
            study.patient = self._patient(study.values, ("study", study.id), arrival, instance)
            self._connection.execute("UPDATE study SET patient = ? WHERE id = ?", (study.patient, study.id))
        for each in {patient, study.patient}:
            corrections.describe(self._connection, each)

    def _merge(
        self,
        row: tuple[str, int],
        tags: tuple[int, ...],
        kept: list[str],
        got: list[str],
        arrival: Arrival,
        instance: int,
    ) -> None:
        """Fill what was empty, list what differs; an empty value claims nothing."""
        for position, (tag, old, new) in enumerate(zip(tags, kept, got, strict=True)):
            if new == old or not new:
                continue
            if old:
                level = "patient" if tag in PATIENT_COLUMNS and row[0] == "study" else row[0]
                self._disagree(level, row[1], tag, new, old, arrival, instance)
                continue
            kept[position] = new
            columns = STUDY_COLUMNS if row[0] == "study" else SERIES_COLUMNS
            values = [(columns[tag], new)] + ([(f"{columns[tag]}_search", fold_name(new))] if tag in NAMES else [])
            for column, value in values:
                self._connection.execute(f"UPDATE {row[0]} SET {column} = ? WHERE id = ?", (value, row[1]))
            if tag in people.TAGS and row[0] == "study":
                people.record(self._connection, arrival.store, row[1], [(tag, new)])

    def _disagree(
        self, level: str, parent: int, tag: int, value: str, kept: str, arrival: Arrival, instance: int
    ) -> None:
        row = (arrival.store, level, parent, tag, value, kept, instance, arrival.received_at)
        self._connection.execute(_DISAGREE, row)

    def _patient(self, got: list[str], study: tuple[str, int], arrival: Arrival, instance: int) -> int:
        """The patient by identifier and issuer, without one a patient of its own (PS3.3 C.7.1.1); to be described."""
        values = got[:_PATIENTS]
        identifier = (values[_PATIENT_TAGS.index(PATIENT_ID)], values[_PATIENT_TAGS.index(ISSUER_OF_PATIENT_ID)])
        if identifier[0]:
            row = self._connection.execute(
                f"SELECT patient.id, {','.join('patient.' + column for column in PATIENT_COLUMNS.values())} "
                "FROM patient_identifier JOIN patient ON patient.id = patient_identifier.patient "
                "WHERE patient_identifier.store = ? AND value = ? AND issuer = ?",
                (arrival.store, *identifier),
            ).fetchone()
            if row is not None:
                for tag, old, new in zip(_PATIENT_TAGS, row[1:], values, strict=True):
                    if old and new and old != new:
                        self._disagree("patient", study[1], tag, new, old, arrival, instance)
                return int(row[0])
        id = self.next_id("patient")
        self._connection.execute(_INSERT_PATIENT, (id, arrival.store, arrival.received_at))
        if identifier[0]:
            statement = "INSERT INTO patient_identifier (store, patient, value, issuer) VALUES (?,?,?,?)"
            self._connection.execute(statement, (arrival.store, id, *identifier))
        return id

    # Series

    def _find_series(self, study: Study, uid: str) -> Series | None:
        row = self._connection.execute(_SELECT_SERIES, (study.store, study.id, uid)).fetchone()
        if row is None:
            return None
        series = study.series[uid] = Series(row[0], list(row[2:]), row[1])
        return series

    def _make_series(self, study: Study, arrival: Arrival, got: list[str], empty: Series | None) -> Series:
        if empty is not None:
            remove_series(self._connection, empty.id)
        id, at = empty.id if empty else self.next_id("series"), arrival.received_at
        values, revision = _values(_SERIES_TAGS, tuple(got)), retired(self._connection, REVISION)
        row = (id, study.store, study.id, arrival.series_uid, *values, revision, at, at)
        self._connection.execute(_INSERT_SERIES, row)
        series = study.series[arrival.series_uid] = Series(id, got)
        if arrival.series_uid in study.corrected:
            corrections.lay_again(self._connection, study.store, arrival.study_uid, arrival.series_uid, at)
            study.corrected = corrections.in_force(self._connection, study.store, arrival.study_uid)
            series = self._find_series(study, arrival.series_uid) or series
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
        connection.execute("DELETE FROM discrepancy WHERE level IN ('study', 'patient') AND parent = ?", (id,))
        people.forget(connection, id)
        corrections.describe(connection, *row)


def remove_series(connection: sqlite3.Connection, id: int, unless: str = _NOTHING) -> None:
    """Take out a series and what is listed of it; not if `unless` finds something."""
    if _remove(connection, "series", id, unless):
        connection.execute("DELETE FROM discrepancy WHERE level = 'series' AND parent = ?", (id,))


def _remove(connection: sqlite3.Connection, table: str, id: int, unless: str) -> bool:
    statement = f"DELETE FROM {table} WHERE id = :id AND NOT EXISTS ({unless}) RETURNING revision"
    found = connection.execute(statement, {"id": id}).fetchall()
    for (revision,) in found:
        retire(connection, REVISION, revision)
    return bool(found)


def recount(connection: sqlite3.Connection, study: int, at: int) -> None:
    """After anything but an addition: count a study's current instances anew, with its series; what none of them says
    any more gives way to what they do.
    """
    discrepancies.settle(connection, study, at)
    connection.execute(_RECOUNT_SERIES, (at, CURRENT, study))
    rows = connection.execute(_CURRENT_OF_STUDY, (study, CURRENT)).fetchall()
    modalities = "\\".join(sorted({row[0] for row in rows if row[0]}))
    classes = "\\".join(sorted({row[1] for row in rows}))
    instances = connection.execute(
        "SELECT coalesce(sum(number_of_instances), 0) FROM series WHERE study = ?", (study,)
    ).fetchone()[0]
    series = len({row[2] for row in rows})
    connection.execute(_UPDATE_STUDY, (series, instances, modalities, classes, at, study))


def _set(joined: str) -> set[str]:
    return set(joined.split("\\")) if joined else set()


assert _SERIES_TAGS[0] == MODALITY and _STUDY_TAGS[0] == PATIENT_ID
