"""What the tests of the pool have workers do: `PYTHONPATH` leads the fork server here."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagittal.errors import Malformed, NotAcceptable
from sagittal.workers.worker import Input


def joined(inputs: Sequence[Input]) -> bytes:
    return b"|".join(each.read() for each in inputs)


def told(inputs: Sequence[Input], **arguments: Any) -> dict[str, Any]:
    return {"arguments": arguments, "pid": os.getpid(), "lengths": [each.length for each in inputs]}


def slow(inputs: Sequence[Input], pause: float) -> dict[str, Any]:
    time.sleep(pause)
    return {"pid": os.getpid()}


def both(inputs: Sequence[Input], size: int) -> tuple[dict[str, Any], bytes]:
    return {"size": size}, bytes(size)


def refused(inputs: Sequence[Input]) -> bytes:
    raise NotAcceptable("no such representation")


def into_a_full_disk(inputs: Sequence[Input]) -> bytes:
    Path("/dev/full").write_bytes(b"frame")
    return b""


def malformed(inputs: Sequence[Input]) -> bytes:
    raise Malformed("not-dicom", "no DICOM", 5)


def failing(inputs: Sequence[Input]) -> bytes:
    return {}["secret"]


def crash(inputs: Sequence[Input]) -> bytes:
    ctypes.memmove(0, b"x", 1)
    return b""


def hang(inputs: Sequence[Input]) -> bytes:
    signal.pause()
    return b""


def greedy(inputs: Sequence[Input], size: int) -> bytes:
    return bytes(bytearray(size))[:1]


def open_files(inputs: Sequence[Input]) -> dict[str, Any]:
    return {"open": len(list(Path("/proc/self/fd").iterdir()))}
