"""Rendered objects by WADO-URI: PS3.18 9.5.2.2 (media types) and 9.1.2.2 (parameters), by the engine of …/rendered.

What differs from the RESTful service: sizes are the most rows and columns, a region is named by fractions of the image,
a frame by a parameter, and without a media type an image is answered as the first that there is for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from sagittal.errors import BadRequest
from sagittal.uid import is_uid
from sagittal.web.render.asked import MOVING, SIDE_MAX, Asked, annotation, chosen
from sagittal.web.render.easel import Easel
from sagittal.web.render.films import Films
from sagittal.web.render.kinds import content_type, frame_kind, kind_of
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.stream import Whole, unless_gone

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sagittal.archive.access import Principal
    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House
    from sagittal.web.wire.accept import MediaType

OF_PICTURES = frozenset(
    {
        *("annotation", "columns", "frameNumber", "imageQuality", "presentationSeriesUID", "presentationUID"),
        *("region", "rows", "windowCenter", "windowWidth"),
    }
)
_ROWS, _COLUMNS = "00280010", "00280011"


class RenderedUri:
    """Pictures and documents for WADO-URI."""

    def __init__(self, house: House) -> None:
        self._archive, self._easel, self._films = house.archive, Easel(house), Films(house)

    async def answer(
        self, request: Request, ref: InstanceRef, given: Mapping[str, str], ranges: Sequence[MediaType]
    ) -> Response:
        """The object as the client takes it. NotAcceptable says what it can be rendered as."""
        kind = frame_kind(ref) if "frameNumber" in given else kind_of(ref)
        singles = [wanted for wanted in ranges if not wanted.multipart]
        media_type, _ = chosen(singles, kind.types, kind.what)
        if kind.name == "video" and media_type == kind.types[0]:
            return await self._films.answer(request, ref, media_type, multipart=False)
        principal = request.scope["principal"]
        wants, frame = await self._asked(principal, ref, given)
        others = await self._easel.others(principal, ref, frame, wants)
        tag = entity_tag("uri", ref.digest, ref.revision, media_type, frame, wants.key, *others)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        made = self._made(principal, ref, kind.name, media_type, frame, wants)
        body = await unless_gone(request.receive, made)
        return Whole(body, content_type(kind, media_type), headers(tag))

    async def _made(
        self, principal: Principal, ref: InstanceRef, kind: str, media_type: str, frame: int, wants: Asked
    ) -> bytes:
        count = ref.frames or 1
        if media_type in MOVING and count > 1 and not frame and kind != "over":  # those lie over several images
            return await self._easel.moving(principal, ref, range(1, count + 1), media_type, wants)
        return await self._easel.alone(principal, ref, frame, media_type, wants)

    async def _asked(self, principal: Principal, ref: InstanceRef, given: Mapping[str, str]) -> tuple[Asked, int]:
        """What is asked for, and the frame; 0: none is named."""
        options: dict[str, Any] = {}
        if text := given.get("annotation", ""):
            options["annotations"] = annotation(text)
        if window := _window(given):
            options["window"] = window
        rows, columns = (_number(given, name, SIDE_MAX) for name in ("rows", "columns"))
        if rows or columns or "region" in given:
            options["viewport"] = await self._viewport(principal, ref, given.get("region", ""), rows, columns)
        frame = _number(given, "frameNumber", 10**9)
        if frame > (ref.frames or 1):
            raise BadRequest(f"frameNumber is {frame}, but the instance has {ref.frames or 1} frames")  # 9.5.2
        return Asked(options, _number(given, "imageQuality", 100) or None, _state(given)), frame

    async def _viewport(
        self, principal: Principal, ref: InstanceRef, region: str, rows: int, columns: int
    ) -> list[Any]:
        """At most so many rows and columns of a region: the aspect of the pixels is kept (9.1.2.2.6, 9.1.2.2.8)."""
        if not region:
            return [columns or SIDE_MAX, rows or SIDE_MAX, 0.0, 0.0, None, None]
        left, top, right, bottom = _region(region)
        async for (text,) in self._archive.metadata(principal, [ref]):
            members = orjson.loads(text)
        height, width = (float((members.get(tag, {}).get("Value") or [0])[0]) for tag in (_ROWS, _COLUMNS))
        if not height or not width:
            raise BadRequest("the object has no rows and columns to show a region of")
        wide, high = (right - left) * width, (bottom - top) * height
        if not rows and not columns:
            columns, rows = max(1, min(SIDE_MAX, round(wide))), max(1, min(SIDE_MAX, round(high)))
        return [columns or SIDE_MAX, rows or SIDE_MAX, left * width, top * height, wide, high]


def _number(given: Mapping[str, str], name: str, most: int) -> int:
    """A parameter from 1 to `most`; 0 when it is not there."""
    text = given.get(name)
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= most):
        raise BadRequest(f"{name} is a number from 1 to {most}")
    return int(text)


def _window(given: Mapping[str, str]) -> list[Any]:
    texts = [given.get(name) for name in ("windowCenter", "windowWidth")]
    if texts == [None, None]:
        return []
    if "presentationUID" in given:
        raise BadRequest("a presentation state has a window of its own (windowCenter and presentationUID)")
    try:
        center, width = (float(text or "") for text in texts)
    except ValueError:
        raise BadRequest("windowCenter and windowWidth are two numbers, one with the other") from None
    if not (abs(center) < 1e30 and 1 <= width < 1e30):
        raise BadRequest("windowWidth is at least 1")
    return [center, width, "LINEAR"]


def _region(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise BadRequest("region is xmin,ymin,xmax,ymax, fractions of the image") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadRequest("region is xmin,ymin,xmax,ymax from 0 to 1, the smaller ones first")
    return left, top, right, bottom


def _state(given: Mapping[str, str]) -> str:
    series, state = given.get("presentationSeriesUID"), given.get("presentationUID")
    if (series is None) != (state is None):
        raise BadRequest("presentationSeriesUID and presentationUID come together")
    if state is not None and not (is_uid(state) and is_uid(series or "")):
        raise BadRequest("presentationUID and presentationSeriesUID are UIDs")
    return state or ""
