"""Who may open an association: what the listener asks `admit`, and what it may answer.

The decision itself (AE table, addresses, user identity) is handed in by `serve`; this file decides nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sagittal.ul.pdu import UserIdentity


@dataclass(frozen=True, slots=True)
class AssociateInfo:
    """An association that somebody asks for, before any answer."""

    calling_aet: str
    called_aet: str
    peer_address: str  # numeric host
    peer_port: int
    user_identity: UserIdentity | None = None
    certificate: dict[str, Any] | None = None  # of a TLS client that showed one (ssl.SSLSocket.getpeercert)


@dataclass(frozen=True, slots=True)
class Accept:
    """Let it in as `principal`, choosing transfer syntaxes by `syntax_order` (None: the server's)."""

    principal: Any = None
    syntax_order: tuple[str, ...] | None = None  # UIDs; "*" stands for all others in the requestor's order
    identity_response: bytes | None = None  # PS3.7 D.3.3.7.2, sent when the requestor wants one
    stands: Callable[[], bool] = lambda: True  # asked every second or so: an association that does not is aborted


@dataclass(frozen=True, slots=True)
class Reject:
    """Turn it away: PS3.8 Table 9-21. `text` goes to the log, not to the peer."""

    result: int = 1  # permanent
    source: int = 1  # service user
    reason: int = 1  # no reason given; 3 calling, 7 called AE title not recognized
    text: str = ""


Admission = Accept | Reject
Admit = Callable[[AssociateInfo], "Admission | Awaitable[Admission]"]
