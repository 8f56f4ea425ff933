"""The change feed over HTTP: a page of JSON, or server-sent events that go on for ever (WHATWG HTML 9.2).

A stream ends when the token that opened it does. An event's `id` is the cursor behind it, so that a client that comes
back with Last-Event-ID misses nothing. It comes back with the address of its first request, too, whose `since` is
older. This route is served without the OpenAPI sub-application, which the page must not need.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from sagittal.errors import BadRequest, Busy, NotAuthenticated
from sagittal.web.wire.accept import accepted, accepts
from sagittal.web.wire.stream import Pushed

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.access import Principal
    from sagittal.archive.changes import Change
    from sagittal.web.house import House

EVENT_STREAM = "text/event-stream"
_LIMIT_DEFAULT, _LIMIT_MAX = 100, 10_000
_UNBUFFERED = {"x-accel-buffering": "no"}  # nginx would keep events until it has a page of them
_HEARTBEAT_SECONDS = 20.0  # proxies close what is silent; and so we learn that a client has gone


class Changes:
    """GET /api/changes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._streams = Counter[str]()  # that are open, by the name of who has opened them

    async def changes(self, request: Request) -> Response:
        since = request.headers.get("last-event-id") or request.query_params.get("since")
        principal: Principal = request.scope["principal"]
        ranges = accepted(
            request.headers.getlist("accept"), ranges_max=self._house.settings.limits.web.accept_ranges_max
        )
        if accepts(ranges, "application/json", EVENT_STREAM) == EVENT_STREAM:
            if request.method == "HEAD":
                return Response(media_type=EVENT_STREAM, headers=_UNBUFFERED)
            since = await self._cursor(principal, since)
            if since:  # what is wrong with it is said now, while there is a status to say it with
                await self._house.archive.changes(principal, since, 1)
            feed = self._house.archive.subscribe(principal, since)
            pushed = Pushed(self._events(feed, since, request.scope["standing"], principal.name), EVENT_STREAM)
            pushed.headers.update(_UNBUFFERED)
            return pushed
        limit = request.query_params.get("limit", str(_LIMIT_DEFAULT))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= _LIMIT_MAX):
            raise BadRequest(f"limit is a number from 1 to {_LIMIT_MAX}")
        return Response(orjson.dumps(await self.page(principal, since, int(limit))), media_type="application/json")

    async def page(self, principal: Principal, since: str | None, limit: int) -> dict[str, Any]:
        """At most `limit` changes after `since`, and where to go on."""
        found, cursor = await self._house.archive.changes(principal, await self._cursor(principal, since), limit)
        return {"changes": [change_row(change) for change in found], "cursor": cursor}

    async def _cursor(self, principal: Principal, since: str | None) -> str | None:
        return await self._house.archive.newest_change(principal) if since == "now" else since

    async def _events(
        self, feed: AsyncIterator[list[Change]], since: str | None, standing: Callable[[], None], name: str
    ) -> AsyncGenerator[bytes]:
        limits = self._house.settings.limits.web
        if self._streams.total() >= limits.event_streams_max:
            raise Busy("too many event streams (limits.event_streams_max)")
        if self._streams[name] >= limits.event_streams_of_one_max:
            raise Busy("too many event streams of one token (limits.event_streams_of_one_max)")
        self._streams[name] += 1  # not before it is certain that this ends, nor with a pause after the question
        closing = asyncio.ensure_future(self._house.closing.wait())
        coming: asyncio.Future[list[Change]] | None = None
        try:
            # An id without data is no event, but is what a client that is cut off before the first one comes back with.
            yield b": the change feed of this archive\n" + (b"id: %s\n\n" % since.encode() if since else b"\n")
            while not closing.done():
                coming = coming or asyncio.ensure_future(anext(feed))
                await asyncio.wait((coming, closing), timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                standing()
                if coming.done():
                    yield b"".join(map(_event, coming.result()))
                    coming = None
                elif not closing.done():
                    yield b": still here\n\n"
        except NotAuthenticated:  # by now
            pass
        finally:
            self._streams[name] -= 1
            closing.cancel()
            if coming is not None:
                coming.cancel()
                await asyncio.wait((coming,))
            if isinstance(feed, AsyncGenerator):
                await feed.aclose()


def change_row(change: Change) -> dict[str, Any]:
    return {
        "cursor": change.cursor,
        "kind": change.kind,
        "study": change.study_uid,
        "series": change.series_uid,
        "instance": change.sop_instance_uid,
        "at": change.at,
    }


def _event(change: Change) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (
        change.kind.encode(),
        change.cursor.encode(),
        orjson.dumps(change_row(change)),
    )
