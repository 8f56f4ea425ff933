"""What studies say, and what is listed of them, when instances go and come back; a reindex says the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from builders import build, opened, store
from unit.archive.test_corrections import DESCRIPTION, ID, NAME, find
from unit.archive.test_reindex import reindex

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index import CURRENT, OTHER
from sagittal.archive.index.removal import Target

WRONG = build(1, patient_id="X", patient_name="Wrong^W", modality="MR")
RIGHT = build(1, patient_id="Y", patient_name="Right^R")
STUDY = Target(WRONG.study_uid)
SEX = 0x00100040


def only(built: Any) -> Target:
    return Target("", "", built.sop_instance_uid)


async def told(archive: Archive) -> list[Any]:
    listed = [(one.tag, one.kept, one.value) for one in await archive.discrepancies(LOCAL)]
    return [
        sorted(await find(archive, "PATIENT", ID, NAME, SEX)),
        sorted(await find(archive, "STUDY", ID, NAME, DESCRIPTION, 0x00080061)),
        sorted(listed),
    ]


def before_and_after(path: Path, act: Callable[[Archive], Awaitable[None]]) -> list[Any]:
    """What is told after an act; the same after a reindex."""

    async def run(acting: bool) -> list[Any]:
        async with opened(path) as archive:
            if acting:
                await act(archive)
            return await told(archive)

    before = asyncio.run(run(True))
    reindex(path)
    assert asyncio.run(run(False)) == before
    return before


def test_a_study_that_comes_back_in_place_of_what_was_sent_again_is_its_own(tmp_path: Path) -> None:
    """Whoever takes back a mistake would have the images of one patient under another one's name."""

    async def act(archive: Archive) -> None:
        await store(archive, WRONG)
        await archive.delete(LOCAL, STUDY)
        await store(archive, RIGHT)
        deleted = await archive.delete(LOCAL, STUDY)
        first = min(one.id for one in await archive.tombstones(LOCAL))
        assert first < deleted.tombstone
        await archive.undelete(LOCAL, Target(), first)

    assert before_and_after(tmp_path, act) == [[["X", "Wrong^W", "F"]], [["X", "Wrong^W", "Study 1", "MR"]], []]


def test_what_comes_back_is_compared_and_fills_as_what_comes_in(tmp_path: Path) -> None:
    first, second = build(2, patient_name="Wrong^W"), build(3, extra={"StudyDescription": ""}, patient_name="Right^R")

    async def act(archive: Archive) -> None:
        await store(archive, first, second)
        await archive.delete(LOCAL, only(first))
        assert await find(archive, "STUDY", NAME, DESCRIPTION) == [["Right^R", ""]]
        await archive.undelete(LOCAL, only(first))

    _, study, listed = before_and_after(tmp_path, act)
    assert study == [["P1", "Right^R", "Study 1", "CT"]]
    assert listed == [(NAME, "Right^R", "Wrong^W")]


def test_what_only_a_deleted_or_replaced_one_said_is_said_no_more(tmp_path: Path) -> None:
    """Though no other says anything else."""
    silent = {"StudyDescription": "", "PatientSex": "", "Modality": ""}

    async def act(archive: Archive) -> None:
        await store(archive, build(1), build(2, extra=silent))
        await store(archive, build(1, extra=silent | {"PatientComments": "anew"}), policy="replace")

    assert before_and_after(tmp_path, act) == [[["P1", "Doe^Jane", ""]], [["P1", "Doe^Jane", "", ""]], []]


def test_what_is_deleted_is_listed_no_more(tmp_path: Path) -> None:
    others = [build(number, patient_name="Roe^Tom") for number in (2, 3)]

    async def act(archive: Archive) -> None:
        await store(archive, build(1), *others)
        await archive.delete(LOCAL, only(others[0]))
        [listed] = await archive.discrepancies(LOCAL)
        assert (listed.value, listed.sop_instance_uid) == ("Roe^Tom", others[1].sop_instance_uid)
        await archive.delete(LOCAL, only(others[1]))

    assert before_and_after(tmp_path, act)[2] == []


