"""Statements of queries: a query's shape to SQL text, kept once made.

Only current, undeleted things are seen: instances in state CURRENT, series and studies that hold any. Rows come in the
order in which they were first stored, so that `offset` pages through. Deliberately not here: parsing keys (`matching`),
running anything.
"""

from __future__ import annotations

from functools import lru_cache

from sagittal.archive.index import CURRENT, MAIN_STORE, OTHER
from sagittal.archive.index.keys import INDEXED, KEYS, Key
from sagittal.archive.index.matching import HALVES, condition

# table of the rows -> condition for being seen
_ROWS = {
    "PATIENT": (
        "patient",
        "EXISTS (SELECT 1 FROM study s WHERE s.patient = patient.id AND s.number_of_instances > 0)",
    ),
    "STUDY": ("study", "study.number_of_instances > 0"),
    "SERIES": ("series", "series.number_of_instances > 0"),
    "IMAGE": ("instance", f"instance.state = {CURRENT}"),
}
# How the levels above are reached, when a key or column of theirs is asked for.
_JOINS = {
    ("SERIES", "study"): " JOIN study ON study.id = series.study",
    ("IMAGE", "series"): " JOIN series ON series.id = instance.series",
    ("IMAGE", "study"): " JOIN series ON series.id = instance.series JOIN study ON study.id = series.study",
}

Shape = tuple[tuple[int, str], ...]  # (tag, form shape), sorted by tag


# Forms that an index answers. `store` is offered to the planner only where one of them is: every index starts with it,
# and on its own it would lead SQLite into an arbitrary one.
_INDEXED_FORMS = frozenset({"eq", "in", "prefix", "between", "ge", "within"})


@lru_cache(maxsize=512)
def query_statement(level: str, shape: Shape, columns: tuple[int, ...]) -> str:
    """SELECT of `columns` (tags) for one shape of query. Bound: the values of the forms in order, LIMIT, OFFSET."""
    keys = KEYS[level]
    table, seen = _ROWS[level]
    selected = ", ".join(keys[tag].column for tag in columns) or "1"
    conditions = [_condition(keys[tag], form) for tag, form in shape]
    led_by = {name for tag, form in shape if (name := _leading(keys[tag], form))}
    used = [above for above in ("study", "series") if any(f"{above}." in text for text in (selected, *conditions))]
    joins = next((_JOINS[level, above] for above in used if (level, above) in _JOINS), "")
    stores = [f"{name}.store = {MAIN_STORE}" for name in sorted(led_by)]
    if table not in led_by:
        stores.append(f"+{table}.store = {MAIN_STORE}")
    where = " AND ".join([*stores, seen, *conditions])
    return f"SELECT {selected} FROM {table}{joins} WHERE {where} ORDER BY {table}.id LIMIT ? OFFSET ?"


def _leading(key: Key, form: str) -> str:
    """The table whose index this condition can use."""
    column = key.search or key.column
    table, _, name = column.partition(".")
    return table if form in _INDEXED_FORMS and name in INDEXED.get(table, ()) else ""


def _condition(key: Key, form: str) -> str:
    column = key.search or key.column
    if key.within:
        return key.within.replace("@", condition(form, column))
    if form not in HALVES:
        return condition(form, column)
    table, _, name = column.partition(".")
    halves = (
        f"SELECT n.id FROM {table} n WHERE n.store = {MAIN_STORE} AND {half.replace('$', f'n.{name}')}"
        for half in HALVES[form]
    )
    return f"{table}.id IN ({' UNION ALL '.join(halves)})"


_REFERENCE = (
    "instance.id, study.study_instance_uid, series.series_instance_uid, instance.sop_class_uid,"
    " instance.sop_instance_uid, instance.transfer_syntax_uid, instance.digest, instance.length,"
    ' instance.header_length, instance.number_of_frames, instance.volume, instance."key", instance."offset",'
    " instance.state, study.revision"
)
_OF_INSTANCE = " LEFT JOIN series ON series.id = instance.series LEFT JOIN study ON study.id = instance.study"


@lru_cache(maxsize=64)
def instances_statement(by: tuple[str, ...], state: int | None = CURRENT) -> str:
    """SELECT of InstanceRef columns; `by` names what is bound: study, series, patient, instances (a JSON list), id."""
    where = [f"{'' if 'instances' in by else '+'}instance.store = {MAIN_STORE}", *(_BY[name] for name in by)]
    if state is not None:
        where.append(f"instance.state = {state}")
    order = "instance.series, CAST(instance.instance_number AS INTEGER), instance.id"
    # The narrowest table leads; CROSS JOIN is SQLite's word for "in this order".
    if "instances" in by or "id" in by or not by:
        tables = f"instance{_OF_INSTANCE}"
    elif "series" in by:
        tables = "series CROSS JOIN instance ON instance.series = series.id CROSS JOIN study ON study.id = series.study"
    else:
        tables = "study CROSS JOIN series ON series.study = study.id CROSS JOIN instance ON instance.series = series.id"
    return f"SELECT {_REFERENCE} FROM {tables} WHERE {' AND '.join(where)} ORDER BY {order}"


_BY = {
    "study": f"study.store = {MAIN_STORE} AND study.study_instance_uid = ?",
    "series": f"series.store = {MAIN_STORE} AND series.series_instance_uid = ?",
    "instances": "instance.sop_instance_uid IN (SELECT value FROM json_each(?))",
    "patient": f"study.store = {MAIN_STORE} AND study.patient_id = ?",
    "id": "instance.id = ?",
}

METADATA = "SELECT body FROM metadata WHERE instance = ? ORDER BY part"
METADATA_PART = "SELECT body FROM metadata WHERE instance = ? AND part = ?"
FRAME_INDEX = "SELECT body FROM frame_index WHERE instance = ?"
REVISIONS = (
    f"SELECT id, revision FROM study WHERE store = {MAIN_STORE} AND study_instance_uid = ?",
    f"SELECT id, revision FROM series WHERE store = {MAIN_STORE} AND series_instance_uid = ? AND study = ?",
)
# Versions that are not deleted, as files. Two halves, as each has its own partial index.
FILES_OF_INSTANCE = " UNION ALL ".join(
    "SELECT digest, sop_class_uid, sop_instance_uid, transfer_syntax_uid, length, header_length, volume, "
    f'"key" FROM instance WHERE store = {MAIN_STORE} AND sop_instance_uid = ? AND {state}'
    for state in (f"state = {CURRENT}", f"state <> {CURRENT} AND state = {OTHER}")
)
