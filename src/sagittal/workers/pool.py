"""The pool: hands each request to a worker process of its own for as long as it lasts.

Nothing is started before the first request; after a while without any, everything is ended again. A worker that
crashes, hangs or grows costs the one request it had a clear error, and is replaced. Deliberately not here: what is
asked of workers, and any use of threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagittal import errors
from sagittal.errors import Busy, LimitExceeded, SagittalError, WorkerLost
from sagittal.limits import WorkerLimits
from sagittal.workers.message import Incoming, encode
from sagittal.workers.worker import Input

log = logging.getLogger("sagittal.workers")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave: the dict it told, and its bytes (a map of memory where there are many)."""

    told: Mapping[str, Any]
    body: bytes | memoryview


class _Worker:
    """A worker process as the pool sees it; `answer` is what its request waits for."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock, self.pid = sock, pid
        self.alive = True
        self.requests = 0
        self.incoming = Incoming()
        self.answer: asyncio.Future[tuple[dict[str, Any], list[int]]] | None = None

    def readable(self) -> None:
        try:
            alive = self.incoming.read(self.sock)
        except BlockingIOError:
            return
        except OSError:
            alive = False
        taken = self.incoming.take() if alive else None
        waiting = self.answer if self.answer is not None and not self.answer.done() else None
        if taken is not None and waiting is not None:
            waiting.set_result(taken)
        elif taken is not None:
            for fd in taken[1]:
                os.close(fd)
        elif not alive:
            self.alive = False
            asyncio.get_running_loop().remove_reader(self.sock.fileno())
            if waiting is not None:
                waiting.set_exception(WorkerLost())

    def end(self, *, kill: bool = False) -> None:
        """Its socket's end ends it; when it may be busy or lost in a decoder, it is killed."""
        if self.sock.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        if kill:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.sock.close()
        self.incoming.close()


class Pool:
    """At most `limits.workers` processes (0: one a processor). Use on one loop; `close` in the end."""

    def __init__(self, limits: WorkerLimits, modules: Sequence[str] = ()) -> None:
        """`modules` are imported once, by the process that workers are forked from."""
        self.lost = 0  # workers that crashed or had to be killed
        self._limits = limits
        self._modules = tuple(modules)
        self._size = limits.workers or os.cpu_count() or 1
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._free = self._size
        self._server: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._retiring: asyncio.TimerHandle | None = None
        self._retired: asyncio.Task[None] | None = None
        self._closed = False

    async def run(
        self, call: str, inputs: Sequence[Input] = (), *, seconds: float | None = None, **arguments: Any
    ) -> Answer:
        """Call `module:function(inputs, **arguments)` in a worker; the arguments as JSON has them.

        The descriptors of `inputs` must stay open until this returns. Raises what the call raised of the error tree,
        Busy when too many wait, LimitExceeded when it takes longer than `seconds`, WorkerLost when its process died.
        """
        await self._enter()
        worker: _Worker | None = None
        try:
            worker = self._ready() or await self._started()
            self._busy.add(worker)
            message, fds = await self._asked(worker, call, inputs, arguments, seconds)
        except BaseException:
            if worker is not None:
                self._lose(worker)
            self._leave()
            raise
        self._busy.discard(worker)
        worker.requests += 1
        if worker.requests >= self._limits.requests_max or self._closed:
            worker.end()
        else:
            self._idle.append(worker)
        self._leave()
        return _unpacked(message, fds)

    async def close(self) -> None:
        """End every process."""
        self._closed = True
        if self._retiring is not None:
            self._retiring.cancel()
        for worker in [*self._busy]:
            worker.end(kill=True)
        await self._end_server()

    # Turns: at most `_size` requests at once, the others in order

    async def _enter(self) -> None:
        if self._closed:
            raise Busy("the workers are ending")
        if self._retiring is not None:
            self._retiring.cancel()
            self._retiring = None
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._limits.waiting_max:
            raise Busy("too many requests wait for a worker")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
        if self._free == self._size and not self._closed:
            loop = asyncio.get_running_loop()
            self._retiring = loop.call_later(self._limits.idle_seconds, self._retire)

    def _retire(self) -> None:
        self._retired = asyncio.get_running_loop().create_task(self._end_server())

    # Processes

    def _ready(self) -> _Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.end()
        return None

    async def _started(self) -> _Worker:
        async with self._starting:
            if self._control is None:
                await self._start_server()
            assert self._control is not None
            ours, theirs = socket.socketpair()
            loop = asyncio.get_running_loop()
            with theirs:
                bounds = encode({"memory_bytes_max": self._limits.memory_bytes_max})
                try:
                    socket.send_fds(self._control, [bounds], [theirs.fileno()])
                    incoming = Incoming()
                    while (taken := incoming.take()) is None:
                        data = await loop.sock_recv(self._control, 4096)
                        if not data:
                            raise OSError("the fork server ended")
                        incoming.add(data)
                except OSError as error:
                    ours.close()
                    await self._end_server()
                    raise WorkerLost(f"no worker could be started: {error}") from None
        ours.setblocking(False)
        worker = _Worker(ours, taken[0]["pid"])
        loop.add_reader(ours.fileno(), worker.readable)
        return worker

    async def _start_server(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "sagittal.workers.forkserver", str(theirs.fileno()), *self._modules]
            self._server = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL
            )
        ours.setblocking(False)
        self._control = ours

    async def _end_server(self) -> None:
        for worker in self._idle:
            worker.end()
        self._idle.clear()
        control, self._control = self._control, None
        server, self._server = self._server, None
        if control is not None:
            control.close()
        if server is not None:
            await server.wait()

    def _lose(self, worker: _Worker) -> None:
        self._busy.discard(worker)
        self.lost += 1
        log.warning("a worker was lost", extra={"fields": {"pid": worker.pid}})
        worker.end(kill=True)

    # One request

    async def _asked(
        self, worker: _Worker, call: str, inputs: Sequence[Input], arguments: dict[str, Any], seconds: float | None
    ) -> tuple[dict[str, Any], list[int]]:
        loop = asyncio.get_running_loop()
        worker.answer = loop.create_future()
        fds = list(dict.fromkeys(each.fd for each in inputs))
        ranges = [(fds.index(each.fd), each.offset, each.length) for each in inputs]
        data = encode({"call": call, "inputs": ranges, "arguments": arguments})
        try:
            sent = socket.send_fds(worker.sock, [data], fds) if fds else worker.sock.send(data)
            if sent < len(data):
                await loop.sock_sendall(worker.sock, data[sent:])
        except OSError:
            raise WorkerLost() from None
        limit = self._limits.seconds_max if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                return await worker.answer
        except TimeoutError:
            raise LimitExceeded(f"this took a worker more than {limit:g} seconds") from None


def _raised(message: dict[str, Any]) -> SagittalError:
    """The error that a call raised in its worker."""
    if message["error"] == "Malformed":
        return errors.Malformed(message["defect"], message["text"])
    made: SagittalError = getattr(errors, message["error"], SagittalError)(message["text"])
    return made


def _unpacked(message: dict[str, Any], fds: list[int]) -> Answer:
    if "error" in message:
        raise _raised(message)
    if not fds:
        return Answer(message["told"], b"")
    (fd,) = fds
    try:
        length = message["length"]
        return Answer(message["told"], memoryview(mmap.mmap(fd, length, access=mmap.ACCESS_READ)) if length else b"")
    finally:
        os.close(fd)
