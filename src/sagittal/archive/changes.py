"""The ordered change feed: what happened to instances, in the order it was committed.

A cursor is a text that callers keep and hand back; what is in it is ours. Reading goes in bounded steps from the index,
so a slow subscriber costs no memory. Deliberately not here: how the feed goes over the wire (server-sent events,
webhooks).
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from typing import NamedTuple

from sagittal.archive.access import Principal
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.upkeep.feed import CHANGES, newest
from sagittal.errors import BadRequest

_CURSOR = re.compile(r"c[0-9a-f]{1,16}")
_STEP = 500  # changes read at one time by a subscriber


class Change(NamedTuple):
    """One thing that happened to one instance."""

    number: int
    kind: str  # "stored" | "replaced" | "transcoded" | "kept" | "deleted" | "undeleted" | "purged" | "corrected"
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    at: int  # microseconds UTC

    @property
    def cursor(self) -> str:
        """The cursor that continues after this change."""
        return encode_cursor(self.number)


def encode_cursor(number: int) -> str:
    """The cursor after change `number`; 0 is before all of them."""
    return f"c{number:x}"


def decode_cursor(cursor: str | None) -> int:
    """The number in a cursor, 0 for None; BadRequest when it is none of ours."""
    if not cursor:
        return 0
    if not _CURSOR.fullmatch(cursor) or (number := int(cursor[1:], 16)) >= 1 << 63:
        raise BadRequest("not a cursor of this archive")
    return number


class Feed:
    """The change feed of one archive. Used on the loop; `wake` after every commit."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Something may have been committed."""
        self._readers.forget()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def committed(self) -> asyncio.Future[None]:
        """Done once something may have been committed after this call."""
        waiting = asyncio.get_running_loop().create_future()
        waiting.add_done_callback(self._waiting.discard)
        self._waiting.add(waiting)
        return waiting

    async def newest(self) -> str:
        """The cursor that continues with what happens from now on."""
        return encode_cursor(await self._readers.run(newest))

    async def read(self, principal: Principal, since: str | None, limit: int) -> tuple[list[Change], str]:
        """At most `limit` changes after the cursor `since` (None: from the first), and the cursor to go on with.

        Those of the store that the principal works in. BadRequest for a cursor that is ahead of the archive: of one
        restored from an older backup it would pass over, in silence, all that happens up to there.
        """
        after = decode_cursor(since)

        def select(connection: sqlite3.Connection) -> tuple[list[Change], int]:
            last = newest(connection)
            rows = connection.execute(CHANGES, (after, principal.store, max(limit, 0)))
            return [Change._make(row) for row in rows], last

        found, last = await self._readers.run(select)
        if after > last:
            raise BadRequest("the cursor is ahead of this archive, as after a restore from an older backup: begin anew")
        if len(found) < limit:  # whatever else there is up to `last` is of other stores: it is not read again
            return found, encode_cursor(max(last, found[-1].number if found else 0))
        return found, found[-1].cursor if found else encode_cursor(after)

    def subscribe(self, principal: Principal, since: str | None) -> AsyncIterator[list[Change]]:
        """Changes after the cursor, some at a time, waiting for more for ever; the caller closes the iterator.

        What is wrong with the cursor is said at once, not with the first of them.
        """
        decode_cursor(since)
        return self._following(principal, since)

    async def _following(self, principal: Principal, since: str | None) -> AsyncIterator[list[Change]]:
        while True:
            waiting = self.committed()  # before reading, so that no commit falls between
            try:
                found, since = await self.read(principal, since, _STEP)
                if found:
                    yield found
                else:
                    await waiting
            finally:
                waiting.cancel()