def test_what_came_back_is_listed_still_when_the_others_that_said_so_go(tmp_path: Path) -> None:
    others = [build(number, patient_name="Roe^Tom") for number in (2, 3)]

    async def act(archive: Archive) -> None:
        await store(archive, build(1), *others)
        deleted = await archive.delete(LOCAL, only(others[0]))
        await archive.undelete(LOCAL, Target(), deleted.tombstone)
        [listed] = await archive.discrepancies(LOCAL)
        assert (listed.value, listed.instances) == ("Roe^Tom", 2)
        await archive.delete(LOCAL, only(others[1]))

    assert before_and_after(tmp_path, act)[2] == [(NAME, "Doe^Jane", "Roe^Tom")]


def test_as_many_are_listed_as_say_it(tmp_path: Path) -> None:
    others = [build(number, patient_name="Roe^Tom") for number in (2, 3, 4)]
    anew = build(4, patient_name="Roe^Tom", extra={"PatientComments": "anew"})

    async def act(archive: Archive) -> None:
        await store(archive, build(1), *others)
        await archive.delete(LOCAL, only(others[1]))
        assert [one.instances for one in await archive.discrepancies(LOCAL)] == [2]
        await store(archive, anew, policy="keep-first")
        assert [one.instances for one in await archive.discrepancies(LOCAL)] == [3]
        beside = next(ref for ref in await archive.versions(LOCAL, anew.sop_instance_uid) if ref.digest == anew.digest)
        await archive.promote(LOCAL, beside)
        assert [one.instances for one in await archive.discrepancies(LOCAL)] == [3]
        await archive.delete(LOCAL, only(others[0]))
        assert [one.instances for one in await archive.discrepancies(LOCAL)] == [2]

    assert before_and_after(tmp_path, act)[2] == [(NAME, "Doe^Jane", "Roe^Tom")]


def test_what_is_listed_after_a_reindex_stays_when_a_version_beside_goes_that_said_so_first(tmp_path: Path) -> None:
    anew = {"PatientComments": "anew", "StudyDescription": "a"}

    async def act(archive: Archive) -> None:
        await store(archive, build(1, extra={"StudyDescription": "a"}), build(2, extra={"StudyDescription": "b"}))
        await store(archive, build(1, series=2, extra={"StudyDescription": "b"}))
        await store(archive, build(2, extra=anew), build(1, extra=anew), policy="replace")

    async def listed() -> list[tuple[str, int]]:
        async with opened(tmp_path) as archive:
            told = [(one.value, one.instances) for one in await archive.discrepancies(LOCAL)]
            await archive.delete(LOCAL, only(build(2)))
            return told + [(one.value, one.instances) for one in await archive.discrepancies(LOCAL)]

    before_and_after(tmp_path, act)
    assert asyncio.run(listed()) == [("b", 2), ("b", 1)]


def test_a_version_that_is_promoted_is_listed_when_the_others_that_said_so_go(tmp_path: Path) -> None:
    """Which was put aside before there was a list."""
    roe = [build(number, patient_name="Roe^Tom") for number in (1, 2)]

    async def act(archive: Archive) -> None:
        await store(archive, roe[0])
        await store(archive, build(1), policy="replace")
        await store(archive, build(3), roe[1])
        (beside,) = (ref for ref in await archive.versions(LOCAL, roe[0].sop_instance_uid) if ref.state == OTHER)
        await archive.promote(LOCAL, beside)
        assert [one.instances for one in await archive.discrepancies(LOCAL)] == [2]
        await archive.delete(LOCAL, only(roe[1]))

    assert before_and_after(tmp_path, act)[2] == [(NAME, "Doe^Jane", "Roe^Tom")]


def test_the_list_does_not_depend_on_when_it_was_corrected(tmp_path: Path) -> None:
    """What comes in while it is corrected is listed once that is undone, and nothing is meanwhile."""

    async def act(archive: Archive) -> None:
        await store(archive, build(1), build(2, patient_name="Roe^Tom"))
        number = await archive.correct(LOCAL, (STUDY.study_uid, ""), {"PatientName": "New^N"}, "why", "CORRECT")
        await store(archive, build(3, patient_name="Poe^Ann"))
        assert (await told(archive))[2] == []
        await archive.undo_correction(LOCAL, STUDY.study_uid, number)

    assert before_and_after(tmp_path, act)[2] == [(NAME, "Doe^Jane", "Poe^Ann"), (NAME, "Doe^Jane", "Roe^Tom")]


