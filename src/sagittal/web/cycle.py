"""One request and its answer: uvicorn's cycle, and what is to be done differently.

Deliberately not here: the connection that they are on (`connection`), and what is answered.
"""

from __future__ import annotations

from asyncio import Transport
from typing import Any, cast

Bytes = bytes | bytearray | memoryview


def adjusted(cycle: Any) -> None:
    """Have a new cycle answer as below."""
    if cycle.scope["http_version"] == "1.0":
        cycle.waiting_for_100_continue = False  # which it does not know (RFC 9110 10.1.1)
        _send_unchunked(cycle)
    if cycle.scope["method"] != "HEAD":
        cycle.transport = _Joined(cycle)


def _send_unchunked(cycle: Any) -> None:
    """An answer without a length goes as it is, up to the end of the connection: HTTP/1.0 has no chunks (RFC 9112 6.1).

    uvicorn ends the connection after such a request by itself, but would send chunks all the same.
    """
    send, lengthless = cycle.send, False

    async def sent(message: Any) -> None:
        nonlocal lengthless
        if message["type"] == "http.response.start":
            lengthless = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            cycle.chunked_encoding = False if lengthless else None
        elif lengthless:
            cycle.expected_content_length = len(message.get("body", b""))  # which is all that uvicorn lets pass
        await send(message)

    cycle.send = sent


class _Joined:
    """The transport of one answer. The head goes with the first of the body, if one follows for sure: a write less, and
    the client is woken once.
    """

    __slots__ = ("_cycle", "_head", "_transport", "close", "is_closing")

    def __init__(self, cycle: Any) -> None:
        self._transport = transport = cast(Transport, cycle.transport)
        self.close, self.is_closing = transport.close, transport.is_closing
        self._cycle, self._head = cycle, b""  # no cycle: head and body have met

    def write(self, data: Bytes) -> None:
        """What uvicorn writes: "100 Continue", the head, pieces of the body."""
        cycle = self._cycle
        if cycle is None or not cycle.response_started:
            self._transport.write(data)
        elif self._head:
            self._cycle = None
            self._transport.writelines((self._head, data))
        elif cycle.expected_content_length:
            self._head = bytes(data)
        else:
            self._cycle = None
            self._transport.write(data)
