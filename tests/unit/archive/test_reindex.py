"""Reindex: the same answers from the objects alone, and what only the old index knew stays."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from builders import Built, build, opened, store, uid
from denied import nobody_may_open

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.faults import Faults
from sagittal.archive.index import connection as connection_of_index
from sagittal.archive.index.keys import KEYS
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.upkeep.reindex import OLD, Indexed, Reindex
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, RLE_LOSSLESS
from sagittal.errors import DamagedObject, StorageUnavailable
from sagittal.limits import ArchiveLimits, Limits, ReaderLimits

OBJECTS = [
    build(1, study="a"),
    build(2, study="a", extra={"StudyDescription": "Another"}),
    build(1, study="a", series=2, modality="MR", syntax_uid=RLE_LOSSLESS, frames=3),
    build(1, study="b", patient_id="P2", patient_name="Yamada^Tarou=山田^太郎", charset="ISO_IR 192"),
    build(2, study="b", patient_id="P2", syntax_uid=EXPLICIT_BE),
    build(3, study="b", patient_id="", syntax_uid=DEFLATED_LE),
]


def reindex(path: Path, faults: Faults | None = None, limits: Limits | None = None) -> list[Indexed]:
    volume = LocalVolume(path, faults=faults)
    try:
        return list(Reindex(path, volume, limits or Limits(), INDEX, time.time_ns() // 1000).run())
    finally:
        volume.close()


def fill(path: Path) -> None:
    """Store OBJECTS; their files get times that tell the order, which a fast disk does not."""

    async def run() -> None:
        async with opened(path) as archive:
            await store(archive, *OBJECTS)

    asyncio.run(run())
    for number, built in enumerate(OBJECTS):
        os.utime(path / "objects" / "0001" / built.digest, (number, number))


async def everything(path: Path) -> list[object]:
    """All that queries and metadata tell."""
    answers: list[object] = []
    async with opened(path) as archive:
        for level, keys in KEYS.items():
            rows = await archive.find(LOCAL, Query(level, {}, frozenset(keys)))
            answers.append(sorted(map(repr, rows.rows)))
        for study in ("a", "b"):
            refs = await archive.instances(LOCAL, study_uid=uid("study", study))
            answers.append([ref._replace(id=0, revision=0) for ref in refs])
            answers.append([text async for chunk in archive.metadata(LOCAL, refs) for text in chunk])
            for ref in refs:
                if ref.frames:
                    answers.append(await archive.frame_ranges(ref, [1, ref.frames]))
        answers.append(await archive.statistics(LOCAL))
    return answers


@pytest.mark.parametrize("keep", [True, False])
def test_the_answers_are_the_same(tmp_path: Path, keep: bool) -> None:
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    if not keep:
        (tmp_path / INDEX).unlink()
    done = reindex(tmp_path)
    assert [indexed.error for indexed in done] == [""] * len(OBJECTS)
    assert asyncio.run(everything(tmp_path)) == before
    assert (tmp_path / OLD).exists() == keep


def test_the_first_value_stays_the_first_whatever_times_files_have(tmp_path: Path) -> None:
    """One that was repaired or transcoded since is younger, and a copy of a directory may have any."""
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    for number, built in enumerate(reversed(OBJECTS)):
        os.utime(tmp_path / "objects" / "0001" / built.digest, (number, number))
    assert len(reindex(tmp_path)) == len(OBJECTS)
    assert asyncio.run(everything(tmp_path)) == before


def test_the_first_value_stays_the_first_in_every_store(tmp_path: Path) -> None:
    """Also where its file came into another store before, and lies there for both."""
    first, second = (build(number, extra={"SeriesDescription": f"from {number}"}) for number in (1, 2))

    async def run(*objects: tuple[str, Built]) -> str:
        archive = await Archive.open(tmp_path, durability="off", stores=["research"])
        try:
            for store_name, built in objects:
                who = replace(LOCAL, store=archive.stores[store_name])
                transfer = archive.store_begin_part10(who, Source("import"))
                transfer.write(built.part10)
                await transfer.commit()
            who = replace(LOCAL, store=archive.stores["research"])
            return str((await archive.find(who, Query("SERIES", {0x0008103E: ""}))).rows[0][0])
        finally:
            await archive.close()

    assert asyncio.run(run(("main", second), ("research", first), ("research", second))) == "from 1"
    reindex(tmp_path)
    assert asyncio.run(run()) == "from 1"


def test_an_index_on_another_disk_stays_there(tmp_path: Path) -> None:
    path, disk = tmp_path / "a", tmp_path / "disk"
    fill(path)
    disk.mkdir()
    (path / INDEX).rename(disk / INDEX)
    (path / INDEX).symlink_to(disk / INDEX)
    before = asyncio.run(everything(path))
    reindex(path)
    assert (path / INDEX).is_symlink()
    assert sorted(file.name for file in disk.iterdir()) == sorted([INDEX, OLD])
    assert asyncio.run(everything(path)) == before


def test_what_objects_cannot_tell_is_carried_over(tmp_path: Path) -> None:
    async def change() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *OBJECTS)
            other = build(1, study="a", extra={"StudyID": "changed"})
            assert (await store(archive, other, policy="replace"))[0].status == "replaced"
            await archive.delete(LOCAL, Target(uid("study", "b")), "wrong patient")

    async def check() -> None:
        async with opened(tmp_path) as archive:
            assert (await archive.statistics(LOCAL)).other_versions == 1
            [tombstone] = await archive.tombstones(LOCAL)
            assert (tombstone.reason, tombstone.instances) == ("wrong patient", 3)
            changes, _ = await archive.changes(LOCAL, None, 100)
            assert [change.kind for change in changes].count("deleted") == 3
            assert await archive.undelete(LOCAL, Target(uid("study", "b"))) == 3
            [ref] = await archive.instances(LOCAL, sop_instance_uids=[OBJECTS[0].sop_instance_uid])
            assert ref.digest == build(1, study="a", extra={"StudyID": "changed"}).digest
            await store(archive, build(9, study="c"))

    asyncio.run(change())
    before = sqlite3.connect(tmp_path / INDEX).execute("SELECT * FROM receipt ORDER BY id").fetchall()
    reindex(tmp_path)
    assert sqlite3.connect(tmp_path / INDEX).execute("SELECT * FROM receipt ORDER BY id").fetchall() == before
    asyncio.run(check())


def test_damaged_objects_are_told_and_left_out(tmp_path: Path) -> None:
    fill(tmp_path)
    nonsense, flipped = OBJECTS[:2]
    (tmp_path / "objects" / "0001" / nonsense.digest).write_bytes(b"nonsense")
    (tmp_path / "objects" / "0001" / flipped.digest).write_bytes(flipped.part10[:-1] + b"?")
    errors = {indexed.key: indexed.error for indexed in reindex(tmp_path) if indexed.error}
    assert errors.keys() == {f"0001/{nonsense.digest}", f"0001/{flipped.digest}"}
    assert errors[f"0001/{flipped.digest}"] == "the bytes are not those that were received"


def test_a_deleted_object_that_cannot_be_read_does_not_come_back(tmp_path: Path) -> None:
    """Its deletion is in the old index alone, which stays until it can be read, or is gone."""
    fill(tmp_path)

    async def instances() -> int:
        async with opened(tmp_path) as archive:
            return (await archive.statistics(LOCAL)).instances

    async def delete() -> None:
        async with opened(tmp_path) as archive:
            await archive.delete(LOCAL, Target(uid("study", "b")), "wrong patient")

    asyncio.run(delete())
    left = asyncio.run(instances())
    file = tmp_path / "objects" / "0001" / OBJECTS[-1].digest
    whole = file.read_bytes()
    file.write_bytes(b"rot")
    with pytest.raises(DamagedObject, match="1 objects cannot be read that are deleted"):
        reindex(tmp_path)
    assert not (tmp_path / "reindex.db").exists()
    assert asyncio.run(instances()) == left
    file.write_bytes(whole)
    assert not any(indexed.error for indexed in reindex(tmp_path))
    assert asyncio.run(instances()) == left
    file.unlink()
    assert not any(indexed.error for indexed in reindex(tmp_path))
    assert asyncio.run(instances()) == left


def test_what_could_not_be_removed_in_the_end_does_not_come_back(tmp_path: Path) -> None:
    """The collector failed, or died, on its way: what it was at cannot be brought back, and goes the next time."""
    failing = True

    def fail(point: str) -> None:
        if point == "object.delete" and failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def collect() -> tuple[int, int]:
        async with opened(tmp_path, faults=Faults(fail)) as archive:
            with suppress(StorageUnavailable):
                await archive.collect(now=1 << 62)
            return (await archive.statistics(LOCAL)).instances, len(list(archive.volume.keys()))

    async def delete() -> None:
        async with opened(tmp_path) as archive:
            await archive.delete(LOCAL, Target(uid("study", "b")), "wrong patient")

    fill(tmp_path)
    asyncio.run(delete())
    assert asyncio.run(collect()) == (3, 6)
    reindex(tmp_path)
    failing = False
    assert asyncio.run(collect()) == (3, 3)


def test_an_unreadable_index_is_no_hindrance(tmp_path: Path) -> None:
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    (tmp_path / INDEX).write_bytes(b"this is no database, whatever its name says. " * 200)
    (tmp_path / (INDEX + "-wal")).write_bytes(b"nor is this its log")
    done = reindex(tmp_path)
    assert "cannot be read" in done[0].error
    assert asyncio.run(everything(tmp_path)) == before


def test_the_log_of_an_index_that_somebody_reads_is_not_taken_for_that_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    with closing(sqlite3.connect(tmp_path / INDEX, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM study").fetchone()
        with closing(sqlite3.connect(tmp_path / INDEX)) as writing, writing:
            writing.execute("UPDATE study SET patient_name = 'lost'")
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))  # nobody waits for the reader
            reindex(tmp_path)
        assert (tmp_path / f"{OLD}-wal").stat().st_size
        assert not (tmp_path / f"{INDEX}-wal").exists()
    assert asyncio.run(everything(tmp_path)) == before


def test_a_whole_index_that_cannot_be_opened_now_is_not_given_up(tmp_path: Path) -> None:
    """What only it knows (deletions, tokens) would be gone for want of room for its log."""
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    with closing(sqlite3.connect(tmp_path / INDEX)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log = tmp_path / f"{INDEX}-wal"
    log.mkdir()  # as where no file can be made
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        reindex(tmp_path)
    assert not list(tmp_path.glob("reindex*"))
    log.rmdir()
    assert asyncio.run(everything(tmp_path)) == before


def test_an_index_that_somebody_holds_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.setattr(connection_of_index, "_BUSY_MILLISECONDS", 0)
    with closing(sqlite3.connect(tmp_path / INDEX, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            reindex(tmp_path)
    assert not (tmp_path / OLD).exists()


def test_an_index_of_objects_of_which_none_can_be_read_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where somebody else has run the archive."""
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    with monkeypatch.context() as here:
        nobody_may_open(here, [tmp_path / "objects" / "0001" / built.digest for built in OBJECTS])
        with pytest.raises(DamagedObject, match="none of 6 objects can be read"):
            reindex(tmp_path)
    assert not list(tmp_path.glob("reindex*"))
    assert asyncio.run(everything(tmp_path)) == before


