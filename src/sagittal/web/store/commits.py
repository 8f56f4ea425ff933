"""Commits of one store request that are under way: not awaited one by one, so that group commit works for it too.

What becomes of each goes to its `Result`. Deliberately not here: writing the objects.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sagittal.errors import SagittalError
from sagittal.web.store.answer import Result

if TYPE_CHECKING:
    from sagittal.archive.ingest.transfer import Transfer

log = logging.getLogger("sagittal.web")


class Commits:
    """At most `outstanding_max` at once, as far as `room` is awaited."""

    def __init__(self, study: str | None, classes: tuple[str, ...], outstanding_max: int) -> None:
        """All are of this study, or of one of these classes, where they are named."""
        self._expected, self._outstanding_max = (study, classes), outstanding_max
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, transfer: Transfer, result: Result) -> None:
        task = asyncio.ensure_future(self._commit(transfer, result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _commit(self, transfer: Transfer, result: Result) -> None:
        try:
            result.outcome = await transfer.commit(*self._expected)
            result.beginning = b""
        except Exception as error:
            if not isinstance(error, SagittalError):
                log.exception("a part could not be committed")
            result.fail(error).settle()

    async def room(self) -> None:
        """Wait while too many are under way."""
        while len(self._tasks) > self._outstanding_max:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def settle(self) -> None:
        """Wait for all of them. Who is cancelled waits no longer, but they go on."""
        while self._tasks:
            await asyncio.wait(self._tasks)
