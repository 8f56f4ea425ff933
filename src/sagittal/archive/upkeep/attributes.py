"""Indexing attributes for what was held before the configuration wanted them, while serving.

Instances are read again in the order of their ids, a few at a time, from the metadata that ingest kept; how far it came
is committed with the values, so that it goes on after a restart. An attribute answers queries once all is read. The
indexes of attributes that are wanted no more are cleared. Deliberately not here: new objects, whose values come with
their rows.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial
from time import monotonic

from sagittal.archive.acts import Act
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.finding.attributes import Attributes, values_of_parts
from sagittal.archive.index.select import METADATA
from sagittal.archive.index.upkeep import attributes as rows
from sagittal.lasting import lasting

log = logging.getLogger("sagittal.archive")

_COMMITTED_AT_ONCE = 500  # instances
_SLICE_SECONDS = 0.002
_SWEPT_AT_ONCE = 1_000
Values = dict[int, list[tuple[str, str]]]


async def index_attributes(readers: Readers, act: Act, attributes: Attributes) -> None:
    """Until nothing is left of others and every wanted attribute is complete. Runs as a task of the archive."""
    await lasting(partial(_sweep, readers, act), "clearing the indexes of attributes", log)
    await lasting(partial(_step, readers, act, attributes), "indexing attributes", log)


async def _sweep(readers: Readers, act: Act) -> bool:
    """Remove some of an attribute that is wanted no more; False when nothing is left of any."""
    for name in await readers.run(rows.dropped):
        while await act(partial(rows.sweep, name=name, count=_SWEPT_AT_ONCE)):
            pass
    return False


async def _step(readers: Readers, act: Act, attributes: Attributes) -> bool:
    """Read some instances again; False when everything is there."""
    state = await readers.run(rows.progress)
    attributes.complete = frozenset(name for name, (done, until) in state.items() if done >= until)
    behind = {name: at for name, at in state.items() if name not in attributes.complete}
    if not behind:
        return False
    start = min(done for done, _ in behind.values())
    names = [name for name, (done, _) in behind.items() if done == start]
    last = min(until if done == start else done for done, until in behind.values())
    ids = await readers.run(rows.after, start, last, _COMMITTED_AT_ONCE)
    values: Values = {}
    at = 0
    while at < len(ids):
        at = await readers.run(_slice, ids, at, attributes, values)
    done = ids[-1] if len(ids) == _COMMITTED_AT_ONCE else last
    await act(lambda connection: rows.advance(connection, names, done, values))
    return True


def _slice(connection: sqlite3.Connection, ids: list[int], at: int, attributes: Attributes, values: Values) -> int:
    until = monotonic() + _SLICE_SECONDS
    while True:
        parts = [row[0] for row in connection.execute(METADATA, (ids[at],))]
        values[ids[at]] = values_of_parts(parts, attributes.wanted) if parts else []
        at += 1
        if at >= len(ids) or monotonic() >= until:
            return at
