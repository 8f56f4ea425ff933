"""What runs in this process and below it, and the objects that it has open; how many threads a pool has, by jobs that
block.
"""

from __future__ import annotations

import multiprocessing
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

_THREADS = Path("/proc/self/task")  # each has the list of its children
_OPEN = Path("/proc/self/fd")
_OBJECT = re.compile("/(objects/[0-9]{4}|staging)/")
Running = threading.Thread | multiprocessing.process.BaseProcess | int | str


def running() -> set[Running]:
    """All threads of this process, what it forked, and the numbers of its children, but for those that
    `multiprocessing` needs; and the paths of stored and staged objects that it has open.
    """
    needed = {forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid}  # type: ignore[attr-defined]
    pids = {int(pid) for task in _THREADS.glob("*/children") for pid in _words(task, " ")} - needed
    return {*threading.enumerate(), *multiprocessing.active_children(), *pids, *_open_objects()}


def _open_objects() -> Iterator[str]:
    for descriptor in _OPEN.iterdir():
        with suppress(OSError):  # closed meanwhile
            if _OBJECT.search(path := str(descriptor.readlink())):
                yield path


def told(one: Running) -> str:
    """For a person."""
    return f"{one} {' '.join(_words(Path(f'/proc/{one}/cmdline'), chr(0)))[:200]}" if isinstance(one, int) else str(one)


def _words(file: Path, between: str) -> list[str]:
    """Of a thread or process; none when it has ended meanwhile."""
    try:
        return [word for word in file.read_text().split(between) if word]
    except OSError:
        return []


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
