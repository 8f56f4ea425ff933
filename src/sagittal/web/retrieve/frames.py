"""WADO-RS frames: PS3.18 10.4.1.1.6, out of the stored file by the frame index, or made by workers in another syntax.

1-bit frames that don't begin at a byte are shifted so that they do (PS3.5 8.1.1: the first pixel is the least
significant bit). Frames that are decoded are as the codec's syntax has them uncompressed: colours by pixel, chrominance
of each, RGB where the code stream transforms colours. Videos have no frames here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotAcceptable, NotFound
from sagittal.web.retrieve.objects import size_of
from sagittal.web.retrieve.offers import frame_choices
from sagittal.web.retrieve.packaging import Retrieving
from sagittal.web.wire import uri
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.resources import instance_address, instances_at

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House
    from sagittal.web.wire.accept import Choice


_HEADS = 32  # of requests that are remembered, 64 KiB each at the most


class Found(NamedTuple):
    """What the head of a request says of the frames of an object, whichever it names."""

    ref: InstanceRef
    choice: Choice
    held_at: str


class Frames(Retrieving):
    """GET of …/frames/{list}."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._heads: dict[Hashable, Found] = {}
        self._commits = 0  # when they were found

    async def frames(self, request: Request) -> Response:
        numbers = uri.frame_list(request.path_params["frames"], self._limits.frames_per_request_max)
        ref, choice, held_at = await self._found(request, numbers)
        if max(numbers) > (ref.frames or 1):
            raise NotFound(f"the instance has {ref.frames or 1} frames")
        tag = entity_tag("frames", ref.digest, choice.offer.media_type, numbers, held_at, weak=choice.multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        where = [f"{held_at}/frames/{number}" for number in numbers]
        if (answer := self._made(ref, numbers, choice, where, tag)) is not None:
            return answer
        places = await self._archive.frame_ranges(ref, numbers)
        at_once = self._house.at_hand.answer(ref, places, choice, where, headers(tag))
        if at_once is not None:
            return at_once
        [first] = await self._archive.frame_ranges(ref, [1])
        parts = self._stored.frames(ref, places, first[0][0] // 8)
        return self._packaging.parts(choice, parts, where, list(map(size_of, places)), headers(tag))

    async def _found(self, request: Request, numbers: Sequence[int]) -> Found:
        """The same for the same head until something is committed: frames are asked for one after another."""
        scope, commits = request.scope, self._archive.commits
        if commits != self._commits:
            self._commits = commits
            self._heads.clear()
        single = len(numbers) == 1
        study, series, instance = (scope["path_params"][name] for name in ("study", "series", "instance"))
        head = (single, study, series, instance, scope["principal"], scope.get("store"), scope["scheme"],
                scope["server"], scope["client"], scope["query_string"], *scope["headers"])  # fmt: skip
        found = self._heads.get(head)
        if found is not None:
            self._archive.permit(scope["principal"], "get", study_uid=found.ref.study_uid or "", number=1)
            return found
        found = await self._looked_up(request, single, numbers[0])
        if commits == self._archive.commits:
            if len(self._heads) >= _HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[head] = found
        return found

    async def _looked_up(self, request: Request, single: bool, number: int) -> Found:
        [ref] = await instances_at(self._house, request)
        if syntax(ref.syntax_uid).video:
            raise NotAcceptable("a video is not held frame by frame; it is answered whole by …/bulkdata/7FE00010")
        able = frame_choices(self._ranges(request), ref, single)
        choice = await self._transcoded.carried(ref, able, number)
        addresses = uri.addresses(request, self._house.settings)
        return Found(ref, choice, instance_address(addresses, ref))
