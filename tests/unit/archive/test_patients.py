"""What a patient of several studies is called: as the first of them says, also after corrections and a reindex."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build, opened, store
from unit.archive.test_corrections import ID, NAME, find
from unit.archive.test_reindex import reindex

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target

ISSUER, BIRTH_DATE = 0x00100021, 0x00100030
X, Y = (build(1, study=study) for study in "xy")
OTHER = build(1, study="y", patient_name="Other^Jane")
FOREIGN = build(1, study="z", patient_id="P2", patient_name="Roe^Jane")
DOE, ROE = ["P1", "Doe^Jane", "19700101"], ["P1", "Roe^Jane", "19700101"]


async def patients(archive: Archive) -> list[Any]:
    return sorted(await find(archive, "PATIENT", ID, NAME, BIRTH_DATE))


@pytest.mark.parametrize(
    ("held", "corrected", "expected"),
    [
        pytest.param([X, Y], {X: {"PatientName": "Roe^Jane"}}, [ROE], id="first"),
        pytest.param([X, Y], {Y: {"PatientName": "Roe^Jane"}}, [DOE], id="second"),
        pytest.param([X, Y], {Y: {"PatientName": "Roe^Jane"}, X: {"PatientName": "Roe^Jane"}}, [ROE], id="both"),
        pytest.param(
            [X, OTHER],
            {X: {"PatientID": "P9", "PatientName": "Roe^Jane"}},
            [["P1", "Other^Jane", "19700101"], ["P9", *ROE[1:]]],
            id="first to another",
        ),
        pytest.param(
            [X, Y, FOREIGN], {X: {"PatientID": "P2"}}, [DOE, ["P2", *ROE[1:]]], id="first to one that is there"
        ),
    ],
)
def test_a_patient_is_as_the_first_study_says(
    tmp_path: Path, held: list[Built], corrected: Mapping[Built, Mapping[str, Any]], expected: list[Any]
) -> None:
    async def act() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *held)
            for built, attributes in corrected.items():
                await archive.correct(LOCAL, (built.study_uid, ""), attributes, "mixed up", "CORRECT")
            assert await patients(archive) == expected

    async def again() -> None:
        async with opened(tmp_path) as archive:
            assert await patients(archive) == expected

    asyncio.run(act())
    reindex(tmp_path)
    asyncio.run(again())


def test_a_patient_that_a_correction_made_takes_nobody_s_place_in_a_reindex(tmp_path: Path) -> None:
    async def act(*objects: Built) -> list[Any]:
        async with opened(tmp_path) as archive:
            await store(archive, *objects)
            if objects:
                await archive.correct(LOCAL, (Y.study_uid, ""), {"PatientID": "P9"}, "mixed up", "CORRECT")
            return await patients(archive)

    before = asyncio.run(act(X, Y, FOREIGN))
    assert [identifier for identifier, *_ in before] == ["P1", "P2", "P9"]
    reindex(tmp_path)
    assert asyncio.run(act()) == before


async def test_one_whose_identifier_was_corrected_away_has_it_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, X)
        await archive.correct(LOCAL, (X.study_uid, ""), {"PatientID": None}, "nobody knows", "CORRECT")
        await store(archive, Y)
        assert await patients(archive) == [["", *DOE[1:]], DOE]


async def test_a_study_that_was_given_to_a_patient_says_nothing_beside_one_of_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, X)
        await archive.correct(LOCAL, (X.study_uid, ""), {"PatientID": "P2"}, "mixed up", "CORRECT")
        assert await patients(archive) == [["P2", *DOE[1:]]]
        await store(archive, FOREIGN)
        assert await patients(archive) == [["P2", *ROE[1:]]]


async def test_a_later_instance_says_more_of_the_patient(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, build(1, study="x", extra={"PatientBirthDate": ""}))
        assert await patients(archive) == [["P1", "Doe^Jane", ""]]
        await store(archive, build(2, study="x"))
        assert await patients(archive) == [DOE]


async def test_an_issuer_that_comes_later_makes_it_the_issuer_s_patient(tmp_path: Path) -> None:
    issued = {"extra": {"IssuerOfPatientID": "A"}}
    async with opened(tmp_path) as archive:
        await store(archive, X, OTHER, build(1, study="z", **issued))
        await store(archive, build(2, study="x", **issued))
        assert sorted(await find(archive, "PATIENT", ID, ISSUER)) == [["P1", ""], ["P1", "A"]]
        merged = await archive.merge_patient(LOCAL, ("P1", "A"), ("P1", ""), "the same one")
        assert len(merged) == 2


async def test_the_first_study_that_is_left_says_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, X, OTHER)
        await archive.delete(LOCAL, Target(X.study_uid))
        await archive.collect(now=1 << 60)
        assert await patients(archive) == [["P1", "Other^Jane", "19700101"]]
