"""The committer: batches, failures of volume and index, other writers, the audit log."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from builders import Built, build, opened, resting, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.faults import Faults
from sagittal.archive.index.writer import AuditRow, IndexWriter
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.ingest.clerk import Clerk, Turn
from sagittal.archive.local import LocalVolume
from sagittal.errors import SagittalError, StorageUnavailable
from sagittal.limits import ArchiveLimits, Limits

ON_THE_WAY = ("staging.create", "staging.write", "file.sync", "object.rename", "directory.sync", "index.begin",
              "index.commit")  # fmt: skip


# How often it looks whether all is well again; rows are the loop's, however busy the machine is.
LIMITS = Limits(archive=ArchiveLimits(audit_seconds_max=0.05, slow_rows_seconds=600.0))


class Switch:
    """Fault points that fail while they are switched on."""

    def __init__(self) -> None:
        self.points: dict[str, int] = {}
        self.seen: list[str] = []

    def __call__(self, point: str) -> None:
        self.seen.append(point)
        if point in self.points:
            raise OSError(self.points[point], os.strerror(self.points[point]))


async def send(archive: Archive, built: Built) -> Outcome:
    transfer = archive.store_begin_part10(LOCAL, Source("dimse", "MODALITY"))
    transfer.write(built.part10)
    return await transfer.commit()


async def piled_up(archive: Archive, *objects: Built) -> list[Outcome]:
    """All of them are submitted before the committer takes any."""
    async with resting(archive):
        sending = [asyncio.ensure_future(send(archive, built)) for built in objects]
        await until(lambda: archive._committer.waiting == len(objects))
    return await asyncio.gather(*sending)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def files(path: Path) -> list[str]:
    return sorted(f.name for name in ("staging", "objects") for f in (path / name).rglob("*") if f.is_file())


@contextmanager
def index(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path / "index.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


async def test_the_order_of_acts(tmp_path: Path) -> None:
    switch = Switch()
    async with opened(tmp_path, LIMITS, Faults(switch)) as archive:
        switch.seen.clear()
        await store(archive, build())
    order = [p for p in switch.seen if p in (*ON_THE_WAY, "index.committed", "answer") and p != "index.begin"]
    assert order == ["staging.create", "staging.write", "file.sync", "object.rename", "directory.sync", "index.commit",
                     "index.committed", "answer"]  # fmt: skip


async def test_what_piled_up_shares_one_commit(tmp_path: Path) -> None:
    switch = Switch()
    async with opened(tmp_path, LIMITS, Faults(switch)) as archive:
        outcomes = await piled_up(archive, *(build(n) for n in range(40)))
        assert {outcome.status for outcome in outcomes} == {"stored"}
        assert (await archive.statistics(LOCAL)).instances == 40
    assert switch.seen.count("directory.sync") == 1
    assert len(files(tmp_path)) == 40


@pytest.mark.parametrize("inline", [0, 8])  # the rows are written by the thread, or by the loop
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("point", ON_THE_WAY)
async def test_a_failure_refuses_leaves_nothing_and_passes(tmp_path: Path, point: str, code: int, inline: int) -> None:
    switch = Switch()
    limits = Limits(archive=replace(LIMITS.archive, rows_inline_max=inline))
    async with opened(tmp_path, limits, Faults(switch)) as archive:
        await store(archive, build(1))
        switch.points = {point: code, "probe": code}  # or it would be well again before anybody looks
        results = await asyncio.gather(*(send(archive, build(n)) for n in range(2, 6)), return_exceptions=True)
        assert {type(result) for result in results} == {StorageUnavailable}
        assert archive.ready() != []
        with pytest.raises(StorageUnavailable):
            await send(archive, build(6))
        told = archive.figures().outcomes.items()
        assert sum(number for (_, status, _), number in told if status == "refused") == len(results) + 1
        switch.seen.clear()
        await until(lambda: "index.begin" in switch.seen)  # a probe in vain
        assert (await archive.statistics(LOCAL)).instances == 1
        switch.points = {}
        await until(lambda: archive.ready() == [] and len(files(tmp_path)) == 1)
        assert (await send(archive, build(2))).status == "stored"
        assert (await archive.statistics(LOCAL)).instances == 2
    assert files(tmp_path) == sorted(build(n).digest for n in (1, 2))


async def test_an_index_that_found_no_room_is_well_again_when_an_object_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch, limits = Switch(), Limits(archive=replace(LIMITS.archive, free_bytes_min=0))
    async with opened(tmp_path, limits, Faults(switch)) as archive:
        with monkeypatch.context() as full:
            full.setattr(archive.volume, "free_bytes", lambda: 1 << 20)
            switch.points = {"index.commit": errno.ENOSPC}
            with pytest.raises(StorageUnavailable):
                await send(archive, build(1))
            switch.points = {}
            await until(lambda: archive.ready() == ["the volume is nearly full"])
        await until(lambda: archive.ready() == [])
        assert (await send(archive, build(1))).status == "stored"


def test_a_probe_of_the_index_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    switch = Switch()

    async def main() -> None:
        async with opened(tmp_path, LIMITS, Faults(switch)) as archive:
            switch.points = {"index.commit": errno.EIO}
            with pytest.raises(StorageUnavailable):
                await send(archive, build(1))
            switch.seen.clear()
            await until(lambda: "index.commit" in switch.seen)
            switch.points = {}
            await until(lambda: archive.ready() == [])  # no row for the audit log has ended what was begun
            assert (await send(archive, build(1))).status == "stored"

    asyncio.run(main())


async def test_a_locked_index_refuses_until_the_lock_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagittal.archive.index.connection._BUSY_MILLISECONDS", 100)
    async with opened(tmp_path, LIMITS) as archive:
        await store(archive, build(1))
        with index(tmp_path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="locked"):
                await send(archive, build(2))
            assert any("locked" in reason for reason in archive.ready())
            other.execute("ROLLBACK")
        await until(lambda: archive.ready() == [])
        assert (await send(archive, build(2))).status == "stored"
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("sync_threads", [1, 4])
async def test_a_thread_goes_on_where_others_may_be_waited_for(
    tmp_path: Path, sync_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that names the files commits, too, unless it is the only one that could sync more of them."""
    threads, commit = list[str](), IndexWriter.commit

    def committing(self: IndexWriter) -> None:
        threads.append(threading.current_thread().name.partition("_")[0])
        commit(self)

    def late(self: LocalVolume, directory: str) -> None:
        written.wait(20)  # so that it is at the names when the rows are written
        sync_directory(self, directory)

    written, sync_directory, take = threading.Event(), LocalVolume.sync_directory, Clerk.take

    def taking(self: Clerk, turn: Turn) -> None:
        take(self, turn)
        written.set()

    limits = Limits(archive=replace(LIMITS.archive, sync_threads=sync_threads))
    async with opened(tmp_path, limits) as archive:
        await store(archive, build(1))
        for owner, name, by in (
            (IndexWriter, "commit", committing), (LocalVolume, "sync_directory", late), (Clerk, "take", taking)
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, by)
        other = build(2, extra={"PatientComments": "another"})
        sending = [asyncio.ensure_future(send(archive, each)) for each in (build(2), other, build(3))]
        outcomes = await asyncio.gather(*sending)
        assert [outcome.status for outcome in outcomes] == ["stored", "kept", "stored"]
    assert threads[0] == ("sync" if sync_threads > 1 else "committer")


