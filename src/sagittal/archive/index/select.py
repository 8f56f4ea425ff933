"""Statements of queries: a query's shape to SQL text, kept once made.

Only current, undeleted things are seen: instances in state CURRENT, series and studies that hold any. Rows come in the order in
which they were first stored, so that `offset` pages through. Deliberately not here: parsing keys (`matching`), running anything.
"""

from __future__ import annotations

from functools import lru_cache

from sagittal.archive.index.keys import KEYS
from sagittal.archive.index.matching import condition
from sagittal.archive.index.tables import CURRENT, MAIN_STORE

# table of the rows -> condition for being seen
_ROWS = {
    "PATIENT": ("patient", _seen := "EXISTS (SELECT 1 FROM study s WHERE s.patient = patient.id AND s.number_of_instances > 0)"),
    "STUDY": ("study", "study.number_of_instances > 0"),
    "SERIES": ("series", "series.number_of_instances > 0"),
    "IMAGE": ("instance", f"instance.state = {CURRENT}"),
}
# How the levels above are reached, when a key or column of theirs is asked for.
_JOINS = {
    ("SERIES", "study"): " JOIN study ON study.id = series.study",
    ("IMAGE", "series"): " JOIN series ON series.id = instance.series",
    ("IMAGE", "study"): " JOIN study ON study.id = instance.study",
}

Shape = tuple[tuple[int, str], ...]  # (tag, form shape), sorted by tag


@lru_cache(maxsize=512)
def query_statement(level: str, shape: Shape, columns: tuple[int, ...]) -> str:
    """SELECT of `columns` (tags) for one shape of query. Bound: the values of the forms in order, LIMIT, OFFSET."""
    keys = KEYS[level]
    table, seen = _ROWS[level]
    selected = ", ".join(keys[tag].column for tag in columns) or "1"
    conditions = [_condition(keys[tag].column, keys[tag].search, form) for tag, form in shape]
    joins = ""
    for (of, above), join in _JOINS.items():
        if of == level and (f"{above}." in selected or any(f"{above}." in text for text in conditions)):
            joins += join
    where = " AND ".join([f"{table}.store = {MAIN_STORE}", seen, *conditions])
    return f"SELECT {selected} FROM {table}{joins} WHERE {where} ORDER BY {table}.id LIMIT ? OFFSET ?"


def _condition(column: str, search: str, form: str) -> str:
    """`search` is another column, or a condition with the place of a column and its form marked by "@"."""
    if "@" in search:
        head, _, tail = search.partition("c.modality @")
        return head + condition(form, "c.modality") + tail
    return condition(form, search or column)


_REFERENCE = (
    "instance.id, study.study_instance_uid, series.series_instance_uid, instance.sop_class_uid, instance.sop_instance_uid, "
    "instance.transfer_syntax_uid, instance.digest, instance.length, instance.header_length, instance.number_of_frames, "
    'instance.volume, instance."key", instance."offset", instance.state, study.revision'
)
_OF_INSTANCE = " LEFT JOIN series ON series.id = instance.series LEFT JOIN study ON study.id = instance.study"


@lru_cache(maxsize=64)
def instances_statement(by: tuple[str, ...], state: int | None = CURRENT) -> str:
    """SELECT of InstanceRef columns. `by` names what is bound: study, series, patient (text), instances (a JSON list), id."""
    where = [f"instance.store = {MAIN_STORE}"] + [_BY[name] for name in by]
    if state is not None:
        where.append(f"instance.state = {state}")
    order = "instance.series, CAST(instance.instance_number AS INTEGER), instance.id"
    # The narrowest table leads; CROSS JOIN is SQLite's word for "in this order".
    if "instances" in by or "id" in by or not by:
        tables = f"instance{_OF_INSTANCE}"
    elif "series" in by:
        tables = "series CROSS JOIN instance ON instance.series = series.id JOIN study ON study.id = series.study"
    else:
        tables = (
            "study CROSS JOIN series ON series.study = study.id CROSS JOIN instance ON instance.series = series.id"
        )
    return f"SELECT {_REFERENCE} FROM {tables} WHERE {' AND '.join(where)} ORDER BY {order}"


_BY = {
    "study": f"study.store = {MAIN_STORE} AND study.study_instance_uid = ?",
    "series": f"series.store = {MAIN_STORE} AND series.series_instance_uid = ?",
    "instances": "instance.sop_instance_uid IN (SELECT value FROM json_each(?))",
    "patient": f"study.store = {MAIN_STORE} AND study.patient_id = ?",
    "id": "instance.id = ?",
}

METADATA = "SELECT body FROM metadata WHERE instance = ? ORDER BY part"
FRAME_INDEX_LENGTH = "SELECT length(body) FROM frame_index WHERE instance = ?"
FRAME_INDEX_RANGE = "SELECT substr(body, ?, ?) FROM frame_index WHERE instance = ?"
REVISIONS = (
    f"SELECT id, revision FROM study WHERE store = {MAIN_STORE} AND study_instance_uid = ?",
    f"SELECT id, revision FROM series WHERE store = {MAIN_STORE} AND series_instance_uid = ?",
)
