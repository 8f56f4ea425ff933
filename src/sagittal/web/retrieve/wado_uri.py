"""WADO-URI: one object by query parameters (PS3.18 9), `/wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…`.

Answered: application/dicom in the transfer syntax that is named, by transferSyntax or as a parameter of the media type,
or Explicit VR Little Endian (9.5.2.1.1, the default); or a rendered media type, which is the default (9.5.2.2) where
the client names none. Parameters of rendering make no sense with application/dicom and are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.errors import BadRequest, NotAcceptable
from sagittal.web.render.kinds import kind_of
from sagittal.web.render.uri import OF_PICTURES, RenderedUri
from sagittal.web.retrieve.offers import object_choices
from sagittal.web.retrieve.wado import Wado
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM, MediaType, accepted, accepts
from sagittal.web.wire.conditions import entity_tag, unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from sagittal.web.house import House

PARAMETERS = OF_PICTURES | {
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "anonymize", "transferSyntax")
}


class WadoUri:
    """GET of /wado."""

    def __init__(self, house: House) -> None:
        self._archive, self._limits = house.archive, house.settings.limits.web
        self._wado, self._rendered = Wado(house), RenderedUri(house)

    async def object(self, request: Request) -> Response:
        given = _parameters(request)
        if given.get("requestType") != "WADO":
            raise BadRequest("requestType must be WADO")
        study, series, instance = (_uid(given, name) for name in ("studyUID", "seriesUID", "objectUID"))
        if given.get("anonymize"):
            raise NotAcceptable("objects are not de-identified on the way out")
        named = [given["contentType"]] if given.get("contentType") else ()
        ranges = accepted(request.headers.getlist("accept"), named, self._limits.accept_ranges_max)
        refs = await self._archive.instances(
            request.scope["principal"], study_uid=study, series_uid=series, sop_instance_uids=[instance]
        )
        ref = refs[0]
        wanted = _of_objects(ranges, kind_of(ref).types, given.get("transferSyntax", ""))
        if not wanted:
            return await self._rendered.answer(request, ref, given, ranges)
        if OF_PICTURES & given.keys():
            raise BadRequest(f"{min(OF_PICTURES & given.keys())} is for rendered images, not for {DICOM}")
        offers = [choice.offer for choice in object_choices(wanted, ref.syntax_uid, single=True)]
        tag = entity_tag(ref.digest, ref.revision, *(offer.syntax for offer in offers))
        return unchanged(request, tag) or self._wado.alone(request, ref, offers, tag)


def _of_objects(ranges: Sequence[MediaType], pictures: Sequence[str], syntax_uid: str) -> list[MediaType]:
    """What is taken of application/dicom, if the object is wanted and not a picture of it.

    It is when it is named, and no picture before it; `*/*` means pictures (9.5.2.2) unless a transfer syntax is told.
    """
    named = [wanted for wanted in ranges if wanted.type == DICOM]
    if syntax_uid:
        if not accepts(ranges, DICOM):
            raise BadRequest(f"transferSyntax is for {DICOM}, which contentType or Accept does not name")
        return [MediaType(DICOM, {"transfer-syntax": syntax_uid})]
    if named:
        before = ranges[: ranges.index(named[0])]
        better = [wanted for wanted in before if wanted.type != "*/*" or wanted.q > named[0].q]
        if accepts(better, *pictures):
            return []
    return named


def _parameters(request: Request) -> dict[str, str]:
    """What there is; others are as if not present (PS3.18 8.3): viewers and proxies add theirs."""
    known = [(name, value) for name, value in request.query_params.multi_items() if name in PARAMETERS]
    given = dict(known)
    if len(known) != len(given):
        raise BadRequest("a parameter is given twice")
    return given


def _uid(given: dict[str, str], name: str) -> str:
    if name not in given:
        raise BadRequest(f"{name} is missing")
    return uri.uid(given[name], name)
