"""The committer where something goes wrong at a bad moment."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, resting, store

from sagittal.archive.access import LOCAL
from sagittal.archive.index.writer import AuditRow, IndexWriter
from sagittal.archive.ingest import recovery
from sagittal.archive.ingest.clerk import Clerk
from sagittal.archive.ingest.versions import Comparer
from sagittal.errors import SagittalError
from sagittal.limits import ArchiveLimits, Limits


def limits(**bounds: Any) -> Limits:
    return Limits(archive=ArchiveLimits(free_bytes_min=0, slow_rows_seconds=600.0, **bounds))


def other(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path / "index.db", isolation_level=None, check_same_thread=False)


def test_closing_waits_for_a_lock_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave = recovery.leave

    def locked(connection: sqlite3.Connection) -> None:
        with closing(other(tmp_path)) as another:
            another.execute("BEGIN IMMEDIATE")
            timer = threading.Timer(0.1, another.execute, ("ROLLBACK",))
            timer.start()
            leave(connection)
            timer.join()

    monkeypatch.setattr(recovery, "leave", locked)

    async def act() -> None:
        async with opened(tmp_path, limits()) as archive:
            await store(archive, build())

    with caplog.at_level(logging.WARNING):
        asyncio.run(act())
    assert not caplog.records


async def test_an_audit_row_waits_no_longer_while_batches_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise sqlite3.IntegrityError("constructed")

    async with opened(tmp_path, limits(audit_seconds_max=0.0)) as archive:
        monkeypatch.setattr(IndexWriter, "add", fail)
        archive.audit(AuditRow("A", "node", "tested"))
        with pytest.raises(SagittalError):
            await store(archive, build())
        await archive.act(lambda _: None)  # after that turn
        with closing(other(tmp_path)) as index:
            assert index.execute("SELECT count(*) FROM audit WHERE verb = 'tested'").fetchone() == (1,)


async def test_a_comparison_that_cannot_begin_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(tmp_path, limits()) as archive:
        await store(archive, build(1))
        monkeypatch.setattr(Comparer, "submit", fail)
        async with resting(archive):
            sending = [asyncio.ensure_future(store(archive, build(number))) for number in (1, 2)]
            while archive._committer.waiting < len(sending):
                await asyncio.sleep(0)
        again, new = await asyncio.gather(*sending, return_exceptions=True)
        assert isinstance(again, SagittalError)
        assert not isinstance(new, BaseException) and new[0].status == "stored"
        await archive.act(lambda connection: connection.execute("SELECT 1"))
        assert (await archive.statistics(LOCAL)).instances == 2


async def test_a_file_that_no_thread_syncs_leaves_nothing_and_can_be_closed(tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(tmp_path, limits()) as archive, asyncio.timeout(20):
        archive._committer._clerk.last_batch = 2  # so it is synced only as it is submitted
        threads = archive._committer._clerk.sync_threads
        with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
            patch.setattr(threads, "submit", fail)
            await store(archive, build(extra={"PatientComments": "long" * 100_000}))
        assert not archive._committer.waiting
        assert not list((tmp_path / "staging").iterdir())
        assert (await store(archive, build()))[0].status == "stored"


async def test_an_answer_that_cannot_be_given_holds_nobody_up(tmp_path: Path) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise StopIteration

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with opened(tmp_path, limits()) as archive:
        acting = asyncio.ensure_future(archive.act(fail))
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert (await store(archive, build()))[0].status == "stored"
        acting.cancel()


async def test_it_is_closed_twice_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagittal.archive.index.connection._BUSY_MILLISECONDS", 20)
    async with opened(tmp_path, limits()) as archive, asyncio.timeout(20):
        with closing(other(tmp_path)) as another:
            another.execute("BEGIN IMMEDIATE")
            archive.audit(AuditRow("A", "node", "tested"))
            await archive._committer.close()
            await archive._committer.close()


async def test_a_version_that_takes_its_place_again_leaves_no_file(tmp_path: Path) -> None:
    """It was put aside, and its file comes again after the directory rolled over."""
    one, two = build(1), build(1, extra={"PatientComments": "another"})
    async with opened(tmp_path, limits(directory_files_max=2)) as archive:
        await store(archive, one, two, build(2), build(3))
        assert (await store(archive, two, policy="replace"))[0].status == "replaced"
    names = [path.name for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert sorted(names) == sorted(each.digest for each in (one, two, build(2), build(3)))


async def test_what_is_compared_while_it_closes_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, compare = threading.Event(), threading.Event(), Comparer._compare

    def slowly(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return compare(*given)

    monkeypatch.setattr(Comparer, "_compare", slowly)
    async with opened(tmp_path, limits()) as archive, asyncio.timeout(20):
        await store(archive, build())
        again = asyncio.ensure_future(store(archive, build()))
        await asyncio.to_thread(begun.wait)
        ending = asyncio.ensure_future(archive._committer.close())
        for _ in range(9):
            await asyncio.sleep(0)
        go_on.set()
        assert (await again)[0].status == "duplicate"
        await ending


async def test_an_audit_row_that_comes_as_the_last_turn_ended_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = Clerk.join
    async with opened(tmp_path, limits()) as archive:

        async def late(clerk: Clerk) -> None:
            archive.audit(AuditRow("A", "node", "tested"))
            await join(clerk)

        monkeypatch.setattr(Clerk, "join", late)
    with closing(other(tmp_path)) as index:
        assert index.execute("SELECT count(*) FROM audit WHERE verb = 'tested'").fetchone() == (1,)


async def test_why_nothing_can_be_written_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The disk that is full may be the log's, too."""
    tries = 0

    def begin() -> None:
        nonlocal tries
        tries += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(tmp_path, limits(audit_seconds_max=0.01)) as archive, asyncio.timeout(20):
        index = archive._committer._clerk._index
        writes, index.begin = index.begin, begin  # type: ignore[method-assign]
        archive.audit(AuditRow("A", "node", "tested"))
        while tries < 6:  # a probe and the row, each time
            await asyncio.sleep(0.01)
        index.begin = writes  # type: ignore[method-assign]
        while archive.ready():
            await asyncio.sleep(0.01)
    assert [record.levelname for record in caplog.records if "cannot be written" in record.message] == ["ERROR"]
