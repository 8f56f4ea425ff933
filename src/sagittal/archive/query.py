"""Finding patients, studies, series and instances by matching keys: the engine's side of C-FIND and QIDO-RS.

Runs on reader threads under budgets: the index narrows, and keys that no index answers are matched on the metadata that
ingest kept, for as many instances as `scan_instances_max` says. Deliberately not here: what a query must or may hold at
which level by PS3.4 or PS3.18 (services and web check that).
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any, cast

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.corrections import touched
from sagittal.archive.index.finding.attributes import Attributes
from sagittal.archive.index.keys import KEYS
from sagittal.archive.index.select import (
    Value,
    candidates_statement,
    query_statement,
    representatives_statement,
    rows_statement,
)
from sagittal.archive.search import cursor, returned, scan
from sagittal.archive.search.asked import Keys, Private, Query, Row, Rows, Tag, check_patterns
from sagittal.archive.search.prepared import Prepared, prepare
from sagittal.dicom.dictionary import keyword_of, tag_text
from sagittal.dicom.models.jsontext import encode_json
from sagittal.errors import LimitExceeded
from sagittal.limits import ArchiveLimits

__all__ = ["Keys", "Private", "Query", "Row", "Rows", "Tag", "count", "find", "pages"]

_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's machine, some milliseconds
_NO_LIMIT_OFFSET_MAX = 1 << 62
_OBJECTS_AT_ONCE = 24  # inflated, parsed and pruned in one go: about 2 ms
_NOTHING = Attributes()
Found = list[tuple[Value, ...]]  # selected columns, what the row is ordered by, its id


async def find(
    readers: Readers, limits: ArchiveLimits, principal: Principal, query: Query, attributes: Attributes = _NOTHING
) -> Rows:
    """The rows of a query, and where to go on: behind `limit`, or where what is read of metadata is enough for one page
    (limits.returned_bytes_max) or took its time. BadRequest for a key that cannot be read, LimitExceeded beyond the
    budgets.
    """
    authorize(principal, "find")
    check_patterns(query.keys, limits.query_pattern_characters_max)
    until = monotonic() + limits.query_seconds_max
    corrected = await _corrected(readers, query, attributes)
    prepared = prepare(query, attributes, principal.store, corrected)
    rows_max = limits.query_rows_max
    limit = rows_max if query.limit is None else min(max(query.limit, 0), rows_max)
    page = limit + 1, min(max(query.offset, 0), _NO_LIMIT_OFFSET_MAX)
    representatives: dict[int, int] = {}
    if prepared.matcher is None:
        found = await _indexed(readers, prepared, page, limits.query_seconds_max)
        number = len(found)
    else:
        representatives = await _scanned(readers, prepared, page, limits, until)
        number = len(representatives)
        found = await _rows(readers, prepared, list(representatives)[:limit], limits.query_seconds_max)
    if number > rows_max and (query.limit is None or query.limit > rows_max):
        raise LimitExceeded(f"more than {rows_max} matches; narrow the query or page through it")
    more, found = number > limit, found[:limit]
    if more and limit and not found:  # all of the page was deleted while it was read: from where would the next go on?
        return await find(readers, limits, principal, query, attributes)
    hidden = len(prepared.order) + 1
    extra: list[Mapping[str, Any]] = []
    if prepared.reads_metadata:
        extra = await _extra(readers, prepared, [int(row[-1] or 0) for row in found], representatives, limits, until)
        if len(extra) < len(found):
            more, found = True, found[: len(extra)]
    return Rows(
        columns=prepared.columns,
        rows=cast(list[Row], [row[:-hidden] for row in found]),  # no column is a float
        unmatched=prepared.unmatched,
        extra=extra,
        next=cursor.write(query, found[-1][-hidden:]) if more and found else "",
        more=more,
    )


async def pages(
    readers: Readers, limits: ArchiveLimits, principal: Principal, query: Query, attributes: Attributes = _NOTHING
) -> AsyncIterator[Rows]:
    """All rows of a query, so many at one time as `find` gives. Where it costs too much, from there on without what is
    only returned, and not in the index: that is told as `unmatched`.
    """
    asked, left_out, indexed = query, frozenset[Tag](), KEYS[query.level]
    while True:
        try:
            rows = await find(readers, limits, principal, asked, attributes)
        except LimitExceeded:
            keys = {key: value for key, value in asked.keys.items() if value or key in indexed}
            if len(keys) == len(asked.keys):
                raise
            left_out = frozenset(asked.keys.keys() - keys.keys())
            asked = replace(asked, keys=keys, include=frozenset())
            continue
        yield replace(rows, unmatched=rows.unmatched | left_out)
        if not rows.next:
            return
        asked = replace(asked, after=rows.next)


async def count(
    readers: Readers, limits: ArchiveLimits, principal: Principal, query: Query, attributes: Attributes = _NOTHING
) -> int:
    """How many rows match, counted up to `query.limit` and from the first. BadRequest, LimitExceeded."""
    authorize(principal, "find")
    check_patterns(query.keys, limits.query_pattern_characters_max)
    bare = replace(query, include=frozenset(), include_all=False, order=(), after="")
    corrected = await _corrected(readers, query, attributes)
    prepared = prepare(bare, attributes, principal.store, corrected)
    seconds = limits.query_seconds_max
    most = _NO_LIMIT_OFFSET_MAX if query.limit is None else max(query.limit, 0)
    if prepared.matcher is not None:
        page = most, 0
        return len(await _scanned(readers, prepared, page, limits, monotonic() + seconds))
    statement = f"SELECT count(*) FROM ({query_statement(prepared.store, prepared.level, prepared.shape, ())})"
    values = (*prepared.values, most, 0)

    def select(connection: sqlite3.Connection) -> int:
        with _within(connection, seconds):
            return int(connection.execute(statement, values).fetchone()[0])

    return await readers.run(select)


async def _corrected(readers: Readers, query: Query, attributes: Attributes) -> frozenset[int]:
    """The keys that the configured attributes alone don't answer, as there are corrections of them."""
    asked = [tag for tag in query.keys if isinstance(tag, int) and f"{tag:08X}" in attributes.complete]
    return await readers.run(touched, asked) if asked else frozenset()


