"""The pool: hands each request to a worker process of its own for as long as it lasts.

Nothing is started before the first request; after a while without any, everything is ended again. A worker that
crashes, hangs or grows costs the one request it had a clear error, and is replaced. One that died idle costs nobody a
request: what it did not read whole is given to another. Deliberately not here: who waits (`turns`), what is asked of
workers, and any use of threads.
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
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagittal import errors
from sagittal.errors import LimitExceeded, SagittalError, WorkerLost
from sagittal.limits import WorkerLimits
from sagittal.workers.message import Garbled, Incoming, Message, encode
from sagittal.workers.turns import Turns
from sagittal.workers.worker import Input

log = logging.getLogger("sagittal.workers")
_STDERR = 2  # the descriptor: libraries print what they think of an image, and stdout is for results


class _NotBegun(WorkerLost):
    """The process that this was given to ended before it began."""


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
        self.answer: asyncio.Future[Message] | None = None

    def readable(self) -> None:
        lost: type[WorkerLost] = WorkerLost
        try:
            alive = self.incoming.read(self.sock)
        except BlockingIOError:
            return
        except OSError as error:
            alive = False
            if isinstance(error, ConnectionResetError):  # in place of the end: not all that we sent was read (unix(7))
                lost = _NotBegun
        try:
            taken = self.incoming.take() if alive else None
        except Garbled:
            taken, alive = None, False
        waiting = self.answer if self.answer is not None and not self.answer.done() else None
        if taken is not None and waiting is not None:
            waiting.set_result(taken)
        elif taken is not None:
            for fd in taken.fds:
                os.close(fd)
        elif not alive:
            self.alive = False
            asyncio.get_running_loop().remove_reader(self.sock.fileno())
            self.fail(lost())

    def fail(self, error: SagittalError) -> None:
        """Its request gets an error in place of an answer, if it waits for one."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)

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
        self.losses: Counter[str] = Counter()  # workers that crashed or took too long, by reason
        self.abandoned = 0  # workers ended because nobody waited for them any more
        self._limits = limits
        self._modules = tuple(modules)
        self.turns = Turns(limits.workers or os.cpu_count() or 1, limits.waiting_max)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._left: set[asyncio.Future[_Worker]] = set()  # that start, and nobody waits for
        self._server: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._retiring: asyncio.TimerHandle | None = None
        self._retired: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def lost(self) -> int:
        """Workers that crashed or had to be killed."""
        return self.losses.total()

    async def run(
        self, call: str, inputs: Sequence[Input] = (), *, seconds: float | None = None, background: bool = False,
        **arguments: Any,
    ) -> Answer:  # fmt: skip
        """Call `module:function(inputs, **arguments)` in a worker; the arguments as JSON has them.

        `background` is work that takes long and that nobody watches: it never has all workers. The descriptors of
        `inputs` must stay open until this returns. Raises what the call raised of the error tree, Busy when too many
        wait, LimitExceeded when it takes longer than `seconds`, WorkerLost when its process died at it.
        """
        if self._retiring is not None:
            self._retiring.cancel()
            self._retiring = None
        await self.turns.enter(background=background)
        try:
            try:
                received = await self._given(call, inputs, arguments, seconds)
            except _NotBegun:
                if self._closed:
                    raise
                received = await self._given(call, inputs, arguments, seconds)  # once: if it is to blame, it ends here
        finally:
            self._leave(background=background)
        return _unpacked(received)

    async def close(self) -> None:
        """End every process; nothing is taken after it."""
        self._closed = True
        self.turns.close()
        if self._retiring is not None:
            self._retiring.cancel()
        for worker in [*self._busy]:
            worker.end(kill=True)
        await self._end_server()

    def _leave(self, *, background: bool) -> None:
        self.turns.leave(background=background)
        if self.turns.idle and not self._closed:
            loop = asyncio.get_running_loop()
            self._retiring = loop.call_later(self._limits.idle_seconds, self._retire)

    def _retire(self) -> None:
        self._retired = asyncio.get_running_loop().create_task(self._end_server())

    # Processes

    def _ready(self) -> _Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                worker.readable()  # the loop may not have got to its end yet
            if worker.alive:
                return worker
            worker.end()
        return None

    async def _fresh(self) -> _Worker:
        """A new worker. Who stops waiting for it leaves it to the next: its start is not cut off half-way."""
        starting = self._left.pop() if self._left else asyncio.ensure_future(self._started())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._left.add(starting)
            starting.add_done_callback(self._keep)
            raise

    def _keep(self, starting: asyncio.Future[_Worker]) -> None:
        if starting not in self._left:  # somebody waits for it again
            return
        self._left.discard(starting)
        if starting.cancelled() or starting.exception() is not None:
            return
        if self._closed:
            starting.result().end(kill=True)
        else:
            self._idle.append(starting.result())

    async def _started(self) -> _Worker:
        async with self._starting:
            while True:
                running = self._control is not None
                try:
                    return await self._forked()
                except OSError as error:
                    log.warning("no worker could be started: %s", error)
                    await self._end_server()
                    if not running:  # one that ran may have been killed meanwhile, and costs nobody a request
                        raise WorkerLost("no worker could be started; the log says why") from None

    async def _forked(self) -> _Worker:
        """OSError when the fork server has ended."""
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
                        raise OSError("the process that they are forked from ended")
                    incoming.add(data)
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        worker = _Worker(ours, taken.told["pid"])
        loop.add_reader(ours.fileno(), worker.readable)
        return worker

    async def _start_server(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: no module comes from the folder that we were started in, where anybody's files may be.
            command = [sys.executable, "-P", "-m", "sagittal.workers.forkserver", str(theirs.fileno()), *self._modules]
            self._server = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,
                start_new_session=True,  # Ctrl-C at a terminal is for us, who end it
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

    def _lose(self, worker: _Worker, call: str, error: BaseException) -> None:
        self._busy.discard(worker)
        worker.end(kill=True)
        if isinstance(error, asyncio.CancelledError):
            self.abandoned += 1
            return
        reason = "time" if isinstance(error, LimitExceeded) else "crash"
        self.losses[reason] += 1
        fields = {"pid": worker.pid, "call": call, "reason": reason}
        log.warning("a worker was lost: %s", error, extra={"fields": fields})

    # One request

    async def _given(
        self, call: str, inputs: Sequence[Input], arguments: dict[str, Any], seconds: float | None
    ) -> Message:
        worker = self._ready() or await self._fresh()
        self._busy.add(worker)
        try:
            received = await self._asked(worker, call, inputs, arguments, seconds)
        except BaseException as error:
            self._lose(worker, call, error)
            raise
        self._busy.discard(worker)
        worker.requests += 1
        if worker.requests >= self._limits.requests_max or self._closed:
            worker.end()
        else:
            self._idle.append(worker)
        return received

    async def _asked(
        self, worker: _Worker, call: str, inputs: Sequence[Input], arguments: dict[str, Any], seconds: float | None
    ) -> Message:
        loop = asyncio.get_running_loop()
        worker.answer = loop.create_future()
        fds = list(dict.fromkeys(each.fd for each in inputs if each.data is None))
        ranges, along = [], b""
        for each in inputs:
            if each.data is None:
                ranges.append((fds.index(each.fd), each.offset, each.length))
            else:
                ranges.append((-1, len(along), each.length))
                along += each.data
        data = encode({"call": call, "inputs": ranges, "arguments": arguments}, along)
        try:
            sent = socket.send_fds(worker.sock, [data], fds) if fds else worker.sock.send(data)
            if sent < len(data):
                await loop.sock_sendall(worker.sock, data[sent:])
        except OSError:
            worker.fail(_NotBegun())
        limit = self._limits.seconds_max if seconds is None else seconds
        late = LimitExceeded(f"this took a worker more than {limit:g} seconds")
        timer = loop.call_later(limit, worker.fail, late)
        try:
            return await worker.answer
        finally:
            timer.cancel()


def _raised(message: dict[str, Any]) -> SagittalError:
    """The error that a call raised in its worker."""
    if message["error"] == "Malformed":
        return errors.Malformed(message["defect"], message["text"])
    made: SagittalError = getattr(errors, message["error"], SagittalError)(message["text"])
    return made


def _unpacked(received: Message) -> Answer:
    told = received.told
    if "error" in told:
        raise _raised(told)
    if not received.fds:
        return Answer(told["told"], received.data)
    (fd,) = received.fds
    try:
        return Answer(told["told"], memoryview(mmap.mmap(fd, told["length"], access=mmap.ACCESS_READ)))
    finally:
        os.close(fd)
