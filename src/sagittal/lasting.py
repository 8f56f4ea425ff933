"""Work that goes on as long as the server, whatever fails on the way; and work on many things, several at one time.

Deliberately not here: making a step safe to repeat, which is the step's own concern.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from sagittal.errors import SagittalError

G = TypeVar("G")
T = TypeVar("T")
PAUSES = (1.0, 300.0)  # seconds after a step that failed: at first, and doubled up to


async def lasting(step: Callable[[], Awaitable[bool]], what: str, log: logging.Logger) -> None:
    """Call `step()` until it gives False. One that fails is logged as `what`, and tried again after a pause."""
    pause = PAUSES[0]
    while True:
        try:
            if not await step():
                return
        except SagittalError as error:
            log.warning("%s waits: %s", what, error)
        except Exception:
            log.exception("%s failed, and is tried again", what)
        else:
            pause = PAUSES[0]
            continue
        await asyncio.sleep(pause)
        pause = min(pause * 2, PAUSES[1])


def guarded(act: Callable[[], object], otherwise: Callable[[], object], what: str, log: logging.Logger) -> None:
    """Call `act()`, and `otherwise()` when it fails. Failures are logged as `what`, never raised: others follow."""
    for each in (act, otherwise):
        try:
            each()
        except Exception:
            log.exception("%s failed", what)
        else:
            return


async def several(given: Iterator[G], act: Callable[[G], Coroutine[Any, Any, T]], most: int) -> AsyncGenerator[T]:
    """What `act` makes of each of `given`, at most so many at one time, in the order in which they are done.

    The next one is asked for on a thread. Closing this cancels what is under way.
    """
    running, over = set[asyncio.Task[T]](), False
    try:
        while running or not over:
            while not over and len(running) < most:
                one = await asyncio.to_thread(next, given, None)
                over = one is None
                if one is not None:
                    running.add(asyncio.create_task(act(one)))
            if running:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.discard(task)
                    yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)  # what else failed when one did is not told again
