"""One worker: takes a request, calls what it names, answers; one at a time, until its socket ends.

A request names a function as `module:function` and its arguments, and brings open files with byte ranges; the function
gets those as `Input`s and gives back a JSON-able dict, bytes, or both. The bytes go back as a file in memory. A worker
may take so much memory, cannot write files of the archive, and dies with the process that forked it. Deliberately not
here: time limits (the pool kills a worker that takes too long).
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sagittal.errors import Malformed, SagittalError
from sagittal.workers.message import Incoming, memory_file, receive, send

log = logging.getLogger("sagittal.workers")
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
Answer = dict[str, Any] | bytes | bytearray | memoryview | tuple[dict[str, Any], bytes | bytearray | memoryview]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may take."""

    memory_bytes_max: int
    open_files_max: int = 128


@dataclass(frozen=True, slots=True)
class Input:
    """A range of bytes of an open file."""

    fd: int
    offset: int
    length: int

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of the range from `offset` on; fewer than `length` when the range or the file ends there."""
        wanted = self.length - offset if length is None else min(length, self.length - offset)
        parts, at = [], self.offset + offset
        while wanted > 0:
            part = os.pread(self.fd, wanted, at)
            if not part:
                break
            parts.append(part)
            at, wanted = at + len(part), wanted - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def work(sock: socket.socket, bounds: Bounds) -> None:
    """Answer requests until the pool closes the socket."""
    confine(bounds)
    incoming = Incoming()
    while (received := receive(sock, incoming)) is not None:
        message, fds = received
        try:
            inputs = [Input(fds[at], offset, length) for at, offset, length in message["inputs"]]
            answer, body = _performed(message["call"], inputs, message["arguments"])
        finally:
            for fd in fds:
                os.close(fd)
        try:
            send(sock, answer, () if body is None else (body,))
        except OSError:
            return
        finally:
            if body is not None:
                os.close(body)


def confine(bounds: Bounds) -> None:
    """Take the process's rights to much memory, core files and outliving its parent."""
    for what, most in (
        (resource.RLIMIT_AS, bounds.memory_bytes_max),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, bounds.open_files_max),
    ):
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() == 1:  # the parent went away before we asked to die with it
            os._exit(1)


def _performed(call: str, inputs: Sequence[Input], arguments: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    try:
        return _packed(function_of(call)(inputs, **arguments))
    except SagittalError as error:
        defect = error.defect if isinstance(error, Malformed) else ""
        return {"error": type(error).__name__, "text": error.text, "defect": defect}, None
    except MemoryError:
        return {"error": "LimitExceeded", "text": "this takes more memory than a worker has"}, None
    except Exception as error:
        log.exception("%s failed", call)
        return {"error": "SagittalError", "text": f"a worker failed at this: {type(error).__name__}"}, None


def function_of(call: str) -> Callable[..., Answer]:
    """The function that `module:function` names."""
    module, _, name = call.partition(":")
    function: Callable[..., Answer] = getattr(import_module(module), name)
    return function


def _packed(answer: Answer) -> tuple[dict[str, Any], int | None]:
    told, body = answer if isinstance(answer, tuple) else ({}, answer)
    if isinstance(body, dict):
        return {"told": body, "length": 0}, None
    view = memoryview(body).cast("B")
    fd = memory_file("answer")
    at = 0
    while at < len(view):
        at += os.write(fd, view[at:])
    return {"told": told, "length": len(view)}, fd
