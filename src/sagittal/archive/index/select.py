"""Statements of queries: a query's shape and store to SQL text, kept once made.

Only current, undeleted things are seen: instances in state CURRENT, series and studies that hold any. Rows come in the
order in which they were first stored, so that `offset` pages through. Deliberately not here: parsing keys (`matching`),
running anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sagittal.archive.index import CURRENT, OTHER, STORE, in_store
from sagittal.archive.index.finding import moments, people
from sagittal.archive.index.keys import INDEXED, KEYS, Key, has_below, some
from sagittal.archive.index.matching import HALVES, condition

STUDY, SERIES = "study", "series"
_TABLES = (STUDY, SERIES, "instance")
Value = str | int | float | None

# table of the rows -> condition for being seen
_ROWS = {
    "PATIENT": (
        "patient",
        "EXISTS (SELECT 1 FROM study s WHERE s.patient = patient.id AND s.number_of_instances > 0)",
    ),
    "STUDY": ("study", "study.number_of_instances > 0"),
    "SERIES": ("series", "series.number_of_instances > 0"),
    "IMAGE": ("instance", f"instance.state = {CURRENT} AND instance.series IS NOT NULL"),  # not those of no patient
}
# How the levels above are reached, when a key or column of theirs is asked for.
_JOINS = {
    ("SERIES", "study"): " JOIN study ON study.id = series.study",
    ("IMAGE", "series"): " JOIN series ON series.id = instance.series",
    ("IMAGE", "study"): " JOIN series ON series.id = instance.series JOIN study ON study.id = series.study",
}


class Asked(NamedTuple):
    """One condition of a query: a key and the shape of its form (`matching`)."""

    key: Key
    shape: str
    time: str = ""  # the column of the time that belongs to this date, or of the date that belongs to this time
    joined: bool = False  # the date and that time are matched as one
    shift: int | None = None  # the requestor's offset from UTC in minutes, when values are matched in that time zone


Shape = tuple[Asked, ...]
Order = tuple[tuple[int, bool], ...]  # (tag, descending)


# Forms that an index answers. `store` is offered to the planner only where one of them is: every index starts with it,
# and on its own it would lead SQLite into an arbitrary one.
_INDEXED_FORMS = frozenset({"eq", "in", "prefix", "within"})
# Forms for which a whole index is read, which is a fraction of its table.
_NARROW_FORMS = frozenset({"glob", "name-glob", "name-groups"})
_OFFSET = f"{STUDY}.timezone_offset_from_utc"


@lru_cache(maxsize=512)
def query_statement(
    store: int, level: str, shape: Shape, columns: tuple[int, ...], order: Order = (), after: bool = False
) -> str:
    """SELECT of `columns` (tags), what rows are ordered by, and the row's id.

    Bound: the values of the forms in order; where more than one is of a lower level, those of these once more; with
    `after`, `cursor_values`; LIMIT, OFFSET.
    """
    selected = [KEYS[level][tag].column for tag in columns] + [text for text, _ in _ordered(level, order)]
    return in_store(f"SELECT {_from(level, shape, selected, order, after)} LIMIT ? OFFSET ?", store)


@lru_cache(maxsize=128)
def candidates_statement(store: int, level: str, shape: Shape, order: Order = (), after: bool = False) -> str:
    """SELECT of the row's id and the id of each current instance of it, for attributes that no index holds.

    Bound as for `query_statement`, but for OFFSET; before LIMIT the values of what is asked of lower levels, once more.
    """
    table, _ = _ROWS[level]
    each = _from(level, shape, [f"{table}.id AS row", *_named(level, order)], order, after, last="")
    ordered = ", ".join([f"n.o{at}{_DOWN[down]}" for at, (_, down) in enumerate(_ordered(level, order)[:-1])])
    last = _ordered(level, order)[-1][1]
    held = " AND ".join([f"instance.state = {CURRENT}", *_lower(level, shape)])
    statement = (
        f"SELECT n.row, instance.id FROM (SELECT {each}) n {_BELOW[level]} WHERE {held} "
        f"ORDER BY {ordered + ', ' if ordered else ''}n.row{_DOWN[last]}, instance.id LIMIT ?"
    )
    return in_store(statement, store)


@lru_cache(maxsize=128)
def rows_statement(level: str, columns: tuple[int, ...], order: Order = ()) -> str:
    """As `query_statement`, for the ids of a JSON list, which is bound alone."""
    table, seen = _ROWS[level]
    selected = [KEYS[level][tag].column for tag in columns] + [text for text, _ in _ordered(level, order)]
    joins = _joins(level, selected)
    ids = f"{table}.id IN (SELECT value FROM json_each(?))"
    return f"SELECT {', '.join(selected)} FROM {table}{joins} WHERE {ids} AND {seen}"


@lru_cache(maxsize=8)
def representatives_statement(level: str) -> str:
    """SELECT of row id and the first current instance of each row whose id is in a JSON list, which is bound."""
    return (
        f"SELECT n.value, min(instance.id) FROM (SELECT value, value AS row FROM json_each(?)) n {_BELOW[level]} "
        f"WHERE instance.state = {CURRENT} GROUP BY n.value"
    )


_DOWN = {False: "", True: " DESC"}
# From rows `n` (their id is `row`) to their instances.
_BELOW = {
    "PATIENT": "CROSS JOIN study ON study.patient = n.row CROSS JOIN series ON series.study = study.id "
    "CROSS JOIN instance ON instance.series = series.id",
    "STUDY": "CROSS JOIN series ON series.study = n.row CROSS JOIN instance ON instance.series = series.id",
    "SERIES": "CROSS JOIN instance ON instance.series = n.row",
    "IMAGE": "CROSS JOIN instance ON instance.id = n.row",
}


def cursor_values(values: Sequence[Value]) -> list[Value]:
    """What `after` binds: the values that the last row was ordered by, its id last."""
    bound = [values[0]]
    for at in range(len(values)):
        bound += values[: at + 1]
    return bound


def can_order(level: str, tag: int) -> bool:
    """Whether rows of this level can be ordered by an attribute."""
    return tag in KEYS[level]


def _from(level: str, shape: Shape, selected: list[str], order: Order, after: bool, last: str = "ORDER BY") -> str:
    table, seen = _ROWS[level]
    ordered = _ordered(level, order)
    conditions = [_condition(level, asked) for asked in shape]
    if len(lower := _lower(level, shape)) > 1:  # each leads to the row, and all are of one below it
        deepest = max(_TABLES.index(_table(asked.key)) for asked in shape if is_lower(level, asked))
        conditions.append(some(level, _TABLES[deepest]).replace("@", " AND ".join(lower)))
    if after:
        conditions.append(_after(ordered))
    led_by = {name for asked in shape if (name := _leading(asked.key, asked))}
    joins = _joins(level, [*selected, *conditions, *(text for text, _ in ordered)])
    walked = not led_by and _walks(level, order)  # the index gives the order
    stores = [f"{name}.store = {STORE}" for name in sorted(led_by | ({table} if walked else set()))]
    if table not in led_by and not walked:
        stores.append(f"+{table}.store = {STORE}")
    where = " AND ".join([*stores, seen, *conditions])
    by = ", ".join(f"{text}{_DOWN[down]}" for text, down in ordered)
    return f"{', '.join(selected)} FROM {table}{joins} WHERE {where}{f' {last} {by}' if last else ''}"


def is_lower(level: str, asked: Asked) -> bool:
    """Whether something is asked of a lower level, of one of its columns."""
    return has_below(level, _table(asked.key)) and not _is_fuzzy(asked.shape)


def _lower(level: str, shape: Shape) -> list[str]:
    """The conditions of what is asked of lower levels."""
    return [
        asked.key.alone.replace("@", condition(asked.shape, _searched(asked.key)))
        for asked in shape
        if is_lower(level, asked)
    ]


def _joins(level: str, texts: list[str]) -> str:
    used = [above for above in (STUDY, SERIES) if any(f"{above}." in text for text in texts)]
    return next((_JOINS[level, above] for above in used if (level, above) in _JOINS), "")


def _ordered(level: str, order: Order) -> list[tuple[str, bool]]:
    """Expressions and whether they fall; ties are broken by id, in the direction of the first."""
    expressions = []
    for tag, down in order:
        key = KEYS[level][tag]
        text = key.search or key.column
        if key.kind == "number" or not key.kind:
            text = f"CAST(ifnull({key.column}, '') AS INTEGER)"
        elif key.within:
            text = key.column
        expressions.append((text, down))
    table, _ = _ROWS[level]
    return [*expressions, (f"{table}.id", bool(order) and order[0][1])]


def _named(level: str, order: Order) -> list[str]:
    return [f"{text} AS o{at}" for at, (text, _) in enumerate(_ordered(level, order)[:-1])]


def _walks(level: str, order: Order) -> bool:
    """Whether an index of the level's own table begins with what rows are ordered by."""
    if not order:
        return False
    table, _, name = _ordered(level, order)[0][0].partition(".")
    return table == _ROWS[level][0] and name in INDEXED.get(table, ())


