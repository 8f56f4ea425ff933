"""The command `sagittal`, also as `python -m sagittal`. Ctrl-C ends it in order from the first import on."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command of the command line."""
    _open_standard_streams()
    try:
        from sagittal.cli import main as run

        run()
    except KeyboardInterrupt:  # before there was anybody to take it, or after
        sys.exit(130)


def _open_standard_streams() -> None:
    """One that is closed (`>&-`) is the null device: else a file or socket of ours takes its number, and libuv, which
    closes none of these, ends the process; native libraries would write their remarks into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # for the workers
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0)  # Python has None for one that was closed
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


if __name__ == "__main__":
    main()
