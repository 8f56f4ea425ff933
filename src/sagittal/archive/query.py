"""Finding patients, studies, series and instances by matching keys: the engine's side of C-FIND and QIDO-RS.

Runs on a reader thread, from the index alone, under a budget of rows. Deliberately not here: what a query must or may
hold at which level by PS3.4 or PS3.18 (services and web check that), and attributes that are not in the index, which
are not matched.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.keys import KEYS
from sagittal.archive.index.matching import form_of
from sagittal.archive.index.select import query_statement
from sagittal.errors import BadRequest, LimitExceeded

_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's machine, some milliseconds
_NO_LIMIT_OFFSET_MAX = 1 << 62


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: rows of `level` that match `keys` (tag to text, "" universal), with the attributes of `include`
    too.
    """

    level: str  # "PATIENT" | "STUDY" | "SERIES" | "IMAGE"
    keys: Mapping[int, str] = field(default_factory=dict)
    include: frozenset[int] = frozenset()
    limit: int | None = None
    offset: int = 0


Row = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer: `columns` are tags in ascending order; `unmatched` are keys with a value that the index does not
    hold.
    """

    columns: tuple[int, ...]
    rows: list[Row]
    unmatched: frozenset[int] = frozenset()


async def find(
    readers: Readers, rows_max: int, principal: Principal, query: Query, seconds_max: float = math.inf
) -> Rows:
    """The rows of a query. BadRequest for a key that cannot be read, LimitExceeded beyond the budgets."""
    authorize(principal, "find")
    statement, values, columns, unmatched = _prepared(query)
    limit = rows_max + 1 if query.limit is None else min(max(query.limit, 0), rows_max + 1)
    offset = min(max(query.offset, 0), _NO_LIMIT_OFFSET_MAX)

    def select(connection: sqlite3.Connection) -> list[Row]:
        until = monotonic() + seconds_max
        connection.set_progress_handler(lambda: monotonic() > until, _STEPS_BETWEEN_LOOKS)
        try:
            return connection.execute(statement, (*values, limit, offset)).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise LimitExceeded(f"the query took more than {seconds_max:g} seconds; narrow it") from None
        finally:
            connection.set_progress_handler(None, 0)

    rows = await readers.run(select)
    if len(rows) > rows_max:
        raise LimitExceeded(f"more than {rows_max} matches; narrow the query or page through it")
    return Rows(columns, rows, unmatched)


def _prepared(query: Query) -> tuple[str, list[str | int], tuple[int, ...], frozenset[int]]:
    known = KEYS.get(query.level)
    if known is None:
        raise BadRequest("not a query level")
    shape: list[tuple[int, str]] = []
    values: list[str | int] = []
    unmatched = set()
    for tag in sorted(query.keys):
        text = query.keys[tag]
        key = known.get(tag)
        if key is None or not key.kind:
            if text:
                unmatched.add(tag)
            continue
        form = form_of(key.kind, text)
        if form is not None:
            shape.append((tag, form.shape))
            values.extend(form.values)
    columns = tuple(sorted(tag for tag in query.include | query.keys.keys() if tag in known))
    return query_statement(query.level, tuple(shape), columns), values, columns, frozenset(unmatched)