def _after(ordered: list[tuple[str, bool]]) -> str:
    """Rows behind the one whose values are bound (`cursor_values`); the first condition is for an index."""
    sign = {False: ">", True: "<"}
    alternatives = []
    for at, (text, down) in enumerate(ordered):
        same = [f"{before} = ?" for before, _ in ordered[:at]]
        alternatives.append("(" + " AND ".join([*same, f"{text} {sign[down]} ?"]) + ")")
    first, down = ordered[0]
    return f"{first} {sign[down]}= ? AND ({' OR '.join(alternatives)})"


def _leading(key: Key, asked: Asked) -> str:
    """The table whose index this condition can use."""
    if asked.joined or asked.shift is not None or key.within:
        return ""
    table, _, name = _searched(key).partition(".")
    return table if asked.shape in _INDEXED_FORMS and name in INDEXED.get(table, ()) else ""


def _condition(level: str, asked: Asked) -> str:
    key, shape = asked.key, asked.shape
    column = _searched(key)
    if _is_fuzzy(shape):
        return people.condition(level, key.tag, shape)
    if asked.joined or asked.shift is not None:
        return condition(shape, _moment(asked, column))
    if key.within:
        return key.within.replace("@", condition(shape, column))
    table, _, name = column.partition(".")
    if shape in _NARROW_FORMS and name in INDEXED.get(table, ()):
        inner = condition(shape, f"n.{name}")
        return f"{table}.id IN (SELECT n.id FROM {table} n WHERE n.store = {STORE} AND {inner})"
    if shape not in HALVES:
        return condition(shape, column)
    halves = (
        f"SELECT n.id FROM {table} n WHERE n.store = {STORE} AND {half.replace('$', f'n.{name}')}"
        for half in HALVES[shape]
    )
    return f"{table}.id IN ({' UNION ALL '.join(halves)})"


