"""Long work between others' turns: data sets read and rewritten beside everything else that the loop does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from time import perf_counter

from sagittal.archive.references import OpenObject

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


def chunks(opened: OpenObject) -> Iterator[bytes]:
    """The data set as it is sent, some at a time: with the corrections in force."""
    return opened.data_set(_READ_BYTES)
