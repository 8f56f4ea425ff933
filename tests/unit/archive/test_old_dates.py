"""Dates and times of ACR-NEMA (PS3.5 6.2, DA and TM): found and told as those of DICOM, kept as they were received."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.query import Query

OLD = build(
    1,
    study=1,
    study_date="1996.10.29",
    extra={
        "StudyTime": "15:18:59.5",
        "SeriesDate": "1996.10.29",
        "PatientBirthDate": "1931.02.03",
        "ContentTime": "15:18",
        "AcquisitionDate": "1996.10.29",
        "AcquisitionTime": "15:18:59",
    },
)
OTHER = build(1, study=2, study_date="19970101", extra={"StudyTime": "1.5", "AcquisitionDate": "19970101"})
DATE, TIME, BIRTH = 0x00080020, 0x00080030, 0x00100030
SERIES_DATE, CONTENT_TIME = 0x00080021, 0x00080033
ACQUIRED, ACQUIRED_AT = 0x00080022, 0x00080032  # no columns: read from the metadata


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("STUDY", {DATE: "19961029"}),
        ("STUDY", {DATE: "1996.10.29"}),
        ("STUDY", {DATE: "19960101-19961231"}),
        ("STUDY", {DATE: "19961029", TIME: "1518-1519"}),
        ("STUDY", {TIME: "151859.5"}),
        ("STUDY", {BIRTH: "19310203"}),
        ("SERIES", {SERIES_DATE: "19961029"}),
        ("IMAGE", {CONTENT_TIME: "1518"}),
        ("IMAGE", {ACQUIRED: "19961029"}),
        ("IMAGE", {ACQUIRED: "-19961231", ACQUIRED_AT: "15:18:59"}),
    ],
)
async def test_are_found(tmp_path: Path, level: str, keys: dict[int, str]) -> None:
    async with opened(tmp_path / "a") as archive:
        await store(archive, OLD, OTHER)
        rows = await archive.find(LOCAL, Query(level, keys, frozenset({0x0020000D, DATE, TIME})))
        wanted = [rows.columns.index(tag) for tag in (0x0020000D, DATE, TIME)]
        assert [[row[at] for at in wanted] for row in rows.rows] == [[OLD.study_uid, "19961029", "151859.5"]]


async def test_the_same_day_is_no_discrepancy(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        again = build(
            2, study=1, study_date="19961029", extra={"StudyTime": "151859.5", "PatientBirthDate": "19310203"}
        )
        await store(archive, OLD, again)
        assert await archive.discrepancies(LOCAL) == []
    files = [file.read_bytes() for file in (tmp_path / "a" / "objects").rglob("*") if file.is_file()]
    assert sum(OLD.data in file for file in files) == 1  # as it was received
