"""SOP Class Extended Negotiation of Query/Retrieve: PS3.4 C.5.1.1 (FIND), C.5.2.1 and C.5.3.1 (MOVE, GET).

One byte says one thing: 1 wants or grants it, anything else doesn't. Enhanced Multi-frame conversion is declined.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar


class FindTerms(NamedTuple):
    """What was granted for queries, in the order of the bytes."""

    relational: bool = False
    combined_datetime: bool = False
    fuzzy: bool = False
    timezone: bool = False
    enhanced_conversion: bool = False
    empty_value: bool = False
    multiple_value: bool = False


class RetrieveTerms(NamedTuple):
    """What was granted for retrievals, in the order of the bytes."""

    relational: bool = False
    enhanced_conversion: bool = False


FIND_GRANTED = FindTerms(True, True, True, True, False, True, True)
RETRIEVE_GRANTED = RetrieveTerms(True, False)
T = TypeVar("T", FindTerms, RetrieveTerms)


def negotiated(granted: FindTerms | RetrieveTerms, proposed: bytes) -> bytes:
    """The answer to application information: as many bytes as were asked that are known here."""
    return bytes(asked == 1 and grants for asked, grants in zip(proposed, granted, strict=False))


def terms_of(kind: type[T], accepted: bytes | None) -> T:
    """The terms of a context from its accepted application information."""
    return kind(*(byte == 1 for byte in (accepted or b"")[: len(kind._fields)]))
