"""QIDO-RS against a made-up archive: what is asked of the engine, and what becomes of its rows."""

from __future__ import annotations

from typing import Any

import pytest

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Rows
from sagittal.limits import Limits, WebLimits
from sagittal.web.house import Settings
from sagittal.web.search.qido import DEFAULTS, INSTANCE_UID, SERIES_UID, STUDY_UID

PATIENT_ID, PATIENT_NAME, STUDY_DATE, MODALITIES = 0x00100020, 0x00100010, 0x00080020, 0x00080061


def asked(web: Any, path: str) -> Any:
    answer = web.get("/dicom-web" + path)
    assert answer.status_code == 200, answer.text
    return web.archive.queries[-1]


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", {}),
        ("PatientID=A", {PATIENT_ID: "A"}),
        ("00100020=A", {PATIENT_ID: "A"}),
        ("PatientName=*ob%C3%A9*", {PATIENT_NAME: "*obé*"}),
        ("StudyDate=20200101-20201231", {STUDY_DATE: "20200101-20201231"}),
        ("StudyInstanceUID=1.2,1.3", {STUDY_UID: "1.2\\1.3"}),
        ("StudyInstanceUID=1.2%5C1.3", {STUDY_UID: "1.2\\1.3"}),
        ("StudyInstanceUID=1.2&StudyInstanceUID=1.3", {STUDY_UID: "1.2\\1.3"}),
        ("ModalitiesInStudy=CT&ModalitiesInStudy=MR", {MODALITIES: "CT\\MR"}),
        ("PatientName=Doe,Jane", {PATIENT_NAME: "Doe,Jane"}),
        ("PatientID=", {PATIENT_ID: ""}),
        ("PatientID=A+B", {PATIENT_ID: "A B"}),
        ("fuzzymatching=false&PatientID=A", {PATIENT_ID: "A"}),
    ],
)
def test_keys(web: Any, query: str, keys: dict[int, str]) -> None:
    assert asked(web, "/studies?" + query).keys == keys


def test_keys_of_the_address(web: Any) -> None:
    query = asked(web, "/studies/1.2/series/1.3/instances?InstanceNumber=4")
    assert query.level == "IMAGE"
    assert query.keys == {STUDY_UID: "1.2", SERIES_UID: "1.3", 0x00200013: "4"}
    assert asked(web, "/studies/1.2/instances").keys == {STUDY_UID: "1.2"}
    assert asked(web, "/studies/1.2/series").level == "SERIES"


@pytest.mark.parametrize(
    "query",
    [
        "Nonsense=1",
        "0010002=1",
        "99990000=1",
        "PatientComments=x",  # known, but not of the index: leaving it out would answer too much
        "00091001=x",
        "SeriesDescription=x",  # not at this level
        "TimezoneOffsetFromUTC=x",
        "includefield=Nonsense",
        "limit=-1",
        "limit=x",
        "limit=",
        "offset=1.5",
        "offset=9999999999999",
        "fuzzymatching=yes",
        "emptyvaluematching=true",
        "PatientID=%FF",
        "=x",
        "orderby=PatientID",
    ],
)
def test_what_cannot_be_asked(web: Any, query: str) -> None:
    answer = web.get("/dicom-web/studies?" + query)
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_attributes_that_are_answered(web: Any) -> None:
    assert asked(web, "/studies").include == DEFAULTS["STUDY"]
    assert asked(web, "/studies/1.2/series").include == DEFAULTS["SERIES"] | {STUDY_UID}
    assert asked(web, "/series").include == DEFAULTS["STUDY"] | DEFAULTS["SERIES"]
    known = DEFAULTS["STUDY"] | DEFAULTS["SERIES"] | DEFAULTS["IMAGE"]
    assert asked(web, "/instances").include == known
    one_series = asked(web, "/studies/1.2/series/1.3/instances").include
    assert one_series == DEFAULTS["IMAGE"] | {STUDY_UID, SERIES_UID}


