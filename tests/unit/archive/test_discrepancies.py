"""The discrepancies of a study that is read again: as many as there are, some at a time, in bounds."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, store, until_current

from sagittal.archive.index.upkeep import anew, discrepancies
from sagittal.limits import ArchiveLimits, Limits


async def fill(path: Path, *objects: Any) -> None:
    async with opened(path) as archive:
        await store(archive, *objects)


def grow_old(path: Path) -> None:
    """As an older reader might have made it."""
    with sqlite3.connect(path / "index.db") as index:
        index.execute("UPDATE instance SET reader_version = 0")
        index.execute("UPDATE setting SET value = '0' WHERE name = 'reader_version'")
        index.execute("UPDATE study SET study_description = 'wrong'")
        index.execute("UPDATE discrepancy SET value = 'gone ' || id WHERE id % 2 = 0")


def described_as(path: Path) -> str:
    with sqlite3.connect(path / "index.db") as index:
        ((text,), *_) = index.execute("SELECT study_description FROM study ORDER BY id").fetchall()
    return str(text)


def listed(path: Path) -> set[str]:
    with sqlite3.connect(path / "index.db") as index:
        return {value for (value,) in index.execute("SELECT value FROM discrepancy")}


def described(*texts: str) -> list[Any]:
    return [build(number, extra={"StudyDescription": text}) for number, text in enumerate(("kept", *texts))]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_discrepancies_bytes_max(tmp_path: Path, more: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of a study with more the list stays as it is, and the rest is made anew all the same."""
    path, texts = tmp_path / "a", ("some", "other", "words")
    most = sum(len(text) + anew._CLAIM_BYTES for text in texts) - more

    async def run(bytes_max: int) -> None:
        bounds = ArchiveLimits(free_bytes_min=0, discrepancies_bytes_max=bytes_max)
        async with opened(path, Limits(archive=bounds)) as archive:
            await store(archive, *described(*texts), build(9, study=2))
            await until_current(archive)

    asyncio.run(run(1 << 20))
    grow_old(path)
    old = listed(path)
    assert old != set(texts)
    asyncio.run(run(most))
    assert listed(path) == (old if more > 0 else set(texts))
    assert described_as(path) == "kept"
    assert ("discrepancies_bytes_max" in caplog.text) == (more > 0)


@pytest.mark.parametrize("at_once", [1, 3])
def test_few_are_listed_at_a_time_and_what_comes_in_between_counts(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction is short however many a study has; an object that is stored meanwhile is not taken off the list."""
    monkeypatch.setattr(discrepancies, "_AT_ONCE", at_once)
    path, put_some, written = tmp_path / "a", discrepancies.put_some, list[int]()
    objects = described(*map("text {}".format, range(20)))
    late = build(40, extra={"StudyDescription": "late"})

    async def run() -> None:
        asked = asyncio.Event()

        def puts(connection: sqlite3.Connection, *arguments: Any) -> Any:
            before = connection.total_changes
            done = put_some(connection, *arguments)
            written.append(connection.total_changes - before)
            if len(written) == 3:
                loop.call_soon_threadsafe(asked.set)
            return done

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(discrepancies, "put_some", puts)
        async with opened(path) as archive:
            await asked.wait()
            await store(archive, late)
            await until_current(archive)

    asyncio.run(fill(path, *objects))
    grow_old(path)
    asyncio.run(run())
    assert listed(path) == {"late", *(f"text {number}" for number in range(20))}
    assert 0 < max(written) <= 2 * at_once  # so many taken off, and so many put


def test_of_what_was_deleted_meanwhile_nothing_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    asyncio.run(fill(path, *described("other")))
    lost = discrepancies.Lost("kept", 1, 0)
    found = [
        discrepancies.Place(1, level, 99, [(discrepancies.Claim(level, 99, 0x00081030, "text"), lost)])
        for level in ("patient", "study", "series")
    ]
    with sqlite3.connect(path / "index.db") as index:
        assert discrepancies.put_some(index, found, discrepancies.Cursor()) is None
    assert listed(path) == {"other"}
