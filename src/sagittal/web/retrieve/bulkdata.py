"""WADO-RS bulk data and pixel data: PS3.18 10.4.1.1.5 and 10.4.1.1.7, of a study, a series, an instance, or one value.

What there is, the metadata tells: it names each value that it leaves out by its place in the data set, so that no
object is parsed here. Native values are one part each, encapsulated pixel data is a part for each frame without the
framing of fragments (8.7.3.3.2), a video is one part; so is the pixel data of an icon, which is looked for. A document
can be had as what it is. Frames are made in another syntax where the client takes them so (8.7.3.3). A value can be had
by ranges, alone or as a part, several values and frames can't (RFC 9110 14.2 lets Range be ignored). Values that
metadata holds inline are not bulk data.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import orjson
from starlette.responses import Response

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import BadRequest, Busy, NotAcceptable, NotFound, SagittalError, StorageUnavailable
from sagittal.web.render.kinds import kind_of
from sagittal.web.retrieve.objects import Ranges, Stored, sliced
from sagittal.web.retrieve.packaging import NATIVE, Packaging, acceptable, pixel_choice
from sagittal.web.retrieve.transcoded import Transcoded, frame_choices
from sagittal.web.wire import uri
from sagittal.web.wire.accept import Choice, MediaType, Offer, choose
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.resources import instance_address
from sagittal.web.wire.stream import Pushed, drawn

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.access import Principal
    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House

log = logging.getLogger("sagittal.web")
_PIXEL_DATA, _DOCUMENT, _DOCUMENT_LENGTH = "7FE00010", "00420011", "00420015"
_PIXELS = frozenset({_PIXEL_DATA, "7FE00008", "7FE00009"})  # and Float and Double Float Pixel Data
_NAMED = re.compile(rb'"BulkDataURI":"([0-9A-F/]+)(?:\?offset=(\d+)&length=(\d+))?"')
_NAMED_BYTES_MAX = 2048  # what names a value, at 128 levels of items
_MANY_FRAMES = 500  # metadata of such an instance may be long, and is looked through in parts


class Value(NamedTuple):
    """A value that is bulk data: the path of its tag, and where it lies in the data set unless it is encapsulated."""

    path: str
    bounds: tuple[int, int] | None

    @property
    def query(self) -> str:
        return f"?offset={self.bounds[0]}&length={self.bounds[1]}" if self.bounds else ""


class BulkData:
    """GET of …/bulkdata, …/bulkdata/{tags} and …/pixeldata."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        limits = house.settings.limits
        self._limits = limits.web
        self._packaging = Packaging(house)
        self._stored = Stored(house.archive, limits.reader, limits.web.read_chunk_bytes)
        self._transcoded = Transcoded(house, self._stored)

    async def value(self, request: Request) -> Response:
        (ref,) = await self._house.instances(request)
        return await self.value_of(request, ref)

    async def value_of(self, request: Request, ref: InstanceRef) -> Response:
        """The value of an instance that the address names."""
        path = uri.tag_path(request.path_params["path"])
        bounds = _bounds(request, ref)
        if bounds is None and path.rpartition("/")[2] != _PIXEL_DATA:
            raise NotFound("bulk data is found by the offset and length that the metadata gives with its address")
        return await self._one(request, ref, Value(path, bounds))

    async def all(self, request: Request) -> Response:
        return await self._below(request, None)

    async def pixel_data(self, request: Request) -> Response:
        return await self._below(request, _PIXELS)

    async def _one(self, request: Request, ref: InstanceRef, value: Value) -> Response:
        ranges = acceptable(request, self._limits.accept_ranges_max)
        where = f"{self._address(request, ref)}/bulkdata/{value.path}"
        if value.bounds is None:
            if value.path == _PIXEL_DATA and await self._has_frames(ref):
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

    async def _has_frames(self, ref: InstanceRef) -> bool:
        """Whether its encapsulated pixel data is more than fragments: frames that can be told apart, or a video."""
        held = syntax(ref.syntax_uid)
        try:
            return held.video or held.deflated or bool(await self._archive.frame_ranges(ref, [1]))
        except NotFound:
            return False

    async def _joined(
        self, request: Request, ref: InstanceRef, value: Value, ranges: Sequence[MediaType], where: str
    ) -> Response:
        """The fragments of encapsulated pixel data as one value, in the transfer syntax of the object: in a sequence
        it is one frame; elsewhere nobody can say which fragment belongs to which.
        """
        choice = pixel_choice(ranges, ref, single=True)
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
        size = sum(-(-length // 8) for _, length in bits)

        def cut(first: int, length: int) -> Iterator[bytes]:
            if not length:
                return iter(())
            return sliced(
                (piece for part in self._stored.frames(ref, [bits], base) for piece in part), first, first + length
            )

        return self._packaging.one(request, choice, where, size, cut, tag)

    async def _encapsulated(
        self, request: Request, ref: InstanceRef, ranges: Sequence[MediaType], where: str
    ) -> Response:
        held, count = syntax(ref.syntax_uid), ref.frames or 1
        if held.video:
            choice = pixel_choice(ranges, ref, single=True)
        else:
            choice = await self._transcoded.carried(ref, frame_choices(ranges, ref, single=count == 1), 1)
        tag = entity_tag("pixels", ref.digest, choice.offer, where, weak=choice.multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        if not choice.offer.stored:
            framing = Framing(choice.offer.type)
            type_ = framing.content_type if choice.multipart else choice.offer.type
            made = self._transcoded.frames(ref, range(1, count + 1), choice, framing, [where] * count)
            return Pushed(made, type_, headers(tag))
        if held.deflated:
            parts = self._stored.inflated_frames(ref, range(1, count + 1))
            return self._packaging.parts(choice, parts, [where] * count, None, headers(tag))
        if held.video:
            loop = asyncio.get_running_loop()
            size = await loop.run_in_executor(self._house.readers, self._stored.code_stream_length, ref)

            def cut(first: int, length: int) -> Iterator[bytes]:
                return self._stored.code_stream(ref, first, first + length)

            return self._packaging.one(request, choice, where, size, cut, tag)
        base, found = await self._frames(ref)
        if len(found) == 1:
            return self._stream(request, ref, choice, (base, found), where, tag)
        sizes = [sum(-(-length // 8) for _, length in bits) for bits in found]
        return self._packaging.parts(
            choice, self._stored.frames(ref, found, base), [where] * count, sizes, headers(tag)
        )

    async def _frames(self, ref: InstanceRef) -> tuple[int, list[Ranges]]:
        """Where the first frame begins, in bytes of the data set, and the ranges of all."""
        found = await self._archive.frame_ranges(ref, range(1, (ref.frames or 1) + 1))
        return found[0][0][0] // 8, found

    async def _below(self, request: Request, wanted: frozenset[str] | None) -> Response:
        """All values, or those of the `wanted` tags."""
        refs = await self._house.instances(request)
        principal = request.scope["principal"]
        if len(refs) == 1:
            values = [value async for _, found in self._named(principal, refs, wanted) for value in found]
            if not values:
                raise NotFound("the instance has no such bulk data")
            if len(values) == 1:
                return await self._one(request, refs[0], values[0])
        ranges = acceptable(request, self._limits.accept_ranges_max)
        choices = {ref.syntax_uid: _pixel_choices(ranges, ref) for ref in _one_of_each_syntax(refs)}
        root = next(iter(choices.values()))[0].offer.type
        base = [self._address(request, ref) for ref in refs[:1]]
        tag = entity_tag(wanted, *(ref.digest for ref in refs), *choices.values(), *base, weak=True)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        framing = Framing(root)
        body = self._body(request, principal, refs, wanted, choices, framing)
        return Pushed(body, framing.content_type, headers(tag))

    async def _body(
        self,
        request: Request,
        principal: Principal,
        refs: Sequence[InstanceRef],
        wanted: frozenset[str] | None,
        choices: Mapping[str, Sequence[Choice]],
        framing: Framing,
    ) -> AsyncGenerator[bytes]:
        empty, left_out = True, list[SagittalError]()
        async for ref, values in self._named(principal, refs, wanted):
            address = self._address(request, ref)
            async for piece in self._parts_of(ref, values, choices[ref.syntax_uid], framing, address, left_out):
                empty = False
                yield piece
        if empty:
            raise left_out[0] if left_out else NotFound("there is no such bulk data")
        yield framing.close

    async def _parts_of(
        self,
        ref: InstanceRef,
        values: Sequence[Value],
        able: Sequence[Choice],
        framing: Framing,
        address: str,
        left_out: list[SagittalError],
    ) -> AsyncGenerator[bytes]:
        """The parts of one instance; what can't be had as it is wanted is left out, and why is added to `left_out`."""
        frames: tuple[int, list[Ranges]] = (0, [])
        encapsulated = any(value.bounds is None and value.path == _PIXEL_DATA for value in values)
        if encapsulated and not syntax(ref.syntax_uid).video and await self._has_frames(ref):
            frames = await self._frames(ref)
        choice, count, before = able[0], len(frames[1]), len(left_out)
        with _leaving_out(ref, left_out):
            choice = await self._transcoded.carried(ref, able, 1) if count else choice
        made = [] if choice.offer.stored else [value for value in values if value.bounds is None]
        as_held = [value for value in values if value not in made]
        pieces = self._parts_as_held(ref, as_held, frames, choice, framing, address)
        async for piece in drawn(self._house.readers, pieces, self._limits.read_chunk_bytes):
            yield piece
        for value in made if len(left_out) == before else ():
            where = [f"{address}/bulkdata/{value.path}"] * count
            with _leaving_out(ref, left_out) as begun:
                if value.path != _PIXEL_DATA or not where:
                    raise NotAcceptable("fragments that are no frames have no form but their own")
                async for piece in self._transcoded.some_frames(ref, range(1, count + 1), choice, framing, where):
                    begun.set()
                    yield piece

    def _parts_as_held(
        self,
        ref: InstanceRef,
        values: Sequence[Value],
        frames: tuple[int, list[Ranges]],
        choice: Choice,
        framing: Framing,
        address: str,
    ) -> Iterator[bytes]:
        """The parts of one instance for which nothing is decoded."""
        for value in values:
            where = f"{address}/bulkdata/{value.path}{value.query}"
            offer = NATIVE if value.bounds else choice.offer
            type_ = f"{offer.type};transfer-syntax={offer.syntax}"
            if value.bounds:
                yield framing.head(type_, where)
                yield from self._stored.value(ref, value.bounds[0], 0, value.bounds[1])
            elif value.path == _PIXEL_DATA and syntax(ref.syntax_uid).video:
                yield framing.head(type_, where)
                yield from self._stored.code_stream(ref)
            elif value.path != _PIXEL_DATA or not frames[1]:
                joined = [(at * 8, length * 8) for at, length in self._stored.fragments_at(ref, value.path)]
                yield framing.head(type_, where)
                for part in self._stored.frames(ref, [joined], 0):
                    yield from part
            else:
                for part in self._stored.frames(ref, frames[1], frames[0]):
                    yield framing.head(type_, where)
                    yield from part

    async def _named(
        self, principal: Principal, refs: Sequence[InstanceRef], wanted: frozenset[str] | None
    ) -> AsyncIterator[tuple[InstanceRef, list[Value]]]:
        """Each instance with the values that its metadata names."""
        plain = [ref for ref in refs if (ref.frames or 1) < _MANY_FRAMES]
        following = iter(plain)
        if plain:
            async for texts in self._archive.metadata(principal, plain):
                for text in texts:
                    yield next(following), _values(text, wanted)[0]
        for ref in refs:
            if (ref.frames or 1) < _MANY_FRAMES:
                continue
            values: list[Value] = []
            held = b""
            async for part in self._archive.metadata_parts(principal, ref):
                found, rest = _values(held + part, wanted)
                values += found
                held = rest
            yield ref, values

    def _address(self, request: Request, ref: InstanceRef) -> str:
        return instance_address(uri.addresses(request, self._house.settings), ref)


@contextmanager
def _leaving_out(ref: InstanceRef, left_out: list[SagittalError]) -> Iterator[asyncio.Event]:
    """What fails within is noted as left out of an answer, unless the event says that some of it is sent already."""
    begun = asyncio.Event()
    try:
        yield begun
    except (Busy, StorageUnavailable):  # of the server, and later it may be otherwise
        raise
    except SagittalError as error:
        if begun.is_set():
            raise
        log.warning("pixel data of %s is left out of an answer: %s", ref.sop_instance_uid, error.text)
        left_out.append(error)


def _pixel_choices(ranges: Sequence[MediaType], ref: InstanceRef) -> Sequence[Choice]:
    """How pixel data of an instance can be had as parts of several, the best first. NotAcceptable."""
    held = syntax(ref.syntax_uid)
    if held.encapsulated and not held.video:
        return frame_choices(ranges, ref, single=False)
    return [pixel_choice(ranges, ref, single=False)]


def _document_offers(ref: InstanceRef, value: Value) -> list[Offer]:
    kind = kind_of(ref)
    return [Offer(type_, "") for type_ in kind.types] if value.path == _DOCUMENT and kind.name == "document" else []


def _one_of_each_syntax(refs: Sequence[InstanceRef]) -> list[InstanceRef]:
    return list({ref.syntax_uid: ref for ref in reversed(refs)}.values())[::-1]


def _values(text: bytes, wanted: frozenset[str] | None) -> tuple[list[Value], bytes]:
    """The values that a piece of metadata names, and the end of it, where one more may begin."""
    found: list[Value] = []
    end = 0
    for match in _NAMED.finditer(text):  # within a text of the JSON the quotes would be escaped
        end = match.end()
        path = match[1].decode("ascii")
        encapsulated = match[2] is None
        if wanted is not None and path not in wanted:
            continue
        found.append(Value(path, None if encapsulated else (int(match[2]), int(match[3]))))
    return found, text[max(end, len(text) - _NAMED_BYTES_MAX) :]


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
