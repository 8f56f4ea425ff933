"""One connection that we opened: the requestor's side of opening and releasing an association (PS3.8 7.1, 7.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sagittal.dimse.service import AssociationInfo, Context, Service
from sagittal.errors import PeerRefused, PeerUnreachable
from sagittal.limits import NetLimits
from sagittal.net import watch
from sagittal.net.link import Link
from sagittal.ul.negotiation import agreed_contexts, agreed_window
from sagittal.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ

RESULTS = {1: "rejected permanently", 2: "rejected for now"}
SOURCES = {1: "the application", 2: "the upper layer (ACSE)", 3: "the upper layer (presentation)"}
# PS3.8 Table 9-21
REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


def describe_rejection(answer: AssociateRJ) -> str:
    """Result, source and reason in words and numbers."""
    result = RESULTS.get(answer.result, "rejected")
    source = SOURCES.get(answer.source, "an unknown source")
    reason = REASONS.get((answer.source, answer.reason), "an unknown reason")
    return f"{result} by {source}: {reason} ({answer.result}/{answer.source}/{answer.reason})"


class Requestor(Link):
    """A connection that we opened, and watch ourselves."""

    def __init__(self, request: AssociateRQ, limits: NetLimits, services: Sequence[Service] = ()) -> None:
        super().__init__(limits, memoryview(bytearray(limits.receive_buffer_bytes)), set(), requestor=True)
        self._request = request
        self._services = services
        self._answered: asyncio.Future[None] = self.loop.create_future()
        self._closed: asyncio.Future[None] = self.loop.create_future()
        self._rejected = ""
        self._seen = watch.Watch()
        self._timer: asyncio.TimerHandle | None = None
        self.machine.request(request, self.loop.time())

    async def opened(self, peer: str) -> None:
        """Return when the association is there, or raise why it isn't."""
        patience = self.limits.artim_seconds
        try:
            async with asyncio.timeout(patience):
                await self._answered
        except TimeoutError:
            raise PeerUnreachable(f"{peer}: no answer to the association request within {patience:g} s") from None
        if self._rejected:
            raise PeerRefused(f"{peer}: {self._rejected}")
        if self.over:
            refused = PeerRefused if self.received_bytes else PeerUnreachable
            raise refused(f"{peer}: {self.reason}")
        self._look()

    def association_answered(self, answer: AssociateAC | AssociateRJ) -> None:
        if isinstance(answer, AssociateRJ):
            self._rejected = describe_rejection(answer)
        elif 0 < answer.user.pdu_bytes_max < self.limits.peer_pdu_bytes_min:
            self.abort(f"its Maximum Length of {answer.user.pdu_bytes_max} bytes is below the limit")
        else:
            self._establish(answer)
        if not self._answered.done():
            self._answered.set_result(None)

    def _establish(self, answer: AssociateAC) -> None:
        # Our own roles are the requestor's: the peer has the other ones.
        contexts = tuple(
            Context(each.id, each.abstract_syntax, each.transfer_syntax, each.requestor_scp, each.requestor_scu)
            for each in agreed_contexts(self._request, answer)
        )
        user = answer.user
        self.established(
            AssociationInfo(
                self._request.calling_aet,
                self._request.called_aet,
                self.info.peer_address,
                self.info.peer_port,
                contexts,
                identity_response=user.identity_response,
                implementation_class=user.implementation_class,
                implementation_version=user.implementation_version,
                peer_pdu_bytes_max=user.pdu_bytes_max,
                extended=dict(user.extended),
            )
        )
        self.invoker.window = agreed_window(self._request.user.asynchronous, user.asynchronous)
        self.perform(self._services)

    def perform(self, services: Sequence[Service]) -> None:
        """Perform what the peer asks of us: each service in the contexts whose abstract syntax it covers."""
        performed = {
            each.id: (each, next((service for service in services if service.covers(each.abstract_syntax)), None))
            for each in self.info.contexts
        }
        self.performer.serve(performed, 1)

    def association_over(self) -> None:
        if not self._answered.done():
            self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed.done():
            self._closed.set_result(None)

    def _look(self) -> None:
        self._seen.look(self, self.loop.time())
        self._timer = self.loop.call_later(watch.interval(self.limits), self._look)

    async def release(self) -> None:
        """A-RELEASE; A-ABORT inside an operation or if the peer doesn't answer."""
        if self.invoker.waiting:
            self.abort("released inside an operation")
        if self.machine.established and not self.over:
            self.machine.request_release(self.loop.time())
            self.settle()
            await self.wait_closed(self.limits.artim_seconds)
            if not self.over:
                self.abort("no answer to the release request")
        self.close()
        await self.wait_closed(1.0)

    async def wait_closed(self, seconds: float) -> None:
        """Return when the connection is closed, or after `seconds`."""
        await asyncio.wait([self._closed], timeout=seconds)

    def close(self) -> None:
        """Close the transport once everything is sent."""
        if self.transport is not None:
            self.transport.close()
