"""Rows of an older reader are made anew while serving, and it goes on after a restart."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, revision_of, store, until_current

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index import READER_VERSION
from sagittal.archive.index.arrival import SERIES_COLUMNS, STUDY_COLUMNS
from sagittal.archive.index.removal import Target
from sagittal.archive.index.upkeep import settling, stale
from sagittal.archive.upkeep import rereading
from sagittal.archive.upkeep.tasks import reindex
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS
from sagittal.errors import StorageUnavailable
from sagittal.limits import ArchiveLimits, Limits

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS, DEFLATED_LE)
OBJECTS = [
    build(number, syntax_uid=syntax, frames=3, rows=64, columns=64, extra={"ImageComments": "x" * 5_000})
    for number, syntax in enumerate(SYNTAXES)
]
ROWS = (
    "SELECT id, instance_number, content_date, content_time, rows, columns, bits_allocated, number_of_frames, defects, "
    "reader_version FROM instance ORDER BY id",
    "SELECT instance, body FROM frame_index ORDER BY instance",
    "SELECT instance, body FROM metadata ORDER BY instance, part",
)


def rows(path: Path) -> list[Any]:
    with sqlite3.connect(path / "index.db") as index:
        instances, frames, metadata = (index.execute(statement).fetchall() for statement in ROWS)
    texts: dict[int, bytes] = {}
    for instance, body in metadata:
        texts[instance] = texts.get(instance, b"") + zlib.decompress(body)
    return [instances, frames, texts]


async def until_renewed(path: Path, count: int) -> None:
    async with asyncio.timeout(20):
        while [row[-1] for row in rows(path)[0]].count(READER_VERSION) < count:
            await asyncio.sleep(0.01)


def grow_old(path: Path) -> None:
    """As an older reader might have made them."""
    with sqlite3.connect(path / "index.db") as index:
        index.execute("UPDATE instance SET reader_version = 0, rows = 7, instance_number = 'old', defects = 'odd'")
        index.execute("UPDATE metadata SET body = ?", (zlib.compress(b'{"00100010":{"vr":"PN"}}'),))
        index.execute("DELETE FROM frame_index WHERE instance = 1")
        index.execute("UPDATE setting SET value = '0' WHERE name = 'reader_version'")


def filled(path: Path) -> list[Any]:
    async def run() -> None:
        async with opened(path) as archive:
            await store(archive, *OBJECTS)

    asyncio.run(run())
    return rows(path)


@pytest.mark.parametrize("characters", [None, 1_000])
def test_rows_are_made_anew(tmp_path: Path, characters: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "_AT_ONCE", 2)
    path = tmp_path / "a"
    before = filled(path)
    grow_old(path)
    assert rows(path) != before
    bounds = {} if characters is None else {"metadata_part_characters": characters, "metadata_held_bytes_max": 100}

    async def run() -> tuple[Any, Any]:
        async with opened(path, Limits(archive=ArchiveLimits(free_bytes_min=0, **bounds))) as archive:
            revised = await revision_of(archive, OBJECTS[0].study_uid)
            await until_current(archive)
            return revised, await revision_of(archive, OBJECTS[0].study_uid)

    old, new = asyncio.run(run())
    assert rows(path) == before
    assert old != new  # or a client would go on with the metadata it has
    assert list((path / "staging").iterdir()) == []


PLACES = (
    "SELECT patient_id, issuer_of_patient_id, patient_name, patient_name_search, patient_birth_date, patient_sex "
    "FROM patient ORDER BY id",
    "SELECT value, issuer, patient FROM patient_identifier ORDER BY value, issuer",
    f"SELECT patient, {','.join(STUDY_COLUMNS.values())}, patient_name_search, referring_physician_name_search, "
    "modalities_in_study, number_of_instances FROM study ORDER BY id",
    f"SELECT {','.join(SERIES_COLUMNS.values())}, operators_name_search, number_of_instances FROM series ORDER BY id",
    "SELECT attributes, texts, replaced FROM correction ORDER BY id",
    "SELECT study, tag, name_word.word FROM name_use JOIN name_word ON name_word.id = name_use.word ORDER BY 1, 2, 3",
    "SELECT level, parent, tag, value, kept, instance, number_of_instances, at FROM discrepancy ORDER BY 1, 2, 3, 4",
)
FIRST_STUDY = [
    build(1, extra={"StudyDescription": "", "ReferringPhysicianName": "Gruen^A"}),
    build(2, extra={"StudyDescription": "Knee", "ProtocolName": "P"}),
    build(3, extra={"StudyDescription": "Elbow", "ReferringPhysicianName": "Other"}),
    build(4, series=2, modality="MR", extra={"OperatorsName": "Op^One", "SeriesDescription": ""}),
    build(5, series=2, modality="PT", extra={"OperatorsName": "Op^Two", "SeriesDescription": "Later"}),
]
SAME_PATIENT = build(6, study=2, extra={"PatientSex": "M"})
STUDY = FIRST_STUDY[0].study_uid


def places(path: Path) -> list[Any]:
    with sqlite3.connect(path / "index.db") as index:
        return [index.execute(statement).fetchall() for statement in PLACES]


def grow_old_above(path: Path) -> None:
    """Rows of patients, studies and series as an older reader might have made them; not where they are corrected."""
    with sqlite3.connect(path / "index.db") as index:
        index.execute("UPDATE instance SET reader_version = 0")
        index.execute("UPDATE setting SET value = '0' WHERE name = 'reader_version'")
        index.execute("UPDATE patient SET patient_name = 'D?e', patient_name_search = 'd?e', patient_sex = 'X'")
        index.execute("UPDATE study SET referring_physician_name = 'Gr?en', referring_physician_name_search = 'gr?en', "
                      "patient_sex = 'X', study_date = '', study_description = CASE study_description "
                      "WHEN 'right' THEN 'right' ELSE 'wrong' END")  # fmt: skip
        index.execute("UPDATE study SET patient_name = 'D?e', patient_name_search = 'd?e' WHERE patient_name <> 'Roe'")
        index.execute("UPDATE series SET modality = 'XX', series_number = '', operators_name = 'o?'")
        index.execute("UPDATE study SET modalities_in_study = 'XX'")
        index.execute("UPDATE correction SET replaced = replace(replaced, 'Knee', 'wrong')")
        index.execute("UPDATE correction SET replaced = replace(replaced, 'Doe^Jane', 'D?e')")
        index.execute("DELETE FROM name_use")
        index.execute("UPDATE discrepancy SET value = '?' || value WHERE id % 2 = 0")
        index.execute("UPDATE discrepancy SET kept = '?', instance = 1, number_of_instances = 9 WHERE id % 3 = 0")
        index.execute("DELETE FROM discrepancy WHERE level = 'series' AND id % 5 > 2")


def filled_with_studies(path: Path, **corrected: str) -> list[Any]:
    async def run() -> None:
        async with opened(path) as archive:
            await store(archive, *FIRST_STUDY, SAME_PATIENT)
            for number in range(2 if corrected else 0):  # the later one is on top
                values = {name: value if number else "first" for name, value in corrected.items()}
                await archive.correct(LOCAL, (STUDY, ""), values, "mixed up", "CORRECT")

    asyncio.run(run())
    return places(path)


def reindexed(path: Path, *held: Any) -> list[Any]:
    """What a reindex makes of objects that were written one after the other, as far apart as a clock can tell."""
    for number, built in enumerate(held):
        (file,) = (path / "objects").rglob(built.digest)
        os.utime(file, (number, number))
    list(reindex(path))
    return places(path)


async def bring_up(path: Path, *more: Any) -> None:
    async with opened(path) as archive:
        await store(archive, *more)
        await until_current(archive)


@pytest.mark.parametrize(
    "corrected", [{}, {"StudyDescription": "right"}, {"StudyDescription": "right", "PatientName": "Roe"}]
)
def test_patients_studies_and_series_are_made_anew(tmp_path: Path, corrected: dict[str, str]) -> None:
    """As at ingest: the first that says something, and corrections on top of it."""
    path = tmp_path / "a"
    before = filled_with_studies(path, **corrected)
    (_, referring), (_, _) = [(row[1], row[12]) for row in before[2]]
    assert referring == "Gruen^A" and [row[0] for row in before[3]] == ["CT", "MR", "CT"]
    assert {(row[0], row[3]) for row in before[6]} >= {
        ("study", "Elbow"), ("study", "Roe^Richard"), ("series", "PT"), ("series", "Op^Two"), ("patient", "M")
    }  # fmt: skip
    grow_old_above(path)
    assert [now == was for now, was in zip(places(path), before, strict=True)][:4] == [False, True, False, False]
    asyncio.run(bring_up(path))
    made = places(path)
    assert made[1:6] == before[1:6]
    assert made[6] == before[6]
    told = reindexed(path, *FIRST_STUDY, SAME_PATIENT)
    assert made[:4] == told[:4] and made[5:] == told[5:]


def test_a_study_that_was_not_finished_is_done_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    before = filled_with_studies(path)
    grow_old_above(path)
    settle_all, ended = settling.settle_all, []

    def dies(*arguments: Any) -> None:
        ended.append(arguments)
        raise StorageUnavailable("the disk is full")

    async def run() -> None:
        async with opened(path):
            async with asyncio.timeout(20):
                while not ended:
                    await asyncio.sleep(0.01)

    monkeypatch.setattr(settling, "settle_all", dies)
    asyncio.run(run())
    versions = [row[-1] for row in rows(path)[0]]
    assert versions.count(0) == 2  # the one that the study's rows come with, and the other study's
    monkeypatch.setattr(settling, "settle_all", settle_all)
    asyncio.run(bring_up(path))
    assert places(path) == before


def test_what_comes_in_meanwhile_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says something that no object before it says, and the rows of its study are made anew then."""
    path = tmp_path / "a"
    late = build(9, extra={"TimezoneOffsetFromUTC": "+0100"})

    async def run(meanwhile: bool) -> list[Any]:
        held = asyncio.Event()

        async def read(self: Any, found: Any) -> Any:
            if not meanwhile:
                return await reading(self, found)
            told = await reading(self, found)
            if found.id == len(FIRST_STUDY):
                await held.wait()
            return told

        monkeypatch.setattr(rereading._Renewal, "_read", read)
        async with opened(path) as archive:
            await store(archive, late)
            held.set()
            await until_current(archive)
        return places(path)

    reading = rereading._Renewal._read
    filled_with_studies(path)
    grow_old_above(path)
    made = asyncio.run(run(True))
    assert [row[8] for row in made[2]] == ["+0100", ""]
    assert reindexed(path, *FIRST_STUDY, SAME_PATIENT, late) == made


