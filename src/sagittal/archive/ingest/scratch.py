"""Bytes that a request brings before it is known what becomes of them: kept in one staging file, read back by place.

The file is made only when they are more than a transfer may hold, and goes with `discard`, or at the next start.
Deliberately not here: what the bytes are, and durability.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterator

from sagittal.archive.ingest.staging import Gauge, Pen
from sagittal.errors import DamagedObject


class Scratch:
    """Write, `finish`, then read; `discard` in every case."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge, self._pen = gauge, Pen(gauge)
        self._fd = -1
        self.length = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises StorageUnavailable."""
        self._pen.write(data)
        self.length += len(data)

    def ready(self) -> Awaitable[None] | None:
        """Something to wait for before more is written, when the disk is behind."""
        return self._pen.ready()

    async def finish(self) -> None:
        """Everything can be read from now on. Raises StorageUnavailable."""
        await self._pen.finish()
        threads = self._gauge.threads
        self._fd = (await asyncio.get_running_loop().run_in_executor(threads, self._pen.settle)).fd

    @property
    def fd(self) -> int:
        """The open file, for workers; after `finish`."""
        return self._fd

    def read(self, offset: int, count: int) -> bytes:
        """That many bytes, fewer at the end only; on any thread, after `finish`."""
        parts = []
        while count > 0 and (part := os.pread(self._fd, count, offset)):
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, offset: int, length: int, piece_bytes: int) -> Iterator[bytes]:
        """A region in pieces."""
        end = offset + length
        while offset < end:
            piece = self.read(offset, min(piece_bytes, end - offset))
            if not piece:
                raise DamagedObject("what was received is gone from the staging file")
            yield piece
            offset += len(piece)

    def discard(self) -> None:
        """Forget everything."""
        self._fd = -1
        self._pen.discard()
