"""What we ask of a peer on one association: requests out, responses matched by message ID (PS3.7 9.1, 10.1).

Used by the requestor's verbs (`client`) and for the C-STORE sub-operations of a C-GET that we perform.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagittal.dimse.commands import (
    C_CANCEL_RQ,
    C_STORE_RQ,
    MEDIUM_PRIORITY,
    NO_DATA_SET,
    WITH_DATA_SET,
    InvalidCommand,
    encode,
)
from sagittal.dimse.exchange import Arrived
from sagittal.dimse.service import Context, NoContext, Response, Source
from sagittal.errors import PeerError

if TYPE_CHECKING:
    from sagittal.net.link import Link

RESPONSES_HELD_MAX = 1000  # responses nobody has taken yet; then the peer isn't read from
_BASE = {"CommandField", "MessageIDBeingRespondedTo", "CommandDataSetType", "Status", "ErrorComment"}


class Call:
    """A request that was sent: its responses as they come."""

    def __init__(self, link: Link, context: Context, message_id: int) -> None:
        self.context = context
        self.message_id = message_id
        self._link = link
        self._responses: deque[Response] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the peer's answer."""
        return self._waiter is not None

    def put(self, response: Response) -> None:
        """A response came."""
        self._responses.append(response)
        if len(self._responses) == RESPONSES_HELD_MAX:
            self._link.hold()
        self.wake()

    def wake(self) -> None:
        """Something changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Response:
        """The next response. PeerError if the association ends; `watch` ends it if the peer is silent for too long."""
        link = self._link
        while not self._responses:
            if link.over:
                raise PeerError(f"the association ended: {link.reason}")
            self._waiter = link.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if len(self._responses) == RESPONSES_HELD_MAX:
            link.unhold()
        return self._responses.popleft()


class Invoker:
    """The invoking half of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls: dict[int, Call] = {}
        self._last_id = 0
        self._arrived: Arrived | None = None  # a response whose data set is coming
        self._held = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether a response is outstanding."""
        return bool(self._calls)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the peer to answer."""
        return any(call.awaited for call in self._calls.values())

    @property
    def calls(self) -> tuple[Call, ...]:
        """The requests without a final response."""
        return tuple(self._calls.values())

    def begin(self, arrived: Arrived) -> None:
        """A response's command set."""
        if arrived.data_set:
            self._arrived = arrived
            self._held.clear()
        else:
            self._finish(arrived, None)

    def data(self, fragments: Sequence[memoryview], last: bool) -> None:
        """Fragments of a response's data set."""
        limit = self._link.limits.identifier_bytes_max
        for fragment in fragments:
            if len(self._held) + len(fragment) > limit:
                raise InvalidCommand(f"a response's data set of more than {limit} bytes")
            self._held += fragment
        if last and self._arrived is not None:
            arrived, self._arrived = self._arrived, None
            self._finish(arrived, bytes(self._held))

    def _finish(self, arrived: Arrived, data_set: bytes | None) -> None:
        command = arrived.command
        call = self._calls.get(command["MessageIDBeingRespondedTo"])
        if call is None:
            raise InvalidCommand("a response to a request that was not made")
        extra = {keyword: value for keyword, value in command.items() if keyword not in _BASE}
        call.put(Response(command["Status"], data_set, command.get("ErrorComment", ""), extra))

    def end(self) -> None:
        """The association is over."""
        for call in self._calls.values():
            call.wake()

    async def call(self, context: Context, command: Mapping[str, Any], source: Source | None = None) -> Call:
        """Send a request; a message ID is given to it. `finished` must be called with the result."""
        if self._link.over:
            raise PeerError(f"the association ended: {self._link.reason}")
        call = Call(self._link, context, self._next_id())
        self._calls[call.message_id] = call
        whole = dict(command, MessageID=call.message_id)
        whole["CommandDataSetType"] = NO_DATA_SET if source is None else WITH_DATA_SET
        self._link.active_at = self._link.loop.time()
        try:
            if source is None:
                self._link.sender.send(context.id, encode(whole), None)
            else:
                await self._link.sender.send_with_data(context.id, encode(whole), source)
        except BaseException:
            self.finished(call)
            raise
        self._link.active_at = self._link.loop.time()
        return call

    def _next_id(self) -> int:
        self._last_id = self._last_id % 0xFFFF + 1
        while self._last_id in self._calls:
            self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def finished(self, call: Call) -> None:
        """No more responses are expected."""
        self._calls.pop(call.message_id, None)

    def cancel(self, call: Call) -> None:
        """C-CANCEL (PS3.7 9.3.2.3)."""
        command = {"CommandField": C_CANCEL_RQ, "MessageIDBeingRespondedTo": call.message_id}
        self._link.sender.send(call.context.id, encode({**command, "CommandDataSetType": NO_DATA_SET}), None)

    async def store(
        self,
        sop_class: str,
        sop_instance: str,
        syntax: str,
        source: Source,
        move_originator: tuple[str, int] | None = None,
    ) -> int:
        """C-STORE to a peer that has the SCP role; its status."""
        context = self._scp_context(sop_class, syntax)
        return (await self.send_store(context, sop_class, sop_instance, source, move_originator)).status

    def _scp_context(self, sop_class: str, syntax: str) -> Context:
        for context in self._link.info.contexts:
            if context.peer_scp and context.abstract_syntax == sop_class and context.transfer_syntax == syntax:
                return context
        raise NoContext(f"no context for {sop_class} in {syntax} with the peer as SCP")

    async def send_store(
        self,
        context: Context,
        sop_class: str,
        sop_instance: str,
        source: Source,
        move_originator: tuple[str, int] | None = None,
    ) -> Response:
        """C-STORE in this context."""
        command: dict[str, Any] = {
            "AffectedSOPClassUID": sop_class,
            "CommandField": C_STORE_RQ,
            "Priority": MEDIUM_PRIORITY,
            "AffectedSOPInstanceUID": sop_instance,
        }
        if move_originator is not None:
            command["MoveOriginatorApplicationEntityTitle"], command["MoveOriginatorMessageID"] = move_originator
        call = await self.call(context, command, source)
        try:
            return await call.next()
        finally:
            self.finished(call)
