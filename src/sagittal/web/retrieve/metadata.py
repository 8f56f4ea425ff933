"""WADO-RS metadata of a study, series or instance: PS3.18 10.4.1.1.4, as DICOM JSON or as Native DICOM Model XML.

It is what ingest prepared: no file is opened for it. JSON is passed on as it is held, with addresses made absolute;
XML is made of it an element at a time, with pauses for the loop. Neither is ever whole in memory.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.errors import NotAcceptable
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, DICOM_XML, MediaType, Offer, acceptable, accepts, choose
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.resources import instance_address, instances_at
from sagittal.web.wire.stream import Pushed

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.access import Principal
    from sagittal.archive.archive import Archive
    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House

_RELATIVE = b'"BulkDataURI":"'
_MANY_FRAMES = 500  # metadata of such an instance may be long, and is read in the parts that ingest made
_SLICE_SECONDS = 0.002  # of making XML, before other requests have their turn
_CHUNK_BYTES = 64 << 10


async def read(
    archive: Archive, principal: Principal, refs: Sequence[InstanceRef]
) -> AsyncIterator[tuple[list[tuple[InstanceRef, bytes]], bool]]:
    """The metadata of the instances as they are held: some whole objects, or a piece of one; and whether an object ends
    with it.
    """
    plain = [ref for ref in refs if (ref.frames or 1) < _MANY_FRAMES]
    following = iter(plain)
    if plain:
        async for texts in archive.metadata(principal, plain):
            yield [(next(following), text) for text in texts], True
    for ref in refs:
        if (ref.frames or 1) >= _MANY_FRAMES:
            async for part in archive.metadata_parts(principal, ref):
                yield [(ref, part)], False
            yield [(ref, b"")], True


class Metadata:
    """GET of …/metadata."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        self._limits = house.settings.limits.web

    async def metadata(self, request: Request) -> Response:
        _check(acceptable(request, self._limits.accept_ranges_max))
        return self.answer(request, await instances_at(self._house, request))

    def answer(self, request: Request, refs: Sequence[InstanceRef]) -> Response:
        """The metadata of `refs` as the client takes it; NotAcceptable."""
        ranges = acceptable(request, self._limits.accept_ranges_max)
        json_type = _check(ranges)
        addresses = uri.addresses(request, self._house.settings)
        multipart = json_type is None and _multipart(ranges, single=len(refs) == 1)
        made_of = [f"{ref.digest} {ref.revision}" for ref in refs]
        tag = entity_tag("metadata", json_type or DICOM_XML, addresses.base, *made_of, weak=multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        objects = self._objects(request.scope["principal"], refs, addresses)
        if json_type is not None:
            return Pushed(_json_array(objects), json_type, headers(tag))
        framing = Framing(DICOM_XML) if multipart else None
        body = self._documents(objects, framing)
        return Pushed(body, framing.content_type if framing else DICOM_XML, headers(tag))

    async def _objects(
        self, principal: Principal, refs: Sequence[InstanceRef], addresses: uri.Addresses
    ) -> AsyncIterator[tuple[list[bytes], bool]]:
        """What `read` gives, with addresses made absolute."""
        held = b""
        async for some, ends in read(self._archive, principal, refs):
            texts = [_absolute(held + text, _bulk_data(ref, addresses)) for ref, text in some]
            held = b""
            if not ends:  # what is replaced may lie across two pieces
                held = texts[0][-len(_RELATIVE) :]
                texts = [texts[0][: -len(_RELATIVE)]]
            yield texts, ends

    async def _documents(
        self, objects: AsyncIterator[tuple[list[bytes], bool]], framing: Framing | None
    ) -> AsyncGenerator[bytes]:
        """An XML document for each object, as parts of `framing` or the one alone."""
        from sagittal.dicom.models.xmlstream import XmlStream

        held_max = self._limits.json_body_bytes_max
        stream, decoder = XmlStream(held_max), codecs.getincrementaldecoder("utf-8")()
        opening = True
        async for texts, ends in objects:
            for text in texts:
                if opening and framing is not None:
                    yield framing.head(DICOM_XML)
                opening = ends
                async for chunk in _paced(stream.feed(decoder.decode(text))):
                    yield chunk
                if ends:
                    yield b"".join(stream.finish())
                    stream = XmlStream(held_max)
        if framing is not None:
            yield framing.close


def _takes_xml(wanted: MediaType) -> bool:
    """Parts are XML, whether they are named or not: JSON is never answered in parts."""
    return wanted.root == DICOM_XML or (wanted.multipart and wanted.covers(DICOM_XML))


def _json_type(ranges: Sequence[MediaType]) -> str | None:
    """The JSON type, when a range takes it that is not behind one that takes XML."""
    for wanted in ranges:
        if _takes_xml(wanted):
            return None
        if (found := accepts([wanted], DICOM_JSON, "application/json")) is not None:
            return found
    return None


def _check(ranges: Sequence[MediaType]) -> str | None:
    """The JSON type, None for XML; NotAcceptable when neither is taken."""
    json_type = _json_type(ranges)
    if json_type is None and not any(map(_takes_xml, ranges)):
        raise NotAcceptable(f'metadata is answered as {DICOM_JSON} or as multipart/related; type="{DICOM_XML}"')
    return json_type


def _multipart(ranges: Sequence[MediaType], single: bool) -> bool:
    wanted = [each for each in ranges if _takes_xml(each)]
    try:
        return choose(wanted, [Offer(DICOM_XML, "")], single=single).multipart
    except NotAcceptable:
        text = f'metadata of several instances is answered as multipart/related; type="{DICOM_XML}"'
        raise NotAcceptable(text) from None


def _bulk_data(ref: InstanceRef, addresses: uri.Addresses) -> bytes:
    return b"%s%s/bulkdata/" % (_RELATIVE, instance_address(addresses, ref).encode("ascii"))


def _absolute(text: bytes, replacement: bytes) -> bytes:
    # Within a JSON text the quotes would be escaped, so that only members of that name match.
    return text.replace(_RELATIVE, replacement)


async def _json_array(objects: AsyncIterator[tuple[list[bytes], bool]]) -> AsyncGenerator[bytes]:
    """The objects as one JSON array."""
    opening = b"["
    async for texts, ends in objects:
        yield opening + b",".join(texts)
        opening = b"," if ends else b""
    yield b"[]" if opening == b"[" else b"]"


async def _paced(pieces: Iterable[bytes]) -> AsyncGenerator[bytes]:
    """The pieces in chunks; the loop has its turn between slices of `_SLICE_SECONDS`."""
    held: list[bytes] = []
    size, until = 0, monotonic() + _SLICE_SECONDS
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _CHUNK_BYTES:
            yield b"".join(held)
            held, size = [], 0
        if monotonic() > until:
            await asyncio.sleep(0)
            until = monotonic() + _SLICE_SECONDS
    if held:
        yield b"".join(held)
