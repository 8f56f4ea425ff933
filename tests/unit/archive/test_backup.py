"""Backup while serving, and restore: nothing acknowledged before is lost, damage is told, the backup before stays
valid.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from builders import Built, build, opened, store, uid
from denied import nobody_may_open

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.faults import Faults
from sagittal.archive.index.connection import open_reader
from sagittal.archive.index.removal import Target
from sagittal.archive.local import sync
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.upkeep import backup
from sagittal.archive.upkeep.backup import MANIFEST, Backup, Copied, restore
from sagittal.archive.upkeep.tasks import reindex
from sagittal.errors import DamagedObject, StorageUnavailable, UsageError

OBJECTS = [build(number, study=number % 2) for number in range(5)]


def back_up(archive: Archive, folder: Path, faults: Faults | None = None, link: bool = False) -> list[Copied]:
    connection = open_reader(archive.path / INDEX)
    try:
        now = time.time_ns() // 1000
        return list(Backup(connection, archive.volumes, folder, now=now, faults=faults, link=link).run())
    finally:
        connection.close()


async def digests(path: Path) -> set[str]:
    async with opened(path) as archive:
        found = set()
        for row in (await archive.find(LOCAL, Query("IMAGE", {0x00080018: ""}))).rows:
            for ref in await archive.instances(LOCAL, sop_instance_uids=[str(row[0])]):
                with archive.open_object(ref) as file:
                    assert file.read_data_set(0, ref.data_set_length)
                found.add(ref.digest)
        return found


def test_a_pipe_where_an_object_was_backed_up_is_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            await store(archive, *OBJECTS)
            back_up(archive, tmp_path / "b")
            (held,) = (tmp_path / "b").rglob(OBJECTS[0].digest)
            held.unlink()
            os.mkfifo(held)
            told = [one.error for one in restore(tmp_path / "b", tmp_path / "c", INDEX)]
            assert sorted(told) == [""] * 4 + ["the bytes are not those that were received"]
            assert [one.is_new for one in back_up(archive, tmp_path / "b")] == [True] + [False] * 4

    asyncio.run(run())
    assert [one.error for one in restore(tmp_path / "b", tmp_path / "d", INDEX)] == [""] * 5


@pytest.mark.parametrize("link", [False, True])
def test_what_was_there_comes_back(tmp_path: Path, link: bool) -> None:
    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            await store(archive, *OBJECTS[:4])
            copied = back_up(archive, tmp_path / "b", link=link)
            assert [one.error for one in copied] == [""] * 4
            await store(archive, OBJECTS[4])
            again = back_up(archive, tmp_path / "b", link=link)
            assert [one.is_new for one in again] == [False] * 4 + [True]

    asyncio.run(run())
    assert len(list((tmp_path / "b").glob("index*"))) == 1
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_text())
    assert (manifest["objects"], manifest["bytes"]) == (5, sum(len(built.part10) for built in OBJECTS))
    restored = list(restore(tmp_path / "b", tmp_path / "c", INDEX))
    assert [one.error for one in restored] == [""] * 5
    assert asyncio.run(digests(tmp_path / "c")) == {built.digest for built in OBJECTS}


async def test_what_a_backup_that_died_copied_is_synced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def note(path: Path) -> None:
        synced.append(str(path.relative_to(tmp_path / "b")))
        sync(path)

    def die(point: str) -> None:
        if len(list((tmp_path / "b").glob("objects/*/*"))) == 3:
            raise OSError(errno.EIO, point)

    monkeypatch.setattr(backup, "sync", note)
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS[:4])
        with pytest.raises(OSError, match=r"backup\.object"):
            back_up(archive, tmp_path / "b", Faults(die))
        assert not synced
        for new, objects in ((1, OBJECTS[:4]), (1, OBJECTS[4:])):
            assert [one.is_new for one in back_up(archive, tmp_path / "b")].count(True) == new
            files = {f"objects/0001/{built.digest}" for built in objects}
            assert set(synced[:-4]) == {*files, "objects/0001", "objects"}
            assert synced[-4:] == ["index.new.db", ".", ".manifest.json.new", "."]
            synced.clear()
            await store(archive, *OBJECTS[4:])


def test_tombstones_come_back_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            await store(archive, *OBJECTS)
            await archive.delete(LOCAL, Target(uid("study", 1)), "test")
            back_up(archive, tmp_path / "b")
        list(restore(tmp_path / "b", tmp_path / "c", INDEX))
        async with opened(tmp_path / "c") as archive:
            assert await archive.undelete(LOCAL, Target(uid("study", 1))) == 2

    asyncio.run(run())
    assert asyncio.run(digests(tmp_path / "c")) == {built.digest for built in OBJECTS}


async def test_damage_in_the_archive_is_told_and_the_rest_is_saved(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS)
        (tmp_path / "a" / "objects" / "0001" / OBJECTS[0].digest).write_bytes(b"rot")
        (tmp_path / "a" / "objects" / "0001" / OBJECTS[1].digest).unlink()
        copied = back_up(archive, tmp_path / "b")
        assert [bool(one.error) for one in copied] == [True, True, False, False, False]
    assert len(json.loads((tmp_path / "b" / MANIFEST).read_text())["damaged"]) == 2
    errors = [one.error for one in restore(tmp_path / "b", tmp_path / "c", INDEX)]
    assert errors == ["missing in the backup"] * 2 + [""] * 3


@pytest.mark.parametrize("link", [False, True])
async def test_what_may_not_be_read_is_told_and_the_rest_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS)
        with monkeypatch.context() as patch:
            nobody_may_open(patch, [tmp_path / "a" / "objects" / "0001" / OBJECTS[0].digest])
            copied = back_up(archive, tmp_path / "b", link=link)
        assert [bool(one.error) for one in copied] == [True, False, False, False, False]
        assert not (tmp_path / "b" / "objects" / "0001" / OBJECTS[0].digest).exists()
    nobody_may_open(monkeypatch, [tmp_path / "b" / "objects" / "0001" / OBJECTS[1].digest])
    errors = [one.error for one in restore(tmp_path / "b", tmp_path / "c", INDEX)]
    assert [bool(error) for error in errors] == [True, True, False, False, False]
    assert errors[1] == "cannot be read: Permission denied"


async def test_what_was_purged_meanwhile_is_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(uid("study", 1)), "test")
        (tmp_path / "a" / "objects" / "0001" / OBJECTS[1].digest).unlink()
        assert len(back_up(archive, tmp_path / "b")) == 4
    assert len([one for one in restore(tmp_path / "b", tmp_path / "c", INDEX) if not one.error]) == 4


def test_what_was_being_purged_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither a study whose values would be the first ones, nor a tombstone of what cannot come back."""

    def fail(point: str) -> None:
        if point == "object.delete":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def run() -> None:
        async with opened(tmp_path / "a", faults=Faults(fail)) as archive:
            await store(archive, build(1, patient_name="Wrong^One"), build(1, study=2))
            await archive.delete(LOCAL, Target(uid("study", 1)), "test")
            with pytest.raises(StorageUnavailable):
                await archive.collect(now=1 << 62)
            assert len(back_up(archive, tmp_path / "b")) == 1
        assert len(list(restore(tmp_path / "b", tmp_path / "c", INDEX))) == 1
        async with opened(tmp_path / "c") as archive:
            assert (await archive.tombstones(LOCAL))[0].purged_at
            await store(archive, build(1, patient_name="Right^One"))
            rows = await archive.find(LOCAL, Query("STUDY", {0x0020000D: uid("study", 1), 0x00100010: ""}))
            assert rows.rows[0][rows.columns.index(0x00100010)] == "Right^One"

    asyncio.run(run())


