"""Patients, studies and series: found or made once, the first value wins, disagreements are listed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from builders import Built, build, opened, rows, store

from sagittal.dicom.matching.names import fold_name

PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020


def stored(path: Path, *objects: Built, reopen: bool = False) -> None:
    async def main() -> None:
        async with opened(path) as archive:
            await store(archive, *objects)

    if reopen:
        for built in objects:
            objects = (built,)
            asyncio.run(main())
    else:
        asyncio.run(main())


@pytest.mark.parametrize("reopen", [False, True])
def test_counts_modalities_and_classes(tmp_path: Path, reopen: bool) -> None:
    objects = [
        *(build(n) for n in range(3)),
        build(1, series=2, modality="SR", sop_class_uid="1.2.3"),
        build(1, study=2),
    ]
    stored(tmp_path, *objects, reopen=reopen)
    columns = "number_of_series, number_of_instances, modalities_in_study, sop_classes_in_study"
    ct = objects[0].sop_class_uid
    assert rows(tmp_path, f"SELECT {columns} FROM study ORDER BY id") == [
        (2, 4, "CT\\SR", f"1.2.3\\{ct}"),
        (1, 1, "CT", ct),
    ]
    assert rows(tmp_path, "SELECT number_of_instances FROM series ORDER BY id") == [(3,), (1,), (1,)]
    assert rows(tmp_path, "SELECT count(*) FROM patient") == [(1,)]


def test_what_is_kept_beside_fills_nothing_and_is_listed(tmp_path: Path) -> None:
    """It would be found by what nobody gets to see."""
    stored(tmp_path, build(1, modality=""), build(1, patient_name="Roe^Tom", extra={"IssuerOfPatientID": "H"}))
    assert rows(tmp_path, "SELECT modality, modalities_in_study FROM series JOIN study") == [("", "")]
    assert rows(tmp_path, "SELECT value, issuer FROM patient_identifier") == [("P1", "")]
    assert rows(tmp_path, "SELECT value, kept FROM discrepancy") == [("Roe^Tom", "Doe^Jane")]


def test_the_first_value_wins_and_others_are_listed_once(tmp_path: Path) -> None:
    stored(
        tmp_path,
        build(1),
        build(2, patient_name="Doe^Joan", extra={"StudyDescription": "Other", "SeriesDescription": "Other"}),
        build(3, patient_name="Doe^Joan"),
        build(4, patient_id="P2"),
    )
    assert rows(tmp_path, "SELECT patient_name, patient_id, study_description FROM study") == [
        ("Doe^Jane", "P1", "Study 1")
    ]
    listed = rows(tmp_path, "SELECT level, tag, value, kept, number_of_instances FROM discrepancy ORDER BY level, tag")
    assert listed == [
        ("patient", PATIENT_NAME, "Doe^Joan", "Doe^Jane", 2),
        ("patient", PATIENT_ID, "P2", "P1", 1),
        ("series", 0x0008103E, "Other", "Series 1", 1),
        ("study", 0x00081030, "Other", "Study 1", 1),
    ]


def test_an_empty_value_is_filled_and_claims_nothing(tmp_path: Path) -> None:
    nobody = {"StudyDescription": "", "ReferringPhysicianName": "", "PatientSex": ""}
    stored(tmp_path, build(1, extra=nobody), build(2), build(3, extra=nobody))
    found = rows(tmp_path, "SELECT study_description, referring_physician_name_search, patient_sex FROM study")
    assert found == [("Study 1", "roe^richard", "F")]
    assert rows(tmp_path, "SELECT count(*) FROM discrepancy") == [(0,)]


def test_without_a_patient_id_it_is_a_patient_of_its_study(tmp_path: Path) -> None:
    stored(tmp_path, build(1, patient_id=""), build(1, study=2, patient_id=""), build(1, study=3), build(1, study=4))
    assert rows(tmp_path, "SELECT count(DISTINCT patient), count(*) FROM study") == [(3, 4)]
    assert rows(tmp_path, "SELECT value, issuer FROM patient_identifier") == [("P1", "")]


def test_a_patient_id_that_comes_later_joins_the_study_to_its_patient(tmp_path: Path) -> None:
    stored(tmp_path, build(1, study=2), build(1, patient_id=""), build(2))
    assert rows(tmp_path, "SELECT count(DISTINCT patient) FROM study") == [(1,)]


def test_the_issuer_tells_patients_apart(tmp_path: Path) -> None:
    issued = [build(1, study=n, extra={"IssuerOfPatientID": issuer}) for n, issuer in enumerate(("A", "B", "A"))]
    stored(tmp_path, *issued)
    assert rows(tmp_path, "SELECT count(DISTINCT patient) FROM study") == [(2,)]


def test_one_id_with_two_names_is_one_patient_and_a_discrepancy(tmp_path: Path) -> None:
    stored(tmp_path, build(1), build(1, study=2, patient_name="Roe^Jane"))
    assert rows(tmp_path, "SELECT count(*) FROM patient") == [(1,)]
    assert rows(tmp_path, "SELECT patient_name FROM study ORDER BY id") == [("Doe^Jane",), ("Roe^Jane",)]
    assert rows(tmp_path, "SELECT value, kept FROM discrepancy") == [("Roe^Jane", "Doe^Jane")]


def test_a_series_uid_in_two_studies_is_two_series(tmp_path: Path) -> None:
    first = build(1)
    stored(tmp_path, first, build(1, study=2, series_uid=first.series_uid))
    assert rows(tmp_path, "SELECT count(*) FROM series") == [(2,)]


@pytest.mark.parametrize(
    ("extra", "column", "value"),
    [
        ({"NumberOfFrames": "99999999999999999999"}, "number_of_frames", None),
        ({"NumberOfFrames": "one"}, "number_of_frames", None),
        ({"NumberOfFrames": "-1"}, "number_of_frames", None),
        ({"NumberOfFrames": "1_0"}, "number_of_frames", None),
        ({"NumberOfFrames": "+3"}, "number_of_frames", 3),
        ({"InstanceNumber": "99999999999999999999"}, "instance_number", "99999999999999999999"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, extra: dict[str, str], column: str, value: object) -> None:
    stored(tmp_path, build(1, extra={**extra, "PixelData": ""}, rows=0))
    assert rows(tmp_path, f"SELECT {column} FROM instance") == [(value,)]


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Müller^Jörg^^Dr. ", "muller^jorg^^dr."),
        ("DOE ^ JANE^^^", "doe^jane"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada^tarou=山田^太郎=やまた^たろう"),
        ("=山田^太郎", "=山田^太郎"),
        ("Straße", "strasse"),
        ("ŁUKASZ^Søren^Đ=Ægir", "lukasz^soren^d=aegir"),
        ("IŞIK^Ayşe", "isik^ayse"),
        ("\u0131ş\u0131k", "isik"),
        ("^^", ""),
        ("", ""),
    ],
)
def test_fold_name(name: str, folded: str) -> None:
    assert fold_name(name) == folded
    assert fold_name(folded) == folded
