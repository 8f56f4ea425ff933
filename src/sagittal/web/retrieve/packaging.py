"""How values and frames are answered: in a multipart answer, or one alone, whole or a range of it (PS3.18 8.7, 8.6).

Nothing is decoded here, and nothing chosen (`offers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import RangeNotSatisfiable
from sagittal.web.problems import problem
from sagittal.web.retrieve.objects import Stored
from sagittal.web.retrieve.transcoded import Transcoded
from sagittal.web.wire.accept import Choice, MediaType, acceptable
from sagittal.web.wire.conditions import Cut, Header, Span, content_range, headers, span
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Streamed

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House

_BY_BYTES: Header = (b"accept-ranges", b"bytes")


class Retrieving:
    """What answers with objects, frames or values are made of."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        self._limits = house.settings.limits.web
        self._packaging = Packaging(house)
        self._stored = Stored.of(house)
        self._transcoded = Transcoded(house, self._stored)

    def _ranges(self, request: Request) -> list[MediaType]:
        return acceptable(request, self._limits.accept_ranges_max)

    def _made(
        self, ref: InstanceRef, numbers: Sequence[int], choice: Choice, where: Sequence[str], tag: str
    ) -> Response | None:
        """Frames that don't lie in the file as they are wanted; None: these do."""
        if not choice.offer.stored:
            return self._transcoded.frames(ref, numbers, choice, where, headers(tag))
        if syntax(ref.syntax_uid).deflated:
            return self._packaging.parts(choice, self._stored.inflated_frames(ref, numbers), where, None, headers(tag))
        return None


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
