"""One worker: takes a request, calls what it names, answers; one at a time, until its socket ends.

A request names a function as `module:function` and its arguments, and brings open files with byte ranges; the function
gets those as `Input`s and gives back a JSON-able dict, bytes, or both. Many bytes go back as a file in memory. A worker
may take so much memory, cannot write files of the archive, and dies with the process that forked it. Deliberately not
here: time limits (the pool kills a worker that takes too long).
"""

from __future__ import annotations

import ctypes
import errno
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
from sagittal.workers.message import INLINE_BYTES_MAX, Incoming, Message, memory_file, receive, send, write_whole

log = logging.getLogger("sagittal.workers")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk's, not a decoder's
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
Answer = dict[str, Any] | bytes | bytearray | memoryview | tuple[dict[str, Any], bytes | bytearray | memoryview]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may take."""

    memory_bytes_max: int
    open_files_max: int = 128


@dataclass(frozen=True, slots=True)
class Input:
    """A range of bytes of an open file, or the bytes themselves when they are few."""

    fd: int
    offset: int
    length: int
    data: bytes | None = None

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of the range from `offset` on; fewer than `length` when the range or the file ends there."""
        wanted = self.length - offset if length is None else min(length, self.length - offset)
        if self.data is not None:
            return self.data[offset : offset + max(0, wanted)]
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
        told = received.told
        try:
            answer, body = _performed(told["call"], _inputs(received), told["arguments"])
        finally:
            for fd in received.fds:
                os.close(fd)
        if not _sent(sock, answer, body):
            return


def _inputs(received: Message) -> list[Input]:
    """The inputs of a request: each a range of one of its files, or of the bytes that came along (-1)."""
    made = []
    for at, offset, length in received.told["inputs"]:
        if at < 0:
            made.append(Input(-1, 0, length, received.data[offset : offset + length]))
        else:
            made.append(Input(received.fds[at], offset, length))
    return made


def _sent(sock: socket.socket, answer: dict[str, Any], body: memoryview) -> bool:
    """Answer, with the bytes along or as a file in memory; False when the pool is gone."""
    fd = None
    try:
        if len(body) > INLINE_BYTES_MAX:
            fd, body = _in_memory(body), memoryview(b"")
        send(sock, answer, () if fd is None else (fd,), body)
    except OSError:
        return False
    finally:
        if fd is not None:
            os.close(fd)
    return True


def confine(bounds: Bounds) -> None:
    """Take the process's rights to much memory, core files and outliving its parent."""
    for what, most in (
        (resource.RLIMIT_AS, bounds.memory_bytes_max),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, bounds.open_files_max),
    ):
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:  # whoever started us allows less, perhaps, and nobody may raise that
            most = min(most, hard)
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() == 1:  # the parent went away before we asked to die with it
            os._exit(1)


def _performed(call: str, inputs: Sequence[Input], arguments: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    nothing = memoryview(b"")
    try:
        return _packed(function_of(call)(inputs, **arguments))
    except SagittalError as error:
        defect = error.defect if isinstance(error, Malformed) else ""
        return {"error": type(error).__name__, "text": error.text, "defect": defect}, nothing
    except MemoryError:
        return {"error": "LimitExceeded", "text": "this takes more memory than a worker has"}, nothing
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return {"error": "StorageUnavailable", "text": f"cannot write: {error.strerror}"}, nothing
        log.exception("%s failed", call)
        return {"error": "SagittalError", "text": f"a worker failed at this: {type(error).__name__}"}, nothing


def function_of(call: str) -> Callable[..., Answer]:
    """The function that `module:function` names."""
    module, _, name = call.partition(":")
    function: Callable[..., Answer] = getattr(import_module(module), name)
    return function


def _packed(answer: Answer) -> tuple[dict[str, Any], memoryview]:
    told, body = answer if isinstance(answer, tuple) else ({}, answer)
    if isinstance(body, dict):
        return {"told": body, "length": 0}, memoryview(b"")
    view = memoryview(body).cast("B")
    return {"told": told, "length": len(view)}, view


def _in_memory(view: memoryview) -> int:
    fd = memory_file("answer")
    write_whole(fd, view)
    return fd
