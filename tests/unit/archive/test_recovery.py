"""What opening a data directory removes: leftovers of a crash, and never what may have been acknowledged."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from builders import Built, build, store

from sagittal.archive import SERVER_FILE
from sagittal.archive.access import LOCAL
from sagittal.archive.archive import INDEX, Archive
from sagittal.archive.ingest import recovery
from sagittal.archive.upkeep.tasks import reindex
from sagittal.errors import StorageUnavailable, UsageError
from sagittal.limits import ArchiveLimits, Limits

FIRST, LATER = build(1), build(2)


def used(
    path: Path,
    *objects: Built,
    meanwhile: Callable[[], None] = lambda: None,
    durability: str = "full",
    limits: Limits | None = None,
) -> None:
    """An archive is opened, takes objects, and is closed."""

    async def run() -> None:
        archive = await Archive.open(path, durability=durability, limits=limits)
        try:
            await store(archive, *objects)
            meanwhile()
            await store(archive, *objects)  # is a duplicate
        finally:
            await archive.close()

    asyncio.run(run())


def files(path: Path) -> set[str]:
    return {file.name for file in (path / "objects").glob("*/*")}


def found(path: Path) -> set[str]:
    async def run() -> set[str]:
        archive = await Archive.open(path)
        try:
            uids = [built.sop_instance_uid for built in (FIRST, LATER)]
            return {ref.sop_instance_uid for ref in await archive.instances(LOCAL, sop_instance_uids=uids)}
        finally:
            await archive.close()

    return asyncio.run(run())


def lay(path: Path, built: Built) -> None:
    """As a crash leaves it: with its name, without a row."""
    (path / "objects" / "0001" / built.digest).write_bytes(built.part10)


def is_open(path: Path) -> bool:
    """Whether we hold a file of its index."""
    ours = {f"{path / INDEX}{suffix}" for suffix in ("", "-wal", "-shm")}
    return bool(ours & {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()})


def copy_index(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path / INDEX)) as index, closing(sqlite3.connect(to)) as copy:
        index.backup(copy)


def replace_index(path: Path, by: Path | None) -> None:
    for name in (INDEX, f"{INDEX}-wal", f"{INDEX}-shm"):
        (path / name).unlink(missing_ok=True)
    if by is not None:
        by.replace(path / INDEX)


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    used(tmp_path, FIRST)
    lay(tmp_path, LATER)
    used(tmp_path, limits=Limits(archive=ArchiveLimits(commit_batch_max=1)))
    assert files(tmp_path) == {FIRST.digest}


def test_without_its_index_an_archive_keeps_its_objects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    used(tmp_path, FIRST, LATER)
    replace_index(tmp_path, None)
    for _ in range(3):
        used(tmp_path)
        assert files(tmp_path) == {FIRST.digest, LATER.digest}
    assert caplog.text.count("sagittal reindex") == 3
    assert len(list(reindex(tmp_path))) == 2
    assert found(tmp_path) == {FIRST.sop_instance_uid, LATER.sop_instance_uid}
    lay(tmp_path, build(3))  # and from now on it is known again what a crash left
    used(tmp_path)
    assert files(tmp_path) == {FIRST.digest, LATER.digest}


@pytest.mark.parametrize("closed", [True, False])
def test_an_index_of_before_costs_no_object(tmp_path: Path, closed: bool) -> None:
    """Copied by hand, when the archive was closed or while it served."""
    data, copied = tmp_path / "data", tmp_path / "copied.db"
    used(data, FIRST, meanwhile=lambda: None if closed else copy_index(data, copied))
    if closed:
        copy_index(data, copied)
        used(data, LATER)
    else:
        lay(data, LATER)  # which came after the copy; its row is not in it
    replace_index(data, copied)
    for _ in range(2):
        used(data)
        assert files(data) == {FIRST.digest, LATER.digest}


def test_a_copy_of_an_open_directory_keeps_all_objects(tmp_path: Path) -> None:
    """As `rsync` makes it: the index first, then what came meanwhile."""
    data, copy = tmp_path / "data", tmp_path / "copy"

    def copied() -> None:
        shutil.copytree(data, copy)
        replace_index(copy, None)
        copy_index(data, copy / INDEX)
        lay(copy, LATER)

    used(data, FIRST, meanwhile=copied)
    for _ in range(2):
        used(copy)
        assert files(copy) == {FIRST.digest, LATER.digest}


@pytest.mark.parametrize("log", [True, False])
def test_where_a_crash_left_no_log_of_the_index_all_objects_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: bool
) -> None:
    """Somebody removed it, and the rows of the last objects were in it."""
    with monkeypatch.context() as killed:
        killed.setattr(recovery, "leave", lambda _: None)
        used(tmp_path, FIRST)
    lay(tmp_path, LATER)
    if log:
        (tmp_path / f"{INDEX}-wal").touch()
    for _ in range(2):
        used(tmp_path)
        assert files(tmp_path) == {FIRST.digest, *(() if log else (LATER.digest,))}


def test_what_came_without_syncs_is_kept(tmp_path: Path) -> None:
    used(tmp_path, FIRST, durability="off")
    lay(tmp_path, LATER)  # its row was lost by a power cut
    for _ in range(2):
        used(tmp_path)
        assert files(tmp_path) == {FIRST.digest, LATER.digest}


def test_more_than_a_crash_can_leave_is_kept_for_good(tmp_path: Path) -> None:
    used(tmp_path, FIRST)
    strays = [build(number) for number in range(10, 13)]
    for one in strays:
        lay(tmp_path, one)

    async def open_and_close() -> None:
        await (await Archive.open(tmp_path, limits=Limits(archive=ArchiveLimits(commit_batch_max=2)))).close()

    asyncio.run(open_and_close())
    (tmp_path / "objects" / "0001" / strays[0].digest).unlink()  # as few as one batch now
    asyncio.run(open_and_close())
    assert files(tmp_path) == {FIRST.digest, strays[1].digest, strays[2].digest}


def test_what_came_over_a_longer_time_than_a_batch_is_kept(tmp_path: Path) -> None:
    """An older copy of the index was laid over it, in the same file, and so has the same mark."""
    used(tmp_path, FIRST)
    lay(tmp_path, LATER)
    lay(tmp_path, build(3))
    hours_ago = time.time() - 2 * 3600
    os.utime(tmp_path / "objects" / "0001" / LATER.digest, (hours_ago, hours_ago))
    for _ in range(2):
        used(tmp_path)
        assert files(tmp_path) == {FIRST.digest, LATER.digest, build(3).digest}


def test_without_the_disk_that_objects_are_on_nothing_is_opened_or_reindexed(tmp_path: Path) -> None:
    """What came would be hidden when the disk is back, and all that only the index knows of its objects forgotten."""
    used(tmp_path, FIRST)
    (tmp_path / "objects").rename(tmp_path / "unmounted")
    (tmp_path / "objects").mkdir()
    for refused in (lambda: used(tmp_path, LATER), lambda: list(reindex(tmp_path))):
        with pytest.raises(StorageUnavailable, match="mount"):
            refused()
    assert files(tmp_path) == set()
    (tmp_path / "objects").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "objects")
    assert found(tmp_path) == {FIRST.sop_instance_uid}


def test_an_archive_goes_on_without_objects_that_are_lost(tmp_path: Path) -> None:
    used(tmp_path, FIRST)
    shutil.rmtree(tmp_path / "objects")
    (tmp_path / "objects" / "0001").mkdir(parents=True)
    used(tmp_path, FIRST)
    assert files(tmp_path) == {FIRST.digest}


def test_what_cannot_be_written_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(recovery, "sync", broken)
    with pytest.raises(OSError) as raised:
        used(tmp_path)
    assert raised.value.filename == str(tmp_path)
    assert not is_open(tmp_path)


async def test_on_a_full_disk_leftovers_wait_for_room_and_what_is_held_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await asyncio.to_thread(used, tmp_path, FIRST)
    lay(tmp_path, LATER)
    with monkeypatch.context() as patched:
        patched.setattr(recovery, "sync", full)
        archive = await Archive.open(tmp_path, limits=Limits(archive=ArchiveLimits(audit_seconds_max=0.01)))
        (tmp_path / SERVER_FILE).write_text("{}")  # ours: there was room for it
        assert await archive.instances(LOCAL, sop_instance_uids=[FIRST.sop_instance_uid])
        with pytest.raises(StorageUnavailable, match="No space left"):
            await store(archive, LATER)
    try:
        async with asyncio.timeout(20):
            while archive.ready():
                await asyncio.sleep(0.01)
        assert files(tmp_path) == {FIRST.digest} and (tmp_path / SERVER_FILE).exists()
        await store(archive, LATER)
    finally:
        await archive.close()
    assert await asyncio.to_thread(found, tmp_path) == {built.sop_instance_uid for built in (FIRST, LATER)}


async def test_nothing_is_taken_before_leftovers_are_gone_though_the_index_takes_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one may have room, and the other not."""

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    probes: list[str | None] = []
    monkeypatch.setattr(recovery, "sync", full)
    archive = await Archive.open(tmp_path, limits=Limits(archive=ArchiveLimits(audit_seconds_max=0.01)))
    try:
        archive.volume.unwell("no room")
        monkeypatch.setattr(archive.volume, "probe", lambda: probes.append(None) or archive.volume.reason)
        async with asyncio.timeout(20):
            while len(probes) < 3:  # each is the beginning of a look at both
                await asyncio.sleep(0.01)
        archive.volume.reason = None
        with pytest.raises(StorageUnavailable):
            await store(archive, LATER)
    finally:
        await archive.close()


def test_nobody_is_sent_to_a_server_that_was_killed(tmp_path: Path) -> None:
    """Neither while the next one starts, nor while a command holds the directory."""
    told: list[bool] = []
    used(tmp_path)
    (tmp_path / SERVER_FILE).write_text('{"http": "http://127.0.0.1:1", "token": "x"}')
    used(tmp_path, meanwhile=lambda: told.append((tmp_path / SERVER_FILE).exists()))
    assert told == [False]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [("UPDATE alembic_version SET version_num = '9999'", UsageError), (b"no index", sqlite3.DatabaseError)],
)
def test_an_index_that_cannot_be_opened_is_let_go_of(
    tmp_path: Path, change: str | bytes, refusal: type[Exception]
) -> None:
    """At once: not when the error and all that it holds go."""
    used(tmp_path, build())
    if isinstance(change, bytes):
        (tmp_path / INDEX).write_bytes(change * 1_000)
    else:
        with closing(sqlite3.connect(tmp_path / INDEX)) as index, index:
            index.execute(change)
    with pytest.raises((refusal, StorageUnavailable)) as _held:
        asyncio.run(Archive.open(tmp_path))
    assert not is_open(tmp_path)
