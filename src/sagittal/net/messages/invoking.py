"""What we ask of a peer on one association: requests out, responses matched by message ID (PS3.7 9.1, 10.1).

Used by the requestor's verbs (`client`), for the C-STORE sub-operations of a C-GET and the event reports of an SCP. At
most as many operations are outstanding as the peer agreed to (D.3.3.3, one by default); others wait for their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from sagittal.dimse.commands import (
    C_CANCEL_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    MEDIUM_PRIORITY,
    N_EVENT_REPORT_RQ,
    NO_DATA_SET,
    RESPONSE,
    WITH_DATA_SET,
    InvalidCommand,
    encode,
)
from sagittal.dimse.exchange import Arrived
from sagittal.dimse.service import Context, NoContext, Response, Source
from sagittal.dimse.status import is_pending
from sagittal.errors import PeerError, UsageError
from sagittal.net.messages.carrier import Carrier
from sagittal.net.messages.sending import Sender, at_once

RESPONSES_HELD_MAX = 1000  # responses nobody has taken yet; then the peer isn't read from
CANCELLABLE = frozenset({C_FIND_RQ, C_GET_RQ, C_MOVE_RQ})
_COUNT_MAX = 0xFFFF
_UID_BYTES = 65  # with the backslash before the next
_BASE = {"CommandField", "MessageIDBeingRespondedTo", "CommandDataSetType", "Status", "ErrorComment"}


class Call:
    """A request that was sent: its responses as they come."""

    def __init__(self, link: Carrier, context: Context, field: int, message_id: int) -> None:
        self.context = context
        self.field = field
        self.message_id = message_id
        self.task = asyncio.current_task()
        self.over = False  # its final response came
        self.abandoned = False  # nobody wants its responses any more
        self._link = link
        self._responses: deque[Response] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def awaited(self) -> bool:
        """Whether it is the peer's turn: somebody waits for an answer, or nothing but the answer is missing."""
        return self._waiter is not None or self.abandoned

    def put(self, response: Response) -> None:
        """A response came."""
        self.over = not is_pending(response.status)
        if self.abandoned:
            return
        self._responses.append(response)
        if len(self._responses) == RESPONSES_HELD_MAX:
            self._link.hold()
        self.wake()

    def wake(self) -> None:
        """Something changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def abandon(self) -> None:
        """Drop what came and what still comes."""
        if len(self._responses) >= RESPONSES_HELD_MAX:
            self._link.unhold()
        self._responses.clear()
        self.abandoned = True

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
    """The invoking half of a link. `window`: how many operations the peer lets us have outstanding."""

    def __init__(self, link: Carrier, sender: Sender) -> None:
        self._link, self._sender = link, sender
        self.window = 1
        self._calls: dict[int, Call] = {}
        self._turns: deque[asyncio.Future[None]] = deque()  # who waits for a place in the window
        self._last_id = 0
        self._arrived: Arrived | None = None  # a response whose data set is coming
        self._held = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether a response is outstanding."""
        return bool(self._calls)

    @property
    def awaited(self) -> bool:
        """Whether it is the peer's turn to answer."""
        return any(call.awaited for call in self._calls.values())

    @property
    def patience(self) -> float:
        """Seconds that the peer may be silent then."""
        moving = any(call.awaited and call.field == C_MOVE_RQ for call in self._calls.values())
        return self._link.limits.move_seconds_max if moving else self._link.limits.response_seconds_max

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
        limit = self._most()
        for fragment in fragments:
            if len(self._held) + len(fragment) > limit:
                raise InvalidCommand(f"a response's data set of more than {limit} bytes")
            self._held += fragment
        if last and self._arrived is not None:
            arrived, self._arrived = self._arrived, None
            self._finish(arrived, bytes(self._held))

    def _most(self) -> int:
        """The most bytes that the data set of the response may have: those of an identifier, and a UID for each
        sub-operation that its command says to have failed. A count of 65,535, the highest of VR US, stands for more.
        """
        limits, command = self._link.limits, self._arrived.command if self._arrived else {}
        count = command.get("NumberOfFailedSuboperations", 0)
        listed = limits.failed_list_bytes_max if count == _COUNT_MAX else count * _UID_BYTES
        return limits.identifier_bytes_max + min(listed, limits.failed_list_bytes_max)

    def _finish(self, arrived: Arrived, data_set: bytes | None) -> None:
        command = arrived.command
        call = self._calls.get(command["MessageIDBeingRespondedTo"])
        if call is None or call.over or call.field | RESPONSE != command["CommandField"]:
            raise InvalidCommand("a response to a request that was not made")
        extra = {keyword: value for keyword, value in command.items() if keyword not in _BASE}
        call.put(Response(command["Status"], data_set, command.get("ErrorComment", ""), extra))
        if call.over and call.abandoned:
            self._forget(call)

    def end(self) -> None:
        """The association is over."""
        for call in self._calls.values():
            call.wake()
        for turn in self._turns:
            if not turn.done():
                turn.set_result(None)

    async def ask(self, context: Context, command: Mapping[str, Any], source: Source | None = None) -> Response:
        """A request that has one response."""
        call = await self.call(context, command, source)
        try:
            return await call.next()
        finally:
            self.finished(call)

    async def call(self, context: Context, command: Mapping[str, Any], source: Source | None = None) -> Call:
        """Send a request; a message ID is given to it. `finished` must be called with the result."""
        if len(self._calls) >= self.window:
            await self._turn()
        if self._link.over:
            raise PeerError(f"the association ended: {self._link.reason}")
        call = Call(self._link, context, command["CommandField"], self._next_id())
        self._calls[call.message_id] = call
        whole = dict(command, MessageID=call.message_id)
        whole["CommandDataSetType"] = NO_DATA_SET if source is None else WITH_DATA_SET
        self._link.active_at = self._link.loop.time()
        try:
            if source is None:
                self._sender.send(context.id, encode(whole), None)
            else:
                await self._sender.send_with_data(context.id, encode(whole), source)
        except BaseException:
            if at_once(source):
                self.finished(call)
            else:
                self._forget(call)  # it never began to go out; else the association is over now
            raise
        self._link.active_at = self._link.loop.time()
        return call

    async def _turn(self) -> None:
        """Wait for a place in the window."""
        while len(self._calls) >= self.window and not self._link.over:
            task = asyncio.current_task()
            if all(call.task is task and not call.abandoned for call in self._calls.values()):
                raise UsageError(f"the peer takes {self.window} operations at a time; the one under way comes first")
            turn = self._link.loop.create_future()
            self._turns.append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._next_turn()  # it was given to us
                raise
            finally:
                if turn in self._turns:
                    self._turns.remove(turn)

    def _next_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _next_id(self) -> int:
        self._last_id = self._last_id % 0xFFFF + 1
        while self._last_id in self._calls:
            self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def finished(self, call: Call) -> None:
        """No more of its responses are wanted; it is outstanding until the peer has given the final one."""
        if call.over or self._link.over:
            self._forget(call)
        else:
            call.abandon()

    def _forget(self, call: Call) -> None:
        if self._calls.pop(call.message_id, None) is not None:
            self._next_turn()

    def cancel(self, call: Call) -> None:
        """C-CANCEL (PS3.7 9.3.2.3), for what can be cancelled and isn't over."""
        if call.field in CANCELLABLE and not call.over:
            command = {"CommandField": C_CANCEL_RQ, "MessageIDBeingRespondedTo": call.message_id}
            self._sender.send(call.context.id, encode({**command, "CommandDataSetType": NO_DATA_SET}), None)

    def context(self, sop_class: str, syntax: str | None = None, *, scu: bool = True) -> Context:
        """The accepted context of a class (and syntax) in which we are its SCU, or SCP. NoContext if there is none."""
        for context in self._link.info.contexts:
            ours = context.peer_scp if scu else context.peer_scu
            if ours and context.abstract_syntax == sop_class and syntax in (None, context.transfer_syntax):
                return context
        wanted = sop_class if syntax is None else f"{sop_class} in {syntax}"
        raise NoContext(f"the peer accepted no context for {wanted}" + ("" if scu else " with us as SCP"))

    async def store(
        self,
        sop_class: str,
        sop_instance: str,
        syntax: str,
        source: Source,
        move_originator: tuple[str, int] | None = None,
    ) -> Response:
        """C-STORE to a peer that has the SCP role, in the context of this class and syntax."""
        command: dict[str, Any] = {
            "AffectedSOPClassUID": sop_class,
            "CommandField": C_STORE_RQ,
            "Priority": MEDIUM_PRIORITY,
            "AffectedSOPInstanceUID": sop_instance,
        }
        if move_originator is not None:
            command["MoveOriginatorApplicationEntityTitle"], command["MoveOriginatorMessageID"] = move_originator
        return await self.ask(self.context(sop_class, syntax), command, source)

    async def event_report(
        self, context: Context, sop_class: str, sop_instance: str, event_type: int, data_set: bytes | None
    ) -> Response:
        """N-EVENT-REPORT to a peer that has the SCU role (PS3.7 10.1.1)."""
        command = {
            "AffectedSOPClassUID": sop_class,
            "CommandField": N_EVENT_REPORT_RQ,
            "AffectedSOPInstanceUID": sop_instance,
            "EventTypeID": event_type,
        }
        return await self.ask(context, command, data_set)
