"""WADO-RS bulk data and pixel data: PS3.18 10.4.1.1.5 and 10.4.1.1.7, of a study, a series, an instance, or one value.

What there is, the metadata tells: it names each value that it leaves out by its place in the data set, so that no
object is parsed here. Native values are one part each, encapsulated pixel data is a part for each frame without the
framing of fragments (8.7.3.3.2), a video is one part; so is the pixel data of an icon, which is looked for. A document
can be had as what it is. Frames are made in another syntax where the client takes them so (8.7.3.3). A value can be had
by ranges, alone or as a part, several values and frames can't (RFC 9110 14.2 lets Range be ignored). Values that
metadata holds inline are not bulk data. Here is one value alone; several are `bulk.several`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotFound
from sagittal.web.render.kinds import kind_of
from sagittal.web.retrieve.bulk.several import Several
from sagittal.web.retrieve.bulk.values import PIXEL_DATA, Value, asked_bounds, frames_of, has_frames, named
from sagittal.web.retrieve.objects import size_of, sliced
from sagittal.web.retrieve.offers import NATIVE, frame_choices, held_choice
from sagittal.web.retrieve.packaging import Retrieving
from sagittal.web.wire import uri
from sagittal.web.wire.accept import Choice, MediaType, Offer, choose
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.resources import instance_address, instances_at, readable_at

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.access import Principal
    from sagittal.archive.references import InstanceRef, Ranges
    from sagittal.web.house import House

_DOCUMENT, _DOCUMENT_LENGTH = "00420011", "00420015"
_PIXELS = frozenset({PIXEL_DATA, "7FE00008", "7FE00009"})  # and Float and Double Float Pixel Data


class BulkData(Retrieving):
    """GET of …/bulkdata, …/bulkdata/{tags} and …/pixeldata."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._several = Several(house, self._stored, self._transcoded)

    async def value(self, request: Request) -> Response:
        (ref,) = await instances_at(self._house, request)
        return await self.value_of(request, ref)

    async def value_of(self, request: Request, ref: InstanceRef) -> Response:
        """The value of an instance that the address names."""
        return await self._one(request, ref, await self._named(request, ref))

    async def _named(self, request: Request, ref: InstanceRef) -> Value:
        """Where the value lies, the metadata tells if the address does not."""
        path, bounds = uri.tag_path(request.path_params["path"]), asked_bounds(request, ref)
        if bounds or (path == PIXEL_DATA and syntax(ref.syntax_uid).encapsulated):
            return Value(path, bounds)
        of_it = named(self._archive, request.scope["principal"], [ref], frozenset((path,)))
        values = [value async for _, found in of_it for value in found]
        if not values and path != PIXEL_DATA:
            raise NotFound("the instance has no such bulk data")
        return values[0] if values else Value(path, None)  # so short that the metadata holds it

    async def all(self, request: Request) -> Response:
        return await self._below(request, None)

    async def pixel_data(self, request: Request) -> Response:
        return await self._below(request, _PIXELS)

    async def _one(self, request: Request, ref: InstanceRef, value: Value) -> Response:
        ranges = self._ranges(request)
        where = f"{self._address(request, ref)}/bulkdata/{value.path}"
        if value.bounds is None:
            if value.path == PIXEL_DATA and await has_frames(self._archive, ref):
                return await self._encapsulated(request, ref, ranges, where)
            return await self._joined(request, ref, value, ranges, where)
        offset, length = value.bounds
        choice = choose(ranges, [*_document_offers(ref, value), NATIVE], single=True)
        if choice.offer != NATIVE:
            length = await self._document_length(request.scope["principal"], ref, length)
        tag = entity_tag("value", ref.digest, value, choice.offer, where, weak=choice.multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer

        def cut(first: int, count: int) -> Iterator[bytes]:
            return self._stored.value(ref, offset, first, count)

        return self._packaging.one(request, choice, where, length, cut, tag)

    async def _document_length(self, principal: Principal, ref: InstanceRef, length: int) -> int:
        """Bytes of a document without what brings the value to an even length (PS3.3 C.24.2)."""
        async for (text,) in self._archive.metadata(principal, [ref]):
            told = orjson.loads(text).get(_DOCUMENT_LENGTH, {}).get("Value") or [length]
            if told[0] == length - 1:  # what tells another length is not believed: nothing of a document is cut off
                return length - 1
        return length

    async def _joined(
        self, request: Request, ref: InstanceRef, value: Value, ranges: Sequence[MediaType], where: str
    ) -> Response:
        """The fragments of encapsulated pixel data as one value, in the transfer syntax of the object: in a sequence
        it is one frame; elsewhere nobody can say which fragment belongs to which.
        """
        choice = held_choice(ranges, ref, single=True)
        tag = entity_tag("pixels", ref.digest, choice.offer, where, weak=choice.multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._house.readers, self._stored.fragments_at, ref, value.path)
        return self._stream(request, ref, choice, (0, [[(at * 8, length * 8) for at, length in found]]), where, tag)

    def _stream(
        self, request: Request, ref: InstanceRef, choice: Choice, found: tuple[int, list[Ranges]], where: str, tag: str
    ) -> Response:
        """One frame: as a part, or alone and by ranges."""
        base, (bits,) = found

        def cut(first: int, length: int) -> Iterator[bytes]:
            if not length:
                return iter(())
            return sliced(
                (piece for part in self._stored.frames(ref, [bits], base) for piece in part), first, first + length
            )

        return self._packaging.one(request, choice, where, size_of(bits), cut, tag)

    async def _encapsulated(
        self, request: Request, ref: InstanceRef, ranges: Sequence[MediaType], where: str
    ) -> Response:
        held, count = syntax(ref.syntax_uid), ref.frames or 1
        if held.video:
            choice = held_choice(ranges, ref, single=True)
        else:
            choice = await self._transcoded.carried(ref, frame_choices(ranges, ref, single=count == 1), 1)
        tag = entity_tag("pixels", ref.digest, choice.offer, where, weak=choice.multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        if (answer := self._made(ref, range(1, count + 1), choice, [where] * count, tag)) is not None:
            return answer
        if held.video:
            loop = asyncio.get_running_loop()
            size = await loop.run_in_executor(self._house.readers, self._stored.code_stream_length, ref)

            def cut(first: int, length: int) -> Iterator[bytes]:
                return self._stored.code_stream(ref, first, first + length)

            return self._packaging.one(request, choice, where, size, cut, tag)
        base, found = await frames_of(self._archive, ref)
        if len(found) == 1:
            return self._stream(request, ref, choice, (base, found), where, tag)
        parts = self._stored.frames(ref, found, base)
        return self._packaging.parts(choice, parts, [where] * count, list(map(size_of, found)), headers(tag))

    async def _below(self, request: Request, wanted: frozenset[str] | None) -> Response:
        """All values, or those of the `wanted` tags."""
        held = await readable_at(self._house, request)
        refs, principal = held.refs, request.scope["principal"]
        if held.is_one:
            values = [value async for _, found in named(self._archive, principal, refs, wanted) for value in found]
            if not values:
                raise NotFound("the instance has no such bulk data")
            if len(values) == 1:
                return await self._one(request, refs[0], values[0])
        return self._several.answer(request, held, wanted)

    def _address(self, request: Request, ref: InstanceRef) -> str:
        return instance_address(uri.addresses(request, self._house.settings), ref)


def _document_offers(ref: InstanceRef, value: Value) -> list[Offer]:
    kind = kind_of(ref)
    return [Offer(type_, "") for type_ in kind.types] if value.path == _DOCUMENT and kind.name == "document" else []
