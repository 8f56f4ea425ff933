"""How many calls of Python's something takes: a measure of work that is the same on a slow machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any


def calls_of(act: Callable[[], Any]) -> int:
    """Calls of functions written in Python and in C, from this thread, while `act` runs; what the collector of garbage
    finalises meanwhile is not its work.
    """
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    held, collecting = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(seen)
    try:
        act()
    finally:
        sys.setprofile(held)
        if collecting:
            gc.enable()
    return count
