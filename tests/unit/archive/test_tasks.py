"""Upkeep through its verbs: who may, the audit log, and an archive that serves meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from builders import build, findings, opened, store
from conftest import sagittal_here

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.upkeep import tasks
from sagittal.archive.upkeep.backup import restore
from sagittal.errors import DirectoryHeld, NotAuthorized

READER = Principal("reader", "token", frozenset({"find", "get"}))
NOBODY = Principal("nobody", "node", frozenset())
OBJECTS = [build(number) for number in range(6)]


async def every(answers: AsyncIterator[Any]) -> list[Any]:
    return [answer async for answer in answers]


def audited(path: Path) -> list[tuple[str, str, str, int]]:
    statement = "SELECT principal, verb, outcome, number_of_instances FROM audit WHERE verb <> 'store' ORDER BY at"
    return sqlite3.connect(path / INDEX).execute(statement).fetchall()


async def test_every_verb_is_in_the_audit_log(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS)
        refs = await archive.instances(READER, study_uid=OBJECTS[0].study_uid)
        await archive.find(READER, Query("STUDY"))
        (tmp_path / "a" / "objects" / "0001" / OBJECTS[0].digest).unlink()
        await every(tasks.export(archive, READER, refs, tmp_path / "out.zip"))
        await every(tasks.back_up(archive, LOCAL, tmp_path / "b"))
        await archive.delete(LOCAL, Target(OBJECTS[0].study_uid))
        for denied in (
            archive.find(NOBODY, Query("STUDY")),
            archive.instances(NOBODY, study_uid="1"),
            archive.delete(READER, Target("1")),
        ):
            with pytest.raises(NotAuthorized):
                await denied
    assert audited(tmp_path / "a") == [
        ("reader", "get", "done", 6),
        ("reader", "find", "done", 1),
        ("reader", "export", "done", 5),
        ("local", "backup", "done", 5),
        ("local", "delete", "done", 0),
        ("nobody", "find", "denied", 0),
        ("nobody", "get", "denied", 0),
        ("reader", "delete", "denied", 0),
    ]


async def test_who_may(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        for refused in (
            tasks.back_up(archive, READER, tmp_path / "b"),
            tasks.export(archive, NOBODY, [], tmp_path / "c"),
        ):
            with pytest.raises(NotAuthorized):
                await anext(refused)
    with pytest.raises(NotAuthorized):
        next(tasks.reindex(tmp_path / "a", READER))
    with pytest.raises(NotAuthorized):
        next(tasks.restore(tmp_path / "b", tmp_path / "c", READER))


def test_backup_while_objects_come_in_loses_nothing_that_was_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            await store(archive, *OBJECTS)
            more = [build(number, study=2) for number in range(30)]
            sending = asyncio.create_task(store(archive, *more))
            copied = await every(tasks.back_up(archive, LOCAL, tmp_path / "b"))
            await sending
            assert {f"0001/{built.digest}" for built in OBJECTS} <= {one.key for one in copied if not one.error}

    asyncio.run(run())
    assert not [one.error for one in restore(tmp_path / "b", tmp_path / "c", INDEX) if one.error]
    assert asyncio.run(scrubbed(tmp_path / "c")) == []


def test_a_restore_is_in_the_audit_log_of_what_it_made(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            await store(archive, *OBJECTS)
            await every(tasks.back_up(archive, LOCAL, tmp_path / "b"))

    asyncio.run(run())
    before = audited(tmp_path / "a")
    done = sagittal_here("restore", tmp_path / "b", "--data", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    # The backup's own row is written when it has ended, so that what it holds knows nothing of it.
    assert before == [("local", "backup", "done", 6)]
    assert audited(tmp_path / "c") == [("local", "restore", "done", 6)]
    assert sagittal_here("restore", tmp_path / "b", "--data", tmp_path / "c").returncode == 2  # not empty
    assert len(audited(tmp_path / "c")) == 1
    (tmp_path / "b" / "objects" / "0001" / OBJECTS[0].digest).unlink()
    done = sagittal_here("restore", tmp_path / "b", "--data", tmp_path / "d")
    assert (done.returncode, "1 objects are damaged or missing" in done.stderr) == (1, True)
    assert audited(tmp_path / "d") == [("local", "restore", "failed", 5)]
    assert len(asyncio.run(scrubbed(tmp_path / "d"))) == 1  # it opens, and tells the one that is missing
    assert asyncio.run(scrubbed(tmp_path / "c")) == []


async def scrubbed(path: Path) -> list[Any]:
    async with opened(path) as archive:
        return findings(archive)


async def test_reindex_needs_the_directory_for_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        with pytest.raises(DirectoryHeld):
            next(tasks.reindex(tmp_path))
    assert len(list(tasks.reindex(tmp_path))) == len(OBJECTS)
    assert audited(tmp_path)[-1] == ("local", "reindex", "done", 0)


def test_leaving_early_ends_the_thread(tmp_path: Path) -> None:
    ended: list[bool] = []

    def endless() -> Any:
        try:
            while True:
                yield 1
        finally:
            ended.append(True)

    async def run(archive: Archive | None = None) -> None:
        running = tasks.steps(endless)
        assert await anext(running) == 1
        await running.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())
    assert ended == [True]
