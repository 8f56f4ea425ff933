"""The DICOM conformance statement as it is printed, at /api/conformance: what capabilities refer to (PS3.18 8.9).

A worker prints it, once, as its tables are many. Deliberately not here: what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from sagittal.web.wire.conditions import entity_tag, headers, unchanged

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sagittal.web.house import House

PATH = "/api/conformance"
_MARKDOWN = "text/markdown"
_CALL = "sagittal.conformance:told"  # of a room above: known by its name only


def add_statement(api: FastAPI, house: House) -> None:
    statement = Statement(house)

    @api.get(
        "/conformance",
        summary="The DICOM conformance statement",
        response_class=Response,
        responses={200: {"content": {_MARKDOWN: {}}}},
    )
    async def get_conformance(request: Request) -> Response:
        return await statement.get(request)


class Statement:
    """GET of the conformance statement, as Markdown."""

    def __init__(self, house: House) -> None:
        self._workers = house.workers
        self._text = b""

    async def get(self, request: Request) -> Response:
        if not self._text:
            self._text = bytes((await self._workers.run(_CALL)).body)
        tag = entity_tag("conformance", self._text)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        answer = Response(self._text, media_type=f"{_MARKDOWN}; charset=utf-8")
        answer.raw_headers += headers(tag)
        return answer
