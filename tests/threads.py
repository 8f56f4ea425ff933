"""How many threads a pool has, by jobs that block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


def at_once(submit: Callable[[Callable[[], None]], Any], jobs: int, expected: int) -> int:
    """How many of `jobs` blocking jobs run at one time: as many as expected are waited for, and one more a moment."""
    release, lock, running, most = threading.Event(), threading.Lock(), 0, 0

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait(20)
        with lock:
            running -= 1

    for _ in range(jobs):
        submit(job)
    until = time.monotonic() + 20
    while time.monotonic() < until and most < expected:
        time.sleep(0.002)
    if jobs > expected:
        time.sleep(0.05)
    release.set()
    return most
