"""Patients, studies and series by keys of the levels below: all of them are of one series or instance."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.query import Keys, Query

MODALITY, BODY, NUMBER, KVP, DATE, REFERRER = 0x00080060, 0x00180015, 0x00200013, 0x00180060, 0x00080020, 0x00080090
# One patient, of whom one study has a CT of the head and an MR of the chest; the other has a CT of the chest.
OBJECTS = [
    build(1, study=1, series=1, modality="CT", extra={"BodyPartExamined": "HEAD", "KVP": "120", "InstanceNumber": "1"}),
    build(2, study=1, series=1, modality="CT", extra={"BodyPartExamined": "HEAD", "KVP": "80", "InstanceNumber": "2"}),
    build(1, study=1, series=2, modality="MR", extra={"BodyPartExamined": "CHEST", "InstanceNumber": "3"}),
    build(
        1,
        study=2,
        modality="CT",
        study_date="20200101",
        extra={"BodyPartExamined": "CHEST", "KVP": "80", "InstanceNumber": "1", "ReferringPhysicianName": "Roe^Jane"},
    ),
]


@pytest.mark.parametrize(
    ("level", "keys", "found"),
    [
        ("STUDY", {MODALITY: "CT", BODY: "HEAD"}, 1),
        ("STUDY", {MODALITY: "CT", BODY: "CHEST"}, 1),
        ("STUDY", {MODALITY: "MR", BODY: "HEAD"}, 0),
        ("STUDY", {MODALITY: "MR", BODY: "*EA*"}, 0),
        ("STUDY", {MODALITY: "MR", NUMBER: "1"}, 0),
        ("STUDY", {MODALITY: "MR\\CT", BODY: "C*", NUMBER: "3"}, 1),
        ("STUDY", {MODALITY: "MR", KVP: "80"}, 0),
        ("STUDY", {MODALITY: "CT", KVP: "80"}, 2),
        ("STUDY", {BODY: "HEAD", NUMBER: "1", KVP: "80"}, 0),
        ("STUDY", {BODY: "HEAD", NUMBER: "2", KVP: "80"}, 1),
        ("SERIES", {NUMBER: "1", KVP: "80"}, 1),
        ("SERIES", {MODALITY: "CT", NUMBER: "2", KVP: "80"}, 1),
        ("PATIENT", {DATE: "20200101", MODALITY: "MR"}, 0),
        ("PATIENT", {DATE: "20260102", BODY: "CHEST", NUMBER: "3"}, 1),
        ("PATIENT", {DATE: "20200101", KVP: "120"}, 0),
    ],
)
async def test_all_keys_are_of_one_thing_below(tmp_path: Path, level: str, keys: Keys, found: int) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        for limit in (None, 5):
            assert len((await archive.find(LOCAL, Query(level, keys, limit=limit))).rows) == found
        assert await archive.count(LOCAL, Query(level, keys)) == found
        if found == 2:  # a page goes on where the one before ended
            first = await archive.find(LOCAL, Query(level, keys, limit=1))
            assert len((await archive.find(LOCAL, Query(level, keys, after=first.next))).rows) == 1


async def test_a_name_as_it_sounds_goes_with_keys_of_the_levels_below(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        for modality, number in (("CT", 1), ("US", 0)):
            keys = {REFERRER: "Roe", MODALITY: modality, BODY: "CHEST"}
            assert len((await archive.find(LOCAL, Query("PATIENT", keys, fuzzy=True))).rows) == number
