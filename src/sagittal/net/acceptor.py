"""One accepted connection: the acceptor's side of opening an association (PS3.8 7.1, PS3.7 D.3.2)."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import ssl
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from sagittal.dimse.service import AssociationInfo, Context, Service
from sagittal.net.admission import Accept, Admission, AssociateInfo, Reject
from sagittal.net.link import CLOSED, LOGGER, Link
from sagittal.net.tls import describe, send_alert
from sagittal.ul import negotiation
from sagittal.ul.negotiation import Agreed, Offer
from sagittal.ul.pdu import APPLICATION_CONTEXT, AssociateAC, AssociateRJ, AssociateRQ

if TYPE_CHECKING:
    from sagittal.net.server import DimseServer

# PS3.8 Table 9-21
UNKNOWN_APPLICATION_CONTEXT = Reject(1, 1, 2, "unknown application context name")
TOO_MANY_CONTEXTS = Reject(1, 3, 2, "more presentation contexts than the limit")
TOO_SMALL_PDUS = Reject(1, 3, 2, "the peer's Maximum Length is below the limit")
LOCAL_LIMIT = Reject(2, 3, 2, "as many associations as the limit allows")
TITLE_LIMIT = Reject(2, 3, 2, "as many associations of one calling AE title as the limit allows")
DRAINING = Reject(2, 3, 1, "shutting down")
FAILED = Reject(2, 1, 1, "the admission failed")

CLOSE_NOTIFY_SECONDS = 1.0  # for what TLS peers are to answer when we close; many don't, and a shutdown waits for them


def contexts_of(agreed: Iterable[Agreed], answered: Mapping[str, bytes]) -> tuple[Context, ...]:
    """The accepted contexts as services see them, with what was answered to the extended negotiation."""
    return tuple(
        Context(
            each.id,
            each.abstract_syntax,
            each.transfer_syntax,
            each.requestor_scu,
            each.requestor_scp,
            answered.get(each.abstract_syntax),
        )
        for each in agreed
    )


class Acceptor(Link):
    """A connection that somebody opened to us."""

    def __init__(self, server: DimseServer, buffer: memoryview, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__(server.limits, buffer, tasks, requestor=False)
        self._server = server
        self._accepted = False
        self._counted = False
        self._handshake: asyncio.Task[None] | None = None

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way: no association, or one between two operations."""
        return not self._accepted or (self.performer.idle and not self.exchange.inside)

    def secure(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        """Shake hands on a connection just accepted; it counts as open from now on."""
        try:
            peer = accepted.getpeername() if accepted.family != socket.AF_UNIX else ("", 0)
        except OSError:  # a port scan that reset it before we came to accept it
            accepted.close()
            return
        self.info = AssociationInfo("", "", str(peer[0]), int(peer[1]))
        self._counted = self._server.opened(self)
        if self._counted:
            self._handshake = self.run(self._shake_hands(accepted, context))
        else:
            accepted.close()

    async def _shake_hands(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        why, seconds = "cut within the TLS handshake", self.limits.artim_seconds
        spare = accepted.dup()
        try:
            await self.loop.connect_accepted_socket(
                lambda: self,
                accepted,
                ssl=context,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=CLOSE_NOTIFY_SECONDS,
            )
        except OSError as error:  # SSLError is one, and so is a handshake that takes too long
            why = f"the TLS handshake failed: {describe(error)}"
            send_alert(spare, error)
        finally:
            spare.close()
            self._handshake = None
            if self.transport is None:  # we were not told of a connection, and won't be
                self._end(why)
                self.connection_lost(None)

    def drop(self, text: str) -> None:
        super().drop(text)
        if self._handshake is not None:
            self._handshake.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._counted and not self._server.opened(self):
            self.drop("too many connections from this address")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.closed(self)

    def association_requested(self, request: AssociateRQ) -> None:
        """Reject by itself what no admission could change, then ask `admit`."""
        user, host = request.user, self.info
        self.info = AssociationInfo(
            request.calling_aet,
            request.called_aet,
            host.peer_address,
            host.peer_port,
            user_identity=user.identity,
            implementation_class=user.implementation_class,
            implementation_version=user.implementation_version,
            peer_pdu_bytes_max=user.pdu_bytes_max,
            extended=dict(user.extended),
        )
        if self.machine.state != 3:  # what came behind it in the same read has ended it
            return
        obstacle = self._obstacle(request)
        if obstacle is not None:
            self._reject(obstacle)
            return
        asked = AssociateInfo(
            request.calling_aet,
            request.called_aet,
            host.peer_address,
            host.peer_port,
            user.identity,
            cast("dict[str, Any] | None", self.transport and self.transport.get_extra_info("peercert")) or None,
        )
        try:
            admission = self._server.admit(asked)
        except Exception:
            LOGGER.exception("the admission failed")
            self._reject(FAILED)
            return
        if inspect.isawaitable(admission):
            self.run(self._admit_later(request, admission))
        else:
            self._admitted(request, admission)

    def _obstacle(self, request: AssociateRQ) -> Reject | None:
        limits, server = self.limits, self._server
        if request.application_context != APPLICATION_CONTEXT:
            return UNKNOWN_APPLICATION_CONTEXT
        if server.draining:
            return DRAINING
        if len(server.associations) >= limits.associations_max:
            return LOCAL_LIMIT
        of_title = sum(link.info.calling_aet == request.calling_aet for link in server.associations)
        if of_title >= limits.associations_per_title_max:
            return TITLE_LIMIT
        if len(request.contexts) > limits.presentation_contexts_max:
            return TOO_MANY_CONTEXTS
        if 0 < request.user.pdu_bytes_max < limits.peer_pdu_bytes_min:
            return TOO_SMALL_PDUS
        return None

    async def _admit_later(self, request: AssociateRQ, admission: Awaitable[Admission]) -> None:
        try:
            answer = await admission
        except Exception:
            LOGGER.exception("the admission failed")
            answer = FAILED
        if not self.over:  # the peer may have gone meanwhile
            self._admitted(request, self._obstacle(request) or answer)

    def _admitted(self, request: AssociateRQ, admission: Admission) -> None:
        if isinstance(admission, Reject):
            self._reject(admission)
            return
        order = admission.syntax_order or self._server.syntax_order
        declared = {each.sop_class: each for each in request.user.common_extended}
        proposed = dict.fromkeys(context.abstract_syntax for context in request.contexts)
        services = {uid: self._server.service_of(uid, declared.get(uid)) for uid in proposed}
        offers = {uid: Offer(each.scp, each.scu, each.syntaxes) for uid, each in services.items() if each is not None}
        results, roles, agreed = negotiation.answer_contexts(request, offers.get, order)
        extended = self._extended(request, services, {each.abstract_syntax for each in agreed})
        answer = negotiation.acceptance(
            request,
            results,
            roles,
            pdu_bytes_max=self.limits.pdu_receive_bytes_max,
            operations_max=self.limits.operations_max,
            identity_response=admission.identity_response,
            extended=extended,
        )
        self._accept(request, answer, admission, agreed, services)

    def _extended(
        self, request: AssociateRQ, services: Mapping[str, Service | None], agreed: set[str]
    ) -> dict[str, bytes]:
        """What the services answer to the extended negotiation of classes that were accepted (PS3.7 D.3.3.5)."""
        answered = {}
        for sop_class, proposed in request.user.extended:
            service = services[sop_class] if sop_class in agreed else None
            if service is not None and service.negotiate is not None:
                try:
                    answered[sop_class] = service.negotiate(proposed)
                except Exception:  # no answer means the default conditions
                    LOGGER.exception("the extended negotiation of %s failed", service.name)
        return answered

    def _accept(
        self,
        request: AssociateRQ,
        answer: AssociateAC,
        admission: Accept,
        agreed: tuple[Agreed, ...],
        services: Mapping[str, Service | None],
    ) -> None:
        contexts = contexts_of(agreed, dict(answer.user.extended))
        self.machine.accept(answer, self.loop.time())
        self.established(replace(self.info, contexts=contexts, principal=admission.principal))
        performed = {context.id: (context, services[context.abstract_syntax]) for context in contexts}
        self.performer.serve(performed, (answer.user.asynchronous or (1, 1))[0])
        self._accepted, self.stands = True, admission.stands
        self._server.associated(self)
        self.log(logging.INFO, "association accepted", contexts=f"{len(contexts)}/{len(request.contexts)}",
                 implementation=self.info.implementation_version)  # fmt: skip
        self.settle()

    def _reject(self, answer: Reject) -> None:
        codes = (answer.result, answer.source, answer.reason)
        self.reason = f"rejected: {answer.text}"
        code = "/".join(map(str, codes))
        self._server.rejections[code] += 1
        self.log(logging.WARNING, "association rejected", code=code, reason=answer.text)
        self.over = True
        self.machine.reject(AssociateRJ(*codes), self.loop.time())
        self.settle()

    def association_over(self) -> None:
        self._server.disassociated(self)
        if self._accepted:
            level = logging.INFO if self.reason == "released" else logging.WARNING
            self.log(level, "association ended", reason=self.reason, received_bytes=self.received_bytes)
        elif self.received_bytes or self.reason != CLOSED:  # a port scan that says nothing isn't worth a line
            self.log(logging.WARNING, "connection ended without an association", reason=self.reason)

    def leave(self, text: str) -> None:
        """Abort what is there, then close."""
        if self._handshake is not None:
            self.drop(text)
        if not self.over:
            self.abort(text)
        if self.transport is not None:
            self.transport.close()
