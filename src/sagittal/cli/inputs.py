"""What words of a command line mean: files that can be piped in, and UIDs by the keywords of PS3.6."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sagittal.errors import UsageError
from sagittal.uid import is_uid

_STDIN = "/dev/stdin"


class _File(click.Path):
    def convert(self, value: str | os.PathLike[str], *told: Any) -> Any:
        return super().convert(_STDIN if value == "-" else value, *told)


FILE = _File(exists=True, dir_okay=False, path_type=Path)
"""A file that is there; `-` is standard input."""


def uid_of(name: str, table: Mapping[str, Any], what: str) -> str:
    """A UID from itself or from the keyword of a row of the table."""
    uid = next((uid for uid, row in table.items() if row.keyword == name), name)
    if not is_uid(uid):
        raise UsageError(f"{name!r} is neither the keyword nor the UID of a {what}")
    return uid
