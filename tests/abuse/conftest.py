"""What every test of abuse asks at its end: the server still answers, held its memory, and said why in one line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from conftest import Served
from wire import VERIFICATION, Wire, memory, reset_peak

INPUT_BYTES_MAX = 64 << 20  # over idle, for any single input
ECHO_SECONDS_MAX = 10.0  # an echo that takes longer counts as unanswered


@pytest.fixture(scope="session")
def fresh() -> bool:
    return True


@dataclass
class Echoes:
    """C-ECHOes on new associations while something else goes on: latencies in seconds, and what went wrong."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def echo(served: Served) -> float:
    """Association, C-ECHO, release; seconds."""
    started = time.perf_counter()
    with Wire(served.host, served.port, ECHO_SECONDS_MAX).associate() as wire:
        assert wire.echo() == 0
        wire.release()
    return time.perf_counter() - started


@contextmanager
def echoing(served: Served, pause_seconds: float = 0.02) -> Iterator[Echoes]:
    """Echo from a thread for as long as the block runs."""
    echoes, stop = Echoes(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                echoes.latencies.append(echo(served))
            except (OSError, AssertionError, RuntimeError) as error:
                echoes.failures.append(repr(error))
            stop.wait(pause_seconds)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield echoes
    finally:
        stop.set()
        thread.join()


@dataclass
class Watch:
    """A server under abuse: where its log and its memory stood before."""

    served: Served
    idle_bytes: int
    log_at: int

    def log(self) -> list[str]:
        return self.served.log.read_text()[self.log_at :].splitlines()

    def check(self, reason: str | None = None, lines: int | None = 1) -> None:
        """Alive, within memory, and (with `reason`) told so in exactly `lines` log lines."""
        echo(self.served)
        grown = memory(self.served.process.pid)["VmHWM"] - self.idle_bytes
        assert grown <= INPUT_BYTES_MAX, f"grew by {grown / 1048576:.0f} MiB"
        if reason is not None:
            said = [line for line in self.log() if reason.lower() in line.lower()]
            assert said, f"no log line says {reason!r}: {self.log()}"
            assert lines is None or len(said) == lines, said


@pytest.fixture(scope="module")
def target(shared_server: Served) -> Served:
    echo(shared_server)  # imports done, buffers there
    return shared_server


@pytest.fixture
def watch(target: Served) -> Watch:
    return Watch(target, reset_peak(target.process.pid), len(target.log.read_text()))


def held(served: Served) -> int:
    """How many instances the archive says it holds."""
    import urllib.request

    with urllib.request.urlopen(f"{served.http}/api/statistics", timeout=10) as answer:
        return int(json.load(answer)["instances"])


__all__ = ["VERIFICATION", "Echoes", "Watch", "echo", "echoing", "held"]