def test_a_study_with_what_cannot_be_read_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = filled_with_studies(path)
    grow_old_above(path)
    lost = next(file for file in (path / "objects").rglob(FIRST_STUDY[2].digest))
    lost.rename(tmp_path / "elsewhere")

    async def run() -> None:
        async with opened(path) as archive:
            await until_renewed(path, 5)
            assert not await archive.readers.run(stale.is_current)

    asyncio.run(run())
    kept, renewed = places(path)[2]
    assert kept != before[2][0] and renewed == before[2][1]
    (tmp_path / "elsewhere").rename(lost)
    asyncio.run(bring_up(path))
    assert places(path) == before


def test_what_cannot_be_read_keeps_its_rows_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = filled(path)
    grow_old(path)
    lost = next(file for file in (path / "objects").rglob(OBJECTS[2].digest))
    lost.rename(tmp_path / "elsewhere")

    async def run(whole: bool) -> None:
        async with opened(path) as archive:
            await until_renewed(path, 3 + whole)
            assert whole or not await archive.readers.run(stale.is_current)

    asyncio.run(run(False))
    instances, *_ = rows(path)
    assert [row[-1] for row in instances] == [READER_VERSION, READER_VERSION, 0, READER_VERSION]
    assert instances[2][1] == "old"
    (tmp_path / "elsewhere").rename(lost)
    asyncio.run(run(True))
    assert rows(path) == before


