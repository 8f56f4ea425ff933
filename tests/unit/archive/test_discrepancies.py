"""What instances say that come back or are read again is looked at before anything is committed, in bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build, opened, store, transcoded

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.index.upkeep import settling
from sagittal.limits import ArchiveLimits, Limits

FIRST = build(9, extra={"StudyDescription": "kept"})
OTHERS = [build(number, series=2, extra={"StudyDescription": text}) for number, text in enumerate(("a", "b", "c"))]


@pytest.fixture(autouse=True)
def one_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is committed."""
    monkeypatch.setattr(settling, "_LOOKED_AT_MAX", 1)


def bounded(bytes_max: int) -> Limits:
    return Limits(archive=ArchiveLimits(free_bytes_min=0, discrepancies_bytes_max=bytes_max))


async def listed(archive: Archive) -> list[str]:
    return sorted(one.value for one in await archive.discrepancies(LOCAL))


@pytest.mark.parametrize(("more", "told"), [(-1, ["a", "b"]), (0, ["a", "b"]), (1, ["a", "b", "c"])])
async def test_discrepancies_bytes_max(tmp_path: Path, more: int, told: list[str]) -> None:
    """There is room for what the first says, and another is looked at in the transaction."""
    async with opened(tmp_path) as archive:
        await store(archive, FIRST, *OTHERS)
        deleted = await archive.delete(LOCAL, Target(FIRST.study_uid, OTHERS[0].series_uid))
        assert await listed(archive) == []
        objects = settling.Objects(bytes_max=1 << 20)
        await archive.readers.run(objects.look, [2, 99])  # the last was purged meanwhile
        one = (1 << 20) - objects._room
    async with opened(tmp_path, bounded(one + more)) as archive:
        await archive.undelete(LOCAL, Target(), deleted.tombstone)
        assert await listed(archive) == told


async def test_what_some_say_who_were_not_counted_stays_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other goes of more than are looked at."""
    monkeypatch.setattr(settling, "_LOOKED_AT_MAX", 3)
    others = [build(number, extra={"StudyDescription": "other"}) for number in range(7)]
    async with opened(tmp_path) as archive:
        await store(archive, FIRST, *others)
        for one in (others[0], others[6], others[5], others[4], others[1]):
            await archive.delete(LOCAL, Target("", "", one.sop_instance_uid))
            assert await listed(archive) == ["other"]


async def test_what_was_transcoded_there_and_back_again_stays_listed(tmp_path: Path) -> None:
    """It is another encoding of itself: what it was meanwhile is held no more."""
    other, third = OTHERS[0], build(8, extra={"StudyDescription": "kept"})
    async with opened(tmp_path) as archive:
        await store(archive, FIRST, third, other)
        await transcoded(archive, LOCAL, other.sop_instance_uid)
        assert await transcoded(archive, LOCAL, other.sop_instance_uid) == other.digest
        deleted = await archive.delete(LOCAL, Target("", "", other.sop_instance_uid))
        await archive.undelete(LOCAL, Target(), deleted.tombstone)
        assert await listed(archive) == ["a"]
        await archive.delete(LOCAL, Target("", "", third.sop_instance_uid))
        assert await listed(archive) == ["a"]


async def test_a_study_that_differs_from_its_patient_is_told_of_by_an_instance_that_is_held(tmp_path: Path) -> None:
    first, second = (build(number, study=2, patient_name="Roe^Ann") for number in (2, 3))
    async with opened(tmp_path) as archive:
        await store(archive, build(1), first, second)
        for gone, left in ((first, second), (second, first)):
            deleted = await archive.delete(LOCAL, Target("", "", gone.sop_instance_uid))
            [one] = await archive.discrepancies(LOCAL)
            assert (one.level, one.sop_instance_uid) == ("patient", left.sop_instance_uid)
            await archive.undelete(LOCAL, Target(), deleted.tombstone)
