"""A decoder of native frames that crashes, hangs, grows or writes where it should not, for pixels that begin so: in
workers, through `PYTHONPATH`.

The programs themselves know nothing of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat
import sys
from typing import Any


def _sabotage() -> None:
    from sagittal.pixels.codecs.native import Native

    decode = Native.decode

    def sabotaged(self: Any, data: bytes, description: Any) -> Any:
        if data.startswith(b"CRASH"):
            ctypes.memmove(0, b"x", 1)
        if data.startswith(b"HANG!"):
            signal.pause()
        if data.startswith(b"GREED"):
            bytearray(64 << 30)
        if data.startswith(b"NOISE"):
            _write_to_sockets(b"JPEG decoder: something is wrong\n")
        if data.startswith(b"PRINT"):
            os.write(1, b"JPEG decoder: something is wrong\n")
        return decode(self, data, description)

    Native.decode = sabotaged  # type: ignore[method-assign]


def _write_to_sockets(text: bytes) -> None:
    for fd in range(3, 128):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, text)


if "sagittal.workers.forkserver" in sys.orig_argv:
    _sabotage()