def test_a_fresh_index_has_nothing_to_do(tmp_path: Path) -> None:
    async def run() -> bool:
        async with opened(tmp_path / "a") as archive:
            return await archive.readers.run(stale.is_current)

    assert asyncio.run(run())


def test_a_patient_who_is_described_last_is_held_against_the_other_studies(tmp_path: Path) -> None:
    """Their rows are done first, as an object of the study that describes the patient can't be read for a while."""
    path = tmp_path / "a"
    as_wrong, corrected = (build(number, study=number, extra={"PatientSex": "O"}) for number in (7, 8))

    async def fill() -> None:
        async with opened(path) as archive:
            await store(archive, *FIRST_STUDY, SAME_PATIENT, as_wrong, corrected, build(9, study=9))
            await archive.correct(LOCAL, (corrected.study_uid, ""), {"PatientSex": "F"}, "mixed up", "CORRECT")

    async def run() -> None:
        async with opened(path):
            await until_renewed(path, 8)

    def of_patient() -> list[tuple[int, str, str]]:
        rows = places(path)[6]
        return [(parent, value, kept) for level, parent, _, value, kept, *_ in rows if level == "patient"]

    asyncio.run(fill())
    before = [row for row in places(path)[6] if (row[0], row[1]) != ("patient", 4)]  # which was corrected since
    with sqlite3.connect(path / "index.db") as index:
        index.execute("UPDATE instance SET reader_version = 0")
        index.execute("UPDATE setting SET value = '0' WHERE name = 'reader_version'")
        index.execute("UPDATE patient SET patient_sex = 'O'")
        index.execute("UPDATE study SET patient_sex = 'O' WHERE id = 1")
    lost = next(file for file in (path / "objects").rglob(FIRST_STUDY[2].digest))
    lost.rename(tmp_path / "elsewhere")
    asyncio.run(run())
    assert of_patient() == [(2, "M", "O"), (5, "F", "O")]
    (tmp_path / "elsewhere").rename(lost)
    asyncio.run(bring_up(path))
    assert of_patient() == [(2, "M", "F"), (3, "O", "F")]
    assert places(path)[6] == before


