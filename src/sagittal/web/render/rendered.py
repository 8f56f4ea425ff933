"""Rendered resources and thumbnails: PS3.18 10.4.1.1.3, 10.4.1.1.4, of studies, series, instances and frames.

One instance answers with one picture, its first frame, unless the client takes a moving one or asks for parts; then all
frames come. Several instances answer as multipart/related, a picture each. Reports, waveforms, documents and videos are
rendered as what they are. Thumbnails stand for the middle of what they are of.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sagittal.errors import PASSING, BadRequest, DamagedObject, NotFound, SagittalError
from sagittal.web.render.asked import MOVING, SMALL, Asked, asked, choice
from sagittal.web.render.easel import Easel
from sagittal.web.render.films import Films
from sagittal.web.render.kinds import OVER, REPORT, Kind, content_type, frame_kind, kind_of
from sagittal.web.wire import uri
from sagittal.web.wire.conditions import VARY, entity_tag, headers, unchanged
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.resources import instance_address, instances_at, readable_at
from sagittal.web.wire.stream import Pushed, Whole, unless_gone

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House

log = logging.getLogger("sagittal.web")
Item = tuple["InstanceRef", int]  # an instance, and which of its frames; 0: as a whole


class Rendered:
    """GET of …/rendered and …/thumbnail."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        self._limits = house.settings.limits.web
        self._easel, self._films = Easel(house), Films(house)

    async def several(self, request: Request) -> Response:
        """Of a study or a series."""
        held = await readable_at(self._house, request)
        if held.is_one:
            return await self._one(request, held.refs[0])
        answer = self._parts(request, [(ref, 0) for ref in held.refs], None)
        if answer.status_code == 200:
            answer.status_code = held.status
            answer.raw_headers += held.headers
        return answer

    async def instance(self, request: Request) -> Response:
        (ref,) = await instances_at(self._house, request)
        return await self._one(request, ref)

    async def frames(self, request: Request) -> Response:
        (ref,) = await instances_at(self._house, request)
        numbers = self._numbers(request, ref)
        if len(numbers) == 1:
            return await self._picture(request, ref, numbers[0], asked(request))
        wants, kind = asked(request), frame_kind(ref)
        if kind_of(ref).name == "video":
            kind = kind._replace(types=(*kind.types, "video/mp4"))
        media_type, multipart = self._type(request, kind)
        if not multipart and media_type in MOVING:
            return await self._moving(request, ref, numbers, media_type, wants)
        return self._parts(request, [(ref, number) for number in numbers], kind)

    async def thumbnail(self, request: Request) -> Response:
        """A picture of at most `thumbnail_side` pixels, or of the viewport's size; kept for the next who asks."""
        refs = await instances_at(self._house, request)
        try:
            return await self._thumbnail(request, _standing_for(refs))
        except DamagedObject:
            if len(refs) == 1:
                raise
            return await self._thumbnail(request, _standing_for((await readable_at(self._house, request)).refs))

    async def _thumbnail(self, request: Request, ref: InstanceRef) -> Response:
        numbers = self._numbers(request, ref) if "frames" in request.path_params else [((ref.frames or 1) + 1) // 2]
        port = asked(request).options.get("viewport")
        media_type, _ = choice(request, SMALL, "a thumbnail", self._limits.accept_ranges_max)
        principal = request.scope["principal"]
        others = await self._easel.others(principal, ref, numbers[0], Asked())
        side = port or self._limits.thumbnail_side
        tag = entity_tag("thumbnail", ref.digest, ref.corrected_at, numbers[0], side, media_type, *others)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        body = await unless_gone(request.receive, self._small(request, ref, numbers[0], media_type, port))
        return _answer(body, media_type, tag)

    async def _small(
        self, request: Request, ref: InstanceRef, frame: int, media_type: str, port: Sequence[Any] | None
    ) -> bytes:
        """A thumbnail; in a viewport that is no square it is a picture like others, if the object has one."""
        principal, side = request.scope["principal"], self._limits.thumbnail_side
        if port is not None:
            side = min(port[0], port[1])
        if port is not None and port != [side, side, 0.0, 0.0, None, None]:
            try:
                wants = Asked({"viewport": port})
                return await self._easel.still(principal, ref, frame, media_type, wants)
            except BadRequest:  # a region that is not within the image
                raise
            except SagittalError as error:
                log.debug("a thumbnail is of words: %s", error.text)
        return await self._easel.thumbnail(principal, ref, frame, media_type, side)

    # One

    async def _one(self, request: Request, ref: InstanceRef) -> Response:
        wants, kind = asked(request), kind_of(ref)
        if kind.name == "document":
            return await self._document(request, ref, kind)
        media_type, multipart = self._type(request, kind)
        if kind.name == "video" and media_type == kind.types[0]:
            return await self._films.answer(request, ref, media_type, multipart)
        if kind.name in ("report", "waveform"):
            return await self._text(request, ref, media_type)
        if multipart:
            items, wants = await self._parts_of(request, ref, wants)
            return self._parts(request, items, kind, wants)
        if media_type in MOVING:
            items, laid = await self._parts_of(request, ref, wants)
            image = items[0][0]
            if len(items) > 1 and all(other is image for other, _ in items):  # it moves
                return await self._moving(request, image, [number for _, number in items], media_type, laid)
        return await self._picture(request, ref, 0, wants)

    async def _picture(self, request: Request, ref: InstanceRef, frame: int, wants: Asked) -> Response:
        media_type, multipart = self._type(request, frame_kind(ref))
        if multipart:
            return self._parts(request, [(ref, frame)], frame_kind(ref))
        principal = request.scope["principal"]
        others = await self._easel.others(principal, ref, frame, wants)
        tag = entity_tag("rendered", ref.digest, ref.revision, frame, media_type, wants.key, *others)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        body = await unless_gone(request.receive, self._easel.still(principal, ref, frame, media_type, wants))
        return _answer(body, media_type, tag)

    async def _moving(
        self, request: Request, ref: InstanceRef, frames: Sequence[int], media_type: str, wants: Asked
    ) -> Response:
        principal = request.scope["principal"]
        others = await self._easel.others(principal, ref, 1, wants)
        tag = entity_tag("moving", ref.digest, ref.revision, list(frames), media_type, wants.key, *others)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        body = await unless_gone(request.receive, self._easel.moving(principal, ref, frames, media_type, wants))
        return _answer(body, media_type, tag)

    async def _text(self, request: Request, ref: InstanceRef, media_type: str) -> Response:
        links: dict[str, str] = {}
        principal = request.scope["principal"]
        if kind_of(ref) is REPORT and media_type == "text/html":
            base = uri.addresses(request, self._house.settings)
            for each, _ in await self._easel.references(principal, ref):
                links[each.sop_instance_uid] = f"{instance_address(base, each)}/rendered"
        tag = entity_tag("text", ref.digest, ref.revision, media_type, sorted(links.items()))
        if (answer := unchanged(request, tag)) is not None:
            return answer
        body = await unless_gone(request.receive, self._easel.document(principal, ref, media_type, links))
        return _answer(body, content_type(kind_of(ref), media_type), tag)

    async def _document(self, request: Request, ref: InstanceRef, kind: Kind) -> Response:
        self._type(request, kind)
        tag = entity_tag("document", ref.digest)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        body = await unless_gone(request.receive, self._easel.encapsulated(request.scope["principal"], ref))
        return _answer(body, kind.types[0], tag)

    # Several

    async def _parts_of(self, request: Request, ref: InstanceRef, wants: Asked) -> tuple[list[Item], Asked]:
        """Every frame of an object; of one that lies over others, every image that it names, with it applied."""
        if kind_of(ref) is OVER:
            found = await self._easel.references(request.scope["principal"], ref)
            if found:
                images = ((image, number) for image, frames in found for number in frames or _numbers_of(image))
                most = self._limits.frames_per_request_max
                return list(islice(images, most)), replace(wants, state_uid=ref.sop_instance_uid)
        numbers = _numbers_of(ref)
        if len(numbers) > self._limits.frames_per_request_max:  # it may say so and have none
            raise BadRequest(f"{len(numbers)} frames are too many for one request (limits.frames_per_request_max)")
        return [(ref, number) for number in numbers], wants

    def _parts(
        self, request: Request, items: Sequence[Item], kind: Kind | None, wants: Asked | None = None
    ) -> Response:
        """A part for each, none of which moves; what can't be rendered is left out, unless nothing can."""
        wants, principal = wants or asked(request), request.scope["principal"]
        types = kind.types if kind is not None else _types_of([kind_of(ref) for ref, _ in items])
        types = tuple(each for each in types if not each.startswith("video/"))
        media_type, _ = choice(request, types, "each of several", self._limits.accept_ranges_max)
        tag = _tag_of_parts(items, media_type, wants)
        if tag and (answer := unchanged(request, tag)) is not None:
            return answer
        framing = Framing(media_type)
        base = uri.addresses(request, self._house.settings)

        async def parts() -> AsyncGenerator[bytes]:
            empty = True
            for ref, frame in items:
                own = kind_of(ref)
                if media_type not in own.types:
                    continue
                try:
                    body = await self._easel.alone(principal, ref, frame, media_type, wants)
                except SagittalError as error:
                    if len(items) == 1 or isinstance(error, PASSING):
                        raise
                    log.warning("%s is left out of an answer: %s", ref.sop_instance_uid, error.text)
                    continue
                where = instance_address(base, ref)
                where += f"/frames/{frame}/rendered" if frame else "/rendered"
                empty = False
                yield framing.head(content_type(own, media_type), where) + body
            if empty:
                raise NotFound("nothing here can be rendered")
            yield framing.close

        return Pushed(parts(), framing.content_type, headers(tag) if tag else [VARY])

    # Asking

    def _type(self, request: Request, kind: Kind) -> tuple[str, bool]:
        return choice(request, kind.types, kind.what, self._limits.accept_ranges_max)

    def _numbers(self, request: Request, ref: InstanceRef) -> list[int]:
        numbers = uri.frame_list(request.path_params["frames"], self._limits.frames_per_request_max)
        if max(numbers) > (ref.frames or 1):
            raise NotFound(f"the instance has {ref.frames or 1} frames")
        return numbers


def _types_of(kinds: Sequence[Kind]) -> tuple[str, ...]:
    """What several objects can be had as: those of pictures first, if any is one."""
    pictures = [kind for kind in kinds if kind.name in ("image", "over")]
    return (pictures or [kind for kind in kinds if kind.types] or kinds)[0].types


def _tag_of_parts(items: Sequence[Item], media_type: str, wants: Asked) -> str:
    """Of pictures that are made of one instance each; "" where others are laid over: to find these costs a worker."""
    if wants.state_uid or any(kind_of(ref) is OVER for ref, _ in items):
        return ""
    made_of = [(ref.digest, ref.revision, frame) for ref, frame in items]
    return entity_tag("parts", media_type, wants.key, made_of, weak=True)


def _numbers_of(ref: InstanceRef) -> range:
    return range(1, (ref.frames or 1) + 1)


def _answer(body: bytes, media_type: str, tag: str) -> Response:
    return Whole(body, media_type, headers(tag))


def _standing_for(refs: Sequence[InstanceRef]) -> InstanceRef:
    """The instance in the middle of the first series that has images, or just the middle one."""
    images = [ref for ref in refs if kind_of(ref).name == "image"] or list(refs)
    first = [ref for ref in images if ref.series_uid == images[0].series_uid]
    return first[len(first) // 2]
