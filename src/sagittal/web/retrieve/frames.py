"""WADO-RS frames: PS3.18 10.4.1.1.6, out of the stored file by the frame index, or made by workers in another syntax.

1-bit frames that don't begin at a byte are shifted so that they do (PS3.5 8.1.1: the first pixel is the least
significant bit). Frames that are decoded are as the codec's syntax has them uncompressed: colours by pixel, chrominance
of each, RGB where the code stream transforms colours. Videos have no frames here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotAcceptable, NotFound
from sagittal.web.retrieve.athand import AtHand
from sagittal.web.retrieve.objects import Stored
from sagittal.web.retrieve.packaging import Packaging, acceptable
from sagittal.web.retrieve.transcoded import Transcoded, frame_choice
from sagittal.web.wire import uri
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Pushed

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.web.house import House


class Frames:
    """GET of …/frames/{list}."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        limits = house.settings.limits
        self._limits = limits.web
        self._packaging = Packaging(house)
        self._at_hand = AtHand(house.archive, limits.web.read_chunk_bytes)
        self._stored = Stored(house.archive, limits.reader, limits.web.read_chunk_bytes)
        self._transcoded = Transcoded(house, self._stored)

    async def frames(self, request: Request) -> Response:
        numbers = uri.frame_list(request.path_params["frames"], self._limits.frames_per_request_max)
        study, series, instance = uri.uids(request.path_params)
        refs = await self._archive.instances(
            request.scope["principal"], study_uid=study, series_uid=series, sop_instance_uids=[instance or ""]
        )
        ref = refs[0]
        if max(numbers) > (ref.frames or 1):
            raise NotFound(f"the instance has {ref.frames or 1} frames")
        if syntax(ref.syntax_uid).video:
            raise NotAcceptable("a video is not held frame by frame; it is answered whole by …/bulkdata/7FE00010")
        choice = frame_choice(acceptable(request, self._limits.accept_ranges_max), ref, single=len(numbers) == 1)
        addresses = uri.addresses(request, self._house.settings)
        held_at = addresses.instance(ref.study_uid or "", ref.series_uid or "", ref.sop_instance_uid)
        tag = entity_tag("frames", ref.digest, choice.offer, numbers, held_at, weak=choice.multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        where = [f"{held_at}/frames/{number}" for number in numbers]
        if not choice.offer.stored:
            framing = Framing(choice.offer.type)
            type_ = framing.content_type if choice.multipart else choice.offer.type
            return Pushed(self._transcoded.frames(ref, numbers, choice, framing, where), type_, headers(tag))
        if syntax(ref.syntax_uid).deflated:
            return self._packaging.parts(choice, self._stored.inflated_frames(ref, numbers), where, None, headers(tag))
        first, *found = await self._archive.frame_ranges(ref, [1, *numbers])
        at_once = self._at_hand.answer(ref, found, choice, where, headers(tag))
        if at_once is not None:
            return at_once
        sizes = [sum(-(-length // 8) for _, length in ranges) for ranges in found]
        parts = self._stored.frames(ref, found, first[0][0] // 8)
        return self._packaging.parts(choice, parts, where, sizes, headers(tag))
