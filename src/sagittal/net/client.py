"""The requestor of an association and SCU of its operations: echo, store, find, move, get."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from sagittal.dimse.service import AssociationInfo, Context, Response, Source, StoreHandler
from sagittal.limits import NetLimits
from sagittal.ul.pdu import UserIdentity


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's address: `AET@host:port`, and a TLS context to use TLS."""

    aet: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Proposal(NamedTuple):
    """A presentation context to propose; `role` is ours: "scu", "scp" (C-GET's storage classes) or "both"."""

    abstract_syntax: str
    transfer_syntaxes: Sequence[str]
    role: str = "scu"


class Association:
    """An established association that we opened. One operation at a time. Leaving the `async with` releases it."""

    info: AssociationInfo  # .contexts are the accepted ones

    async def __aenter__(self) -> Association:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError  # release; abort if an error passes

    def context(self, abstract_syntax: str, transfer_syntax: str | None = None) -> Context:
        """The accepted context for a class (and syntax), our role SCU. NoContext if there is none."""
        raise NotImplementedError

    async def echo(self) -> int:
        """C-ECHO; the status."""
        raise NotImplementedError

    async def store(
        self,
        sop_class: str,
        sop_instance: str,
        syntax: str,
        source: Source,
        move_originator: tuple[str, int] | None = None,
    ) -> Response:
        """C-STORE on the context of this class and syntax; NoContext if it wasn't accepted."""
        raise NotImplementedError

    def find(self, sop_class: str, identifier: bytes) -> AsyncIterator[Response]:
        """C-FIND: every response, the final one last. Closing the iterator early sends C-CANCEL.

        `identifier` is encoded in `context(sop_class).transfer_syntax`, and so are the responses' data sets.
        """
        raise NotImplementedError

    def move(self, sop_class: str, identifier: bytes, destination: str) -> AsyncIterator[Response]:
        """C-MOVE: Pending responses (counts in `extra`), the final one last. Closing early sends C-CANCEL."""
        raise NotImplementedError

    def get(self, sop_class: str, identifier: bytes, on_store: StoreHandler) -> AsyncIterator[Response]:
        """C-GET; each C-STORE sub-operation of the peer goes to a sink that `on_store` makes. Otherwise as `move`."""
        raise NotImplementedError

    async def release(self) -> None:
        """A-RELEASE, then close."""
        raise NotImplementedError

    def abort(self) -> None:
        """A-ABORT, then close."""
        raise NotImplementedError


async def connect(
    peer: Peer,
    calling_aet: str,
    contexts: Iterable[Proposal | tuple[str, Sequence[str]]],
    *,
    limits: NetLimits | None = None,
    user_identity: UserIdentity | None = None,
) -> Association:
    """Open an association with at most 128 contexts (more: split by the caller).

    Raises PeerUnreachable (no connection, no answer) or PeerRefused (A-ASSOCIATE-RJ, A-ABORT; text with result, source
    and reason). An association of which no context was accepted is returned as it is: `context()` tells.
    """
    raise NotImplementedError