async def _indexed(readers: Readers, prepared: Prepared, page: tuple[int, int], seconds: float) -> Found:
    """The rows of a page, by the index alone."""
    asked = prepared.level, prepared.shape, prepared.columns, prepared.order
    statement = query_statement(prepared.store, *asked, after=prepared.after)
    return await readers.run(_fetch, statement, [*prepared.values, *page], seconds)


async def _scanned(
    readers: Readers, prepared: Prepared, page: tuple[int, int], limits: ArchiveLimits, until: float
) -> dict[int, int]:
    """The rows of a page, each with its first instance that matches what only metadata can tell."""
    most = limits.scan_instances_max
    statement = candidates_statement(
        prepared.store, prepared.level, prepared.shape, prepared.order, after=prepared.after
    )
    values = [*prepared.values, *prepared.lower, most + 1]
    seconds = limits.query_seconds_max
    pairs = await readers.run(_fetch, statement, values, seconds)
    if len(pairs) > most:
        raise LimitExceeded(  # the advice first: of an Error Comment 64 characters are left
            f"narrow by a UID, patient or date: {_shown(prepared.scanned)} not indexed, and the other keys leave more "
            f"than {most} instances to read (limits.scan_instances_max). An accession number narrows, too; or have it "
            "indexed ([index] attributes)"
        )
    assert prepared.matcher is not None
    limit, offset = page
    found = await scan.matching(
        readers,
        [(int(row or 0), int(instance or 0)) for row, instance in pairs],
        prepared.matcher,
        limit + offset,
        until,
        limits.scan_metadata_bytes_max,
    )
    return dict(list(found.items())[offset:])


async def _rows(readers: Readers, prepared: Prepared, ids: list[int], seconds: float) -> Found:
    """The rows with these ids, in their order, without those that were deleted since."""
    statement = rows_statement(prepared.level, prepared.columns, prepared.order)
    rows = await readers.run(_fetch, statement, [json.dumps(ids)], seconds)
    by_id = {row[-1]: row for row in rows}
    return [by_id[id] for id in ids if id in by_id]


async def _extra(
    readers: Readers,
    prepared: Prepared,
    ids: list[int],
    representatives: dict[int, int],
    limits: ArchiveLimits,
    until: float,
) -> list[Mapping[str, Any]]:
    """What is returned from metadata, for each row; for the first ones, when it is more than is held at one time or
    takes long.
    """
    room = limits.returned_bytes_max
    columns = frozenset(f"{tag:08X}" for tag in prepared.columns)
    extra: list[Mapping[str, Any]] = []

    def read(connection: sqlite3.Connection, chunk: Sequence[int], room: int) -> list[tuple[Mapping[str, Any], int]]:
        instances = {id: representatives[id] for id in chunk if id in representatives}
        if len(instances) < len(chunk):
            rows = connection.execute(representatives_statement(prepared.level), (json.dumps(chunk),))
            instances = dict(rows.fetchall()) | instances
        found: dict[int, tuple[Mapping[str, Any], int]] = {}
        left = room
        for instance, told in scan.objects(connection, list(instances.values()), limits.scan_metadata_bytes_max):
            of_row = returned.members(told, prepared.level, prepared.paths, prepared.include_all, columns)
            found[instance] = of_row, len(encode_json(of_row))
            left -= found[instance][1]
            if left < 0 and len(chunk) > 1:  # they come in another order than the rows do
                del found, told, of_row
                return read(connection, chunk[: len(chunk) // 2], room)
        return [found.get(instances.get(id, 0), ({}, 2)) for id in chunk]

    while len(extra) < len(ids):
        if monotonic() > until:
            if extra:
                return extra
            raise LimitExceeded("the query took too long: narrow it, its keys are not indexed")
        chunk = ids[len(extra) : len(extra) + _OBJECTS_AT_ONCE]
        for of_row, length in await readers.piece(read, chunk, room):
            room -= length
            if room < 0 and extra:
                return extra
            extra.append(of_row)
    return extra


def _shown(tags: Sequence[Tag]) -> str:
    names = [
        f"{tag_text(tag)} {keyword_of(tag)}".rstrip()
        if isinstance(tag, int)
        else f"({tag.tag >> 16:04X},xx{tag.tag & 0xFF:02X}) of {tag.creator[:64]}"
        for tag in tags[:3]
    ]
    return ", ".join(names) + (" and others are" if len(tags) > 3 else " are" if len(tags) > 1 else " is")


def _fetch(connection: sqlite3.Connection, statement: str, values: Sequence[Value], seconds: float) -> Found:
    with _within(connection, seconds):
        return connection.execute(statement, values).fetchall()


@contextmanager
def _within(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """LimitExceeded when what is executed takes longer."""
    if seconds == math.inf:
        yield
        return
    until = monotonic() + seconds
    connection.set_progress_handler(lambda: monotonic() > until, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise LimitExceeded(f"the query took more than {seconds:g} seconds; narrow it") from None
    finally:
        connection.set_progress_handler(None, 0)
