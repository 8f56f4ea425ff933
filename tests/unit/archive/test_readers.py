"""What readers remember, and for how long."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.index.connection import Readers
from sagittal.errors import StorageUnavailable


def counting(calls: list[int]) -> Callable[[sqlite3.Connection], int]:
    def act(connection: sqlite3.Connection) -> int:
        calls.append(1)
        return len(calls)

    return act


async def test_a_result_is_remembered_until_something_is_committed(tmp_path: Path) -> None:
    readers, act = Readers(tmp_path / "index.db", 1), counting([])
    got = [await readers.recall("key", act), await readers.recall("key", act), await readers.recall("other", act)]
    readers.forget()
    got.append(await readers.recall("key", act))
    readers.close()
    assert got == [1, 1, 2, 3]


async def test_what_was_read_before_a_commit_is_not_remembered(tmp_path: Path) -> None:
    readers, act = Readers(tmp_path / "index.db", 1), counting([])
    reading = asyncio.ensure_future(readers.recall("key", act))
    await asyncio.sleep(0)  # it has begun
    readers.forget()
    got = await reading, await readers.recall("key", act)
    readers.close()
    assert got == (1, 2)


async def test_large_results_are_read_anew(tmp_path: Path) -> None:
    readers, act = Readers(tmp_path / "index.db", 1), counting([])
    got = [await readers.recall("key", act, lambda found: found > 1) for _ in range(3)]
    readers.close()
    assert got == [1, 2, 2]


async def test_the_oldest_is_forgotten_first(tmp_path: Path) -> None:
    readers, act = Readers(tmp_path / "index.db", 1), counting([])
    for key in range(300):
        await readers.recall(key, act)
    got = await readers.recall(299, act), await readers.recall(0, act)
    readers.close()
    assert got == (300, 301)


async def test_an_index_that_cannot_be_read_is_told_as_one_of_our_errors(tmp_path: Path) -> None:
    """503 and A700, not 500; what is wrong with a statement stays a mistake of ours."""
    (tmp_path / "index.db").write_bytes(b"nonsense" * 10_000)

    def select(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM study")

    damaged, empty = Readers(tmp_path / "index.db", 1), Readers(tmp_path / "empty.db", 1)
    with pytest.raises(StorageUnavailable, match="sagittal reindex"):
        await damaged.run(select)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await empty.run(select)
    damaged.close()
    empty.close()


async def test_an_index_that_is_damaged_is_not_ready(tmp_path: Path) -> None:
    """One page of it, which only some questions need; the others are answered."""

    def spoil(index: Path, table: str) -> None:
        connection = sqlite3.connect(index)
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.close()
        with index.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)

    async with opened(tmp_path) as archive:
        await store(archive, build(1))
    spoil(tmp_path / "index.db", "change")
    async with opened(tmp_path) as archive:
        assert len(await archive.instances(LOCAL, study_uid=build(1).study_uid)) == 1
        assert archive.ready() == []
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="sagittal reindex"):
                await archive.changes(LOCAL, None, 10)
        assert len(archive.ready()) == 1
        assert "sagittal reindex" in archive.ready()[0]


def test_what_one_reads_is_of_one_moment(tmp_path: Path) -> None:
    """A reference and the corrections that go with it, for instance, are read by two statements."""
    writer = sqlite3.connect(tmp_path / "index.db", isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE t (value)")

    def read(connection: sqlite3.Connection) -> list[int]:
        got = [connection.execute("SELECT count(*) FROM t").fetchone()[0]]
        writer.execute("INSERT INTO t VALUES (1)")
        return [*got, connection.execute("SELECT count(*) FROM t").fetchone()[0]]

    async def asked() -> list[list[int]]:
        readers = Readers(tmp_path / "index.db", 1)
        got = [await readers.run(read), await readers.run(read)]
        readers.close()
        return got

    try:
        assert asyncio.run(asked()) == [[0, 0], [1, 1]]
    finally:
        writer.close()
