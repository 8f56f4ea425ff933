"""Which attributes queries can match and return at which level: one row each (PS3.4 C.3, PS3.18 10.6).

The conformance statement and the documentation of QIDO-RS print this table. Deliberately not here: statements.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sagittal.archive.index import CURRENT, STORE

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")


class Key(NamedTuple):
    """An attribute of one level: the column that is returned, how it is matched, and where if not in that column."""

    tag: int
    column: str
    kind: str = "text"  # see `matching`; "" cannot be matched
    search: str = ""  # the column that is matched
    within: str = ""  # a condition around the one on that column, which goes to "@"
    alone: str = "@"  # the same for one row of the table of `column`, whatever the level


_PATIENT_COLUMNS = (
    # tag, column, kind, searched column; the same columns are in patient and in study
    (0x00100010, "patient_name", "name", "patient_name_search"),
    (0x00100020, "patient_id", "text", ""),
    (0x00100021, "issuer_of_patient_id", "text", ""),
    (0x00100030, "patient_birth_date", "date", ""),
    (0x00100040, "patient_sex", "text", ""),
)


def _patient_keys(table: str) -> tuple[Key, ...]:
    return tuple(
        Key(tag, f"{table}.{column}", kind, f"{table}.{search}" if search else "")
        for tag, column, kind, search in _PATIENT_COLUMNS
    )


_PATIENT_COUNTS = (
    (0x00201200, "count(*)"),
    (0x00201202, "sum(s.number_of_series)"),
    (0x00201204, "sum(s.number_of_instances)"),
)


def _of_patient(what: str, patient: str) -> str:
    return f"(SELECT {what} FROM study s WHERE s.patient = {patient} AND s.number_of_instances > 0)"


# The index on identifiers leads to the patient.
_IDENTIFIED = f"patient.id IN (SELECT i.patient FROM patient_identifier i WHERE i.store = {STORE} AND @)"

# What a level adds to those above it; the row's own table first.
OWN: dict[str, tuple[Key, ...]] = {
    "PATIENT": (
        *(key for key in _patient_keys("patient") if key.tag != 0x00100020),
        Key(0x00100020, "patient.patient_id", "text", "i.value", _IDENTIFIED),
        *(Key(tag, _of_patient(what, "patient.id"), "") for tag, what in _PATIENT_COUNTS),
    ),
    "STUDY": (
        *_patient_keys("study"),
        Key(0x0020000D, "study.study_instance_uid", "uid"),
        Key(0x00080020, "study.study_date", "date"),
        Key(0x00080030, "study.study_time", "time"),
        Key(0x00080050, "study.accession_number"),
        Key(0x00080090, "study.referring_physician_name", "name", "study.referring_physician_name_search"),
        Key(0x00080201, "study.timezone_offset_from_utc", ""),
        Key(0x00081030, "study.study_description"),
        Key(0x00200010, "study.study_id"),
        Key(0x00080061, "study.modalities_in_study", "any"),
        Key(0x00080062, "study.sop_classes_in_study", "any"),
        Key(0x00201206, "study.number_of_series", "number"),
        Key(0x00201208, "study.number_of_instances", "number"),
        *(Key(tag, _of_patient(what, "study.patient"), "") for tag, what in _PATIENT_COUNTS),
    ),
    "SERIES": (
        Key(0x0020000E, "series.series_instance_uid", "uid"),
        Key(0x00080060, "series.modality"),
        Key(0x00200011, "series.series_number", "number"),
        Key(0x0008103E, "series.series_description"),
        Key(0x00080021, "series.series_date", "date"),
        Key(0x00080031, "series.series_time", "time"),
        Key(0x00180015, "series.body_part_examined"),
        Key(0x00200060, "series.laterality"),
        Key(0x00181030, "series.protocol_name"),
        Key(0x00400244, "series.performed_procedure_step_start_date", "date"),
        Key(0x00400245, "series.performed_procedure_step_start_time", "time"),
        Key(0x00400253, "series.performed_procedure_step_id"),
        Key(0x00080070, "series.manufacturer"),
        Key(0x00081090, "series.manufacturer_model_name"),
        Key(0x00080080, "series.institution_name"),
        Key(0x00081010, "series.station_name"),
        Key(0x00081070, "series.operators_name", "any-name", "series.operators_name_search"),
        Key(0x00200052, "series.frame_of_reference_uid", "uid"),
        Key(0x00201209, "series.number_of_instances", "number"),
    ),
    "IMAGE": (
        Key(0x00080018, "instance.sop_instance_uid", "uid"),
        Key(0x00080016, "instance.sop_class_uid", "uid"),
        Key(0x00200013, "instance.instance_number", "number"),
        Key(0x00080023, "instance.content_date", "date"),
        Key(0x00080033, "instance.content_time", "time"),
        Key(0x00280010, "instance.rows", "number"),
        Key(0x00280011, "instance.columns", "number"),
        Key(0x00280100, "instance.bits_allocated", "number"),
        Key(0x00280008, "instance.number_of_frames", "number"),
        Key(0x00083002, "instance.transfer_syntax_uid", "uid"),
    ),
}


def keys_at(level: str) -> dict[int, Key]:
    """Every key of a level: its own, and those of the levels above it (a study row tells of its patient)."""
    if level == "PATIENT":
        return {key.tag: key for key in OWN["PATIENT"]}
    levels = LEVELS[1 : LEVELS.index(level) + 1]
    return {key.tag: key for above in levels for key in OWN[above]}


KEYS: dict[str, dict[int, Key]] = {level: keys_at(level) for level in LEVELS}

# From rows of a lower level to those of a level, where an index leads to the former; and the other way.
_BELOW = {
    ("PATIENT", "study"): ("study.patient", "patient.id", "study"),
    ("PATIENT", "series"): ("study.patient", "patient.id", "series CROSS JOIN study ON study.id = series.study"),
    ("PATIENT", "instance"): ("study.patient", "patient.id", "instance CROSS JOIN study ON study.id = instance.study"),
    ("STUDY", "series"): ("series.study", "study.id", "series"),
    ("STUDY", "instance"): ("series.study", "study.id", "instance CROSS JOIN series ON series.id = instance.series"),
    ("SERIES", "instance"): ("instance.series", "series.id", "instance"),
}
_DOWNWARD = {
    ("PATIENT", "study"): "study WHERE study.patient = patient.id",
    ("PATIENT", "series"): "study CROSS JOIN series ON series.study = study.id WHERE study.patient = patient.id",
    ("PATIENT", "instance"): "study CROSS JOIN series ON series.study = study.id "
    "CROSS JOIN instance ON instance.series = series.id WHERE study.patient = patient.id",
    ("STUDY", "series"): "series WHERE series.study = study.id",
    ("STUDY", "instance"): "series CROSS JOIN instance ON instance.series = series.id WHERE series.study = study.id",
    ("SERIES", "instance"): "instance WHERE instance.series = series.id",
}
_HELD = {
    "study": "study.number_of_instances > 0",
    "series": "series.number_of_instances > 0",
    "instance": f"instance.state = {CURRENT}",
}


@cache
def below(level: str, tag: int) -> Key | None:
    """The key of a lower level, asked of some study, series or instance under each row; None when there is none."""
    for lower in LEVELS[LEVELS.index(level) + 1 :]:
        key = next((key for key in OWN[lower] if key.tag == tag), None)
        if key is None or not key.kind:
            continue
        table, _, name = (key.search or key.column).partition(".")
        within = some(level, table)
        if name in INDEXED.get(table, ()):
            inner, outer, tables = _BELOW[level, table]
            within = f"{outer} IN (SELECT {inner} FROM {tables} WHERE {_held(table)} AND @)"
        return key._replace(within=within)
    return None


def has_below(level: str, table: str) -> bool:
    """Whether a table is of a lower level."""
    return (level, table) in _DOWNWARD


def some(level: str, table: str) -> str:
    """The condition that under a row some row of a lower level's table, and those between them, meet "@"."""
    return f"EXISTS (SELECT 1 FROM {_DOWNWARD[level, table]} AND +{_held(table)} AND @)"


def _held(table: str) -> str:
    return f"{table}.store = {STORE} AND {_HELD[table]}"


# Columns that an index beginning with `store` answers for (a test compares this with the tables).
INDEXED: dict[str, frozenset[str]] = {
    "study": frozenset(
        {
            "accession_number",
            "patient_birth_date",
            "patient_id",
            "patient_name_search",
            "referring_physician_name_search",
            "study_date",
            "study_description",
            "study_id",
            "study_instance_uid",
        }
    ),
    "series": frozenset({"performed_procedure_step_start_date", "series_instance_uid"}),
    "instance": frozenset({"sop_instance_uid"}),
}
