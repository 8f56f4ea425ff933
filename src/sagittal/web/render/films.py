"""A stored video as its own rendering: PS3.18 8.7.4. What players take is where its bulk data is, which knows ranges.

They take MP4 alone, while PS3.5 8.2 allows H.264 and HEVC in transport streams and bare too: those a worker puts into
MP4 for each answer, without decoding. MPEG-2, which no browser plays, goes as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from sagittal.web.retrieve.objects import Stored, sliced
from sagittal.web.retrieve.packaging import Packaging
from sagittal.web.wire import uri
from sagittal.web.wire.accept import Choice, Offer
from sagittal.web.wire.conditions import entity_tag, unchanged
from sagittal.web.wire.resources import instance_address
from sagittal.web.wire.stream import unless_gone

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House

_HEAD_BYTES = 8  # of an MP4 file: how long its first box is, and that it tells the type of the file


class Films:
    """Answers for one application."""

    def __init__(self, house: House) -> None:
        self._house, self._stored, self._packaging = house, Stored.of(house), Packaging(house)

    async def answer(self, request: Request, ref: InstanceRef, media_type: str, multipart: bool) -> Response:
        """The video of an instance as its own `media_type`. PixelsUndecodable where it can't be put into MP4."""
        address = instance_address(uri.addresses(request, self._house.settings), ref)
        if media_type != "video/mp4" or await self._is_mp4(ref):
            query = "" if multipart else f"?accept={media_type}"  # a player takes anything, and would get a part
            return RedirectResponse(f"{address}/bulkdata/7FE00010{query}", 303)
        tag = entity_tag("film", ref.digest, ref.corrected_at, weak=multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        made = await unless_gone(request.receive, self._house.maker.film(ref))

        def cut(first: int, length: int) -> Iterator[bytes]:
            try:
                (film,) = made.frames(self._stored.chunk_bytes)
                yield from sliced(film, first, first + length)
            finally:
                made.close()

        choice = Choice(Offer(media_type, ""), multipart)
        answer = self._packaging.one(request, choice, f"{address}/rendered", made.lengths[0], cut, tag)
        if answer.status_code == 416:
            made.close()
        return answer

    async def _is_mp4(self, ref: InstanceRef) -> bool:
        def head() -> bytes:
            return b"".join(self._stored.code_stream(ref, 0, _HEAD_BYTES))

        return (await asyncio.get_running_loop().run_in_executor(self._house.readers, head))[4:] == b"ftyp"