async def test_a_lock_of_others_holds_up_a_thread_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, bool]] = []
    begin = IndexWriter.begin

    def beginning(self: IndexWriter, *, patient: bool = True) -> None:
        begun.append((threading.current_thread().name, patient))
        begin(self, patient=patient)

    async with opened(tmp_path, LIMITS) as archive:
        await store(archive, build(1))
        monkeypatch.setattr(IndexWriter, "begin", beginning)
        with index(tmp_path) as other:
            other.execute("BEGIN IMMEDIATE")
            sending = asyncio.ensure_future(send(archive, build(2)))
            await until(lambda: len(begun) == 2)
            other.execute("ROLLBACK")
        assert (await sending).status == "stored"
    assert begun[:2] == [("MainThread", False), ("committer", True)]


async def test_one_object_that_cannot_be_indexed_does_not_take_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = build(13).sop_instance_uid
    add = IndexWriter.add

    def fail(self: IndexWriter, arrival: object, *rest: object, **named: object) -> int:
        if getattr(arrival, "sop_instance_uid", "") == bad:
            raise sqlite3.IntegrityError("constructed")
        return add(self, arrival, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(IndexWriter, "add", fail)
    async with opened(tmp_path) as archive:
        results = await asyncio.gather(*(send(archive, build(n)) for n in range(10, 20)), return_exceptions=True)
        assert [isinstance(result, SagittalError) for result in results] == [n == 13 for n in range(10, 20)]
        assert (await archive.statistics(LOCAL)).instances == 9
        assert archive.ready() == []
    assert len(files(tmp_path)) == 9


async def test_acts_commit_with_their_audit_row_or_not_at_all(tmp_path: Path) -> None:
    row = AuditRow("A", "node", "change", detail="tested")

    def put(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO setting (name, value) VALUES ('tested', '1')")
        return 7

    async with opened(tmp_path) as archive:
        assert await archive.act(put, row) == 7
        with pytest.raises(sqlite3.IntegrityError):
            await archive.act(put, row)
        assert archive.ready() == []
        await store(archive, build())
    with index(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM audit WHERE detail = 'tested'").fetchone() == (1,)


async def test_audit_rows_of_reads_are_written_soon_and_at_the_end(tmp_path: Path) -> None:
    with index(tmp_path) as connection:

        def written() -> int:
            found: int = connection.execute("SELECT count(*) FROM audit WHERE verb = 'find'").fetchone()[0]
            return found

        async with opened(tmp_path, LIMITS) as archive:
            archive.audit(AuditRow("A", "node", "find"))
            await until(lambda: written() == 1)
            archive.audit(AuditRow("A", "node", "find"))
        assert written() == 2


async def test_a_batch_is_audited_by_sender_study_and_outcome(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await piled_up(archive, *(build(n, study=n % 2) for n in range(20)))
    with index(tmp_path) as connection:
        total = connection.execute(
            "SELECT study_instance_uid, sum(number_of_instances) FROM audit WHERE verb = 'store' GROUP BY 1"
        ).fetchall()
        assert [count for _, count in total] == [10, 10]
        assert len(total) == connection.execute("SELECT count(*) FROM audit").fetchone()[0]


async def test_what_comes_while_it_closes_is_refused_and_what_came_before_is_done(tmp_path: Path) -> None:
    archive = await Archive.open(tmp_path, durability="off")
    before = asyncio.ensure_future(archive.act(lambda _: "done"))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(archive.close())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        for late in (archive.act(lambda _: "done"), send(archive, build())):
            with pytest.raises(StorageUnavailable, match="closing"):
                await late
        assert await before == "done"
        await closing
