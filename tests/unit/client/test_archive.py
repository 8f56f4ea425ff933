"""The Python face says what is wrong with a call in an error of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, store

from sagittal.client import Archive
from sagittal.errors import UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            await store(archive, build())

    asyncio.run(fill())
    return tmp_path / "data"


@pytest.mark.parametrize("level", ["instance", "STUDY", ""])
def test_a_level_that_is_none(data: Path, level: str) -> None:
    with Archive(data) as archive, pytest.raises(UsageError, match="one of patient, study, series, image"):
        archive.find(level)


@pytest.mark.parametrize(
    "call", [Archive.find, lambda archive: archive.get("out", PatientID="x"), lambda archive: archive.store("x")]
)
@pytest.mark.filterwarnings("error")  # of a coroutine that was never awaited
def test_after_it_was_closed(data: Path, call: Callable[[Any], Any]) -> None:
    archive = Archive(data)
    archive.close()
    archive.close()
    with pytest.raises(UsageError, match="was closed"):
        call(archive)
