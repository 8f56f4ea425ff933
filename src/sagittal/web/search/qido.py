"""QIDO-RS: search for studies, series and instances by any attribute (PS3.18 10.6), and how many there are.

No match is 200 with `[]` (PS3.18 2026a 10.6.3, 11.9.3; editions before had 204, which breaks clients that parse every
answer); only as multipart/related, which can't be without a part, it is 204. A cut answer says so in a Warning and
leads on with a Link. `…/count`, `orderby` and CSV are not of PS3.18; the first two are as dcm4chee has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Rows
from sagittal.errors import BadRequest, LimitExceeded, NotAcceptable
from sagittal.web.search import levels
from sagittal.web.search.asked import Asked, Parameters, next_page, parameters
from sagittal.web.search.rows import RowWriter, json_array
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, DICOM_XML, MediaType, accepted, accepts
from sagittal.web.wire.conditions import VARY
from sagittal.web.wire.stream import unless_gone

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.query import Query, Tag
    from sagittal.web.house import House

CSV = "text/csv"
JSON = "application/json"
_ADDRESS = (("study", levels.STUDY_UID), ("series", levels.SERIES_UID))


class Qido:
    """GET of studies, series and instances with matching keys, and of their number."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        self._limits = house.settings.limits
        self._alone = asyncio.Lock()  # with includefield=all an answer is megabytes, and long to make: one at a time

    async def studies(self, request: Request) -> Response:
        return await self._search(request, "STUDY")

    async def series(self, request: Request) -> Response:
        return await self._search(request, "SERIES")

    async def instances(self, request: Request) -> Response:
        return await self._search(request, "IMAGE")

    async def count_studies(self, request: Request) -> Response:
        return await self._count(request, "STUDY")

    async def count_series(self, request: Request) -> Response:
        return await self._count(request, "SERIES")

    async def count_instances(self, request: Request) -> Response:
        return await self._count(request, "IMAGE")

    async def _search(self, request: Request, level: str) -> Response:
        asked, given = self._asked(request, level)
        query = asked.query()
        kind = _kind(accepted(request.headers.getlist("accept"), asked.accept, self._limits.web.accept_ranges_max))

        async def made() -> tuple[Rows, Response]:
            found = Rows(levels.UIDS[level], [])
            async with self._alone if asked.whole else nullcontext():
                if asked.suits(self._same(request, level)):
                    # Nobody asked for these: an instance whose metadata is too long for them must not hide its series.
                    found = await self._archive.find(request.scope["principal"], query, levels.UNINDEXED)
                _all_matched(found.unmatched)
                return found, await self._written(request, kind, query, found)

        found, answer = await unless_gone(request.receive, made())
        answer.raw_headers.append(VARY)
        addresses = uri.addresses(request, self._house.settings)
        if found.more:
            answer.headers.append("warning", addresses.warning(await self._remaining(request, query, found)))
        if found.next:
            where = request.url.path.removeprefix(uri.PREFIX)
            answer.headers.append("link", f'<{addresses.base}{where}?{next_page(given, found.next)}>; rel="next"')
        return answer

    def _aet(self, request: Request) -> str:
        return self._house.settings.aet_in(request.scope["principal"].store)

    def _same(self, request: Request, level: str) -> dict[int, str]:
        """What is the same for all that is held."""
        return {
            levels.RETRIEVE_AE_TITLE: self._aet(request),
            levels.INSTANCE_AVAILABILITY: "ONLINE",
            levels.QUERY_LEVEL: level,
        }

    async def _count(self, request: Request, level: str) -> Response:
        """The whole number, whatever `limit` and `offset` say; as JSON, whatever is accepted."""
        asked, _ = self._asked(request, level)
        query = asked.query()
        number = 0
        if asked.suits(self._same(request, level)):
            number = await self._archive.count(request.scope["principal"], _to_count(query, None))
        return Response(f'{{"count":{number}}}', media_type=JSON)

    def _asked(self, request: Request, level: str) -> tuple[Asked, Parameters]:
        asked = Asked(level, self._limits)
        given = parameters(request.scope["query_string"], self._limits.web.query_parameters_max)
        for name, value in given:
            asked.take(name, value)
        for name, tag in _ADDRESS:
            if name in request.path_params:
                asked.hold(tag, uri.uid(request.path_params[name], "UID"))
        return asked, given

    async def _written(self, request: Request, kind: str, query: Query, found: Rows) -> Response:
        settings = self._house.settings
        writer = RowWriter(found.columns, query.level, uri.addresses(request, settings), self._aet(request))
        if kind == DICOM_XML:
            from sagittal.web.search.xmlrows import multipart

            return await multipart(writer, found)
        if kind == CSV:
            from sagittal.web.search.csvrows import table

            return Response(
                await table(writer, found, {*query.include, *query.keys}, self._aet(request)), media_type=CSV
            )
        return Response(await json_array(writer, found), media_type=kind)

    async def _remaining(self, request: Request, query: Query, found: Rows) -> str:
        """PS3.18 8.3.4.4: how many there are besides; without the number where counting would take long."""
        text = "There are {}additional results that can be requested"
        bound = query.offset + len(found.rows) + self._limits.web.results_max + 1
        if query.after or not query.keys.keys() <= KEYS[query.level].keys():
            return text.format("")
        try:
            number = await self._archive.count(request.scope["principal"], _to_count(query, bound), beside=True)
        except LimitExceeded:
            return text.format("")
        return text.format(f"{number - query.offset - len(found.rows)} " if number < bound else "")


def _to_count(query: Query, limit: int | None) -> Query:
    """What matches, up to `limit`, whatever is shown of it."""
    return replace(query, include=frozenset(), include_all=False, order=(), after="", offset=0, limit=limit)


def _kind(ranges: Sequence[MediaType]) -> str:
    """The media type of the answer; multipart/related for XML (PS3.18 10.6.3.3)."""
    for wanted in ranges:
        if wanted.multipart:
            if wanted.root in (DICOM_XML, "*/*"):
                return DICOM_XML
        elif kind := accepts([wanted], DICOM_JSON, JSON, CSV):
            return kind
    raise NotAcceptable(f'searches are answered as {DICOM_JSON}, multipart/related; type="{DICOM_XML}" or {CSV}')


def _all_matched(unmatched: frozenset[Tag]) -> None:
    """Leaving a key out would answer more than was asked."""
    names = sorted(f"{tag:08X}" if isinstance(tag, int) else f"{tag.creator} {tag.tag:08X}" for tag in unmatched)
    if names:
        raise BadRequest(f"can't be matched at this level: {', '.join(names)}")
