"""Files in another transfer syntax, for a peer that does not take their own: by worker processes, without loss.

Nothing is started before the first file that needs it. Deliberately not here: which syntax, and sending.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from tempfile import TemporaryFile
from typing import Any

from sagittal.client.storing.files import ObjectFile
from sagittal.limits import WorkerLimits
from sagittal.workers.pool import Pool
from sagittal.workers.worker import Input

_SECONDS_MAX = 3600.0  # of one file: nobody else waits for its worker


class Transcoder:
    """Use as a context."""

    def __init__(self) -> None:
        self._pool: Pool | None = None

    @asynccontextmanager
    async def transcoded(self, file: ObjectFile, to: str) -> AsyncIterator[tuple[int, ObjectFile]]:
        """A descriptor of the file in the syntax `to`, and where its data set lies in that. What workers raise."""
        if self._pool is None:
            self._pool = Pool(WorkerLimits(seconds_max=_SECONDS_MAX), ("sagittal.convert.transcoded", "imagecodecs"))
        with file.path.open("rb") as source, TemporaryFile() as made:
            whole = Input(source.fileno(), 0, os.fstat(source.fileno()).st_size)
            more: dict[str, Any] = {"to_syntax": to, "options": {"reversible": True}}
            call = "sagittal.convert.transcoded:file"
            told = (await self._pool.run(call, [whole, Input(made.fileno(), 0, 0)], **more)).told
            length = int(told["length"])
            offset = os.fstat(made.fileno()).st_size - length
            yield made.fileno(), replace(file, syntax_uid=to, offset=offset, length=length)

    async def __aenter__(self) -> Transcoder:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()
