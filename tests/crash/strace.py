"""Reading what `strace -f -y` wrote, and attaching it to a running server."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from programs import need

# 12  fdatasync(9</data/staging/ab>) = 0  |  12  fsync(9</x> <unfinished ...>  |  12  <... fsync resumed>) = 0
_CALL = re.compile(r"^(\d+)\s+(\w+)\((.*)$")
_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>(.*)$")


@dataclass(frozen=True)
class Call:
    """One system call: when it began and ended (as line numbers of the trace), its name and its arguments as text."""

    began: int
    ended: int
    name: str
    text: str

    @property
    def succeeded(self) -> bool:
        return not re.search(r"= -1 E\w+", self.text)


def calls(trace: Path) -> Iterator[Call]:
    """Every finished call of the trace, in the order in which they ended."""
    open_calls: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        if resumed := _RESUMED.match(line):
            thread, name, rest = resumed.groups()
            began, text = open_calls.pop((thread, name), (number, ""))
            yield Call(began, number, name, text + rest)
        elif call := _CALL.match(line):
            thread, name, text = call.groups()
            if text.endswith("<unfinished ...>"):
                open_calls[thread, name] = number, text.removesuffix("<unfinished ...>")
            else:
                yield Call(number, number, name, text)


class Strace:
    """`strace -f` attached to the process `pid`, with its output in `output`."""

    def __init__(self, pid: int, output: Path, *options: str) -> None:
        command = [need("strace"), "-f", "-y", "-s", "24", "-o", str(output), *options, "-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._await_attached(pid)

    def _await_attached(self, pid: int) -> None:
        """Until the kernel says that every thread of `pid` is traced, or has ended: the first call may have been it."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            states = list(map(_read, Path(f"/proc/{pid}/task").glob("*/status")))
            if states and not any("TracerPid:\t0\n" in state and "State:\tZ" not in state for state in states):
                return
            if self._process.poll() is not None:
                break
        raise AssertionError(f"strace did not attach: {self._process.stderr and self._process.stderr.read()}")

    def detach(self) -> None:
        """End the tracing; the traced process goes on."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=30)


def _read(status: Path) -> str:
    """What the kernel says of a thread; nothing of one that has ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return status.read_text()
    return ""
