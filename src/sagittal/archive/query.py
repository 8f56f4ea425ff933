"""Finding patients, studies, series and instances by matching keys: the engine's side of C-FIND and QIDO-RS.

Runs on a reader thread, from the index alone, under a budget of rows. Deliberately not here: what a query must or may
hold at which level by PS3.4 or PS3.18 (services and web check that), and attributes that are not in the index, which
are not matched.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, NamedTuple

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.keys import KEYS
from sagittal.archive.index.matching import form_of
from sagittal.archive.index.select import query_statement
from sagittal.errors import BadRequest, LimitExceeded

_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's machine, some milliseconds
_NO_LIMIT_OFFSET_MAX = 1 << 62


class Private(NamedTuple):
    """A private attribute: its creator, and its tag with the block's bits zeroed (0xggggxxEE as 0xgggg00EE)."""

    creator: str
    tag: int


Tag = int | Private
Keys = Mapping[Tag, "str | Keys"] | Mapping[int, str]  # a mapping's keys are invariant


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: rows of `level` that match `keys`, with the attributes of `include` too."""

    level: str  # "PATIENT" | "STUDY" | "SERIES" | "IMAGE"
    keys: Keys = field(default_factory=dict)  # text as asked, values joined by "\\"; "" universal; a mapping: sequence
    include: frozenset[Tag | tuple[Tag, ...]] = frozenset()  # also returned; a tuple is a path in sequences
    include_all: bool = False  # every attribute of the level's entity but large per-frame sequences
    fuzzy: bool = False  # person names as they sound, or nearly so
    combined_datetime: bool = False  # a date and its time matched as one (PS3.4 C.2.2.2.5)
    timezone: str = ""  # the requestor's offset from UTC, "+0100"; "" as stored
    empty_value: bool = False  # `""` matches what has no value (PS3.4 C.2.2.2.7)
    multiple_value: bool = False  # any of several values (PS3.4 C.2.2.2.8)
    order: tuple[tuple[int, bool], ...] = ()  # (tag, descending)
    after: str = ""  # `Rows.next` of the page before
    limit: int | None = None
    offset: int = 0


Row = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer. `columns` are tags in ascending order; `extra` has the DICOM JSON members of each row that the index
    does not hold, [] when none are asked; `unmatched` are keys with a value that were not matched.
    """

    columns: tuple[int, ...]
    rows: list[Row]
    unmatched: frozenset[Tag] = frozenset()
    extra: list[dict[str, Any]] = field(default_factory=list)
    next: str = ""  # for `Query.after`; "" at the end
    more: bool = False


async def find(
    readers: Readers, rows_max: int, principal: Principal, query: Query, seconds_max: float = math.inf
) -> Rows:
    """The rows of a query. BadRequest for a key that cannot be read, LimitExceeded beyond the budgets."""
    authorize(principal, "find")
    statement, values, columns, unmatched = _prepared(query)
    limit = rows_max + 1 if query.limit is None else min(max(query.limit, 0), rows_max + 1)
    offset = min(max(query.offset, 0), _NO_LIMIT_OFFSET_MAX)

    def select(connection: sqlite3.Connection) -> list[Row]:
        with _until(connection, seconds_max):
            return connection.execute(statement, (*values, limit, offset)).fetchall()

    rows = await readers.run(select)
    if len(rows) > rows_max:
        raise LimitExceeded(f"more than {rows_max} matches; narrow the query or page through it")
    return Rows(columns, rows, unmatched)


async def count(readers: Readers, principal: Principal, query: Query, seconds_max: float = math.inf) -> int:
    """How many rows a query has. BadRequest for a key that cannot be read, LimitExceeded beyond the budget."""
    authorize(principal, "find")
    statement, values, _, _ = _prepared(replace(query, include=frozenset()))

    def select(connection: sqlite3.Connection) -> int:
        with _until(connection, seconds_max):
            asked = (*values, _NO_LIMIT_OFFSET_MAX, 0)
            return int(connection.execute(f"SELECT count(*) FROM ({statement})", asked).fetchone()[0])

    return await readers.run(select)


@contextmanager
def _until(connection: sqlite3.Connection, seconds_max: float) -> Iterator[None]:
    until = monotonic() + seconds_max
    connection.set_progress_handler(lambda: monotonic() > until, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise LimitExceeded(f"the query took more than {seconds_max:g} seconds; narrow it") from None
    finally:
        connection.set_progress_handler(None, 0)


def _prepared(query: Query) -> tuple[str, list[str | int], tuple[int, ...], frozenset[Tag]]:
    known = KEYS.get(query.level)
    if known is None:
        raise BadRequest("not a query level")
    if any((query.include_all, query.fuzzy, query.combined_datetime, query.timezone, query.order, query.after)):
        raise BadRequest("not supported")
    if query.empty_value or query.multiple_value:
        raise BadRequest("not supported")
    shape: list[tuple[int, str]] = []
    values: list[str | int] = []
    unmatched: set[Tag] = set()
    for tag, text in sorted(query.keys.items(), key=str):
        key = None if isinstance(tag, Private) else known.get(tag)
        if key is None or not key.kind or not isinstance(text, str):
            if text:
                unmatched.add(tag)
            continue
        form = form_of(key.kind, text)
        if form is not None:
            shape.append((key.tag, form.shape))
            values.extend(form.values)
    named = {tag for tag in (*query.include, *query.keys) if isinstance(tag, int)}
    columns = tuple(sorted(tag for tag in named if tag in known))
    return query_statement(query.level, tuple(shape), columns), values, columns, frozenset(unmatched)
