"""The requestor of an association and SCU of its operations: echo, store, find, move, get, and the N- services.

One association has at most 128 presentation contexts; who needs more opens further ones. Retrying is the caller's
matter.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NamedTuple

from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.dimse import status
from sagittal.dimse.commands import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    MEDIUM_PRIORITY,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_DELETE_RQ,
    N_GET_RQ,
    N_SET_RQ,
)
from sagittal.dimse.service import Context, Response, Service, Source, StoreHandler
from sagittal.errors import PeerError, PeerUnreachable, UsageError
from sagittal.hosts import authority
from sagittal.limits import NetLimits
from sagittal.net.messages.invoking import Call
from sagittal.net.requestor import Requestor
from sagittal.net.tls import describe, send_alert
from sagittal.uid import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
from sagittal.ul.negotiation import UNLIMITED
from sagittal.ul.pdu import AssociateRQ, CommonExtended, ProposedContext, Role, UserIdentity, UserInformation


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's address: `AET@host:port`, and a TLS context to use TLS."""

    aet: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.aet}@{authority(self.host, self.port)}"


class Proposal(NamedTuple):
    """A presentation context to propose; `role` is ours: "scu", "scp" (C-GET's storage classes) or "both"."""

    abstract_syntax: str
    transfer_syntaxes: Sequence[str]
    role: str = "scu"


