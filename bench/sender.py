"""Senders: processes of their own that connect, frame everything, wait for each other, and then start the clock."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from typing import Any

from bench import dimse, http
from bench.dimse import Address, Association
from bench.objects import Item

fork = multiprocessing.get_context("fork")
Job = Callable[[Address, list[Item], Callable[[], None]], int]  # calls its third argument once ready; returns refusals


@dataclass
class Stored:
    """What one load came to."""

    objects: int
    bytes: int
    seconds: float
    refused: int

    @property
    def per_second(self) -> float:
        return (self.objects - self.refused) / self.seconds


def c_store(server: Address, items: list[Item], ready: Callable[[], None]) -> int:
    association = Association(server, sorted({item.sop_class for item in items}))
    framed = []
    for n, item in enumerate(items):
        context = association.contexts[item.sop_class]
        message = n % 65535 + 1
        limit = association.pdu_max
        framed.append(
            dimse.frame_store(context, message, item.sop_class, item.sop_instance, item.header, item.pixels, limit)
        )
    refused = 0
    ready()
    for buffers in framed:
        dimse.send_all(association.sock, buffers)
        answer = association.message()
        refused += answer is None or answer.status != 0
    association.release()
    return refused


def stow(server: Address, items: list[Item], ready: Callable[[], None]) -> int:
    connection = http.Connection(server.http_port)
    framed = [http.frame_stow(item, server.http_port) for item in items]
    ready()
    return sum(connection.post(buffers).status != 200 for buffers in framed)


def _child(job: Job, server: Address, items: list[Item], barrier: Barrier, results: Queue[Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    started = [0.0]

    def ready() -> None:
        gc.disable()
        barrier.wait(120)
        started[0] = time.monotonic()

    try:
        refused = job(server, items, ready)
        results.put((started[0], time.monotonic(), refused))
    except Exception as error:
        results.put(repr(error))
        barrier.abort()


def send(server: Address, items: list[Item], connections: int, job: Job = c_store) -> Stored:
    """Send all items over so many associations or connections at once."""
    barrier, results = fork.Barrier(connections), fork.Queue()
    parts = [items[n::connections] for n in range(connections)]
    children = [fork.Process(target=_child, args=(job, server, part, barrier, results)) for part in parts]
    for child in children:
        child.start()
    ended = [results.get(timeout=600) for _ in children]
    for child in children:
        child.join(10)
    if failures := [end for end in ended if isinstance(end, str)]:
        raise RuntimeError(f"{server.aet}: {failures[0]}")
    seconds = max(end[1] for end in ended) - min(end[0] for end in ended)
    return Stored(len(items), sum(item.size for item in items), seconds, sum(end[2] for end in ended))


class Loops:
    """Probes that run in processes of their own until they are stopped, and then say how long each round took."""

    def __init__(self, *probes: Callable[[], Callable[[], None]]) -> None:
        self._stop, self._results = fork.Event(), fork.Queue()
        self._children = [
            fork.Process(target=_loop, args=(n, probe, self._stop, self._results)) for n, probe in enumerate(probes)
        ]

    def __enter__(self) -> Loops:
        for child in self._children:
            child.start()
        time.sleep(0.3)  # let them reach their rhythm before the load comes
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        ended = dict(self._results.get(timeout=60) for _ in self._children)
        self.seconds: list[list[float]] = [ended[n] for n in range(len(self._children))]
        for child in self._children:
            child.join(10)


def _loop(number: int, probe: Callable[[], Callable[[], None]], stop: Event, results: Queue[Any]) -> None:
    rounds = []
    once = probe()
    while not stop.is_set():
        started = time.monotonic()
        once()
        rounds.append(time.monotonic() - started)
        if number == 0:  # the echo probe: every 20 ms is enough
            stop.wait(0.02)
    results.put((number, rounds))
