"""Study Root Query/Retrieve FIND (PS3.4 C.4.1, C.6.2).

Hierarchical queries at STUDY, SERIES and IMAGE level on the attributes of the index. No relational queries, fuzzy
matching, timezone adjustment or enhanced multi-frame conversion: none of them is negotiated.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cache

from sagittal.archive.query import Query, Row, Rows
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.elements import NUMBERS, deflate, element_encoder, encode, encode_numbers, encode_text
from sagittal.dicom.sopclasses import STUDY_ROOT_FIND
from sagittal.dicom.syntaxes import EXPLICIT_LE, TransferSyntax, syntax
from sagittal.dimse.service import Matches, Request, Response, Service
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
MATCHES_AT_ONCE = 32  # a few hundred microseconds of encoding, while the peer takes those before
_MEMO_VALUES_MAX = 256  # of a column


def query(site: Site) -> Service:
    """C-FIND, for whoever may `find`."""

    async def find(request: Request) -> AsyncIterator[Response | Matches]:
        try:
            identifier = read_identifier(request, STUDY_ROOT, site.limits)
            rows = await site.archive.find(request.association.principal, Query(identifier.level, identifier.keys))
        except SagittalError as error:
            yield failure(error)
            return
        for matches in _matches(request, identifier, rows, site.aet):
            if request.cancelled:
                yield Response(CANCELLED)
                return
            yield matches
        yield Response(0x0000)

    return Service("Study Root Query", frozenset({STUDY_ROOT_FIND}), {0x0020: find}, clause="PS3.4 C.6.2")


def _matches(request: Request, identifier: Identifier, rows: Rows, aet: str) -> Iterator[Matches]:
    status = PENDING_KEY_IGNORED if rows.unmatched else PENDING
    encode_row = row_encoder(rows.columns, identifier, aet, syntax(request.context.transfer_syntax))
    for start in range(0, len(rows.rows), MATCHES_AT_ONCE):
        yield Matches(status, [encode_row(row) for row in rows.rows[start : start + MATCHES_AT_ONCE]])


def row_encoder(columns: Sequence[int], identifier: Identifier, aet: str, to: TransferSyntax) -> Callable[[Row], bytes]:
    """A function from one row to the data set of one Pending response (PS3.4 C.4.1.1.3.2)."""
    plain = syntax(EXPLICIT_LE) if to.deflated else to
    control = [(LEVEL, "CS", identifier.level.encode("ascii")), (RETRIEVE_AET, "AE", aet.encode("ascii"))]
    control.append((AVAILABILITY, "CS", b"ONLINE"))
    constant, place = encode(control, plain), bisect(columns, LEVEL)

    @cache
    def encoders(charsets: tuple[str, ...]) -> list[_Column]:
        return [_Column(tag, charsets, plain) for tag in columns]

    def encoded(row: Row) -> bytes:
        first = b""
        try:
            parts = [column[value] for column, value in zip(ascii_only, row, strict=True)]
        except UnicodeEncodeError:
            charsets = charsets_for("".join(value for value in row if isinstance(value, str)), identifier.charsets)
            first = encode([(CHARACTER_SET, "CS", "\\".join(charsets).encode("ascii"))], plain)
            parts = [column[value] for column, value in zip(encoders(charsets), row, strict=True)]
        parts.insert(place, constant)
        data_set = first + b"".join(parts)
        return deflate(data_set) if to.deflated else data_set

    ascii_only = encoders(())
    return encoded


class _Column(dict[str | int | None, bytes]):
    """The elements of one column by value: much repeats in an answer (dates, modalities, nothing).

    Without character sets, a value beyond ASCII is a UnicodeEncodeError.
    """

    def __init__(self, tag: int, charsets: tuple[str, ...], to: TransferSyntax) -> None:
        super().__init__()
        self._vr, self._charsets, self._to = vr_of(tag), charsets, to
        self._encode = element_encoder(tag, self._vr, to)

    def __missing__(self, value: str | int | None) -> bytes:
        element = self._encode(self._value("" if value is None else str(value)))
        if len(self) < _MEMO_VALUES_MAX:
            self[value] = element
        return element

    def _value(self, text: str) -> bytes:
        if self._vr not in NUMBERS:
            return encode_text(self._vr, text, self._charsets) if self._charsets else text.encode("ascii")
        kind = float if self._vr in ("FL", "FD") else int
        return encode_numbers(self._vr, [kind(number) for number in text.split("\\")] if text else [], self._to)


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
