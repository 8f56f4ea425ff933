"""What a peer asks of us on one association: requests to handlers, their responses back (PS3.7 8.1, 9, 10).

C-STORE data sets go to a sink as they come; other data sets are collected, bounded. As many operations run at once as
were negotiated, one by default. Of a peer that sends more some wait, so that what it says of those under way (C-CANCEL,
the answer to a sub-operation) is heard; beyond that it is not read from. Errors of the error tree become statuses here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sagittal.dimse import commands, status
from sagittal.dimse.commands import C_CANCEL_RQ, C_STORE_RQ, N_EVENT_REPORT_RQ, InvalidCommand
from sagittal.dimse.exchange import Arrived
from sagittal.dimse.service import Context, Matches, Request, Response, Service, StoreSink
from sagittal.errors import LimitExceeded, SagittalError
from sagittal.net.messages.carrier import Carrier
from sagittal.net.messages.invoking import Invoker
from sagittal.net.messages.sending import Sender

LOGGER = logging.getLogger("sagittal.net")
SLICE_SECONDS = 0.002  # responses made without a pause before others get a turn


class Operation:
    """One request, from its command set to its last response."""

    __slots__ = ("failure", "held", "request", "service", "sink", "task")

    def __init__(self, request: Request, service: Service | None) -> None:
        self.request = request
        self.service = service
        self.sink: StoreSink | None = None
        self.held: bytearray | None = None
        self.failure: Response | None = None
        self.task: asyncio.Task[None] | None = None

    def refuse(self, failure: Response) -> None:
        """Answer this, and drop what was taken and what still comes."""
        self.failure = failure
        self.held = None
        if self.sink is not None:
            self.sink.abort()
            self.sink = None


class Performer:
    """The performing half of a link; `settled` is called whenever nothing is left to perform."""

    def __init__(self, link: Carrier, sender: Sender, invoker: Invoker, settled: Callable[[], None]) -> None:
        self._link, self._sender, self._settled = link, sender, settled
        self._store, self._report = invoker.store, invoker.event_report
        self.contexts: Mapping[int, tuple[Context, Service | None]] = {}  # what is performed in each
        self._window = 1
        self._receiving: Operation | None = None
        self._running: dict[int, Operation] = {}
        self._waiting: deque[Operation] = deque()

    def serve(self, contexts: Mapping[int, tuple[Context, Service | None]], window: int) -> None:
        """Perform, on these contexts, the operations of their services."""
        self.contexts, self._window = contexts, window

    @property
    def idle(self) -> bool:
        """Whether no request is being received, performed or waiting."""
        return not self._running and not self._waiting and self._receiving is None

    @property
    def _full(self) -> bool:
        return len(self._waiting) == self._link.limits.operations_max

    @property
    def working(self) -> bool:
        """Whether an operation is running: it is our turn, not the peer's."""
        return bool(self._running)

    # Incoming

    def begin(self, arrived: Arrived) -> None:
        """A request's command set."""
        if arrived.context_id not in self.contexts:
            raise InvalidCommand(f"a message in presentation context {arrived.context_id}, which was not accepted")
        context, service = self.contexts[arrived.context_id]
        if arrived.command["CommandField"] == C_CANCEL_RQ:
            self._cancel(arrived.command["MessageIDBeingRespondedTo"])
            return
        request = Request(self._link.info, context, arrived.command, None, self._store, self._report)
        operation = Operation(request, service)
        failure = self._obstacle(operation, arrived)
        if failure is not None:
            operation.failure = self._told(operation, failure)
        elif arrived.command["CommandField"] == C_STORE_RQ:
            self._open_sink(operation)
        elif arrived.data_set:
            operation.held = bytearray()
        if arrived.data_set:
            self._receiving = operation
        else:
            self._complete(operation)

    def _obstacle(self, operation: Operation, arrived: Arrived) -> Response | None:
        """Why this request can't be begun."""
        field, message_id = arrived.command["CommandField"], arrived.command["MessageID"]
        service, context = operation.service, operation.request.context
        storing = field == C_STORE_RQ
        handled = service is not None and (service.store is not None if storing else field in service.handlers)
        # Events are told by the SCP of a class (PS3.7 10.1.1), everything else is asked by its SCU.
        if not handled or not (context.peer_scp if field == N_EVENT_REPORT_RQ else context.peer_scu):
            return Response(status.UNRECOGNIZED_OPERATION, comment=f"{arrived.row.name} is not performed here")
        if message_id in self._running or any(each.request.message_id == message_id for each in self._waiting):
            return Response(status.DUPLICATE_INVOCATION, comment=f"message {message_id} is not answered yet")
        for keyword in arrived.row.required:
            if keyword not in arrived.command and keyword != "Priority":
                return Response(0xA900 if storing else status.MISTYPED_ARGUMENT, comment=f"no {keyword}")
        if storing and not arrived.data_set:
            return Response(0xC000, comment="C-STORE-RQ without a data set")
        return None

    def _open_sink(self, operation: Operation) -> None:
        assert operation.service is not None and operation.service.store is not None
        try:
            operation.sink = operation.service.store(operation.request)
        except Exception as error:
            operation.refuse(self._failure(operation, error))

    def data(self, fragments: Sequence[memoryview], last: bool) -> None:
        """Fragments of the data set of the request begun last."""
        operation = self._receiving
        if operation is None:
            return
        if operation.sink is not None:
            self._feed(operation, operation.sink, fragments, last)
        elif operation.held is not None:
            self._hold(operation, operation.held, fragments)
        if last:
            self._receiving = None
            self._complete(operation)

    def _feed(self, operation: Operation, sink: StoreSink, fragments: Sequence[memoryview], last: bool) -> None:
        try:
            if fragments:
                sink.write(fragments, last)
            ready = None if last else sink.ready()
        except Exception as error:
            operation.refuse(self._failure(operation, error))
            return
        if ready is not None:
            self._link.hold_until(ready)

    def _hold(self, operation: Operation, held: bytearray, fragments: Sequence[memoryview]) -> None:
        limit = self._link.limits.identifier_bytes_max
        for fragment in fragments:
            if len(held) + len(fragment) > limit:
                operation.refuse(self._failure(operation, LimitExceeded(f"identifier of more than {limit} bytes")))
                return
            held += fragment

    def _cancel(self, message_id: int) -> None:
        # A C-CANCEL for what is over already is usual (they cross) and means nothing.
        for operation in (*self._running.values(), *self._waiting):
            if operation.request.message_id == message_id:
                operation.request.cancel()

    # Performing

    def _complete(self, operation: Operation) -> None:
        """All of the request is there."""
        if operation.held is not None:
            operation.request.identifier = bytes(operation.held)
            operation.held = None
        if len(self._running) < self._window:
            self._start(operation)
        else:
            self._waiting.append(operation)
            if self._full:
                self._link.hold()

    def _start(self, operation: Operation) -> None:
        if operation.failure is not None:
            self.respond(operation, operation.failure)
            self._settled()
            return
        self._running[operation.request.message_id] = operation
        operation.task = self._link.run(self._perform(operation))

    async def _perform(self, operation: Operation) -> None:
        try:
            if operation.sink is not None:
                self.respond(operation, await operation.sink.finish())
            else:
                await self._answer(operation)
        except Exception as error:
            self.respond(operation, self._failure(operation, error))
        finally:
            self._done(operation)

    async def _answer(self, operation: Operation) -> None:
        """Run a handler to its final response."""
        request, sender, loop = operation.request, self._sender, self._link.loop
        assert operation.service is not None
        request.tell = partial(self.respond, operation)
        responses = operation.service.handlers[request.command["CommandField"]](request)
        turn_ends = loop.time() + SLICE_SECONDS
        try:
            async for response in responses:
                if isinstance(response, Response) and not status.is_pending(response.status):
                    self.respond(operation, self._told(operation, response))
                    return
                if request.cancelled:
                    break
                if isinstance(response, Matches):
                    self._respond_matches(operation, response)
                else:
                    self.respond(operation, response, at_once=False)
                if sender.behind:
                    await sender.caught_up()
                if loop.time() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = loop.time() + SLICE_SECONDS
            else:
                response = Response(status.SUCCESS)
        finally:
            close = getattr(responses, "aclose", None)
            if close is not None:
                await close()
        final = status.CANCEL if request.cancelled else status.SUCCESS
        counts = response.extra if isinstance(response, Response) else {}
        self.respond(operation, Response(final, extra=counts))

    def _done(self, operation: Operation) -> None:
        self._running.pop(operation.request.message_id, None)
        while self._waiting and len(self._running) < self._window:
            was_full = self._full
            self._start(self._waiting.popleft())
            if was_full:
                self._link.unhold()
        if self.idle:
            self._settled()

    def respond(self, operation: Operation, response: Response, *, at_once: bool = True) -> None:
        """Send a response."""
        if self._link.over:
            return
        request, data_set = operation.request, response.data_set
        command = commands.response_to(request.command, response.status, data_set=data_set is not None)
        if response.extra:
            command.update(response.extra)
        if response.comment:
            command["ErrorComment"] = response.comment
        self._sender.send(request.context.id, commands.encode(command), data_set, at_once=at_once)

    def _respond_matches(self, operation: Operation, matches: Matches) -> None:
        if not self._link.over:
            request = operation.request
            command = commands.encode(commands.response_to(request.command, matches.status, data_set=True))
            self._sender.send_matches(request.context.id, command, matches.data_sets)

    def _failure(self, operation: Operation, error: Exception) -> Response:
        """The response an error becomes; a mistake of ours is logged whole and told in general."""
        if isinstance(error, SagittalError):
            code, text = status.of_error(error)
            return self._told(operation, Response(code, comment=text))
        LOGGER.error("%s failed", _name(operation), exc_info=error)
        return Response(status.PROCESSING_FAILURE, comment="internal error")

    def _told(self, operation: Operation, response: Response) -> Response:
        """The response; what it refuses, or says to have failed, is a line of the log."""
        failed = response.extra.get("NumberOfFailedSuboperations", 0)
        if failed or status.kind(response.status) == "failure":
            self._link.log(
                logging.WARNING,
                "sub-operations failed" if failed else "request refused",
                message=_name(operation),
                destination=operation.request.command.get("MoveDestination"),
                failed=failed or "",
                status=f"{response.status:04X}",
                reason=response.comment,
            )
        return response

    def abandon(self) -> None:
        """Nothing more of the request that is being received will come."""
        if self._receiving is not None:
            self._receiving.refuse(Response(status.PROCESSING_FAILURE))
            self._receiving = None

    def end(self) -> None:
        """The association is over: forget what is incomplete, stop what only serves the peer, let commits finish."""
        self.abandon()
        for operation in self._waiting:
            operation.refuse(Response(status.PROCESSING_FAILURE))
        self._waiting.clear()
        for operation in self._running.values():
            operation.request.cancelled = True
            if operation.sink is None and operation.task is not None:
                operation.task.cancel()


def _name(operation: Operation) -> str:
    return commands.MESSAGE[operation.request.command["CommandField"]].name