class Association:
    """An established association that we opened. Leaving the `async with` releases it.

    At most `window` operations are outstanding: further ones, of other tasks, wait for their turn. So as many tasks as
    the window has places, each calling `store`, keep a pipeline full (PS3.7 D.3.3.3).
    """

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
        return self._link.invoker.context(abstract_syntax, transfer_syntax)

    @property
    def window(self) -> int:
        """How many operations the peer lets us have outstanding; 1 unless `connect` asked for more and it agreed."""
        return self._link.invoker.window

    def perform(self, services: Sequence[Service]) -> None:
        """Perform what the peer asks of us from now on: N-EVENT-REPORTs of an SCP, operations where we took that role.

        A service performs in the contexts whose abstract syntax it covers; elsewhere requests are answered 0211.
        """
        self._link.perform(services)

    async def echo(self) -> int:
        """C-ECHO; the status."""
        command = {"AffectedSOPClassUID": VERIFICATION, "CommandField": C_ECHO_RQ}
        return (await self._link.invoker.ask(self.context(VERIFICATION), command)).status

    async def store(
        self,
        sop_class: str,
        sop_instance: str,
        syntax: str,
        source: Source,
        move_originator: tuple[str, int] | None = None,
    ) -> Response:
        """C-STORE on the context of this class and syntax; NoContext if it wasn't accepted."""
        return await self._link.invoker.store(sop_class, sop_instance, syntax, source, move_originator)

    def find(self, sop_class: str, identifier: bytes) -> AsyncGenerator[Response, None]:
        """C-FIND: every response, the final one last. Closing the iterator early sends C-CANCEL.

        `identifier` is encoded in `context(sop_class).transfer_syntax`, and so are the responses' data sets.
        """
        return self._responses(sop_class, C_FIND_RQ, identifier)

    def move(self, sop_class: str, identifier: bytes, destination: str) -> AsyncGenerator[Response, None]:
        """C-MOVE: Pending responses (counts in `extra`), the final one last. Closing early sends C-CANCEL."""
        return self._responses(sop_class, C_MOVE_RQ, identifier, MoveDestination=destination)

    async def get(self, sop_class: str, identifier: bytes, on_store: StoreHandler) -> AsyncIterator[Response]:
        """C-GET; each C-STORE sub-operation of the peer goes to a sink that `on_store` makes. Otherwise as `move`.

        Also where the peer did not answer our role selection: there are some that send all the same.
        """
        receiving = Service("C-GET sub-operations", lambda uid: True, store=on_store)
        performer = self._link.performer
        before = performer.contexts
        performer.serve(
            {
                id: (each, service) if each.abstract_syntax == sop_class else (replace(each, peer_scu=True), receiving)
                for id, (each, service) in before.items()
            },
            1,
        )
        responses = self._responses(sop_class, C_GET_RQ, identifier)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()
            performer.serve(before, 1)

    # N- services (PS3.7 10): data sets in `context(sop_class).transfer_syntax`, the response with the status and,
    # where there is one, the attribute list. `context_class` is another abstract syntax, of a meta SOP class.

    async def n_event_report(
        self, sop_class: str, sop_instance: str, event_type: int, data_set: bytes | None = None, context_class: str = ""
    ) -> Response:
        """N-EVENT-REPORT, where our role is SCP (`Proposal(…, role="scp")`)."""
        context = self._link.invoker.context(context_class or sop_class, scu=False)
        return await self._link.invoker.event_report(context, sop_class, sop_instance, event_type, data_set)

    async def n_get(
        self, sop_class: str, sop_instance: str, attributes: Sequence[int] = (), context_class: str = ""
    ) -> Response:
        """N-GET of these attributes (tags), all if there are none."""
        more: dict[str, Any] = {"AttributeIdentifierList": list(attributes)} if attributes else {}
        return await self._requested(N_GET_RQ, sop_class, sop_instance, None, context_class, **more)

    async def n_set(self, sop_class: str, sop_instance: str, modification: bytes, context_class: str = "") -> Response:
        """N-SET."""
        return await self._requested(N_SET_RQ, sop_class, sop_instance, modification, context_class)

    async def n_action(
        self,
        sop_class: str,
        sop_instance: str,
        action_type: int,
        data_set: bytes | None = None,
        context_class: str = "",
    ) -> Response:
        """N-ACTION."""
        more = {"ActionTypeID": action_type}
        return await self._requested(N_ACTION_RQ, sop_class, sop_instance, data_set, context_class, **more)

    async def n_create(
        self, sop_class: str, sop_instance: str = "", attributes: bytes | None = None, context_class: str = ""
    ) -> Response:
        """N-CREATE; without an instance UID the peer makes one: `extra["AffectedSOPInstanceUID"]`."""
        command = {"AffectedSOPClassUID": sop_class, "CommandField": N_CREATE_RQ}
        if sop_instance:
            command["AffectedSOPInstanceUID"] = sop_instance
        return await self._link.invoker.ask(self.context(context_class or sop_class), command, attributes)

    async def n_delete(self, sop_class: str, sop_instance: str, context_class: str = "") -> Response:
        """N-DELETE."""
        return await self._requested(N_DELETE_RQ, sop_class, sop_instance, None, context_class)

    async def _requested(
        self, field: int, sop_class: str, sop_instance: str, data_set: bytes | None, context_class: str, **more: Any
    ) -> Response:
        uids = {"RequestedSOPClassUID": sop_class, "RequestedSOPInstanceUID": sop_instance}
        command = {**uids, "CommandField": field, **more}
        return await self._link.invoker.ask(self.context(context_class or sop_class), command, data_set)

    async def _responses(
        self, sop_class: str, field: int, identifier: bytes, **more: Any
    ) -> AsyncGenerator[Response, None]:
        command = {"AffectedSOPClassUID": sop_class, "CommandField": field, "Priority": MEDIUM_PRIORITY, **more}
        call = await self._link.invoker.call(self.context(sop_class), command, identifier)
        response = Response(status.PENDING)
        try:
            while status.is_pending(response.status):
                response = await call.next()
                yield response
        except GeneratorExit:
            if status.is_pending(response.status) and not self._link.over:
                await self._cancelled(call)
            raise
        finally:
            self._link.invoker.finished(call)

    async def _cancelled(self, call: Call) -> None:
        """C-CANCEL, and the responses to the final one. A-ABORT where that does not come: nobody wants more of them."""
        self._link.invoker.cancel(call)
        try:
            async with asyncio.timeout(self._link.limits.response_seconds_max):
                while status.is_pending((await call.next()).status):
                    pass
        except (TimeoutError, PeerError):
            self._link.abort("the peer goes on after a C-CANCEL")

    async def cancel(self) -> None:
        """C-CANCEL for the queries and retrievals under way; their final responses come through their iterators."""
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
    window: int = 1,
    common_extended: Sequence[CommonExtended] = (),
    extended: Mapping[str, bytes] | None = None,
    services: Sequence[Service] = (),
) -> Association:
    """Open an association with at most 128 contexts (more: split by the caller).

    `window` is how many operations we want to have outstanding at a time; `Association.window` is what the peer allows.
    `services` perform what the peer asks of us, as by `Association.perform`, from the first message on.

    Raises PeerUnreachable (no connection, no answer) or PeerRefused (A-ASSOCIATE-RJ, A-ABORT; text with result, source
    and reason). An association of which no context was accepted is returned as it is: `context()` tells.
    """
    limits = limits or NetLimits()
    proposals = [Proposal(*each) for each in contexts]
    if not 0 < len(proposals) <= 128:
        raise UsageError(f"{len(proposals)} presentation contexts; an association has 1 to 128")
    if not 0 < window <= UNLIMITED:
        raise UsageError(f"a window of {window} operations; 1 to {UNLIMITED} are possible")
    user = UserInformation(
        pdu_bytes_max=limits.pdu_receive_bytes_max,
        implementation_class=IMPLEMENTATION_CLASS,
        implementation_version=IMPLEMENTATION_VERSION,
        asynchronous=(window, 1) if window > 1 else None,
        roles=_roles(proposals),
        extended=tuple((extended or {}).items()),
        common_extended=tuple(common_extended),
        identity=user_identity,
    )
    link = await _open(peer, _request(peer, calling_aet, proposals, user), limits, services)
    try:
        await link.opened(str(peer))
    except BaseException:
        link.close()
        raise
    return Association(link)


