"""Query/Retrieve FIND of Patient Root, Study Root and Patient/Study Only (PS3.4 C.4.1, C.6).

Which keys match how is for the engine; here are the rules of the identifier, what was negotiated, and the responses. A
key that can't be matched or returned makes every match FF01. Enhanced multi-frame conversion is never granted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial

from sagittal.archive.query import Query, Rows
from sagittal.dicom.sopclasses import LEVELS, PATIENT_ROOT_FIND, PATIENT_STUDY_ONLY_FIND, STUDY_ROOT_FIND
from sagittal.dicom.syntaxes import syntax
from sagittal.dimse.commands import C_FIND_RQ
from sagittal.dimse.service import Matches, Request, Response, Service
from sagittal.dimse.status import CANCEL, PENDING, PENDING_WARNING, SUCCESS
from sagittal.errors import SagittalError
from sagittal.services.extended import FIND_GRANTED, FindTerms, negotiated, terms_of
from sagittal.services.identifier import Identifier, failure, read_identifier
from sagittal.services.matches import row_encoder
from sagittal.services.site import Site

MATCHES_AT_ONCE = 32  # a few hundred microseconds of encoding, while the peer takes those before
FIND = frozenset({PATIENT_ROOT_FIND, STUDY_ROOT_FIND, PATIENT_STUDY_ONLY_FIND})


def query(site: Site) -> Service:
    """C-FIND, for whoever may `find`."""

    async def find(request: Request) -> AsyncIterator[Response | Matches]:
        terms, principal = terms_of(FindTerms, request.context.extended), request.association.principal
        try:
            with site.archive.audited(principal, "find"):
                identifier = read_identifier(
                    request,
                    LEVELS[request.context.abstract_syntax],
                    site.limits,
                    relational=terms.relational,
                    charsets=site.charsets(request.association.calling_aet),
                )
            async with aclosing(site.archive.pages(principal, _query(identifier, terms))) as pages:
                async for rows in pages:
                    for matches in _matches(request, identifier, rows, site.aet_in(principal.store)):
                        if request.cancelled:
                            yield Response(CANCEL)
                            return
                        yield matches
        except SagittalError as error:
            yield failure(error)
            return
        yield Response(SUCCESS)

    negotiate = partial(negotiated, FIND_GRANTED)
    return Service("Query", FIND, {C_FIND_RQ: find}, clause="PS3.4 C.6", negotiate=negotiate)


def _query(identifier: Identifier, terms: FindTerms) -> Query:
    return Query(
        identifier.level,
        identifier.keys,
        fuzzy=terms.fuzzy,
        combined_datetime=terms.combined_datetime,
        timezone=identifier.timezone if terms.timezone else "",
        empty_value=True,  # whether asked for or not: no value is two quotation marks
        multiple_value=terms.multiple_value,
    )


def _matches(request: Request, identifier: Identifier, rows: Rows, aet: str) -> Iterator[Matches]:
    status = PENDING_WARNING if rows.unmatched or identifier.unsupported else PENDING
    encode_row = row_encoder(rows.columns, identifier, aet, syntax(request.context.transfer_syntax))
    for start in range(0, len(rows.rows), MATCHES_AT_ONCE):
        some = slice(start, start + MATCHES_AT_ONCE)
        more = rows.extra[some] or [{}] * MATCHES_AT_ONCE
        yield Matches(status, [encode_row(row, obj) for row, obj in zip(rows.rows[some], more, strict=False)])