def test_includefield(web: Any) -> None:
    assert asked(web, "/studies?includefield=all").include == frozenset(KEYS["STUDY"])
    # OHIF: one list, percent-encoded; attributes that are not in the index are left out
    query = asked(web, "/studies?includefield=00081030%2C00080060%2CSOPClassesInStudy&includefield=PatientComments")
    assert query.include == DEFAULTS["STUDY"] | {0x00080062}


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_limit(web: Any, over: int) -> None:
    web.settings = Settings(limits=Limits(web=WebLimits(results_max=5, results_default=3)))
    web.archive.rows = Rows((STUDY_UID,), [(f"1.{n}",) for n in range(5 + over)])
    answer = web.get(f"/dicom-web/studies?limit={5 + over}&offset=7")
    assert (web.archive.queries[0].limit, web.archive.queries[0].offset) == (min(5, 5 + over) + 1, 7)
    assert len(answer.json()) == min(5, 5 + over)
    assert ("warning" in answer.headers) == (over > 0)
    assert asked(web, "/studies").limit == 4
    assert web.get("/dicom-web/studies?limit=0").json() == []


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_parameters(web: Any, over: int) -> None:
    query = "&".join(["StudyInstanceUID=1.2"] * (200 + over))
    assert web.get("/dicom-web/studies?" + query).status_code == (400 if over > 0 else 200)


def test_rows_become_json(web: Any) -> None:
    web.archive.rows = Rows(
        (STUDY_DATE, MODALITIES, 0x00081030, PATIENT_NAME, PATIENT_ID, STUDY_UID, 0x00200010, 0x00201208),
        [
            ("20200101", "CT\\MR", 'say "é"\n\\x', "Doe^Jane=山田^太郎=", "1", "1.2", "", 12),
            ("", "", None, "", "", "1.3", "a\\\\b", None),
        ],
    )
    first, second = web.get("/dicom-web/studies").json()
    assert first["00080020"] == {"vr": "DA", "Value": ["20200101"]}
    assert first["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    assert first["00081030"]["Value"] == ['say "é"\n', "x"]
    assert first["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane", "Ideographic": "山田^太郎"}]}
    assert first["00200010"] == {"vr": "SH"}
    assert first["00201208"] == {"vr": "IS", "Value": [12]}
    assert first["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert first["00081190"] == {"vr": "UR", "Value": ["http://localhost:8042/dicom-web/studies/1.2"]}
    assert "00080061" not in second  # an empty one stops OHIF's list
    assert second["00200010"]["Value"] == ["a", None, "b"]
    assert second["00100010"] == {"vr": "PN"}


def test_numbers_that_are_none(web: Any) -> None:
    web.archive.rows = Rows(
        (INSTANCE_UID, STUDY_UID, SERIES_UID, 0x00200013, 0x00280010),
        [("1", "2", "3", "four", "512"), ("1", "2", "3", "+4", 7)],
    )
    first, second = web.get("/dicom-web/instances").json()
    assert (first["00200013"]["Value"], first["00280010"]["Value"]) == (["four"], [512])
    assert (second["00200013"]["Value"], second["00280010"]["Value"]) == ([4], [7])
    assert first["00081190"]["Value"][0].endswith("/dicom-web/studies/2/series/3/instances/1")


def test_nothing_found_is_an_empty_list(web: Any) -> None:
    answer = web.get("/dicom-web/studies", "application/dicom+json")
    assert (answer.status_code, answer.content) == (200, b"[]")
    assert answer.headers["content-type"] == "application/dicom+json"


def test_fuzzy_matching_is_warned_of(web: Any) -> None:
    assert "fuzzymatching" in web.get("/dicom-web/studies?fuzzymatching=true").headers["warning"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/json", 200), ("application/dicom+json, application/json", 200), ("application/dicom+xml", 406)],
)
def test_media_types(web: Any, accept: str, status: int) -> None:
    assert web.get("/dicom-web/studies", accept).status_code == status
    assert web.get("/dicom-web/studies?accept=" + accept, "text/html").status_code == status
