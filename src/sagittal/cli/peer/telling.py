"""Results told from within an association: a reader of ours that went away ends the command, and is no fault of the
peer or of the object that has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from sagittal.cli.output import result

T = TypeVar("T")


class Telling:
    """`row` as `output.result`, but never raises; `along` does, with what kept a row from being told."""

    def __init__(self) -> None:
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def row(self, as_json: bool, row: Mapping[str, Any], text: str | None = None) -> None:
        """One result."""
        if self._gone.done():
            return
        try:
            result(as_json, row, text)
        except OSError as error:
            self._gone.set_exception(error)

    async def along(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to; OSError as soon as nothing can be told any more, with `work` cancelled."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if self._gone.done():
                self._gone.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return task.result()
