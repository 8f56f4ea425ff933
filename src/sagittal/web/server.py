"""The HTTP listener: `uvicorn.Server` on uvloop and httptools, run inside a loop that is running already.

What uvicorn leaves open is closed here and in `connection`: a deadline for the request head, a floor under the progress
of a body and of an answer, a ceiling on connections, and a drain with a deadline. It installs no signal handler and
knows no route.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, cast

import uvicorn

from sagittal.lasting import lasting
from sagittal.limits import WebLimits
from sagittal.web.connection import Connection, Intake

_SWEEP_SECONDS = 1.0
_CUT_OFF_SECONDS = 0.5  # for a handler whose client was cut off
log = logging.getLogger("sagittal.web")


class HttpServer:
    """`await start()`, then `.port`; `await stop(seconds)` drains."""

    def __init__(
        self, app: Any, host: str, port: int, limits: WebLimits, on_drain: Callable[[], None] | None = None
    ) -> None:
        self._host, self._port, self._limits, self._on_drain = host, port, limits, on_drain
        connection = type("Connection", (Connection,), {"limits": limits})
        buffer = memoryview(bytearray(limits.request_buffer_bytes))

        def protocol(**given: Any) -> Intake:
            return Intake(connection(**given), buffer)

        config = uvicorn.Config(
            app,
            http=cast(Any, protocol),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=max(1, int(limits.keep_alive_seconds_max)),
        )
        config.load()
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.lifespan = config.lifespan_class(config)
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self._port

    @property
    def connections(self) -> int:
        return len(self._uvicorn.server_state.connections)

    async def start(self) -> None:
        """Listen; `OSError` when the address is taken or isn't ours."""
        sock = _bound(self._host, self._port)
        self._port = int(sock.getsockname()[1])
        await self._uvicorn.on_tick(0)  # the date header
        await self._uvicorn.startup(sockets=[sock])
        self._sweeper = asyncio.create_task(lasting(self._sweep, "looking after connections", log))

    async def _sweep(self) -> bool:
        await asyncio.sleep(min(_SWEEP_SECONDS, self._limits.header_seconds_max / 2))
        await self._uvicorn.on_tick(0)
        now = time.monotonic()
        for connection in list(self._uvicorn.server_state.connections):
            if isinstance(connection, Connection):
                connection.look(now)
        return True

    async def stop(self, seconds: float) -> None:
        """Accept nothing new, let requests under way finish for `seconds`, then cut them off."""
        if self._sweeper is None:
            return
        state = self._uvicorn.server_state
        for server in self._uvicorn.servers:
            server.close()
        if self._on_drain is not None:
            self._on_drain()
        for connection in list(state.connections):
            connection.shutdown()
        deadline = time.monotonic() + seconds
        while state.tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(list(state.tasks), timeout=left)
        # Handlers learn that their client is gone, and tidy up; cancelled, each would leave a traceback in the log.
        for connection in list(state.connections):
            if isinstance(connection, Connection) and connection.answers:
                connection.end("the archive is shutting down")
            else:
                connection.transport.close()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=_CUT_OFF_SECONDS)
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=_CUT_OFF_SECONDS)
        self._sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeper
        self._sweeper = None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror} (port {port})") from None
    return sock
