"""PS3.8 Table 9-21: every result, source and reason that we reject an association with, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from loopback import CT, EXPLICIT_LE, Raw, request, serving

from sagittal.net.admission import Accept, AssociateInfo, Reject
from sagittal.net.requestor import REASONS, RESULTS, SOURCES, describe_rejection
from sagittal.services.nodes import CALLED_UNKNOWN, CALLING_UNKNOWN
from sagittal.ul.codec import encode
from sagittal.ul.pdu import AssociateRJ, AssociateRQ

PLAIN = request()


def refuse(reason: int) -> Callable[[AssociateInfo], Reject]:
    return lambda info: Reject(reason=reason)


def fail(info: AssociateInfo) -> Accept:
    raise ZeroDivisionError


# Result, source, reason; the request; the admission; limits of the listener.
TABLE: list[tuple[tuple[int, int, int], AssociateRQ, Any, dict[str, int]]] = [
    ((1, 1, 1), PLAIN, refuse(1), {}),
    ((1, 1, 2), replace(PLAIN, application_context="1.2.840.10008.3.1.1.2"), None, {}),
    ((1, 1, 3), PLAIN, refuse(CALLING_UNKNOWN), {}),
    ((1, 1, 7), PLAIN, refuse(CALLED_UNKNOWN), {}),
    ((1, 2, 2), replace(PLAIN, protocol_version=2), None, {}),
    ((1, 3, 2), request((CT, EXPLICIT_LE), (CT, EXPLICIT_LE)), None, {"presentation_contexts_max": 1}),
    ((1, 3, 2), request(pdu_bytes_max=10), None, {}),
    ((2, 1, 1), PLAIN, fail, {}),
    ((2, 3, 2), PLAIN, None, {"associations_max": 0}),
    ((2, 3, 2), PLAIN, None, {"associations_per_title_max": 0}),
]


@pytest.mark.parametrize(("codes", "asked", "admit", "limits"), TABLE, ids=lambda value: str(value)[:9])
async def test_a_rejection(codes: tuple[int, int, int], asked: AssociateRQ, admit: Any, limits: dict[str, int]) -> None:
    async with serving(admit=admit or (lambda info: Accept("somebody")), **limits) as server:
        raw = await Raw.open(server.port)
        raw.send(encode(asked))
        assert await raw.answer() == AssociateRJ(*codes)
        raw.close()


async def test_while_shutting_down() -> None:
    """Temporary congestion: another try may find us again."""
    async with serving() as server:
        raw = await Raw.open(server.port)
        server.draining = True
        raw.send(encode(PLAIN))
        assert await raw.answer() == AssociateRJ(2, 3, 1)
        raw.close()


def test_every_code_has_words() -> None:
    """As the table prints them, for people who ask a peer."""
    used = {codes for codes, *_ in TABLE} | {(2, 3, 1)}
    for result, source, reason in used:
        assert result in RESULTS and source in SOURCES and (source, reason) in REASONS
        told = describe_rejection(AssociateRJ(result, source, reason))
        assert told.endswith(f"({result}/{source}/{reason})") and "unknown" not in told
    assert describe_rejection(AssociateRJ(9, 9, 9)) == "rejected by an unknown source: an unknown reason (9/9/9)"