def test_a_correction_is_undone_to_what_is_held(tmp_path: Path) -> None:
    async def act(archive: Archive) -> None:
        await store(archive, WRONG, build(2, patient_id="Y", patient_name="Right^R"))
        number = await archive.correct(LOCAL, (STUDY.study_uid, ""), {"PatientName": "New^N"}, "why", "CORRECT")
        await archive.delete(LOCAL, only(WRONG))
        await archive.undo_correction(LOCAL, STUDY.study_uid, number)

    assert before_and_after(tmp_path, act)[1] == [["Y", "Right^R", "Study 1", "CT"]]


async def test_an_instance_of_two_studies_comes_back_beside_what_came_again_of_the_other(tmp_path: Path) -> None:
    """Senders do use one SOP Instance UID in two studies: of the first one a version is held twice then."""
    first = build(1)
    second = build(1, study=2, sop_instance_uid=first.sop_instance_uid)
    async with opened(tmp_path) as archive:
        await store(archive, first)
        await store(archive, second, policy="replace")
        deleted = await archive.delete(LOCAL, Target(second.study_uid))
        await store(archive, first)
        assert await archive.undelete(LOCAL, Target(), deleted.tombstone) == 1
        versions = await archive.versions(LOCAL, first.sop_instance_uid)
        assert [(one.study_uid, one.state) for one in versions] == [
            (first.study_uid, OTHER), (second.study_uid, OTHER), (first.study_uid, CURRENT)
        ]  # fmt: skip


def test_a_hidden_study_describes_no_patient(tmp_path: Path) -> None:
    first, second = build(1, extra={"PatientSex": "M"}), build(1, study=2)

    async def act(archive: Archive) -> None:
        await store(archive, first, second)
        assert (await told(archive))[::2] == [[["P1", "Doe^Jane", "M"]], [(SEX, "M", "F")]]
        await archive.delete(LOCAL, Target(first.study_uid))

    assert before_and_after(tmp_path, act)[::2] == [[["P1", "Doe^Jane", "F"]], []]


def test_a_hidden_study_differs_from_no_patient(tmp_path: Path) -> None:
    async def act(archive: Archive) -> None:
        await store(archive, build(1, extra={"PatientSex": "M"}), build(1, study=2))
        await archive.delete(LOCAL, Target(build(1, study=2).study_uid))

    assert before_and_after(tmp_path, act)[::2] == [[["P1", "Doe^Jane", "M"]], []]


def test_who_was_a_patients_first_study_stays_it(tmp_path: Path) -> None:
    """Though the first object of it is purged, and another study's is older than what is left."""
    first, second = build(1, extra={"PatientSex": "M"}), build(2, extra={"PatientSex": "M"})

    async def act(archive: Archive) -> None:
        await store(archive, first, build(1, study=2), second)
        await archive.delete(LOCAL, only(first))
        await archive.collect(now=1 << 60)

    assert before_and_after(tmp_path, act)[::2] == [[["P1", "Doe^Jane", "M"]], [(SEX, "M", "F")]]


def test_who_is_left_alone_by_another_study_differs_from_nobody(tmp_path: Path) -> None:
    """What a later object says fills in that the other study is another patient's."""
    later = build(2, patient_name="Roe^Tom", extra={"IssuerOfPatientID": "H"})

    async def act(archive: Archive) -> None:
        await store(archive, build(1, patient_name="Roe^Tom"), build(1, study=2))
        assert (await told(archive))[2] == [(NAME, "Roe^Tom", "Doe^Jane")]
        await store(archive, later)

    patients, _, listed = before_and_after(tmp_path, act)
    assert patients == [["P1", "Doe^Jane", "F"], ["P1", "Roe^Tom", "F"]] and listed == []


def test_a_study_that_is_corrected_otherwise_differs_from_its_patient_all_the_same(tmp_path: Path) -> None:
    second = build(1, study=2, patient_name="Roe^Tom")

    async def act(archive: Archive) -> None:
        await store(archive, build(1), second)
        await archive.correct(LOCAL, (second.study_uid, ""), {"StudyDescription": "New"}, "why", "CORRECT")

    assert before_and_after(tmp_path, act)[2] == [(NAME, "Doe^Jane", "Roe^Tom")]


