"""How many threads a pool has, by jobs that block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


def at_once(submit: Callable[[Callable[[], None]], Any], jobs: int) -> int:
    """How many of `jobs` blocking jobs run at one time."""
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
    until = time.monotonic() + 0.05
    while time.monotonic() < until and most < jobs:
        time.sleep(0.002)
    release.set()
    return most
