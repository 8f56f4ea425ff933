"""The requestor of an association and SCU of its operations: echo, store, find, move, get.

One association has at most 128 presentation contexts; who needs more opens further ones. Retrying is the caller's
matter.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

from sagittal.dimse import status
from sagittal.dimse.commands import C_ECHO_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, MEDIUM_PRIORITY
from sagittal.dimse.service import Context, NoContext, Response, Service, Source, StoreHandler
from sagittal.errors import PeerUnreachable, UsageError
from sagittal.limits import NetLimits
from sagittal.net.invoking import Call
from sagittal.net.requestor import Requestor
from sagittal.uid import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
from sagittal.ul.pdu import AssociateRQ, ProposedContext, Role, UserIdentity, UserInformation

VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's address: `AET@host:port`, and a TLS context to use TLS."""

    aet: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


class Proposal(NamedTuple):
    """A presentation context to propose; `role` is ours: "scu", "scp" (C-GET's storage classes) or "both"."""

    abstract_syntax: str
    transfer_syntaxes: Sequence[str]
    role: str = "scu"


class Association:
    """An established association that we opened. One operation at a time. Leaving the `async with` releases it."""

    def __init__(self, link: Requestor) -> None:
        self._link = link
        self.info = link.info  # .contexts are the accepted ones

    async def __aenter__(self) -> Association:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.release()
        else:
            self.abort()
            await self._link.wait_closed(1.0)

    @property
    def over(self) -> bool:
        """Whether the association has ended."""
        return self._link.over

    def context(self, abstract_syntax: str, transfer_syntax: str | None = None) -> Context:
        """The accepted context for a class (and syntax), our role SCU. NoContext if there is none."""
        for context in self.info.contexts:
            fits = context.abstract_syntax == abstract_syntax and transfer_syntax in (None, context.transfer_syntax)
            if fits and context.peer_scp:
                return context
        wanted = abstract_syntax if transfer_syntax is None else f"{abstract_syntax} in {transfer_syntax}"
        raise NoContext(f"the peer accepted no context for {wanted}")

    async def echo(self) -> int:
        """C-ECHO; the status."""
        command = {"AffectedSOPClassUID": VERIFICATION, "CommandField": C_ECHO_RQ}
        async with self._call(self.context(VERIFICATION), command) as call:
            return (await call.next()).status

    async def store(
        self,
        sop_class: str,
        sop_instance: str,
        syntax: str,
        source: Source,
        move_originator: tuple[str, int] | None = None,
    ) -> Response:
        """C-STORE on the context of this class and syntax; NoContext if it wasn't accepted."""
        context = self.context(sop_class, syntax)
        return await self._link.invoker.send_store(context, sop_class, sop_instance, source, move_originator)

    def find(self, sop_class: str, identifier: bytes) -> AsyncGenerator[Response, None]:
        """C-FIND: every response, the final one last. Closing the iterator early sends C-CANCEL.

        `identifier` is encoded in `context(sop_class).transfer_syntax`, and so are the responses' data sets.
        """
        return self._responses(sop_class, C_FIND_RQ, identifier)

    def move(self, sop_class: str, identifier: bytes, destination: str) -> AsyncGenerator[Response, None]:
        """C-MOVE: Pending responses (counts in `extra`), the final one last. Closing early sends C-CANCEL."""
        return self._responses(sop_class, C_MOVE_RQ, identifier, MoveDestination=destination)

    async def get(self, sop_class: str, identifier: bytes, on_store: StoreHandler) -> AsyncIterator[Response]:
        """C-GET; each C-STORE sub-operation of the peer goes to a sink that `on_store` makes. Otherwise as `move`."""
        receiving = Service("C-GET sub-operations", lambda uid: True, store=on_store)
        contexts = {each.id: (each, receiving if each.peer_scu else None) for each in self.info.contexts}
        self._link.performer.serve(contexts, 1)
        responses = self._responses(sop_class, C_GET_RQ, identifier)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()

    async def _responses(
        self, sop_class: str, field: int, identifier: bytes, **more: Any
    ) -> AsyncGenerator[Response, None]:
        command = {"AffectedSOPClassUID": sop_class, "CommandField": field, "Priority": MEDIUM_PRIORITY, **more}
        async with self._call(self.context(sop_class), command, identifier) as call:
            response = Response(status.PENDING)
            try:
                while status.is_pending(response.status):
                    response = await call.next()
                    yield response
            except GeneratorExit:
                if status.is_pending(response.status) and not self._link.over:
                    self._link.invoker.cancel(call)
                    while status.is_pending(response.status):
                        response = await call.next()
                raise

    @asynccontextmanager
    async def _call(
        self, context: Context, command: Mapping[str, Any], source: Source | None = None
    ) -> AsyncIterator[Call]:
        call = await self._link.invoker.call(context, command, source)
        try:
            yield call
        finally:
            self._link.invoker.finished(call)

    async def cancel(self) -> None:
        """C-CANCEL for the operation under way; its final response still comes through its iterator."""
        for call in self._link.invoker.calls:
            self._link.invoker.cancel(call)

    async def release(self) -> None:
        """A-RELEASE, then close. Inside an operation, or if the peer doesn't answer: A-ABORT."""
        await self._link.release()

    def abort(self) -> None:
        """A-ABORT, then close."""
        self._link.abort("aborted")
        self._link.close()


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
    limits = limits or NetLimits()
    proposals = [Proposal(*each) for each in contexts]
    if not 0 < len(proposals) <= 128:
        raise UsageError(f"{len(proposals)} presentation contexts; an association has 1 to 128")
    request = _request(peer, calling_aet, proposals, limits, user_identity)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.connect_seconds_max):
            _, link = await loop.create_connection(
                lambda: Requestor(request, limits),
                peer.host,
                peer.port,
                ssl=peer.tls,
                server_hostname=peer.host if peer.tls is not None else None,
            )
    except TimeoutError:
        raise PeerUnreachable(f"{peer}: no connection within {limits.connect_seconds_max:g} s") from None
    except OSError as error:
        raise PeerUnreachable(f"{peer}: {_why(error)}") from None
    try:
        await link.opened(str(peer))
    except BaseException:
        link.close()
        raise
    return Association(link)


def _why(error: OSError) -> str:
    """The plain reason, without addresses and calls."""
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", "") or error.reason or error)
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _request(
    peer: Peer, calling_aet: str, proposals: Sequence[Proposal], limits: NetLimits, identity: UserIdentity | None
) -> AssociateRQ:
    roles = {
        each.abstract_syntax: Role(each.abstract_syntax, each.role in ("scu", "both"), each.role in ("scp", "both"))
        for each in proposals
        if each.role != "scu"
    }
    user = UserInformation(
        pdu_bytes_max=limits.pdu_receive_bytes_max,
        implementation_class=IMPLEMENTATION_CLASS,
        implementation_version=IMPLEMENTATION_VERSION,
        roles=tuple(roles.values()),
        identity=identity,
    )
    proposed = (
        ProposedContext(2 * number + 1, each.abstract_syntax, tuple(each.transfer_syntaxes))
        for number, each in enumerate(proposals)
    )
    return AssociateRQ(peer.aet, calling_aet, tuple(proposed), user)