def test_a_study_that_comes_back_after_a_reindex_says_what_it_said(tmp_path: Path) -> None:
    """Also whose it is: all of it was hidden meanwhile."""

    async def hide() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, WRONG, build(2, patient_id="Y", patient_name="Right^R"))
            await archive.delete(LOCAL, only(WRONG))
            await archive.undelete(LOCAL, only(WRONG))
            await archive.delete(LOCAL, STUDY)

    async def come() -> None:
        async with opened(tmp_path) as archive:
            await archive.undelete(LOCAL, STUDY)
            assert await find(archive, "STUDY", ID, NAME) == [["Y", "Right^R"]]

    asyncio.run(hide())
    reindex(tmp_path)
    asyncio.run(come())


def test_a_correction_of_a_series_that_is_hidden_in_a_reindex_is_undone_to_what_it_was(tmp_path: Path) -> None:
    """Not to what a version says that was never the current one since."""
    silent = build(1, modality="", extra={"PatientComments": "anew"})
    series = Target(WRONG.study_uid, silent.series_uid)

    async def act(archive: Archive) -> None:
        await store(archive, build(1), build(2, series=2))
        await store(archive, silent, policy="replace")
        number = await archive.correct(LOCAL, series[:2], {"Modality": "CT"}, "why", "CORRECT")
        await archive.delete(LOCAL, series)
        assert number == 1

    async def back(archive: Archive) -> None:
        await archive.undelete(LOCAL, series)
        await archive.undo_correction(LOCAL, STUDY.study_uid, 1)
        assert sorted(await find(archive, "SERIES", 0x00080060)) == [[""], ["CT"]]

    before_and_after(tmp_path, act)
    before_and_after(tmp_path, back)


def test_series_keep_their_order(tmp_path: Path) -> None:
    """In which they are retrieved, though of the first all that is left came after the others."""
    first, *others = build(1), build(1, series=2), build(2)

    async def act(archive: Archive) -> None:
        await store(archive, first, *others)
        await archive.delete(LOCAL, only(first))
        await archive.collect(now=1 << 60)

    async def order() -> list[str]:
        async with opened(tmp_path) as archive:
            return [ref.sop_instance_uid for ref in await archive.instances(LOCAL, study_uid=first.study_uid)]

    before_and_after(tmp_path, act)
    assert asyncio.run(order()) == [others[1].sop_instance_uid, others[0].sop_instance_uid]


async def steps(archive: Archive, act: Awaitable[object]) -> int:
    """Of SQLite's machine, in hundreds."""
    taken: list[None] = []
    await archive.act(lambda connection: connection.set_progress_handler(lambda: taken.append(None), 100))
    await act
    await archive.act(lambda connection: connection.set_progress_handler(None, 0))
    return len(taken)


async def test_what_goes_is_held_against_its_patient_alone(tmp_path: Path) -> None:
    """Not all studies of who has thousands, as phantoms do, once for each that goes."""

    async def taken(studies: int) -> int:
        async with opened(tmp_path / str(studies)) as archive:
            await store(archive, *(build(1, study=study) for study in range(1, studies + 1)))
            return await steps(archive, archive.delete(LOCAL, Target(build(1, study=studies).study_uid)))

    assert await taken(100) < 2 * await taken(20)


async def test_what_comes_back_is_looked_for_once(tmp_path: Path) -> None:
    """Not all of it once for each series that it is of, nor all that is held for each instance."""

    async def taken(series: int) -> int:
        async with opened(tmp_path / str(series)) as archive:
            await store(archive, *(build(one, series=one) for one in range(1, series + 1)))
            await archive.delete(LOCAL, STUDY)
            return await steps(archive, archive.undelete(LOCAL, STUDY))

    assert await taken(120) < 5 * await taken(30)


async def test_what_comes_back_is_not_looked_for_among_all_of_another_series(tmp_path: Path) -> None:
    async def taken(instances: int) -> int:
        async with opened(tmp_path / str(instances)) as archive:
            await store(archive, *(build(one, series=series) for series in (1, 2) for one in range(instances)))
            series = Target(STUDY.study_uid, build(series=1).series_uid)
            await archive.delete(LOCAL, series)
            return await steps(archive, archive.undelete(LOCAL, series))

    assert await taken(120) < 5 * await taken(30)
