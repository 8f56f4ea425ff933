"""Named fault points: where a test makes the archive fail or die, to prove what is said about durability.

A point is a call `faults.hit("directory.sync")` just before the act it names. Without a hook it does nothing. Tests in
the same process hand down a hook of their own; `SAGITTAL_FAULT=point:action[:n][,…]` does the same for a subprocess and
is read once, by the composition root. Actions: `kill` (SIGKILL to this process), `enospc`, `eio`, `delay` (one second;
`delay=0.2` for another time). With `n` only the n-th hit of that point acts, without it every hit does. It deliberately
knows nothing of what it interrupts.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

from sagittal.errors import UsageError

# Every point, in the order one object passes them; crash tests walk this list.
POINTS = (
    "staging.create",  # before the staging file is made
    "staging.write",  # before bytes go to the staging file
    "file.sync",  # before fdatasync of the staging file
    "object.rename",  # before the staging file gets its name among the objects
    "directory.create",  # before a new directory of objects is made
    "directory.sync",  # before fsync of the directory of objects
    "index.begin",  # before the index transaction
    "index.commit",  # before COMMIT
    "index.committed",  # after COMMIT, before any answer
    "answer",  # before the answers of a batch go out
    "transcode.made",  # before what was transcoded by rule is stored
    "transcode.stored",  # after that, before its original is let go where that is another act
    "transcode.advance",  # before it is committed how far the rules came
    "object.delete",  # before the bytes of a deleted object are unlinked
    "probe",  # before the probe write
    "reindex.swap",  # before the rebuilt index takes the place of the old one
    "backup.object",  # before one object is copied to the backup
    "backup.manifest",  # before the manifest, which makes a backup valid, is written
)


class Faults:
    """The fault points of one archive; `Faults()` never acts."""

    __slots__ = ("_hook",)

    def __init__(self, hook: Callable[[str], None] | None = None) -> None:
        self._hook = hook

    def hit(self, point: str) -> None:
        """Pass `point`; raises whatever the hook raises (OSError for the actions of the environment variable)."""
        if self._hook is not None:
            if point not in POINTS:
                raise ValueError(f"not a fault point: {point}")
            self._hook(point)


class _Plan:
    """The hook behind `SAGITTAL_FAULT`: what to do at which hit of which point."""

    def __init__(self, actions: list[tuple[str, str, int | None]]) -> None:
        self._actions = actions
        self._hits: dict[str, int] = {}
        self._lock = threading.Lock()  # points are passed on the loop, the clerk's and the sync threads

    def __call__(self, point: str) -> None:
        with self._lock:
            count = self._hits[point] = self._hits.get(point, 0) + 1
        for name, action, nth in self._actions:
            if name == point and (nth is None or nth == count):
                _act(action)


def _act(action: str) -> None:
    verb, _, argument = action.partition("=")
    if verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "delay":
        time.sleep(float(argument or 1.0))
    else:
        code = errno.ENOSPC if verb == "enospc" else errno.EIO
        raise OSError(code, os.strerror(code))


def from_environment(environment: Mapping[str, str]) -> Faults:
    """The faults that `SAGITTAL_FAULT` asks for; UsageError when it cannot be read."""
    text = environment.get("SAGITTAL_FAULT", "")
    if not text:
        return Faults()
    actions = []
    for entry in text.split(","):
        point, _, rest = entry.partition(":")
        action, _, nth = rest.partition(":")
        if point not in POINTS or action.partition("=")[0] not in {"kill", "enospc", "eio", "delay"}:
            raise UsageError(f"SAGITTAL_FAULT: cannot read {entry!r}")
        actions.append((point, action, int(nth) if nth else None))
    return Faults(_Plan(actions))
