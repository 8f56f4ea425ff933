"""Programs of ours that start without an interpreter's start: forked from a process that has the modules imported.

Such a process is one of its own, to be killed, traced and failed like any. Where the start itself is the matter, or how
much memory a program takes, tests start it as a user does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import sagittal as sagittal_package

# What ours import only when they need it, some of it a second's work.
_OTHERS = ("uvloop", "uvicorn.lifespan.off", "anyio._backends._asyncio", "httpx", "httpcore", "encodings.idna",
           "rich.progress", "imagecodecs", "numpy.random", "PIL.Image")  # fmt: skip


@cache
def _context() -> ForkServerContext:
    """Every module of ours is imported, but for those of an index of long ago and their SQLAlchemy."""
    ours = (module.name for module in pkgutil.walk_packages(sagittal_package.__path__, "sagittal."))
    apart = (
        "sagittal.__main__",
        "sagittal.archive.index.tables",
        "sagittal.archive.index.finding.tables",
        "sagittal.archive.index.migrations",
    )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_OTHERS, *(name for name in ours if not name.startswith(apart))])
    return context


class Forked:
    """`act(*words)` in a process of its own, as a `subprocess.Popen` is; its stderr is appended to a file. Nobody reads
    its output from the start if it is `unread`.
    """

    def __init__(
        self,
        act: Callable[..., None],
        *words: Any,
        errors: Path,
        environment: Mapping[str, str] | None = None,
        unread: bool = False,
    ) -> None:
        reader, writer = _context().Pipe(duplex=False)
        self.stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        if unread:
            self.stdout.close()
        environment = dict(os.environ if environment is None else environment)
        arguments = (writer, str(errors), environment, act, words)
        self._process = _context().Process(target=_act, args=arguments, daemon=True)
        self._process.start()
        writer.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has died, and that is not told yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _act(out: Connection, errors: str, environment: Mapping[str, str], act: Callable[..., None], words: Any) -> None:
    gc.freeze()  # the modules that are shared stay so
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    os.dup2(out.fileno(), 1)
    out.close()
    log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    os.close(log)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests are in a shell's background
    act(*words)


def sagittal_in_background(*words: str) -> None:
    """The command `sagittal`, as a shell starts it with `&`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sagittal(*words)


def sagittal(*words: str) -> None:
    """The command `sagittal`."""
    from sagittal.cli import main

    sys.argv = ["sagittal", *words]
    main()


def python(program: str, *words: str) -> None:
    """`python -c program`."""
    sys.argv = ["-c", *words]
    exec(program, {"__name__": "__main__"})


def done(
    act: Callable[..., None], *words: str, timeout: float = 120, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`act(*words)` in a process of its own to its end, killed after `timeout` seconds."""
    with tempfile.NamedTemporaryFile() as errors:
        process = Forked(act, *words, errors=Path(errors.name), environment=environment)
        late = threading.Timer(timeout, process.kill)
        late.start()
        try:
            told = process.stdout.read()  # which ends with the process
            status = process.wait(timeout)
        finally:
            late.cancel()
            process.stdout.close()
        return subprocess.CompletedProcess(list(words), status, told, errors.read().decode(errors="replace"))


class _Awaited:
    """A forked process as `asyncio` waits for one."""

    def __init__(self, process: Forked) -> None:
        self._process = process

    async def wait(self) -> int:
        return await asyncio.to_thread(self._process.wait)


async def start_fork_server(pool: Any) -> None:
    """As `Pool._start_server`: the process that workers are forked from is forked itself."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = Forked(_fork_server, theirs, *pool._modules, errors=Path(os.devnull))
    process.stdout.close()
    ours.setblocking(False)
    pool._server, pool._control = _Awaited(process), ours


def _fork_server(control: socket.socket, *modules: str) -> None:
    from sagittal.workers.forkserver import serve

    serve(control, modules)


# In a shell: a command that hands its words, folder, variables and streams to `answer_commands`, and ends as told.
COMMAND = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect({address!r})
    said = [sys.argv[1:], os.getcwd(), dict(os.environ)]
    socket.send_fds(asked, [json.dumps(said).encode()], [0, 1, 2])
    sys.exit(int(asked.recv(16) or b"70"))
"""


def answer_commands(address: str) -> None:
    """Fork a `sagittal` for each connection to the socket, until killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        print("listening", flush=True)
        while True:
            asked, _ = listener.accept()
            with asked:
                if not os.fork():
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    listener.close()
                    _command(asked)


def _command(asked: socket.socket) -> None:
    said, streams, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    words, folder, variables = json.loads(said)
    for to, stream in enumerate(streams):
        os.dup2(stream, to)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.stdin = os.fdopen(0, closefd=False)
    status = 1
    try:
        sagittal(*words)
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.send(str(status).encode())
        os._exit(status)