def test_damage_in_the_backup_is_found(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            await store(archive, *OBJECTS)
            back_up(archive, tmp_path / "b")

    asyncio.run(run())
    (tmp_path / "b" / "objects" / "0001" / OBJECTS[2].digest).write_bytes(b"rot")
    errors = [one.error for one in restore(tmp_path / "b", tmp_path / "c", INDEX)]
    assert [bool(error) for error in errors] == [False, False, True, False, False]
    assert asyncio.run(held(tmp_path / "c")) == 5
    index = next((tmp_path / "b").glob("index-*.db"))
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedObject, match="index of the backup"):
        list(restore(tmp_path / "b", tmp_path / "d", INDEX))


async def test_a_restore_that_ends_within_the_index_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of one would be taken for a damaged one, and made anew: with what was deleted."""
    async with opened(tmp_path / "a") as archive:
        await store(archive, build())
        back_up(archive, tmp_path / "b")
    copied = backup._digest_of

    def half(fd: int, target: Path | None = None) -> str:
        if target is not None and target.parent == tmp_path / "c":
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return copied(fd, target)

    monkeypatch.setattr(backup, "_digest_of", half)
    with pytest.raises(OSError, match="No space"):
        list(restore(tmp_path / "b", tmp_path / "c", INDEX))
    assert not (tmp_path / "c" / INDEX).exists()


async def test_no_room_for_the_index_is_no_trouble_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise sqlite3.OperationalError("database or disk is full")

    async with opened(tmp_path / "a") as archive:
        monkeypatch.setattr(backup.snapshot, "take", full)
        with pytest.raises(StorageUnavailable, match=r"cannot be copied into .*/b: database or disk is full"):
            back_up(archive, tmp_path / "b")


async def held(path: Path) -> int:
    async with opened(path) as archive:
        return (await archive.statistics(LOCAL)).instances


@pytest.mark.parametrize("point", ["backup.object", "backup.manifest"])
async def test_the_backup_before_survives_one_that_fails(tmp_path: Path, point: str) -> None:
    def fail(name: str) -> None:
        if name == point:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS[:4])
        back_up(archive, tmp_path / "b")
        await store(archive, OBJECTS[4])
        with pytest.raises(OSError, match="space"):
            back_up(archive, tmp_path / "b", Faults(fail))
    list(restore(tmp_path / "b", tmp_path / "c", INDEX))
    assert await held(tmp_path / "c") == 4
    async with opened(tmp_path / "a") as archive:
        back_up(archive, tmp_path / "b")
    list(restore(tmp_path / "b", tmp_path / "d", INDEX))
    assert await held(tmp_path / "d") == 5


@pytest.mark.parametrize("lost", [True, False])
def test_a_backup_gives_way_to_none_of_another_archive(tmp_path: Path, lost: bool) -> None:
    """As one is whose index was lost, and made anew at the next start: it would leave nothing to restore."""

    async def back_up_from(name: str, *objects: Built) -> None:
        async with opened(tmp_path / name) as archive:
            await store(archive, *objects)
            back_up(archive, tmp_path / "b")

    asyncio.run(back_up_from("a", *OBJECTS))
    if lost:
        for file in (tmp_path / "a").glob(f"{INDEX}*"):
            file.unlink()
    with pytest.raises(UsageError, match="choose another folder"):
        asyncio.run(back_up_from("a" if lost else "other"))
    list(restore(tmp_path / "b", tmp_path / "c", INDEX))
    assert asyncio.run(held(tmp_path / "c")) == 5
    assert len(list(reindex(tmp_path / "c"))) == 5
    asyncio.run(back_up_from("c", build(9)))  # one that came of it goes on with it


async def test_only_we_may_read_it(tmp_path: Path) -> None:
    """Whoever may look into the folders themselves, which were made by somebody else."""
    for name in "abc":
        (tmp_path / name).mkdir(mode=0o755)
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS)
        back_up(archive, tmp_path / "b")
    list(restore(tmp_path / "b", tmp_path / "c", INDEX))
    said_only = {MANIFEST, "opened"}  # nothing of a patient
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in said_only]
    assert len(files) >= 3 * (len(OBJECTS) + 1)
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


async def test_two_at_once_into_one_folder_are_refused(tmp_path: Path) -> None:
    """The second would put its index in the place of the first one's, which lacks the objects of that."""
    async with opened(tmp_path / "a") as archive:
        await store(archive, *OBJECTS)
        with closing(open_reader(archive.path / INDEX)) as connection:
            first = Backup(connection, archive.volumes, tmp_path / "b", now=1).run()
            next(first)
            with pytest.raises(StorageUnavailable, match="another backup"):
                back_up(archive, tmp_path / "b")
            assert len(list(first)) == len(OBJECTS) - 1
        assert len(back_up(archive, tmp_path / "b")) == len(OBJECTS)


async def test_folders_with_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter.txt").write_text("dear")
    async with opened(tmp_path / "a") as archive:
        with pytest.raises(UsageError, match="something else"):
            back_up(archive, tmp_path / "b")
        back_up(archive, tmp_path / "c")
    with pytest.raises(UsageError, match="not empty"):
        list(restore(tmp_path / "c", tmp_path / "b", INDEX))
    with pytest.raises(UsageError, match="no backup"):
        list(restore(tmp_path / "b", tmp_path / "d", INDEX))
