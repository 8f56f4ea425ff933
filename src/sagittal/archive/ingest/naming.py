"""The files of one batch get their names, and the directories are synced, while the rows are written.

The thread that syncs the last of the files goes on with it, and with what comes then, so that nobody has to be woken;
when all of them were synced before, another thread of the same pool does it. Not here: which files, and their keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sagittal.archive.ingest.incoming import Incoming
from sagittal.archive.local import LocalVolume


class Naming:
    """Begins at once; `wait` before anything is taken back, `result` before the commit."""

    def __init__(self, files: Sequence[Incoming], volume: LocalVolume, threads: ThreadPoolExecutor) -> None:
        self._files = files
        self._volume = volume
        self._ended: Future[None] = Future()
        self._then: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._left = len(files) + 1
        for incoming in files:
            assert incoming.pen.synced is not None
            incoming.pen.synced.add_done_callback(self._synced)
        if not files:
            self._ended.set_result(None)
        elif self._is_last():
            threads.submit(self._run)

    def then(self, run: Callable[[], None]) -> bool:
        """Have the same thread go on with `run`, whatever came of the files. False when it has ended already."""
        with self._lock:
            if self._ended.done():
                return False
            self._then = run
            return True

    def wait(self) -> None:
        """Until no file is touched any more, whatever came of it."""
        self._ended.exception()

    def result(self) -> None:
        """Every file is synced and has its name, durably. Raises the first failure."""
        self._ended.result()

    def _is_last(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0

    def _synced(self, _: Future[None]) -> None:
        if self._is_last():
            self._run()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._name()
        except BaseException as raised:
            error = raised
        with self._lock:
            if error is not None:
                self._ended.set_exception(error)
            else:
                self._ended.set_result(None)
        if self._then is not None:
            self._then()

    def _name(self) -> None:
        for incoming in self._files:
            assert incoming.pen.synced is not None
            incoming.pen.synced.result()
        for incoming in self._files:
            if incoming.pen.staged is not None and not incoming.adopted:
                self._volume.adopt(incoming.pen.staged, incoming.arrival.key)
                incoming.pen.adopted()
                incoming.adopted = True
        for directory in {incoming.arrival.key.partition("/")[0] for incoming in self._files}:
            self._volume.sync_directory(directory)
