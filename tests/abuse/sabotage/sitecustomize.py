"""A decoder of native frames that crashes, hangs or grows for pixels that begin so: in workers, through `PYTHONPATH`.

The programs themselves know nothing of it.
"""

from __future__ import annotations

import ctypes
import signal
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
        return decode(self, data, description)

    Native.decode = sabotaged  # type: ignore[method-assign]


if "sagittal.workers.forkserver" in sys.orig_argv:
    _sabotage()
