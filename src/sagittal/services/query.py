"""Study Root Query/Retrieve FIND (PS3.4 C.4.1, C.6.2).

Hierarchical queries at STUDY, SERIES and IMAGE level on the attributes of the index. No relational queries, fuzzy
matching, timezone adjustment or enhanced multi-frame conversion: none of them is negotiated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from sagittal.archive.query import Query, Row, Rows
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.elements import NUMBERS, encode, encode_numbers, encode_text
from sagittal.dicom.sopclasses import STUDY_ROOT_FIND
from sagittal.dicom.syntaxes import TransferSyntax, syntax
from sagittal.dimse.service import Request, Response, Service
from sagittal.errors import SagittalError
from sagittal.services.identifier import (
    AVAILABILITY,
    CHARACTER_SET,
    LEVEL,
    RETRIEVE_AET,
    STUDY_ROOT,
    Identifier,
    failure,
    read_identifier,
)
from sagittal.services.site import Site

PENDING, PENDING_KEY_IGNORED, CANCELLED = 0xFF00, 0xFF01, 0xFE00


def query(site: Site) -> Service:
    """C-FIND, for whoever may `find`."""

    async def find(request: Request) -> AsyncIterator[Response]:
        try:
            identifier = read_identifier(request, STUDY_ROOT, site.limits)
            rows = await site.archive.find(request.association.principal, Query(identifier.level, identifier.keys))
        except SagittalError as error:
            yield failure(error)
            return
        for response in _matches(request, identifier, rows, site.aet):
            if request.cancelled:
                yield Response(CANCELLED)
                return
            yield response
        yield Response(0x0000)

    return Service("Study Root Query", frozenset({STUDY_ROOT_FIND}), {0x0020: find}, clause="PS3.4 C.6.2")


def _matches(request: Request, identifier: Identifier, rows: Rows, aet: str) -> Iterator[Response]:
    status = PENDING_KEY_IGNORED if rows.unmatched else PENDING
    encode_row = row_encoder(rows.columns, identifier, aet, syntax(request.context.transfer_syntax))
    for row in rows.rows:
        yield Response(status, encode_row(row))


def row_encoder(columns: Sequence[int], identifier: Identifier, aet: str, to: TransferSyntax) -> Callable[[Row], bytes]:
    """A function from one row to the data set of one Pending response (PS3.4 C.4.1.1.3.2)."""
    vrs = [vr_of(tag) for tag in columns]
    fixed = [(LEVEL, "CS", identifier.level.encode("ascii")), (RETRIEVE_AET, "AE", aet.encode("ascii"))]
    fixed.append((AVAILABILITY, "CS", b"ONLINE"))

    def encoded(row: Row) -> bytes:
        texts = ["" if value is None else str(value) for value in row]
        charsets = charsets_for("".join(texts), identifier.charsets)
        elements = fixed.copy()
        if charsets:
            elements.append((CHARACTER_SET, "CS", "\\".join(charsets).encode("ascii")))
        for tag, vr, text in zip(columns, vrs, texts, strict=True):
            elements.append((tag, vr, _value(vr, text, charsets, to)))
        return encode(elements, to)

    return encoded


def charsets_for(text: str, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Specific Character Set of a response: as requested if that can hold `text`, else ISO_IR 100, else ISO_IR 192."""
    if text.isascii():
        return ()
    if requested and _holds(text, requested):
        return requested
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return ("ISO_IR 192",)
    return ("ISO_IR 100",)


def _holds(text: str, charsets: tuple[str, ...]) -> bool:
    from sagittal.dicom import charset  # its tables are not needed for ASCII

    return charset.decode(charset.encode(text, charsets, "LT"), charsets, "LT") == text


def _value(vr: str, text: str, charsets: Sequence[str], to: TransferSyntax) -> bytes:
    if vr not in NUMBERS:
        return encode_text(vr, text, charsets)
    kind = float if vr in ("FL", "FD") else int
    return encode_numbers(vr, [kind(number) for number in text.split("\\")] if text else [], to)
