"""Work that lasts as long as the server: a step again and again, whatever goes wrong in one or for one of many.

Deliberately not here: that a step may be begun anew at any point, which is its own concern.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sagittal.errors import SagittalError

PAUSES = (1.0, 300.0)  # seconds after a step that failed: at first, and doubled up to


async def lasting(step: Callable[[], Awaitable[bool]], what: str, log: logging.Logger) -> None:
    """`step()` until it gives False. `what` is said of one that fails, which is tried again."""
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
    """`act()` for one of many whose turns must not depend on it. `what` is said if it fails, and `otherwise()` done."""
    for each in (act, otherwise):
        try:
            each()
        except Exception:
            log.exception("%s failed", what)
        else:
            return