def _is_fuzzy(shape: str) -> bool:
    return "sound" in shape or "word" in shape or "begin" in shape


def _searched(key: Key) -> str:
    return key.search or key.column


def _table(key: Key) -> str:
    return key.column.partition(".")[0]


def _moment(asked: Asked, column: str) -> str:
    """A date or time, or both joined, in the requestor's time zone when that is known."""
    is_date = asked.key.kind == "date"
    date, time = (column, asked.time or "''") if is_date else (asked.time or "''", column)
    if asked.shift is not None:
        date, time = moments.shifted(date, time, _OFFSET, asked.shift)
    if asked.joined:
        return f"(CASE WHEN {date} <> '' THEN {date} || {time} ELSE '' END)"
    return date if is_date else time


_REFERENCE = (
    "instance.id, study.study_instance_uid, series.series_instance_uid, instance.sop_class_uid,"
    " instance.sop_instance_uid, instance.transfer_syntax_uid, instance.digest, instance.length,"
    ' instance.header_length, instance.number_of_frames, instance.volume, instance."key", instance."offset",'
    " instance.state, study.revision, instance.store"
)
_OF_INSTANCE = " LEFT JOIN series ON series.id = instance.series LEFT JOIN study ON study.id = instance.study"


@lru_cache(maxsize=64)
def instances_statement(store: int, by: tuple[str, ...], state: int | None = CURRENT) -> str:
    """SELECT of InstanceRef columns; `by` names what is bound: study, series, patient, instances (a JSON list), id.

    Without a state: of those that are not current, of which there is an index of its own.
    """
    where = [f"{'' if 'instances' in by else '+'}instance.store = {STORE}", *(_BY[name] for name in by)]
    if state != CURRENT:
        where.append(f"instance.state <> {CURRENT}")
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
    return in_store(f"SELECT {_REFERENCE} FROM {tables} WHERE {' AND '.join(where)} ORDER BY {order}", store)


# What is about an instance in its series, itself and before it, backwards, then behind it: by the order of
# `instances_statement`, and by that in which they came. Bound: its id, how many.
NEIGHBOURS = tuple(
    tuple(
        "SELECT sop_instance_uid FROM instance WHERE series = (SELECT series FROM instance WHERE id = :id)"
        f" AND state = {CURRENT} AND ({order}) {sign} (SELECT {order} FROM instance WHERE id = :id)"
        f" ORDER BY {order.replace(',', f'{down},')}{down} LIMIT :most"
        for sign, down in (("<=", " DESC"), (">", ""))
    )
    for order in ("CAST(instance_number AS INTEGER), id", "id")
)

_BY = {
    "study": f"study.store = {STORE} AND study.study_instance_uid = ?",
    "series": f"series.store = {STORE} AND series.series_instance_uid = ?",
    "instances": "instance.sop_instance_uid IN (SELECT value FROM json_each(?))",
    "patient": f"study.store = {STORE} AND study.patient_id = ?",
    "id": "instance.id = ?",
}

METADATA = "SELECT body FROM metadata WHERE instance = ? ORDER BY part"
METADATA_OF = (
    "SELECT instance, body FROM metadata WHERE instance IN (SELECT value FROM json_each(?)) ORDER BY instance, part"
)
METADATA_PART = "SELECT body FROM metadata WHERE instance = ? AND part = ?"
FRAME_INDEX = "SELECT body FROM frame_index WHERE instance = ?"
# Versions that are not deleted, as files. Two halves, as each has its own partial index.
FILES_OF_INSTANCE = " UNION ALL ".join(
    "SELECT digest, sop_class_uid, sop_instance_uid, transfer_syntax_uid, length, header_length, volume, "
    f'"key" FROM instance WHERE store = ? AND sop_instance_uid = ? AND {state}'
    for state in (f"state = {CURRENT}", f"state <> {CURRENT} AND state = {OTHER}")
)
