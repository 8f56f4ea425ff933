"""WADO-RS: the instances of a study, a series, or one (PS3.18 10.4.1.1.1 to 10.4.1.1.3), as parts, alone, or zipped.

Which transfer syntax is answered:
- `transfer-syntax=*`, the stored syntax by its UID, `*/*` or no Accept at all: the file as stored, nothing touched;
- no parameter: Explicit VR Little Endian, the default of PS3.18 8.7.3. Uncompressed objects are re-encoded on the way
  out when they are held in another syntax, compressed ones decoded by a worker; a video goes as stored;
- another syntax by its UID, where there is a codec for it. One that loses information makes another instance, whose
  SOP Instance UID is its own. 406 says what can be had.
A zip file holds the files as stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.errors import NotAcceptable
from sagittal.web.retrieve.offers import object_choices
from sagittal.web.retrieve.packaging import Retrieving
from sagittal.web.retrieve.zipped import ZIP, zip_length, zip_pieces
from sagittal.web.wire import uri
from sagittal.web.wire.accept import ANY_SYNTAX, DICOM, Choice, MediaType, Offer
from sagittal.web.wire.conditions import Header, entity_tag, headers, unchanged
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.resources import Readable, instances_at, readable
from sagittal.web.wire.stream import Either, Pushed

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.references import InstanceRef


class Wado(Retrieving):
    """GET of studies, series and instances."""

    async def objects(self, request: Request) -> Response:
        refs = await instances_at(self._house, request)
        study, series, instance = uri.uids(request.path_params)
        name = instance or series or study
        if "if-none-match" in request.headers:  # who has all of it needs no file
            answer = self.answer(request, Readable(refs), name)
            if answer.status_code == 304:
                return answer
        return self.answer(request, await readable(self._house, request, refs), name)

    def answer(self, request: Request, held: Readable, name: str) -> Response:
        """The objects as the client takes them; `name` is that of a zip file. NotAcceptable."""
        refs = held.refs
        found = _choices(self._ranges(request), held)
        made_of = [f"{ref.digest} {ref.revision}" for ref in refs]
        if found is None:
            tag = entity_tag(ZIP, *made_of)
            return unchanged(request, tag) or self._zip(held, name, headers(tag))
        packagings = list(dict.fromkeys(choice.multipart for choice in found[0]))
        answers = [partial(self._packed, request, held, found, multipart, made_of) for multipart in packagings]
        return answers[0]() if len(answers) == 1 else Either(answers)

    def _packed(
        self, request: Request, held: Readable, found: list[list[Choice]], multipart: bool, made_of: list[str]
    ) -> Response:
        offers = [[choice.offer for choice in able if choice.multipart == multipart] for able in found]
        tag = entity_tag(*made_of, *(offer.syntax for able in offers for offer in able), weak=multipart)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        if multipart:
            return self._multipart(held, offers, headers(tag))
        return self.alone(request, held.refs[0], offers[0], tag)

    def alone(self, request: Request, ref: InstanceRef, offers: Sequence[Offer], tag: str) -> Response:
        """One instance as the first of `offers` that it can be had as; in the stored syntax by ranges too."""
        offer = offers[0]
        name = f'attachment; filename="{ref.sop_instance_uid}.dcm"'.encode("ascii", "replace")
        more = [*headers(tag), (b"content-disposition", name)]
        if self._transcoded.needed(ref, offer):
            return Pushed(self._transcoded.file(ref, offers), DICOM, more)
        if not offer.stored:
            return self._packaging.streamed(self._stored.file(ref, offer.syntax), DICOM, None, more)

        def cut(first: int, length: int) -> Iterator[bytes]:
            return self._stored.stored_part(ref, first, length)

        return self._packaging.alone(request, DICOM, ref.sent_size, cut, tag, more)

    def _multipart(self, held: Readable, able: Sequence[Sequence[Offer]], more: list[Header]) -> Response:
        framing, offers = Framing(DICOM), [each[0] for each in able]
        refs, status, more = held.refs, held.status, [*more, *held.headers]
        if any(self._transcoded.needed(ref, offer) for ref, offer in zip(refs, offers, strict=True)):
            return Pushed(self._transcoded.files(framing, refs, able), framing.content_type, more, status)
        heads = [framing.head(f"{DICOM};transfer-syntax={offer.syntax}") for offer in offers]
        length: int | None = None
        if all(offer.stored for offer in offers):
            length = sum(map(len, heads)) + sum(ref.sent_size for ref in refs) + len(framing.close)

        def pieces() -> Iterator[bytes]:
            for ref, offer, head in zip(refs, offers, heads, strict=True):
                yield head
                yield from self._stored.file(ref, offer.syntax)
            yield framing.close

        return self._packaging.streamed(pieces(), framing.content_type, length, more, status)

    def _zip(self, held: Readable, name: str, more: list[Header]) -> Response:
        refs, more = held.refs, [*more, *held.headers]
        more.append((b"content-disposition", f'attachment; filename="{name}.zip"'.encode("ascii", "replace")))
        return self._packaging.streamed(zip_pieces(self._stored, refs), ZIP, zip_length(refs), more, held.status)


def _choices(ranges: Sequence[MediaType], held: Readable) -> list[list[Choice]] | None:
    """The choices for each instance; None for a zip file. NotAcceptable names the first that has none."""
    at = next((at for at, wanted in enumerate(ranges) if wanted.type == ZIP), None)
    if at is None:
        return _parts_choices(ranges, held)
    try:
        return _parts_choices(ranges[:at], held)
    except NotAcceptable:
        pass
    wanted = ranges[at].syntax
    if wanted in (None, ANY_SYNTAX) or {ref.syntax_uid for ref in held.refs} == {wanted}:
        return None
    if len(ranges) > at + 1:
        return _parts_choices(ranges[at + 1 :], held)
    raise NotAcceptable(f"zip files hold objects as they are stored: {ZIP}; transfer-syntax=*")


def _parts_choices(ranges: Sequence[MediaType], held: Readable) -> list[list[Choice]]:
    made: dict[str, list[Choice]] = {}
    for ref in held.refs:
        if ref.syntax_uid not in made:
            made[ref.syntax_uid] = object_choices(ranges, ref.syntax_uid, held.is_one)
    return [made[ref.syntax_uid] for ref in held.refs]