async def age(archive: Archive, *statements: str) -> None:
    """All rows are of an older reader, that read something otherwise."""
    for statement in (
        "UPDATE instance SET reader_version = 0",
        "DELETE FROM setting WHERE name = 'reader_version'",
        *statements,
    ):
        await archive.act(lambda connection, one=statement: connection.execute(one) and None)


async def test_what_won_stays_though_it_is_not_the_first(tmp_path: Path) -> None:
    """As when instances go and come back, and in a reindex: it is what everybody has seen since."""
    first, second = build(1, patient_name="Wrong^W"), build(2, patient_name="Right^R")
    async with opened(tmp_path) as archive:
        await store(archive, first, second)
        deleted = await archive.delete(LOCAL, Target("", "", first.sop_instance_uid))
        await archive.undelete(LOCAL, Target(), deleted.tombstone)
        await age(archive)
    await bring_up(tmp_path)
    assert [row[3] for row in places(tmp_path)[2]] == ["Right^R"]
    reindexed(tmp_path)
    assert [row[3] for row in places(tmp_path)[2]] == ["Right^R"]


async def test_what_an_older_reader_did_not_see_is_filled_in(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, build(1, extra={"StudyDescription": ""}), build(2))
        await age(archive, "UPDATE study SET study_description = ''")
    await bring_up(tmp_path)
    assert [row[11] for row in places(tmp_path)[2]] == ["Study 1"]


async def test_damaged_metadata_of_one_hinder_nothing(tmp_path: Path) -> None:
    """What `scrub` tells of: all else is read again, and its instances go and come back. What won may be its word."""
    objects = [build(number, extra={"StudyDescription": text}) for number, text in enumerate(("won", "", "other"))]
    async with opened(tmp_path) as archive:
        await store(archive, *objects[:2])
        await age(archive, "UPDATE metadata SET body = x'00' WHERE instance = 1")
        await age(archive, f"UPDATE instance SET reader_version = {READER_VERSION} WHERE id = 1")
    async with opened(tmp_path) as archive:
        await until_current(archive)
        for one in objects[:2]:
            deleted = await archive.delete(LOCAL, Target("", "", one.sop_instance_uid))
            await archive.undelete(LOCAL, Target(), deleted.tombstone)
            assert [row[11] for row in places(tmp_path)[2]] == ["won"]
        await store(archive, objects[2])
        assert [one.value for one in await archive.discrepancies(LOCAL)] == ["other"]