async def _open(peer: Peer, request: AssociateRQ, limits: NetLimits, services: Sequence[Service]) -> Requestor:
    try:
        async with asyncio.timeout(limits.connect_seconds_max):
            if peer.tls is not None:
                return await _secured(peer, peer.tls, lambda: Requestor(request, limits, services))
            _, link = await asyncio.get_running_loop().create_connection(
                lambda: Requestor(request, limits, services), peer.host, peer.port
            )
    except TimeoutError:
        raise PeerUnreachable(f"{peer}: no connection within {limits.connect_seconds_max:g} s") from None
    except UnicodeError:  # a label of the name is empty, or too long
        raise PeerUnreachable(f"{peer}: there is no such host") from None
    except OSError as error:
        raise PeerUnreachable(f"{peer}: {_why(error)}") from None
    return link


async def _secured(peer: Peer, tls: ssl.SSLContext, make: Callable[[], Requestor]) -> Requestor:
    """The connection after the TLS handshake; a peer that is refused is told so."""
    loop = asyncio.get_running_loop()
    connected = await _connected(peer)
    with connected.dup() as spare:
        try:
            _, link = await loop.create_connection(make, sock=connected, ssl=tls, server_hostname=peer.host)
        except OSError as error:
            send_alert(spare, error)
            raise
    return link


async def _connected(peer: Peer) -> socket.socket:
    """A connection to the first of a host's addresses that takes it."""
    loop = asyncio.get_running_loop()
    problem = OSError("the host has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            await loop.sock_connect(made, address)
        except OSError as error:
            problem = error
            made.close()
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise problem


def _why(error: OSError) -> str:
    """The plain reason, without addresses and calls."""
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", "") or describe(error))
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _roles(proposals: Sequence[Proposal]) -> tuple[Role, ...]:
    roles = {
        each.abstract_syntax: Role(each.abstract_syntax, each.role in ("scu", "both"), each.role in ("scp", "both"))
        for each in proposals
        if each.role != "scu"
    }
    return tuple(roles.values())


def _request(peer: Peer, calling_aet: str, proposals: Sequence[Proposal], user: UserInformation) -> AssociateRQ:
    proposed = (
        ProposedContext(2 * number + 1, each.abstract_syntax, tuple(each.transfer_syntaxes))
        for number, each in enumerate(proposals)
    )
    return AssociateRQ(peer.aet, calling_aet, tuple(proposed), user)
