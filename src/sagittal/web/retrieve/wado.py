"""WADO-RS: instances and metadata of a study, series or instance (PS3.18 10.4).

Which transfer syntax is answered:
- `transfer-syntax=*`, the stored syntax by its UID, `*/*` or no Accept at all: the file as stored, nothing touched;
- no parameter: Explicit VR Little Endian, the default of PS3.18 8.7.3. Uncompressed objects are re-encoded on the way
  out when
  they are held in another syntax. Compressed ones would need a codec: 406, with the text that says what to ask for.
Metadata is what ingest prepared: no file is opened for it. No pixel is decoded here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import NotAcceptable
from sagittal.web.retrieve.objects import Stored
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM, DICOM_JSON, Choice, MediaType, Offer, accepted, accepts, choose
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Pushed, Streamed, gathered

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.access import Principal
    from sagittal.archive.retrieve import InstanceRef
    from sagittal.web.house import House

_RELATIVE = b'"BulkDataURI":"'
_MANY_FRAMES = 500  # metadata of such an instance may be long, and is passed on in the parts that ingest made


class Wado:
    """GET of studies, series and instances, and of their /metadata."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        limits = house.settings.limits
        self._limits = limits.web
        self._stored = Stored(house.archive, limits.reader, limits.web.read_chunk_bytes)

    async def objects(self, request: Request) -> Response:
        refs = await self._instances(request)
        choices = _choices(acceptable(request, self._limits.accept_ranges_max), refs)
        if choices[0].multipart:
            return self._multipart(refs, [choice.offer for choice in choices])
        ref, offer = refs[0], choices[0].offer
        answer = self._streamed(self._stored.file(ref, offer.syntax), DICOM, ref.size if offer.stored else None)
        name = f'attachment; filename="{ref.sop_instance_uid}.dcm"'.encode("ascii", "replace")
        answer.raw_headers.append((b"content-disposition", name))
        return answer

    def _multipart(self, refs: Sequence[InstanceRef], offers: Sequence[Offer]) -> Response:
        framing = Framing(DICOM)
        heads = [framing.head(f"{DICOM};transfer-syntax={offer.syntax}") for offer in offers]
        length: int | None = None
        if all(offer.stored for offer in offers):
            length = sum(map(len, heads)) + sum(ref.size for ref in refs) + len(framing.close)

        def pieces() -> Iterator[bytes]:
            for ref, offer, head in zip(refs, offers, heads, strict=True):
                yield head
                yield from self._stored.file(ref, offer.syntax)
            yield framing.close

        return self._streamed(pieces(), framing.content_type, length)

    def _streamed(self, pieces: Iterator[bytes], type_: str, length: int | None) -> Streamed:
        return Streamed(self._house.readers, gathered(pieces, self._limits.read_chunk_bytes), type_, length)

    async def metadata(self, request: Request) -> Response:
        ranges = acceptable(request, self._limits.accept_ranges_max)
        type_ = accepts(ranges, DICOM_JSON, "application/json")
        if type_ is None:
            raise NotAcceptable(f"metadata is answered as {DICOM_JSON}")
        refs = await self._instances(request)
        addresses = uri.addresses(request, self._house.settings)
        objects = self._objects(request.scope["principal"], refs, addresses)
        return Pushed(_json_array(objects), type_)

    async def _objects(
        self, principal: Principal, refs: Sequence[InstanceRef], addresses: uri.Addresses
    ) -> AsyncIterator[tuple[bytes, bool]]:
        """The metadata of each instance in pieces, each with whether an object ends with it."""
        plain = [ref for ref in refs if (ref.frames or 1) < _MANY_FRAMES]
        following = iter(plain)
        async for texts in self._archive.metadata(principal, plain):
            whole = [_absolute(text, _bulk_data(next(following), addresses)) for text in texts]
            if whole:
                yield b",".join(whole), True
        for ref in refs:
            if (ref.frames or 1) < _MANY_FRAMES:
                continue
            where, held = _bulk_data(ref, addresses), b""
            async for part in self._archive.metadata_parts(principal, ref):
                text = _absolute(held + part, where)
                # What is replaced may lie across two parts.
                held = text[-len(_RELATIVE) :]
                yield text[: -len(_RELATIVE)], False
            yield held, True

    async def _instances(self, request: Request) -> list[InstanceRef]:
        study, series, instance = uri.uids(request.path_params)
        return await self._archive.instances(
            request.scope["principal"],
            study_uid=study,
            series_uid=series,
            sop_instance_uids=None if instance is None else [instance],
        )


def acceptable(request: Request, ranges_max: int) -> list[MediaType]:
    """What the client takes: the `accept` query parameter goes before the header (PS3.18 8.3.3.1)."""
    return accepted(request.headers.getlist("accept"), request.query_params.getlist("accept"), ranges_max)


def _choices(ranges: Sequence[MediaType], refs: Sequence[InstanceRef]) -> list[Choice]:
    """One choice for each instance, all of one packaging; NotAcceptable names the first that has none."""
    single = len(refs) == 1
    made: dict[str, Choice] = {}
    for ref in refs:
        if ref.syntax_uid not in made:
            made[ref.syntax_uid] = _choice(ranges, ref.syntax_uid, single)
    return [made[ref.syntax_uid] for ref in refs]


def _choice(ranges: Sequence[MediaType], syntax_uid: str, single: bool) -> Choice:
    held = syntax(syntax_uid)
    offers = [Offer(DICOM, syntax_uid)]
    if held.native and syntax_uid != EXPLICIT_LE:
        offers.append(Offer(DICOM, EXPLICIT_LE, stored=False))
    try:
        return choose(ranges, offers, single=single)
    except NotAcceptable:
        pass
    if not any(accepts([MediaType(wanted.root)], DICOM) for wanted in ranges):
        text = f'objects are answered as multipart/related; type="{DICOM}"'
    elif not single and not any(wanted.multipart for wanted in ranges):
        text = f'several instances are answered as multipart/related; type="{DICOM}"'
    else:
        text = (
            f"an instance is held in {held.name} ({syntax_uid}); another transfer syntax would need a codec. "
            f'It is answered as stored: multipart/related; type="{DICOM}"; transfer-syntax=*'
        )
    raise NotAcceptable(text)


def _bulk_data(ref: InstanceRef, addresses: uri.Addresses) -> bytes:
    where = addresses.instance(ref.study_uid or "", ref.series_uid or "", ref.sop_instance_uid)
    return b"%s%s/bulkdata/" % (_RELATIVE, where.encode("ascii"))


def _absolute(text: bytes, replacement: bytes) -> bytes:
    # Within a JSON text the quotes would be escaped, so that only members of that name match.
    return text.replace(_RELATIVE, replacement)


async def _json_array(objects: AsyncIterator[tuple[bytes, bool]]) -> AsyncGenerator[bytes]:
    """The objects as one JSON array."""
    opening = b"["
    async for text, ends in objects:
        yield opening + text
        opening = b"," if ends else b""
    yield b"[]" if opening == b"[" else b"]"
