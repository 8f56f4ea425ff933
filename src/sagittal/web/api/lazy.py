"""/api, imported when it is first asked for: FastAPI costs a second and 30 MB that most archives never need.

A request's body is gathered here, since FastAPI reads it whole and without a bound.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from sagittal.errors import LimitExceeded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sagittal.web.house import House


class LazyApi:
    """Stands where the sub-application is mounted."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._made: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._made is None or (self._made.done() and self._made.exception()):
            # On a thread: the import may take long, and associations go on meanwhile.
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        api = await asyncio.shield(self._made)
        if scope["method"] == "HEAD":  # FastAPI has it for no route, and RFC 9110 9.1 wants it wherever there is a GET
            scope, send = {**scope, "method": "GET"}, _head(send)
        elif scope["method"] != "GET":
            body = await _body(receive, self._house.settings.limits.web.api_body_bytes_max)
            receive = _replay(body, receive)
        await api(scope, receive, send)

    def _make(self) -> ASGIApp:
        from sagittal.web.api.rest import create_api

        return create_api(self._house)


async def _body(receive: Receive, bytes_max: int) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > bytes_max:
            raise LimitExceeded(f"the body has more than {bytes_max} bytes (limits.api_body_bytes_max)")
    return bytes(body)


def _head(send: Send) -> Send:
    """A `send` that lets the head of the answer pass, and ends it there."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return sent


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
