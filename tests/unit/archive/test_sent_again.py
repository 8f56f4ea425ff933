"""What is deleted and sent again as it should have been: it is as the new objects say, and so it stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from builders import MR, build, opened, store
from unit.archive.test_corrections import ID, NAME, find
from unit.archive.test_reindex import reindex
from unit.archive.test_rereading import grow_old, until_current

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target

MODALITY, MODALITIES, ACCESSION_NUMBER = 0x00080060, 0x00080061, 0x00080050
WRONG = [build(number, patient_id="X", patient_name="Wrong^W", extra={"AccessionNumber": "7"}) for number in (1, 2)]
RIGHT = [
    build(number, patient_id="Y", patient_name="Right^R", modality="MR", sop_class_uid=MR, series=1)
    for number in (1, 2)
]
STUDY, SERIES = Target(RIGHT[0].study_uid), Target(RIGHT[0].study_uid, RIGHT[0].series_uid)
PATIENT, MR_STUDY, MR_SERIES = [["Y", "Right^R"]], [["Y", "Right^R", "MR"]], [["MR"]]


async def told(archive: Archive) -> list[Any]:
    """Of patients, studies and series; and what is listed."""
    return [
        await find(archive, "PATIENT", ID, NAME),
        await find(archive, "STUDY", ID, NAME, MODALITIES),
        await find(archive, "SERIES", MODALITY),
        [(one.tag, one.kept, one.value) for one in await archive.discrepancies(LOCAL)],
    ]


def test_a_study_that_is_sent_again_is_as_the_new_objects_say(tmp_path: Path) -> None:
    """Else who was taken for another one would be it for the grace period, whatever comes."""

    async def act() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *WRONG)
            before = await archive.revision(LOCAL, STUDY.study_uid)
            await archive.delete(LOCAL, STUDY)
            await store(archive, *RIGHT)
            assert await told(archive) == [PATIENT, MR_STUDY, MR_SERIES, []]
            assert await archive.revision(LOCAL, STUDY.study_uid) > before
            assert await find(archive, "STUDY", ACCESSION_NUMBER) == [["A1"]]

    async def again() -> None:
        async with opened(tmp_path) as archive:
            await until_current(archive)
            assert await told(archive) == [PATIENT, MR_STUDY, MR_SERIES, []]

    asyncio.run(act())
    grow_old(tmp_path)
    asyncio.run(again())
    reindex(tmp_path)
    asyncio.run(again())


def test_a_series_that_is_sent_again_is_as_the_new_objects_say(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, build(1, series=2, patient_id="Y", patient_name="Right^R"), *WRONG)
            await archive.delete(LOCAL, SERIES)
            await store(archive, *RIGHT)
            assert sorted(await find(archive, "SERIES", MODALITY)) == [["CT"], ["MR"]]
            assert "series" not in {one.level for one in await archive.discrepancies(LOCAL)}

    asyncio.run(run())


def test_what_is_replaced_says_nothing_any_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, WRONG[0])
            await store(archive, RIGHT[0], policy="replace")
            assert await told(archive) == [PATIENT, MR_STUDY, MR_SERIES, []]

    asyncio.run(run())


@pytest.mark.parametrize("purged", [False, True])
def test_a_correction_in_force_stays(tmp_path: Path, purged: bool) -> None:
    """As of a study that was purged and comes again."""

    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *WRONG)
            number = await archive.correct(
                LOCAL, (STUDY.study_uid, ""), {"PatientName": "Corrected^C"}, "mixed up", "CORRECT"
            )
            await archive.delete(LOCAL, STUDY)
            if purged:
                await archive.collect(now=1 << 60)
            await store(archive, *RIGHT)
            assert await find(archive, "STUDY", ID, NAME) == [["Y", "Corrected^C"]]
            await archive.undo_correction(LOCAL, STUDY.study_uid, number)
            assert await told(archive) == [PATIENT, MR_STUDY, MR_SERIES, []]

    asyncio.run(run())


def test_what_is_brought_back_is_of_what_was_sent_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *WRONG)
            await archive.delete(LOCAL, STUDY)
            await store(archive, RIGHT[0])
            await archive.undelete(LOCAL, STUDY)
            assert await find(archive, "STUDY", ID, NAME, 0x00201208) == [["Y", "Right^R", 2]]

    asyncio.run(run())
