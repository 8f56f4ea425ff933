"""QIDO-RS against a made-up archive: rows as DICOM JSON, XML and CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import urlencode

import pytest

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Rows
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.elements import INTEGER_VRS, ONE_VALUE_VRS
from sagittal.dicom.models.xml import from_xml
from sagittal.dicom.scanning.values import STRING_VRS
from sagittal.limits import ReaderLimits
from sagittal.web.search.levels import INSTANCE_UID, SERIES_UID, STUDY_UID

PATIENT_ID, PATIENT_NAME, STUDY_DATE, MODALITIES = 0x00100020, 0x00100010, 0x00080020, 0x00080061


def test_rows_become_json(web: Any) -> None:
    web.archive.rows = Rows(
        (STUDY_DATE, MODALITIES, 0x00081030, PATIENT_NAME, PATIENT_ID, STUDY_UID, 0x00200010, 0x00201208),
        [
            ("20200101", "CT\\MR", 'say "é"\n\\x', "Doe^Jane=山田^太郎=やまだ", "1", "1.2", "", 12),
            ("", "", None, "", "", "1.3", "a\\\\b", None),
        ],
    )
    first, second = web.get("/dicom-web/studies").json()
    assert first["00080020"] == {"vr": "DA", "Value": ["20200101"]}
    assert first["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    assert first["00081030"]["Value"] == ['say "é"\n', "x"]
    assert first["00100010"] == {
        "vr": "PN",
        "Value": [{"Alphabetic": "Doe^Jane", "Ideographic": "山田^太郎", "Phonetic": "やまだ"}],
    }
    assert first["00200010"] == {"vr": "SH"}
    assert first["00201208"] == {"vr": "IS", "Value": [12]}
    assert first["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert first["00081190"] == {"vr": "UR", "Value": ["http://localhost:8042/dicom-web/studies/1.2"]}
    assert "00080061" not in second  # an empty one stops OHIF's list
    assert second["00200010"]["Value"] == ["a", None, "b"]
    assert second["00100010"] == {"vr": "PN"}


def test_columns_are_names_whole_numbers_and_texts_of_several_values() -> None:
    """No VR that DICOM JSON writes in another way has a column."""
    columns = {vr_of(tag) for keys in KEYS.values() for tag in keys}
    assert columns <= INTEGER_VRS | STRING_VRS - ONE_VALUE_VRS - {"DS"}


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


def test_members_are_ordered_by_their_names(web: Any) -> None:
    """PS3.18 F.2.2; also what is outside the index, and what stands in no column."""
    outside = {"00080055": {"vr": "AE", "Value": ["CT1"]}, "00104000": {"vr": "LT", "Value": ["ä"]}}
    web.archive.rows = Rows((PATIENT_ID, STUDY_UID), [("A", "1.2"), ("B", "1.3")], extra=[outside, {}])
    first, second = web.get("/dicom-web/studies").json()
    assert outside.items() <= first.items() and not outside.keys() & second.keys()
    assert list(first) == sorted(first) and list(second) == sorted(second)


def test_who_gives_the_objects(web: Any) -> None:
    web.archive.rows = Rows((0x00080054, 0x00080056, STUDY_UID), [("x", "y", "1.2")])
    text = web.get("/dicom-web/studies").text
    assert text.count("00080054") == text.count("00080056") == 1
    (row,) = json.loads(text)
    assert row["00080054"] == {"vr": "AE", "Value": ["SAGITTAL"]}
    assert row["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("InstanceAvailability=ONLINE", 1),
        ("InstanceAvailability=", 1),
        ("InstanceAvailability=NEARLINE", 0),
        ("RetrieveAETitle=SAG*", 1),
        ("RetrieveAETitle=[S]AGITTAL", 0),
        ("RetrieveAETitle=OTHER%5CSAGITTAL&InstanceAvailability=ONLINE", 1),
        ("RetrieveAETitle=SAGITTAL&InstanceAvailability=OFFLINE", 0),
        ("QueryRetrieveLevel=STUDY", 1),
        ("QueryRetrieveLevel=SERIES", 0),
    ],
)
def test_keys_on_what_all_rows_say(web: Any, query: str, number: int) -> None:
    web.archive.rows = Rows((STUDY_UID,), [("1.2",)])
    web.archive.number = 1
    assert len(web.get("/dicom-web/studies?" + query).json()) == number
    assert web.get("/dicom-web/studies/count?" + query).json() == {"count": number}
    assert all(not asked.keys for asked in (*web.archive.queries, *web.archive.counted))
    assert web.get("/dicom-web/studies?RetrieveURL=x").status_code == 400


@pytest.mark.parametrize("count", [99, 100, 101, 250])
def test_many_rows_are_written_in_slices(web: Any, count: int) -> None:
    extra = [{"00104000": {"vr": "LT", "Value": [f"{n}"]}} for n in range(count)]
    web.archive.rows = Rows((STUDY_UID,), [(f"1.{n}",) for n in range(count)], extra=extra)
    rows = web.get("/dicom-web/studies").json()
    assert [(row["0020000D"]["Value"], row["00104000"]["Value"]) for row in rows] == [
        ([f"1.{n}"], [f"{n}"]) for n in range(count)
    ]


XML = 'multipart/related; type="application/dicom+xml"'


@pytest.mark.parametrize(("accept", "turns"), [("application/dicom+json", 19), (XML, 19), ("text/csv", 38)])
def test_long_rows_leave_others_their_turns(web: Any, monkeypatch: pytest.MonkeyPatch, accept: str, turns: int) -> None:
    """A row with all that its object says takes twenty times as long as one of the index."""
    extra = [{"00104000": {"vr": "LT", "Value": ["x"]}}] * 100
    found = Rows((STUDY_UID,), [(f"1.{n}",) for n in range(100)], extra=extra)
    taken: list[int] = []

    async def others() -> None:
        while True:
            taken.append(1)
            await asyncio.sleep(0)

    async def find(principal: Any, query: Any, spare: Any) -> Rows:
        taken.clear()
        return found

    async def act(client: Any) -> int:
        other = asyncio.ensure_future(others())
        answer = await client.get("/dicom-web/studies", headers={"accept": accept})
        other.cancel()
        assert answer.status_code == 200
        return len(taken)

    monkeypatch.setattr(web.archive, "find", find)
    assert web.run(act) >= turns


@pytest.mark.parametrize(
    ("accept", "status", "type_"),
    [
        ("application/json", 200, "application/json"),
        ("application/dicom+json, application/json", 200, "application/dicom+json"),
        ("*/*", 200, "application/dicom+json"),
        ("text/html, */*;q=0.1", 200, "application/dicom+json"),
        ("text/csv", 200, "text/csv; charset=utf-8"),
        (XML, 200, "multipart/related"),
        (XML.replace('"', ""), 200, "multipart/related"),
        (XML + ";q=0.5, application/dicom+json", 200, "application/dicom+json"),
        ("application/dicom+xml", 406, ""),
        ('multipart/related; type="application/dicom"', 406, ""),
        ("text/html", 406, ""),
    ],
)
def test_media_types(web: Any, accept: str, status: int, type_: str) -> None:
    web.archive.rows = Rows((STUDY_UID,), [("1.2",)])
    for answer in (
        web.get("/dicom-web/studies", accept),
        web.get("/dicom-web/studies?" + urlencode({"accept": accept}), "text/html"),
        web.get("/dicom-web/studies?accept=" + accept.replace(";", "%3B"), "text/html"),
    ):
        assert answer.status_code == status
        assert status != 200 or answer.headers["content-type"].startswith(type_)
        assert status != 200 or answer.headers["vary"] == "accept"


def test_xml(web: Any) -> None:
    sequence = {"00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["7"]}}]}}
    web.archive.rows = Rows(
        (PATIENT_NAME, STUDY_UID, 0x00201208),
        [("Doe^Jane=山田", "1.2", 3), ("<&>", "1.3", None)],
        extra=[sequence, {}],
    )
    answer = web.get("/dicom-web/studies", XML)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + answer.content).get_payload()
    assert [part["content-type"] for part in parts] == ["application/dicom+xml"] * 2
    plain = json.loads(web.get("/dicom-web/studies").text)
    for part, row in zip(parts, plain, strict=True):
        read = from_xml(part.get_payload(decode=True).rstrip(b"\r\n"), ReaderLimits())
        assert read == row


def test_nothing_as_xml_is_no_content(web: Any) -> None:
    answer = web.get("/dicom-web/studies", XML)
    assert (answer.status_code, answer.content) == (204, b"")


class TestCsv:
    def read(self, web: Any, query: str = "") -> list[dict[str, str]]:
        answer = web.get("/dicom-web/studies?" + query, "text/csv")
        return list(csv.DictReader(io.StringIO(answer.text, newline="")))

    def test_columns(self, web: Any) -> None:
        web.archive.rows = Rows(
            (STUDY_DATE, MODALITIES, PATIENT_NAME, STUDY_UID, 0x00201208),
            [("20200101", "CT\\MR", 'Doe^"Jane"=山田', "1.2", 3), ("", "", "a,b\r\nc", "1.3", None)],
        )
        first, second = self.read(web)
        assert first == {
            "StudyDate": "20200101",
            "ModalitiesInStudy": "CT\\MR",
            "PatientName": 'Doe^"Jane"=山田',
            "StudyInstanceUID": "1.2",
            "NumberOfStudyRelatedInstances": "3",
            "RetrieveAETitle": "SAGITTAL",
            "InstanceAvailability": "ONLINE",
            "RetrieveURL": "http://localhost:8042/dicom-web/studies/1.2",
        }
        assert (second["PatientName"], second["NumberOfStudyRelatedInstances"]) == ("a,b\r\nc", "")

    def test_what_is_outside_the_index(self, web: Any) -> None:
        item = {"00400009": {"vr": "SH", "Value": ["7"]}, "00400008": {"vr": "SQ"}}
        web.archive.rows = Rows(
            (STUDY_UID,),
            [("1.2",), ("1.3",)],
            extra=[
                {
                    "00104000": {"vr": "LT", "Value": ["so\nso"]},
                    "00101030": {"vr": "DS", "Value": [70.5]},
                    "00091002": {"vr": "UN", "InlineBinary": "AAE="},
                    "00081048": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Phonetic": "C"}, {"Alphabetic": "D"}]},
                    "00400275": {"vr": "SQ", "Value": [item, {"00400009": {"vr": "SH", "Value": ["8"]}}, {}]},
                    "00081110": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.9"]}}]},
                },
                {},
            ],
        )
        first, second = self.read(web, "includefield=00400275.00400009")
        assert first["PatientComments"] == "so\nso"
        assert first["PatientWeight"] == "70.5"
        assert first["00091002"] == "AAE="
        assert first["PhysiciansOfRecord"] == "A^B==C\\D"
        assert first["RequestAttributesSequence.ScheduledProcedureStepID"] == "7\\8"
        assert json.loads(first["ReferencedStudySequence"]) == [{"00081155": {"vr": "UI", "Value": ["1.9"]}}]
        assert second["PatientComments"] == second["RequestAttributesSequence.ScheduledProcedureStepID"] == ""

    def test_without_rows_there_are_names(self, web: Any) -> None:
        web.archive.rows = Rows((PATIENT_ID, STUDY_UID), [])
        every = "PatientID,StudyInstanceUID,RetrieveAETitle,InstanceAvailability,RetrieveURL"
        assert web.get("/dicom-web/studies", "text/csv").text == every + "\r\n"
        asked = "?PatientWeight=70&includefield=PatientComments,PatientID,00400275.00400009,00091002&00090010=ACME"
        told = "PatientWeight,PatientComments,RequestAttributesSequence.ScheduledProcedureStepID"
        assert web.get("/dicom-web/studies" + asked, "text/csv").text == f"{every},{told}\r\n"

    @pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\tx", "\uff1d1", "-1+1", "+1 2"])
    def test_no_cell_is_a_formula(self, web: Any, text: str) -> None:
        web.archive.rows = Rows((PATIENT_ID, STUDY_UID), [(text, "1.2")])
        assert self.read(web)[0]["PatientID"] == "'" + text

    @pytest.mark.parametrize("text", ["-5", "+3.5", "-1e-3", "A=B", "1-2", "-.5", ""])
    def test_numbers_and_plain_text_stay(self, web: Any, text: str) -> None:
        web.archive.rows = Rows((PATIENT_ID, STUDY_UID), [(text, "1.2")])
        assert self.read(web)[0]["PatientID"] == text
