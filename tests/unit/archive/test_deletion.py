"""Delete, undelete, the collector; the change feed and the counts that follow them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from builders import build, opened, revision_of, store, uid

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.changes import decode_cursor
from sagittal.archive.faults import Faults
from sagittal.archive.index.removal import Target
from sagittal.archive.opening import INDEX
from sagittal.archive.upkeep import statistics, tasks
from sagittal.errors import BadRequest, NotAuthorized, NotFound, StorageUnavailable
from sagittal.limits import ArchiveLimits, Limits

A, B = uid("study", "a"), uid("study", "b")
OBJECTS = [build(1, study="a"), build(2, study="a"), build(1, study="a", series=2), build(1, study="b")]
READER = Principal("reader", "token", frozenset({"find", "get"}))


def later(days: float = 31) -> int:
    return int((time.time() + days * 86_400) * 1e6)


def files(path: Path) -> set[str]:
    return {file.name for file in (path / "objects" / "0001").iterdir()}


async def uids(archive: Archive, study: str) -> list[str]:
    try:
        return [ref.sop_instance_uid for ref in await archive.instances(LOCAL, study_uid=study)]
    except NotFound:
        return []


def rows(path: Path, table: str) -> int:
    return int(sqlite3.connect(path / INDEX).execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (Target(A), 0),
        (Target(A, OBJECTS[0].series_uid), 1),
        (Target("", OBJECTS[0].series_uid), 1),
        (Target(A, OBJECTS[0].series_uid, OBJECTS[0].sop_instance_uid), 2),
        (Target("", "", OBJECTS[0].sop_instance_uid), 2),
    ],
)
async def test_delete_hides_and_undelete_brings_back(tmp_path: Path, target: Target, left: int) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        before = await uids(archive, A)
        deleted = await archive.delete(LOCAL, target, "a reason")
        assert deleted.instances == 3 - left
        assert len(await uids(archive, A)) == left
        counts = await archive.statistics(LOCAL)
        assert (counts.instances, counts.deleted) == (left + 1, 3 - left)
        [tombstone] = await archive.tombstones(LOCAL)
        assert (tombstone.principal, tombstone.reason, tombstone.level) == ("local", "a reason", target.level)
        with pytest.raises(NotFound):
            await archive.delete(LOCAL, target)
        assert len(files(tmp_path)) == 4
        assert await archive.undelete(LOCAL, target) == 3 - left
        assert await uids(archive, A) == before
        with pytest.raises(NotFound):
            await archive.undelete(LOCAL, target)


async def test_refusals(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        with pytest.raises(NotAuthorized):
            await archive.delete(READER, Target(A))
        with pytest.raises(NotAuthorized):
            await archive.undelete(READER, Target(A))
        with pytest.raises(NotAuthorized):
            await archive.collect(READER)
        with pytest.raises(BadRequest):
            await archive.delete(LOCAL, Target())
        with pytest.raises(BadRequest):
            await archive.undelete(LOCAL, Target())
        with pytest.raises(NotFound):
            await archive.delete(LOCAL, Target("1.2.3"))
        with pytest.raises(NotFound):
            await archive.delete(LOCAL, Target(B, OBJECTS[0].series_uid))
        assert len(await uids(archive, A)) == 3


async def test_the_collector_waits_for_the_grace_period_and_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(A))
        assert (await archive.collect(now=later(29))).instances == 0
        size = sum(len(built.part10) for built in OBJECTS[:3])
        assert await archive.collect(now=later()) == (3, size)
        assert (await archive.statistics(LOCAL)).bytes == len(OBJECTS[3].part10)
        with pytest.raises(NotFound):
            await archive.undelete(LOCAL, Target(A))
        [tombstone] = await archive.tombstones(LOCAL)
        assert tombstone.purged_at is not None
    assert files(tmp_path) == {OBJECTS[3].digest}
    assert [rows(tmp_path, table) for table in ("instance", "metadata", "series", "study", "patient")] == [1] * 5
    assert rows(tmp_path, "receipt") == 4


async def test_the_collector_comes_round_by_itself(tmp_path: Path) -> None:
    limits = Limits(archive=ArchiveLimits(delete_grace_seconds=0, collect_every_seconds=0.01))
    async with opened(tmp_path, limits) as archive:
        feed = archive.subscribe(LOCAL, None)
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(A))
        kinds: list[str] = []
        while kinds.count("purged") < 3:
            kinds += [change.kind for change in await asyncio.wait_for(anext(feed), 10)]
    assert files(tmp_path) == {OBJECTS[3].digest}


async def test_a_resend_after_a_delete_is_stored_anew_and_survives_the_collector(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(A))
        [again] = await store(archive, OBJECTS[0])
        assert again.status == "stored"
        await archive.collect(now=later())
        [ref] = await archive.instances(LOCAL, study_uid=A)
        with archive.open_object(ref) as file:
            assert file.read_data_set(0, ref.data_set_length) == OBJECTS[0].data
    assert files(tmp_path) == {OBJECTS[0].digest, OBJECTS[3].digest}


async def test_numbers_of_what_is_gone_are_not_given_out_again(tmp_path: Path) -> None:
    """Who was about to read what is gone must not get what came after it, nor may a tag come to mean something else."""
    first, other = OBJECTS[0], OBJECTS[3]

    async def life(archive: Archive) -> list[tuple[str, int | None]]:
        """What the revision of the study was, time after time, with what was in force then."""
        await store(archive, first)
        seen = [ref.revision for ref in await archive.instances(LOCAL, study_uid=A)]
        await archive.correct(LOCAL, (A, ""), {"StudyDescription": f"{len(seen)}"}, "why", "CORRECT")
        seen += [ref.revision for ref in await archive.instances(LOCAL, study_uid=A)]
        seen += [await revision_of(archive, first.series_uid, "series")]
        return [("study", seen[0]), ("study", seen[1]), ("series", seen[2])]

    async with opened(tmp_path) as archive:
        before = await life(archive)
        refs = await archive.instances(LOCAL, study_uid=A)
        metadata = archive.metadata(LOCAL, refs)
        await archive.delete(LOCAL, Target(A))
        await archive.collect(now=later())
        await store(archive, other)
        with pytest.raises(NotFound):
            await anext(metadata)
        assert not set(before) & set(await life(archive))
        await archive.delete(LOCAL, Target(A))
        await archive.delete(LOCAL, Target(B))
        await archive.collect(now=later())
    assert [*tasks.reindex(tmp_path)] == []
    async with opened(tmp_path) as archive:
        await store(archive, other)
        [version] = await archive.versions(LOCAL, other.sop_instance_uid)
        assert version.id == refs[0].id + 3


async def test_bytes_are_right_when_a_purge_comes_while_they_are_summed(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(A))
        waits, goes_on = threading.Event(), threading.Event()

        def slow(*arguments: object) -> object:
            found = summed(*arguments)
            waits.set()
            goes_on.wait()
            return found

        summed = statistics._counts
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(statistics, "_counts", slow)
            counting = asyncio.ensure_future(archive.statistics(LOCAL))
            await asyncio.to_thread(waits.wait)
            await archive.collect(now=later())
            goes_on.set()
            await counting
        assert (await archive.statistics(LOCAL)).bytes == len(OBJECTS[3].part10)


async def test_a_version_that_came_again_beside_the_current_one_does_not_come_back_twice(tmp_path: Path) -> None:
    first, second, third = (build(1, study="a", extra={"StudyID": name}) for name in ("1", "2", "3"))
    async with opened(tmp_path) as archive:
        await store(archive, first, second)
        await archive.delete(LOCAL, Target(A))
        await store(archive, third, second)
        assert await archive.undelete(LOCAL, Target(A)) == 1
        counts = await archive.statistics(LOCAL)
        assert (counts.instances, counts.other_versions, counts.deleted) == (1, 2, 1)


async def test_undelete_beside_what_came_meanwhile(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(A))
        newer = build(1, study="a", extra={"StudyID": "newer"})
        await store(archive, newer, OBJECTS[1])
        assert await archive.undelete(LOCAL, Target(A)) == 2  # the second object is there already, the very same file
        refs = {ref.sop_instance_uid: ref.digest for ref in await archive.instances(LOCAL, study_uid=A)}
        assert refs == {
            OBJECTS[0].sop_instance_uid: newer.digest,
            OBJECTS[1].sop_instance_uid: OBJECTS[1].digest,
            OBJECTS[2].sop_instance_uid: OBJECTS[2].digest,
        }
        assert len(await archive.versions(LOCAL, OBJECTS[0].sop_instance_uid)) == 2
        await archive.collect(now=later())
        for ref in await archive.instances(LOCAL, study_uid=A):
            archive.open_object(ref).close()
        assert len(await archive.versions(LOCAL, OBJECTS[1].sop_instance_uid)) == 1


async def test_versions_that_were_not_current_come_back_as_such(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        kept = build(1, study="a", extra={"StudyID": "kept"})
        await store(archive, *OBJECTS, kept)
        assert (await archive.delete(LOCAL, Target(A))).instances == 4
        assert await archive.undelete(LOCAL, Target(A)) == 4
        [ref] = await archive.instances(LOCAL, sop_instance_uids=[kept.sop_instance_uid])
        assert ref.digest == OBJECTS[0].digest


async def test_a_collector_that_fails_goes_on_the_next_time(tmp_path: Path) -> None:
    failing = True

    def fail(point: str) -> None:
        if point == "object.delete" and failing:
            raise OSError(5, "Input/output error")

    async with opened(tmp_path, faults=Faults(fail)) as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(A))
        with pytest.raises(StorageUnavailable):
            await archive.collect(now=later())
        with pytest.raises(NotFound):  # decided: they don't come back
            await archive.undelete(LOCAL, Target(A))
        failing = False
        assert archive.volume.probe() is None
        assert (await archive.collect(now=later())).instances == 3
    assert files(tmp_path) == {OBJECTS[3].digest}


async def test_non_patient_objects_are_deleted_by_their_own_uid(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        built = build(study_uid="", series_uid="", sop_class_uid="1.2.840.10008.5.1.4.39.1")
        await store(archive, built)
        await archive.delete(LOCAL, Target("", "", built.sop_instance_uid))
        assert (await archive.collect(now=later())).instances == 1
    assert files(tmp_path) == set()


async def test_the_change_feed_is_ordered_and_resumable(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        start = await archive.newest_change(LOCAL)
        await archive.delete(LOCAL, Target(B))
        await archive.undelete(LOCAL, Target(B))
        await archive.delete(LOCAL, Target(B))
        await archive.collect(now=later())
        changes, cursor = await archive.changes(LOCAL, start, 100)
        assert [change.kind for change in changes] == ["deleted", "undeleted", "deleted", "purged"]
        assert {change.study_uid for change in changes} == {B}
        assert await archive.changes(LOCAL, cursor, 100) == ([], cursor)
        everything, at = [], None
        while page := (await archive.changes(LOCAL, at, 3))[0]:
            everything += page
            at = page[-1].cursor
        assert len(everything) == 8
        assert [change.number for change in everything] == sorted(change.number for change in everything)
        for nonsense in (
            "x",
            "c",
            "cxyz",
            "c-1",
            "c" + "f" * 30,
            "c" + "f" * 16,
            "c1\n",
            "c\n\n1",
            "c1_0",
            "c0x1",
            "c+1",
        ):
            with pytest.raises(BadRequest):
                await archive.changes(LOCAL, nonsense, 1)
        assert decode_cursor(None) == 0


async def test_subscribers_are_woken_by_commits(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        feed = archive.subscribe(READER, None)
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        await store(archive, OBJECTS[0])
        first = await asyncio.wait_for(waiting, 10)
        assert [change.sop_instance_uid for change in first] == [OBJECTS[0].sop_instance_uid]
        await store(archive, OBJECTS[1])
        second = await asyncio.wait_for(anext(feed), 10)
        assert [change.sop_instance_uid for change in second] == [OBJECTS[1].sop_instance_uid]
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        await archive.delete(LOCAL, Target(A))
        assert {change.kind for change in await asyncio.wait_for(waiting, 10)} == {"deleted"}
        await feed.aclose()  # type: ignore[attr-defined]


async def test_counts_and_the_latest_studies(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        assert await archive.statistics(LOCAL) == (0, 0, 0, 0, 0, 0, 0)
        await store(archive, *OBJECTS)
        size = sum(len(built.part10) for built in OBJECTS)
        assert await archive.statistics(LOCAL) == (1, 2, 3, 4, 0, 0, size)
        latest = await archive.latest_studies(READER, 1)
        assert [(study.study_uid, study.instances) for study in latest] == [(B, 1)]
        await archive.delete(LOCAL, Target(B))
        assert [study.study_uid for study in await archive.latest_studies(READER, 5)] == [A]
