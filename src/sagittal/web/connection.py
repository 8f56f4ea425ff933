"""One HTTP connection: uvicorn's protocol, and what that leaves open. What a peer may send besides a body; what one is
told that speaks another protocol; and since when it has owed us something, so that `server` can end it.

Deliberately not here: listening, and when connections are looked after.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sagittal.lasting import guarded
from sagittal.limits import WebLimits
from sagittal.net.unsent import unsent
from sagittal.web.cycle import adjusted

_FLOOR_WINDOW_SECONDS = 30.0
_HALF_CLOSED_SECONDS = 1.0  # until the answer to a client that sends nothing more: most that do have gone
_FRAMING = (b"content-length", b"transfer-encoding")  # how long the body of a request is (RFC 9112 6)
_OTHER_PROTOCOLS = {b"\x16\x03": b"TLS", b"\x01\x00": b"DICOM"}  # by their first bytes
log = logging.getLogger("sagittal.web")


class Connection(HttpToolsProtocol):
    """One connection, with what the sweep needs to judge it."""

    limits = WebLimits()  # replaced for each listener by `HttpServer`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it
        super().connection_made(transport)
        # Since when the peer owes us a request head; None while a request is under way.
        self.head_since: float | None = time.monotonic()
        self.head_bytes = 0
        self.refused = False
        self.resuming = False
        self.receiving = False
        self.answering: Any = None  # the cycle at work: uvicorn knows the newest, which may wait for it
        self.beside_bytes = 0  # since a body had a byte, or ended: the parser keeps trailers, and a head that waits
        self.window_since = self.head_since
        self.window_bytes = 0
        self.unsent = 0
        self.unsent_since = self.head_since
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.limits.connections_max and not self._displace():
            self._refuse(b"503 Service Unavailable", b"too many connections (limits.connections_max)")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.answering is not None and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes whatever it owes
        """A client may end its side when it has asked, as `nc` does (RFC 9293 3.6). One that has gone looks the same,
        until it is sent something: so an answer has to begin soon.
        """
        if not self.answers or self.receiving:
            return False
        self.cycle.keep_alive = False
        asyncio.get_running_loop().call_later(_HALF_CLOSED_SECONDS, self._end_unless_begun)
        return True

    def _end_unless_begun(self) -> None:
        if self.answering is None or not self.answering.response_started:
            self.transport.close()

    def _displace(self) -> bool:
        """Close the connection that has waited for nothing longest, so that such ones can't lock anybody out: without a
        request under way, or with one that is answered already, as 401, and whose body goes on and on.
        """
        silent = [c for c in self.connections if isinstance(c, Connection) and c is not self and c.is_idle]
        if not silent:
            return False
        longest = min(silent, key=lambda c: c.window_since if c.head_since is None else c.head_since)
        longest.end("too many connections, and this one was silent longest (limits.connections_max)")
        longest.head_since, longest.refused = None, True
        return True

    def end(self, reason: str) -> None:
        """Close at once, with a line in the log. Who sent nothing yet is no warning: browsers connect in advance."""
        silent = self.head_since is not None and not self.head_bytes
        self._tell(reason, logging.INFO if silent else logging.WARNING)
        self.transport.abort()

    def _tell(self, reason: str, level: int = logging.WARNING) -> None:
        peer = f"{self.client[0]}:{self.client[1]}" if self.client else ""
        log.log(level, "connection closed", extra={"fields": {"peer": peer, "reason": reason}})

    def _refuse(self, status: bytes, text: bytes) -> None:
        if self.refused:
            return
        self.refused = True
        self._tell(text.decode())
        head = b"HTTP/1.1 %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(text)) + text)
        self.transport.close()

    def data_received(self, data: bytes | memoryview) -> None:
        if self.refused:
            return
        self.window_bytes += len(data)
        self.beside_bytes += len(data)
        if self.head_since is not None:
            if self.head_bytes == 0:
                self.head_since = time.monotonic()
            # What never becomes a whole header (one that has no end) is bounded here, whole ones in `on_header`.
            self.head_bytes += len(data)
        self._parse(data)
        most = 2 * self.limits.request_line_and_headers_bytes_max
        if self.head_since is not None and self.head_bytes > most:
            self._head_too_long()
        elif self.beside_bytes > most and not self.refused:
            self.refused = True
            self.end("too many bytes beside bodies, as trailers (limits.request_line_and_headers_bytes_max)")

    def _parse(self, data: bytes | memoryview) -> None:
        self._unset_keepalive_if_required()
        try:
            while not self.refused:
                try:
                    self.parser.feed_data(cast(bytes, data))  # which takes any buffer
                    return
                except httptools.HttpParserUpgrade as paused:
                    data = data[paused.args[0] :]
                    self._resume()
        except httptools.HttpParserInvalidURLError:
            self._refuse(b"400 Bad Request", b"the address is not percent-encoded (RFC 3986 2.1)")
        except httptools.HttpParserError:
            other = _OTHER_PROTOCOLS.get(bytes(data[:2]))
            text = b"this port speaks HTTP, not %s" % other if other else b"not a valid HTTP/1.1 request"
            self._refuse(b"400 Bad Request", text)

    def _resume(self) -> None:
        """Who asks for another protocol, as clients of HTTP/2 do, goes on in this one (RFC 9110 7.8). The parser would
        leave the body of the request to that protocol: so it is given a head once more, of the same body.
        """
        self.resuming = True
        framing = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % framing)

    def _head_too_long(self) -> None:
        text = b"the request head is too long (limits.request_line_and_headers_bytes_max)"
        self._refuse(b"431 Request Header Fields Too Large", text)

    def on_message_begin(self) -> None:
        if self.resuming:
            return
        super().on_message_begin()
        self.exact_bytes = 0

    def on_url(self, url: bytes) -> None:
        if self.resuming:
            return
        super().on_url(url)
        self.exact_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.resuming:
            return
        super().on_header(name, value.rstrip(b" \t"))  # the parser leaves blanks at the end (RFC 9112 5.1)
        self.exact_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        if self.resuming:
            self.resuming = False
            return
        if self.exact_bytes > self.limits.request_line_and_headers_bytes_max:
            self._head_too_long()
        if any(name == _FRAMING[1] and value.lower() != b"chunked" for name, value in self.headers):
            self._refuse(b"501 Not Implemented", b"no transfer coding but chunked is taken (RFC 9112 6.1)")
        if self.refused:
            return
        if len(self.pipeline) >= self.limits.pipelined_max:
            self._end_with_the_last()
        self.head_since = None
        self.receiving = True
        self.beside_bytes = 0
        self.window_since, self.window_bytes = time.monotonic(), 0
        super().on_headers_complete()
        if not self.pipeline:
            self.answering = self.cycle
        adjusted(self.cycle)

    def _end_with_the_last(self) -> None:
        """Of the requests that wait already: a client asks the rest again on another connection (RFC 9112 9.3.2)."""
        self.refused, self.cycle.keep_alive = True, False
        self._tell("too many requests wait for their answers (limits.pipelined_max)", logging.INFO)
        raise OverflowError  # so that the parser ends too

    def on_body(self, body: bytes) -> None:
        self.beside_bytes = 0
        if self.refused or self.cycle.response_complete:
            return
        cycle: Any = self.cycle
        if cycle.body:
            super().on_body(body)
            return
        cycle.body = body  # as it is: uvicorn copies it into a bytearray, and out of it again
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.refused or self.parser.should_upgrade():  # then the parser has not looked for a body yet
            return
        self.receiving, self.beside_bytes = False, 0
        super().on_message_complete()
        if self.cycle.response_complete:  # answered before the whole request was here
            self._await_head()

    def on_response_complete(self) -> None:
        self.answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if not self.receiving:
            self._await_head()

    @property
    def answers(self) -> bool:
        """Whether a request is under way whose answer is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_idle(self) -> bool:
        """Whether it is open and no answer is owed on it."""
        return not self.refused and (self.head_since is not None or (self.receiving and not self.answers))

    def _await_head(self) -> None:
        if not self.pipeline:
            self.head_since, self.head_bytes = time.monotonic(), 0

    def look(self, now: float) -> None:
        """Close it if the peer has used up its time, or if that can't be told."""
        guarded(partial(self._judge, now), self.transport.abort, "looking after a connection", log)

    def _judge(self, now: float) -> None:
        if reason := self.overdue(now):
            self.end(reason)

    def overdue(self, now: float) -> str:
        """With what this peer has used up its time: no head, a body or an answer that goes too slowly; ""."""
        if self._answer_stalls(now):
            return "too little of the answer was taken in time (limits.send_stall_seconds_max)"
        if self.head_since is not None and not (self.timeout_keep_alive_task and self.head_bytes == 0):
            late = now - self.head_since > self.limits.header_seconds_max
            return "no whole request head in time (limits.header_seconds_max)" if late else ""
        slow = self.receiving and self._body_stalls(now)
        return "the body of the request came too slowly (limits.body_bytes_per_second_min)" if slow else ""

    def _answer_stalls(self, now: float) -> bool:
        """Whether less is taken than the floor says; of what is written while the answer need not wait, nothing."""
        left, floor = unsent(self.transport), self.limits.body_bytes_per_second_min
        elapsed, taken = now - self.unsent_since, self.unsent - left
        if not left or taken < 0 or (taken and not self.flow.write_paused):
            self.unsent, self.unsent_since = left, now
        elif elapsed > self.limits.send_stall_seconds_max:
            self.unsent, self.unsent_since = left, now
            return taken <= elapsed * floor
        return False

    def pause_writing(self) -> None:
        """The answer waits for the peer: from now on nothing is written, so what goes is what it takes."""
        super().pause_writing()
        self.unsent, self.unsent_since = unsent(self.transport), time.monotonic()

    def _body_stalls(self, now: float) -> bool:
        if self.flow.read_paused:  # we are the slow ones
            self.window_since, self.window_bytes = now, 0
        elapsed = now - self.window_since
        if elapsed < _FLOOR_WINDOW_SECONDS:
            return False
        slow = self.window_bytes < elapsed * self.limits.body_bytes_per_second_min
        self.window_since, self.window_bytes = now, 0
        return slow


class Intake(asyncio.BufferedProtocol):
    """Reads one connection's socket into a buffer that all of a listener share; the parser copies what it keeps of it.

    A transport would read less at once, and copy it once more: a CT image took three turns of the loop, and takes one.
    """

    def __init__(self, connection: Connection, buffer: memoryview) -> None:
        self._connection, self._buffer = connection, buffer

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(self._buffer[:nbytes])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.connection_made(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
