"""Long work between others' turns: data sets read and rewritten beside everything else that the loop does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from time import perf_counter

from sagittal.archive.retrieve import InstanceRef, OpenObject

EVENTS_AT_ONCE = 128  # of a walk, a few hundred microseconds
_TURN_SECONDS = 0.002
_READ_BYTES = 1 << 16


async def taking_turns(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Pieces as they are made, empty ones left out; others get their turn between them."""
    until = perf_counter() + _TURN_SECONDS
    for piece in pieces:
        if piece:
            yield piece
        if perf_counter() > until:
            await asyncio.sleep(0)
            until = perf_counter() + _TURN_SECONDS


async def run_out(steps: Iterable[object]) -> None:
    """Run steps to their end, with the same turns."""
    until = perf_counter() + _TURN_SECONDS
    for number, _ in enumerate(steps):
        if not number % EVENTS_AT_ONCE and perf_counter() > until:
            await asyncio.sleep(0)
            until = perf_counter() + _TURN_SECONDS


def chunks(opened: OpenObject, ref: InstanceRef) -> Iterator[bytes]:
    """The stored data set, some at a time."""
    at, end = 0, ref.data_set_length
    while at < end:
        data = opened.read_data_set(at, min(_READ_BYTES, end - at))
        yield data
        at += len(data)
