"""What was written and synced is asked on a disk."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(on_disk: Path) -> Path:
    folder = on_disk / str(len(list(on_disk.iterdir())))
    folder.mkdir()
    return folder
