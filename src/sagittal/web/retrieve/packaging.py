"""How values and frames are answered: in a multipart answer, or one alone, whole or a range of it (PS3.18 8.7, 8.6).

Native frames are Explicit VR Little Endian octets, compressed ones are as they are stored: under their own media
type, or as octets where the client takes that syntax. Nothing is decoded; what would need a codec is 406.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import NotAcceptable, RangeNotSatisfiable
from sagittal.web.problems import problem
from sagittal.web.wire.accept import COMPRESSED_TYPES, OCTET_STREAM, Choice, MediaType, Offer, accepted, choose
from sagittal.web.wire.conditions import Cut, Header, Span, content_range, headers, span
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Streamed

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House

NATIVE = Offer(OCTET_STREAM, EXPLICIT_LE)
_BY_BYTES: Header = (b"accept-ranges", b"bytes")


def acceptable(request: Request, ranges_max: int) -> list[MediaType]:
    """What the client takes: the `accept` query parameter goes before the header (PS3.18 8.3.3.1)."""
    query = request.query_params.getlist("accept") if request.scope["query_string"] else ()
    return accepted(request.headers.getlist("accept"), query, ranges_max)


class Packaging:
    """Makes the answers of one application."""

    def __init__(self, house: House) -> None:
        self._readers = house.readers
        self._chunk_bytes = house.settings.limits.web.read_chunk_bytes

    def streamed(
        self, pieces: Iterator[bytes], type_: str, length: int | None, headers: Iterable[Header] = (), status: int = 200
    ) -> Streamed:
        """`pieces` as a body, made on a reader thread."""
        return Streamed(
            self._readers, pieces, type_, length, chunk_bytes=self._chunk_bytes, status=status, headers=headers
        )

    def parts(
        self,
        choice: Choice,
        parts: Iterator[Iterator[bytes]],
        where: Sequence[str],
        sizes: Sequence[int] | None,
        headers: Iterable[Header] = (),
    ) -> Response:
        """Parts that lie at the addresses `where`; `sizes`, when they are known before the parts are."""
        offer = choice.offer
        if not choice.multipart:
            alone = (piece for part in parts for piece in part)
            return self.streamed(alone, offer.type, None if sizes is None else sizes[0], headers)
        framing = Framing(offer.type)
        heads = [framing.head(offer.media_type, address) for address in where]
        length = None if sizes is None else sum(map(len, heads)) + sum(sizes) + len(framing.close)
        return self.streamed(_framed(heads, parts, framing.close), framing.content_type, length, headers)

    def one(self, request: Request, choice: Choice, where: str, size: int, cut: Cut, tag: str) -> Response:
        """One value of `size` bytes that lies at `where`, alone or as the only part, or the range of it.

        In a part a range is one of the value, not of the answer, and the part says which (PS3.18 8.4.3, Content-Range).
        """
        more = headers(tag)
        if not choice.multipart:
            return self.alone(request, choice.offer.type, size, cut, tag, more)
        asked = _asked(request, size, tag)
        if isinstance(asked, Response):
            return asked
        framing = Framing(choice.offer.type)
        of = () if asked.whole else (content_range(asked, size),)
        head = framing.head(choice.offer.media_type, where, of)
        pieces = _framed([head], iter((cut(asked.first, asked.length),)), framing.close)
        length = len(head) + asked.length + len(framing.close)
        more.append(_BY_BYTES)
        return self.streamed(pieces, framing.content_type, length, more, 200 if asked.whole else 206)

    def alone(
        self, request: Request, type_: str, size: int, cut: Cut, tag: str, headers: Sequence[Header] = ()
    ) -> Response:
        """One representation of `size` bytes, or the range of it that is asked for (RFC 9110 14)."""
        asked = _asked(request, size, tag)
        if isinstance(asked, Response):
            return asked
        more, status = [*headers, _BY_BYTES], 200
        if not asked.whole:
            status = 206
            more.append(content_range(asked, size))
        return self.streamed(cut(asked.first, asked.length), type_, asked.length, more, status)


def _asked(request: Request, size: int, tag: str) -> Span | Response:
    """The bytes that are asked for, or the answer that there are none."""
    try:
        return span(request, size, tag)
    except RangeNotSatisfiable as error:
        answer = problem(error)
        answer.headers["content-range"] = f"bytes */{size}"
        return answer


def _framed(heads: Sequence[bytes], parts: Iterator[Iterator[bytes]], close: bytes) -> Iterator[bytes]:
    for head, part in zip(heads, parts, strict=True):
        yield head
        yield from part
    yield close


def pixel_choice(ranges: Sequence[MediaType], ref: InstanceRef, single: bool) -> Choice:
    """The media type of the frames of an instance, without decoding any."""
    held = syntax(ref.syntax_uid)
    if not held.encapsulated:
        offers = [NATIVE]
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
        text = f'several of them are answered as multipart/related; type="{offers[0].type}"'
    raise NotAcceptable(text)
