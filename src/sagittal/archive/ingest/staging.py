"""Getting the bytes of one transfer to staging without stalling the loop.

A small object is held in memory until it is complete: the thread that syncs it makes its file. A larger one is written
by the loop itself, because a write into the page cache costs less than a thread: until one write took longer than
`slow_write_seconds`. From then on the volume counts as slow, a thread writes, and the transfer asks its sender to wait.
A huge object is synced on the way, so that the last sync is short. Deliberately not here: when to sync, and names.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from sagittal.archive.local import LocalVolume, Staged
from sagittal.errors import SagittalError
from sagittal.limits import ArchiveLimits

_QUICK_IN_A_ROW = 8  # so many times of a thread, and it counts as quick again


class Slowness:
    """Whether something takes so long at the moment that the loop must leave it to a thread."""

    __slots__ = ("_quick", "_seconds_max", "slow")

    def __init__(self, seconds_max: float) -> None:
        self.slow = False
        self._seconds_max = seconds_max
        self._quick = 0

    def took(self, seconds: float) -> None:
        """It was done once more."""
        if seconds > self._seconds_max:
            self.slow, self._quick = True, 0
        elif self.slow:
            self._quick += 1
            self.slow = self._quick < _QUICK_IN_A_ROW


class Gauge(Slowness):
    """Whether the volume is slow at the moment; one for all transfers."""

    def __init__(self, volume: LocalVolume, limits: ArchiveLimits) -> None:
        super().__init__(limits.slow_write_seconds)
        self.volume = volume
        self.limits = limits
        self.threads = ThreadPoolExecutor(4, thread_name_prefix="slow-write")

    def write(self, staged: Staged, data: bytes | memoryview) -> None:
        """Write and take the time."""
        start = perf_counter()
        self.volume.write(staged, data)
        self.took(perf_counter() - start)


class Pen:
    """Writes one transfer. `staged` is None while everything is still in memory."""

    __slots__ = (
        "_closed", "_error", "_gauge", "_held", "_inline", "_pending", "_pending_bytes", "_running", "_unsynced",
        "staged", "synced",
    )  # fmt: skip

    def __init__(self, gauge: Gauge) -> None:
        self.staged: Staged | None = None
        self.synced: Future[None] | None = None
        self._gauge = gauge
        self._inline: list[bytes] = []
        self._held = 0
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._running: asyncio.Future[None] | None = None
        self._error: SagittalError | None = None
        self._closed = False
        self._unsynced = 0

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; the buffer is the caller's again afterwards. Raises StorageUnavailable."""
        if self._held >= 0:
            self._held += len(data)
            if self._held <= self._gauge.limits.staging_inline_bytes_max:
                self._inline.append(bytes(data))
                return
            before = b"".join(self._inline)  # not joined with `data`: that would copy a whole socket read
            self._inline.clear()
            self._held = -1
            if before:
                self._write(before)
        self._write(data)

    def _write(self, data: bytes | memoryview) -> None:
        self._unsynced += len(data)
        if self._gauge.slow or self._running is not None or self._unsynced > self._gauge.limits.unsynced_bytes_max:
            self._write_later(bytes(data))
            return
        if self.staged is None:
            self.staged = self._gauge.volume.stage()
        self._gauge.write(self.staged, data)

    def ready(self) -> Awaitable[None] | None:
        """Something to wait for before more is written, when a thread is behind."""
        if self._running is None or self._pending_bytes < self._gauge.limits.slow_write_pending_bytes_max:
            return None
        return asyncio.shield(self._running)

    async def finish(self) -> None:
        """Everything is in the file or in memory. Raises StorageUnavailable."""
        while self._running is not None:
            await asyncio.wait((self._running,))
            await asyncio.sleep(0)  # its callback may still be due, and comes before whoever waits anew
        if self._error is not None:
            raise self._error

    def settle(self) -> Staged:
        """The staging file, written from memory if it was not; on any thread, after `finish`."""
        if self.staged is None:
            self.staged = self._gauge.volume.stage()
            self._gauge.volume.write(self.staged, b"".join(self._inline))
            self._inline.clear()
        return self.staged

    @property
    def is_whole(self) -> bool:
        """Nothing that was taken waits for a thread to write it."""
        return self._running is None and self._error is None

    def sync(self, threads: ThreadPoolExecutor) -> None:
        """Begin to sync the file, after `finish`; done once, however often it is asked for. See `synced`."""
        if self.synced is None:
            self.synced = threads.submit(self._sync)

    def _sync(self) -> None:
        self._gauge.volume.sync_file(self.settle().fd)

    def adopted(self) -> None:
        """The staging file got its name among the objects."""
        if self.staged is not None:
            self.staged.close()
        self.staged = None

    def discard(self) -> None:
        """Forget everything; a thread that is still writing or syncing does it when it ends."""
        self._closed = True
        if self.synced is not None and not self.synced.done() and not self.synced.cancel():
            self.synced.add_done_callback(lambda _: self.discard())
            return
        self._inline.clear()
        if self._running is None and self.staged is not None:
            self._gauge.volume.discard(self.staged)
            self.staged = None

    # Slow writes

    def _write_later(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._running is None:
            self._start()

    def _start(self) -> None:
        running = asyncio.get_running_loop().run_in_executor(self._gauge.threads, self._drain)
        self._running = running
        running.add_done_callback(self._drained)

    def _drain(self) -> None:
        try:
            if self.staged is None and not self._closed:
                self.staged = self._gauge.volume.stage()
            while self._pending and not self._closed and self.staged is not None:
                if self._unsynced > self._gauge.limits.unsynced_bytes_max:
                    self._unsynced = 0
                    self._gauge.volume.sync_file(self.staged.fd)
                data = self._pending.popleft()
                self._pending_bytes -= len(data)
                self._gauge.write(self.staged, data)
        except SagittalError as error:
            self._error = error
            self._pending.clear()

    def _drained(self, ended: asyncio.Future[None]) -> None:
        self._running = None
        if self._closed:
            self.discard()
        elif self._pending and not ended.cancelled():
            self._start()
