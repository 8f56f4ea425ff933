"""What is deleted says nothing any more, of what is sent again as it should have been nor of what is left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from builders import MR, build, opened, revision_of, store
from unit.archive.test_corrections import ID, NAME, find
from unit.archive.test_reindex import reindex
from unit.archive.test_rereading import grow_old, until_current

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.index.upkeep import settling
from sagittal.archive.ingest import Source
from sagittal.dicom.dictionary import tag_of

MODALITY, MODALITIES, ACCESSION_NUMBER, ISSUER = 0x00080060, 0x00080061, 0x00080050, 0x00100021
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
            before = await revision_of(archive, STUDY.study_uid)
            await archive.delete(LOCAL, STUDY)
            await store(archive, *RIGHT)
            assert await told(archive) == [PATIENT, MR_STUDY, MR_SERIES, []]
            assert await revision_of(archive, STUDY.study_uid) > before
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


def test_what_is_left_says_how_it_is(tmp_path: Path) -> None:
    """The first objects of a study were another patient's, and are deleted."""

    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *WRONG, *(build(number, patient_id="Y", patient_name="Right^R") for number in (3, 4)))
            assert (await told(archive))[:2] == [[["X", "Wrong^W"]], [["X", "Wrong^W", "CT"]]]
            await archive.delete(LOCAL, Target("", "", WRONG[0].sop_instance_uid))
            assert (await told(archive))[0] == [["X", "Wrong^W"]]  # the second is held
            await archive.delete(LOCAL, Target("", "", WRONG[1].sop_instance_uid))
            assert await told(archive) == [PATIENT, [["Y", "Right^R", "CT"]], [["CT"]], []]
            assert await find(archive, "STUDY", ACCESSION_NUMBER) == [["A1"]]

    asyncio.run(run())


def test_what_goes_differs_from_no_patient_any_more(tmp_path: Path) -> None:
    first = build(1, study="first", patient_id="X", patient_name="Xaver^X")

    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, first, *WRONG, build(3, patient_id="Y", patient_name="Right^R"))
            assert (NAME, "Xaver^X", "Wrong^W") in (await told(archive))[3]
            for wrong in WRONG:
                await archive.delete(LOCAL, Target("", "", wrong.sop_instance_uid))
            assert (await told(archive))[::3] == [[["X", "Xaver^X"], ["Y", "Right^R"]], []]

    asyncio.run(run())


def test_what_is_corrected_stays_when_what_it_corrected_goes(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *WRONG, build(3, patient_id="Y", patient_name="Right^R"))
            await archive.correct(LOCAL, (STUDY.study_uid, ""), {"PatientID": "Z"}, "mixed up", "CORRECT")
            for wrong in WRONG:
                await archive.delete(LOCAL, Target("", "", wrong.sop_instance_uid))
            assert await find(archive, "STUDY", ID, NAME) == [["Z", "Right^R"]]

    asyncio.run(run())


def test_a_version_that_is_promoted_says_how_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, WRONG[0], build(1, patient_id="Y", patient_name="Right^R"))
            [_, beside] = await archive.versions(LOCAL, WRONG[0].sop_instance_uid)
            await archive.promote(LOCAL, beside)
            assert (await told(archive))[:2] == [PATIENT, [["Y", "Right^R", "CT"]]]

    asyncio.run(run())


@pytest.mark.parametrize(("held_max", "won"), [(1, "Wrong^W"), (2, "Right^R"), (3, "Wrong^W")])
def test_so_many_are_looked_at(tmp_path: Path, held_max: int, won: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer waits for it meanwhile. Of more the first ones say what it is, where they say anything."""
    monkeypatch.setattr(settling, "_LOOKED_AT_MAX", held_max)

    async def run() -> None:
        async with opened(tmp_path) as archive:
            names = ("Wrong^W", "", "", "Right^R", "Wrong^W")
            await store(archive, *(build(number, patient_name=name) for number, name in enumerate(names, 1)))
            await archive.delete(LOCAL, Target("", "", WRONG[0].sop_instance_uid))
            assert await find(archive, "STUDY", NAME) == [[won]]

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


async def test_what_senders_say_stays_while_objects_are_silent(tmp_path: Path) -> None:
    """The issuer of its Patient IDs, that is, which no object need say."""
    async with opened(tmp_path) as archive:
        for number, issuer in ((1, ""), (2, ""), (3, ""), (4, "B")):
            transfer = archive.store_begin_part10(LOCAL, Source("dimse", issuer_of_patient_id="NODE"))
            transfer.write(build(number, extra={"IssuerOfPatientID": issuer}).part10)
            await transfer.commit()
        listed = await told(archive)
        await archive.delete(LOCAL, Target("", "", build(3).sop_instance_uid))
        assert await find(archive, "STUDY", ID, ISSUER) == [["P1", "NODE"]]
        assert await told(archive) == listed


@pytest.mark.parametrize(
    ("keyword", "first", "other"),
    [
        ("PatientName", "DOE^JANE", "Doe^Jane"),  # a query would find one by the other
        ("StudyDescription", "KNEE*", "KNEE LEFT"),
        ("StudyTime", "10", "101112"),
    ],
)
async def test_what_nobody_says_any_more_goes_to_the_letter(
    tmp_path: Path, keyword: str, first: str, other: str
) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *(build(n, extra={keyword: text}) for n, text in enumerate((first, other, other), 1)))
        await archive.delete(LOCAL, Target("", "", build(1).sop_instance_uid))
        assert await find(archive, "STUDY", tag_of(keyword)) == [[other]]
        assert (await told(archive))[-1] == []


async def test_zeros_and_empty_groups_make_no_other_value(tmp_path: Path) -> None:
    """DICOM JSON leaves them out."""
    async with opened(tmp_path) as archive:
        for name, number in (("Doe^Jane=", "0003"), ("Doe^Jane=", "0003"), ("Roe^Joan", "4")):
            instance = len(await find(archive, "IMAGE", 0x00080018)) + 1
            await store(archive, build(instance, extra={"PatientName": name, "SeriesNumber": number}))
        await archive.delete(LOCAL, Target("", "", build(1).sop_instance_uid))
        assert await find(archive, "SERIES", 0x00200011) == [["0003"]]
        assert await find(archive, "STUDY", NAME) == [["Doe^Jane="]]


async def test_what_a_version_beside_says_stays_listed_when_the_first_who_said_it_goes(tmp_path: Path) -> None:
    first, beside = build(9), build(9, extra={"StudyDescription": "a"})
    other = build(1, series=2, extra={"StudyDescription": "a"})

    async def listed() -> list[tuple[str, str, int]]:
        return [(one.value, one.sop_instance_uid, one.instances) for one in await archive.discrepancies(LOCAL)]

    async with opened(tmp_path) as archive:
        await store(archive, first, other, beside)
        assert await listed() == [("a", other.sop_instance_uid, 2)]
        deleted = await archive.delete(LOCAL, Target(other.study_uid, other.series_uid))
        assert await listed() == [("a", first.sop_instance_uid, 1)]
        await archive.undelete(LOCAL, Target(), deleted.tombstone)
        assert [(value, instances) for value, _, instances in await listed()] == [("a", 2)]
