"""`python -m sagittal`: the same as the command `sagittal`."""

from __future__ import annotations

from sagittal.cli import main

if __name__ == "__main__":
    main()
