"""A transport with its association machine: PS3.8 on asyncio, for both roles.

Bytes are read into a buffer that all links of an owner share, cut in place and handed on as views before anything else
can run; nothing keeps them. What is asked of us goes to `performing`, answers to what we ask to `invoking`, outgoing
messages through `sending`; when to give up on a peer is `watch`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, cast

from sagittal.dimse.commands import RESPONSE, InvalidCommand
from sagittal.dimse.exchange import Buffer, Exchange
from sagittal.dimse.service import AssociationInfo
from sagittal.limits import NetLimits
from sagittal.net.messages.invoking import Invoker
from sagittal.net.messages.performing import Performer
from sagittal.net.messages.sending import Sender, write_all
from sagittal.ul.association import Aborted, Association, Indication, Released, ReleaseRequested
from sagittal.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ
from sagittal.ul.stream import Run

LOGGER = logging.getLogger("sagittal.net")
CLOSED = "the connection was closed"
SLOW_SECONDS = 0.005  # a read that cost more: the next one takes less, so that others get their turn
ROOM_BYTES_MIN = 8 << 10
TURN_SECONDS = 0.02  # what one read may cost before the peer has to wait as long
FRAGMENTS_MAX = 1024  # handed on one by one, as many as one gathered write takes; more are joined
_QUICKACK: int = getattr(socket, "TCP_QUICKACK", 0)  # Linux has it


class Link(asyncio.BufferedProtocol):
    """One connection. `over` once no more messages can pass; `reason` says why."""

    def __init__(
        self, limits: NetLimits, buffer: memoryview, tasks: set[asyncio.Task[None]], *, requestor: bool
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.machine = Association(
            requestor=requestor,
            pdu_bytes_max=limits.pdu_receive_bytes_max,
            associate_bytes_max=limits.associate_pdu_bytes_max,
            artim_seconds=limits.artim_seconds,
        )
        self.limits = limits
        self.info = AssociationInfo("", "", "", 0)
        self.transport: asyncio.Transport | None = None
        self.over = False
        self.reason = ""
        self.received_bytes = 0
        self.active_at = self.loop.time()  # bytes came
        self.holds = 0  # reasons not to read
        self.stands: Callable[[], bool] = lambda: True  # whether the association may go on
        self.write_waiter: asyncio.Future[None] | None = None
        self.exchange = Exchange(command_set_bytes_max=limits.command_set_bytes_max)
        self.sender = Sender(self)
        self.invoker = Invoker(self, self.sender)
        self.performer = Performer(self, self.sender, self.invoker, self.release_if_asked)
        self._buffer = buffer
        self._room = len(buffer)  # of it, for the next read: what costs much is read in small pieces
        self._tasks = tasks
        self._taker: Performer | Invoker = self.performer
        self._quickack: socket.socket | None = None
        self._has_ended = False  # nothing can be written any more

    # What the two roles do differently

    def association_requested(self, request: AssociateRQ) -> None:
        """A-ASSOCIATE indication."""
        raise NotImplementedError

    def association_answered(self, answer: AssociateAC | AssociateRJ) -> None:
        """A-ASSOCIATE confirmation."""
        raise NotImplementedError

    def association_over(self) -> None:
        """`over` and `reason` were set."""

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's doesn't inherit it
        transport.set_write_buffer_limits(high=1 << 20, low=1 << 18)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.info = AssociationInfo("", "", str(peer[0]), int(peer[1]))
        self.active_at = self.loop.time()
        self.machine.connected(self.active_at)
        self.settle()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer if self._room == len(self._buffer) else self._buffer[: self._room]

    def buffer_updated(self, nbytes: int) -> None:
        now, started = self.loop.time(), perf_counter()
        self.active_at = now
        self.received_bytes += nbytes
        try:
            for indication in self.machine.receive(self._buffer[:nbytes], now):
                if indication.__class__ is Run:
                    self._run(indication)
                else:
                    self._indicated(indication)
        except InvalidCommand as error:
            for indication in self.machine.abort_provider(now, 6, error.text):
                self._indicated(indication)
        if self._quickack is not None:
            self._quickack.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        if not self.machine.established or self.machine.has_output:
            self.settle()
        took = perf_counter() - started
        if took > SLOW_SECONDS:
            self._room = max(min(nbytes, self._room) // 8, min(ROOM_BYTES_MIN, len(self._buffer)))
        elif self._room < len(self._buffer):
            self._room = min(self._room * 2, len(self._buffer)) if took < SLOW_SECONDS / 4 else self._room
        if took > TURN_SECONDS:  # thousands of tiny values or messages: as much time to the others as to this peer
            self.hold()
            self.loop.call_later(took, self.unhold)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._quickack is not None:
            self._quickack.close()
            self._quickack = None
        if isinstance(exc, ssl.SSLError):  # an alert: with TLS 1.3 a certificate is refused after the handshake
            self._end(f"TLS: {exc.reason or exc}")
        for indication in self.machine.closed(self.loop.time()):
            self._indicated(indication)
        self.resume_writing()
        self._end(CLOSED if exc is None else f"the connection was lost: {exc}")

    def pause_writing(self) -> None:
        self.write_waiter = self.loop.create_future()

    def resume_writing(self) -> None:
        waiter, self.write_waiter = self.write_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Inside

    def _run(self, run: Run) -> None:
        if self.over:
            return
        if run.command:
            arrived = self.exchange.command(run)
            if arrived is not None:
                self._taker = self.invoker if arrived.command["CommandField"] & RESPONSE else self.performer
                self._taker.begin(arrived)
        else:
            self.exchange.data(run)
            fragments = run.fragments
            if len(fragments) > FRAGMENTS_MAX:
                fragments = (memoryview(b"".join(fragments)),)
            self._taker.data(fragments, run.last)

    def _indicated(self, indication: Indication) -> None:
        match indication:
            case AssociateRQ():
                self.association_requested(indication)
            case AssociateAC() | AssociateRJ():
                self.association_answered(indication)
            case ReleaseRequested():
                self.performer.abandon()
                self.release_if_asked()
            case Released():
                self._end("released")
            case Aborted():
                self._end(indication.text)

    def release_if_asked(self) -> None:
        """Answer a release request as soon as nothing is being performed."""
        if self.machine.state in (8, 9, 12) and self.performer.idle:
            self.machine.respond_release(self.loop.time())
            if self.machine.state == 13:
                self._end("released")
            self.settle()

    def settle(self) -> None:
        """Carry out what the machine wants of the transport."""
        transport, machine = self.transport, self.machine
        if transport is None:
            return
        output = machine.take_output()
        if output and not transport.is_closing() and not self._has_ended:  # AA-7: it was aborted already
            transport.write(output)
        if machine.closing:
            transport.close()
        elif machine.state == 13 and machine.problem and transport.can_write_eof() and not transport.is_closing():
            with suppress(OSError):  # the peer has gone, and asyncio has not told yet
                transport.write_eof()  # after our abort, so that a peer that doesn't speak DICOM notices the end
            self._has_ended = True
        if machine.state in (1, 13):
            self._end(machine.problem or "aborted")

    def _end(self, reason: str) -> None:
        if not self.over:
            self.over, self.reason = True, reason
            if self.holds and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()  # to see the peer close
            self.performer.end()
            self.invoker.end()
            self.association_over()

    # For the parts beside

    def established(self, info: AssociationInfo) -> None:
        """The association is there; arrange for quick acknowledgements (Nagle's senders wait for them)."""
        self.info = info
        plain = self.transport is not None and self.transport.get_extra_info("socket")
        if _QUICKACK and plain and plain.family in (socket.AF_INET, socket.AF_INET6):
            self._quickack = socket.socket(fileno=os.dup(plain.fileno()))  # uvloop's own takes 4 us a call, this one 1

    def write(self, parts: Sequence[Buffer]) -> None:
        """P-DATA request. Dropped when the association is over: the peer has gone, nobody else wants it."""
        if self.machine.may_send_data and self.transport is not None and not self.transport.is_closing():
            write_all(self.transport, parts)

    def hold(self) -> None:
        """Read no more until as many `unhold` calls."""
        self.holds += 1
        if self.holds == 1 and not self.over and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def unhold(self) -> None:
        self.holds -= 1
        self.active_at = self.loop.time()
        if not self.holds and not self.over and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def hold_until(self, ready: Awaitable[object]) -> None:
        """Backpressure: read on when `ready` is done. Its errors show at the next use of what it belongs to."""
        self.hold()
        self.run(self._unhold_after(ready))

    async def _unhold_after(self, ready: Awaitable[object]) -> None:
        try:
            await ready
        except Exception:
            LOGGER.exception("waiting for a sink failed")
        finally:
            self.unhold()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that the owner of this link keeps until it is done."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def abort(self, text: str) -> None:
        """A-ABORT from this side, in any state."""
        self.machine.abort(self.loop.time(), text)
        self.settle()

    def drop(self, text: str) -> None:
        """Cut the connection without another word."""
        self._end(text)
        if self.transport is not None:
            self.transport.abort()

    def log(self, level: int, what: str, **fields: object) -> None:
        """One line an event: what happened, with whom, then `key=value` pairs; empty ones are left out."""
        if LOGGER.isEnabledFor(level):
            info = self.info
            peer = f"{info.peer_address}:{info.peer_port}"
            fields = {"peer": peer, "calling": info.calling_aet, "called": info.called_aet, **fields}
            pairs = " ".join(f"{name}={escape(value)}" for name, value in fields.items() if value not in (None, ""))
            LOGGER.log(level, "%s %s", what, pairs)


def escape(text: object) -> str:
    """Printable, on one line; in quotes if it has spaces. No peer can break or forge a line of the log."""
    shown = "".join(c if c.isprintable() and c != '"' else f"\\x{ord(c):02x}" for c in str(text))
    return f'"{shown}"' if " " in shown or not shown else shown
