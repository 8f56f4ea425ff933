"""Files that are read from their beginning to their end, and can be piped in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

_STDIN = "/dev/stdin"


class _File(click.Path):
    def convert(self, value: str | os.PathLike[str], *told: Any) -> Any:
        return super().convert(_STDIN if value == "-" else value, *told)


FILE = _File(exists=True, dir_okay=False, path_type=Path)
"""A file that is there; `-` is standard input."""
