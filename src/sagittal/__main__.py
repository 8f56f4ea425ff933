"""The command `sagittal`, also as `python -m sagittal`. Ctrl-C ends it in order from the first import on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command of the command line."""
    try:
        from sagittal.cli import main as run

        run()
    except KeyboardInterrupt:  # before there was anybody to take it, or after
        sys.exit(130)


if __name__ == "__main__":
    main()
