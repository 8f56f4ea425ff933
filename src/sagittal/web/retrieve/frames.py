"""WADO-RS frames and bulk data: PS3.18 10.4.1.1.6 and 10.4.1.1.5, out of the stored file by the frame index.

Native frames are answered as Explicit VR Little Endian octets, compressed ones as they are stored: under their own
media type, or as octets where the client takes that syntax. 1-bit frames that don't begin at a byte are shifted so
that they do (PS3.5 8.1.1: the first pixel is the least significant bit). Nothing is decoded; what would need a codec
is 406.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import BadRequest, NotAcceptable, NotFound
from sagittal.web.retrieve.objects import Stored
from sagittal.web.retrieve.wado import acceptable
from sagittal.web.wire import uri
from sagittal.web.wire.accept import COMPRESSED_TYPES, OCTET_STREAM, Choice, MediaType, Offer, choose
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Streamed, gathered

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.retrieve import InstanceRef
    from sagittal.web.house import House

_PIXEL_DATA = "7FE00010"


class Frames:
    """GET of …/frames/{list} and …/bulkdata/{tags}."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        limits = house.settings.limits
        self._limits = limits.web
        self._stored = Stored(house.archive, limits.reader, limits.web.read_chunk_bytes)

    async def frames(self, request: Request) -> Response:
        numbers = uri.frame_list(request.path_params["frames"], self._limits.frames_per_request_max)
        ref = await self._instance(request)
        if max(numbers) > (ref.frames or 1):
            raise NotFound(f"the instance has {ref.frames or 1} frames")
        if syntax(ref.syntax_uid).video:
            raise NotAcceptable("a video is not held frame by frame; it is answered whole by …/bulkdata/7FE00010")
        ranges = acceptable(request, self._limits.accept_ranges_max)
        choice = _choice(ranges, ref, single=len(numbers) == 1)
        where = [f"{self._where(request, ref)}/frames/{n}" for n in numbers]
        if syntax(ref.syntax_uid).deflated:
            return self._answer(choice, self._stored.inflated_frames(ref, numbers), where, None)
        return await self._held(ref, choice, numbers, where)

    async def bulk_data(self, request: Request) -> Response:
        path = uri.tag_path(request.path_params["path"])
        ref = await self._instance(request)
        ranges = acceptable(request, self._limits.accept_ranges_max)
        where = f"{self._where(request, ref)}/bulkdata/{path}"
        bounds = _bounds(request, ref)
        if bounds is not None:
            choice = choose(ranges, [Offer(OCTET_STREAM, EXPLICIT_LE)], single=True)
            return self._answer(choice, iter((self._stored.value(ref, *bounds),)), [where], [bounds[1]])
        if path != _PIXEL_DATA:
            raise NotFound("bulk data is found by the offset and length that the metadata gives with its address")
        return await self._pixel_data(ref, ranges, where)

    async def _pixel_data(self, ref: InstanceRef, ranges: Sequence[MediaType], where: str) -> Response:
        """Encapsulated pixel data without the framing of fragments: a part for each frame (PS3.18 8.7.3.3.2)."""
        held, count = syntax(ref.syntax_uid), ref.frames or 1
        whole = held.video or count == 1
        choice = _choice(ranges, ref, single=whole)
        if held.video:
            return self._answer(choice, iter((self._stored.code_stream(ref),)), [where], None)
        if held.deflated:
            return self._answer(choice, self._stored.inflated_frames(ref, range(1, count + 1)), [where] * count, None)
        return await self._held(ref, choice, range(1, count + 1), [where] * count)

    async def _held(self, ref: InstanceRef, choice: Choice, numbers: Sequence[int], where: Sequence[str]) -> Response:
        """Frames out of the file, by the index."""
        first, *found = await self._archive.frame_ranges(ref, [1, *numbers])
        sizes = [sum(-(-length // 8) for _, length in ranges) for ranges in found]
        return self._answer(choice, self._stored.frames(ref, found, first[0][0] // 8), where, sizes)

    async def _instance(self, request: Request) -> InstanceRef:
        study, series, instance = uri.uids(request.path_params)
        refs = await self._archive.instances(
            request.scope["principal"], study_uid=study, series_uid=series, sop_instance_uids=[instance or ""]
        )
        return refs[0]

    def _where(self, request: Request, ref: InstanceRef) -> str:
        addresses = uri.addresses(request, self._house.settings)
        return addresses.instance(ref.study_uid or "", ref.series_uid or "", ref.sop_instance_uid)

    def _answer(
        self, choice: Choice, parts: Iterator[Iterator[bytes]], where: Sequence[str], sizes: Sequence[int] | None
    ) -> Response:
        """`sizes` of the parts, when they are known before the parts are."""
        chunk_bytes, readers = self._limits.read_chunk_bytes, self._house.readers
        offer = choice.offer
        if not choice.multipart:
            pieces = gathered((piece for part in parts for piece in part), chunk_bytes)
            return Streamed(readers, pieces, offer.type, None if sizes is None else sizes[0])
        framing = Framing(offer.type)
        heads = [framing.head(f"{offer.type};transfer-syntax={offer.syntax}", address) for address in where]
        length = None if sizes is None else sum(map(len, heads)) + sum(sizes) + len(framing.close)
        pieces = gathered(_framed(heads, parts, framing.close), chunk_bytes)
        return Streamed(readers, pieces, framing.content_type, length)


def _choice(ranges: Sequence[MediaType], ref: InstanceRef, single: bool) -> Choice:
    """The media type of the frames of an instance, without decoding any."""
    held = syntax(ref.syntax_uid)
    if not held.encapsulated:
        offers = [Offer(OCTET_STREAM, EXPLICIT_LE)]
    else:
        offers = [Offer(OCTET_STREAM, ref.syntax_uid)]
        if ref.syntax_uid in COMPRESSED_TYPES:
            offers.insert(0, Offer(COMPRESSED_TYPES[ref.syntax_uid], ref.syntax_uid))
    try:
        return choose(ranges, offers, single=single)
    except NotAcceptable:
        pass
    what = " or ".join(f"{offer.type}; transfer-syntax={offer.syntax}" for offer in offers)
    text = f"the frames are held in {held.name} and can be had as {what}; another form would need a codec"
    if not single and not any(wanted.multipart for wanted in ranges):
        text = f'several frames are answered as multipart/related; type="{offers[0].type}"'
    raise NotAcceptable(text)


def _bounds(request: Request, ref: InstanceRef) -> tuple[int, int] | None:
    """`offset` and `length` of the address, in bytes of the data set (of the inflated one when it is deflated)."""
    texts = [request.query_params.get(name) for name in ("offset", "length")]
    if texts == [None, None]:
        return None
    if not all(text and text.isascii() and text.isdigit() and len(text) <= 18 for text in texts):
        raise BadRequest("offset and length are numbers of bytes")
    offset, length = (int(text or 0) for text in texts)
    if not syntax(ref.syntax_uid).deflated and offset + length > ref.size - ref.header_length:
        raise NotFound("there is no such bulk data in this instance")
    return offset, length


def _framed(heads: Sequence[bytes], parts: Iterator[Iterator[bytes]], close: bytes) -> Iterator[bytes]:
    for head, part in zip(heads, parts, strict=True):
        yield head
        yield from part
    yield close
