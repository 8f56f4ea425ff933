"""What may not be read, for tests that run as root, who may read anything: the calls are refused instead."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest


def nobody_may_list(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """`folder` can't be listed."""
    _refuse(monkeypatch, "scandir", {folder})
    _refuse(monkeypatch, "listdir", {folder})


def nobody_may_open(monkeypatch: pytest.MonkeyPatch, files: Collection[Path]) -> None:
    """None of `files` can be opened, as after a restore by somebody else, or where the disk can't read them."""
    _refuse(monkeypatch, "open", files)


def _refuse(monkeypatch: pytest.MonkeyPatch, call: str, denied: Collection[Path]) -> None:
    act = getattr(os, call)

    def refused(path: Any, *more: Any, **named: Any) -> Any:
        if isinstance(path, str | Path) and Path(path) in denied:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return act(path, *more, **named)

    monkeypatch.setattr(os, call, refused)