def test_the_old_index_is_kept_where_a_file_has_one_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source), None, str(target))

    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    synced: list[Path] = []
    monkeypatch.setattr("sagittal.archive.upkeep.reindex.sync", synced.append)
    monkeypatch.setattr(os, "link", link)
    reindex(tmp_path)
    assert synced[1:] == [tmp_path / OLD, tmp_path]  # the first is the new one, under the name that it had
    assert asyncio.run(everything(tmp_path)) == before
    (tmp_path / OLD).replace(tmp_path / INDEX)
    assert asyncio.run(everything(tmp_path)) == before


def test_dying_before_the_swap_changes_nothing(tmp_path: Path) -> None:
    class Died(BaseException):
        pass

    def die(point: str) -> None:
        if point == "reindex.swap":
            raise Died

    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    with pytest.raises(Died):
        reindex(tmp_path, Faults(die))
    assert asyncio.run(everything(tmp_path)) == before
    reindex(tmp_path)
    assert asyncio.run(everything(tmp_path)) == before


def test_metadata_in_many_parts_spills_and_comes_back_whole(tmp_path: Path) -> None:
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    bounds = ArchiveLimits(metadata_part_characters=100, metadata_held_bytes_max=200)
    reindex(tmp_path, limits=Limits(reader=ReaderLimits(metadata_flush_characters=100), archive=bounds))
    parts = sqlite3.connect(tmp_path / INDEX).execute("SELECT max(part) FROM metadata").fetchone()[0]
    assert parts > 3
    assert asyncio.run(everything(tmp_path)) == before


@pytest.mark.parametrize("table", ["study", "series", "discrepancy", "receipt"])
def test_a_damaged_table_of_the_old_index_is_told_and_no_hindrance(tmp_path: Path, table: str) -> None:
    fill(tmp_path)
    before = asyncio.run(everything(tmp_path))
    with closing(sqlite3.connect(tmp_path / INDEX)) as index:
        ((page,),) = index.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchall()
        ((size,),) = index.execute("PRAGMA page_size").fetchall()
    with (tmp_path / INDEX).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    told = [indexed.error for indexed in reindex(tmp_path) if indexed.error]
    assert told == [f"the old index's table {table} cannot be read: database disk image is malformed"]
    assert asyncio.run(everything(tmp_path)) == before
