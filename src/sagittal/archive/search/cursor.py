"""Cursors of paging: the values that the last row of a page was ordered by, in a text that only we read.

A cursor belongs to a level and an order; with another one it is refused. Rows that come in while somebody pages are
shown when they sort behind the cursor; none is shown twice. Deliberately not here: statements.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import orjson

from sagittal.archive.index.select import Value, cursor_values
from sagittal.archive.search.asked import Query
from sagittal.errors import BadRequest

_CHARACTERS_MAX = 8_192
_INTEGER_MAX = 2**63


def write(query: Query, last: Sequence[Value]) -> str:
    """The cursor behind a row, from what it was ordered by and its id."""
    text = json.dumps([*_belongs_to(query), *last], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(query: Query) -> list[Value]:
    """What a cursor binds; [] without one. BadRequest when it is not of this query."""
    if not query.after:
        return []
    wanted = _belongs_to(query)
    values = _decoded(query.after)
    last = values[len(wanted) :]
    fits = len(last) == len(query.order) + 1 and all(_is_value(value) for value in last) and isinstance(last[-1], int)
    if values[: len(wanted)] != wanted or not fits:
        raise BadRequest("the cursor is not of this query and order")
    return cursor_values(last)


def _decoded(text: str) -> list[Value]:
    try:
        if len(text) > _CHARACTERS_MAX:
            raise ValueError
        values = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))  # no half of a surrogate pair in texts
    except (ValueError, binascii.Error):
        values = None
    if not isinstance(values, list):
        raise BadRequest("not a cursor")
    return values


def _belongs_to(query: Query) -> list[Value]:
    return [query.level, ",".join(f"{'-' if down else ''}{tag:08X}" for tag, down in query.order)]


def _is_value(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < _INTEGER_MAX)
