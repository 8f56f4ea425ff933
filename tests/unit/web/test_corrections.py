"""Corrections over REST, on a real archive: who may, what is told, what DICOMweb says afterwards."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from archived import asking_with
from builders import build

from sagittal.archive.access import VERBS

FIRST, OTHER = build(1), build(1, study=2, patient_id="P2", patient_name="Roe^Jane")
STUDY = f"/api/studies/{FIRST.study_uid}"
SERIES = f"{STUDY}/series/{FIRST.series_uid}"
WEB = f"/dicom-web/studies/{FIRST.study_uid}"


def asking(path: Path, verbs: frozenset[str] = VERBS) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return asking_with(verbs, path, [FIRST, OTHER])


async def test_correct_see_and_take_back(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        stored = await client.get(f"{WEB}/metadata")
        body = {
            "attributes": {"PatientName": "Roe^Joan", "00081030": {"vr": "LO", "Value": ["Knee"]}},
            "reason": "swap",
        }
        answer = await client.patch(STUDY, json=body)
        assert answer.status_code == 200
        number = answer.json()["correction"]
        (one,) = (await client.get(f"{STUDY}/corrections")).json()
        assert one["id"] == number and one["series"] == "" and one["undone_at"] is None
        assert one["attributes"]["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Roe^Joan"}]}
        assert one["replaced"] == {"00100010": "Doe^Jane", "00081030": "Study 1"}
        assert (one["principal"], one["reason"], one["code"]) == ("asking", "swap", "CORRECT")
        headers = {"if-none-match": stored.headers["etag"]}
        changed = await client.get(f"{WEB}/metadata", headers=headers)
        assert changed.status_code == 200 and changed.headers["etag"] != stored.headers["etag"]
        assert changed.json()[0]["00081030"]["Value"] == ["Knee"]
        (row,) = (await client.get("/dicom-web/studies?PatientName=Roe^Joan")).json()
        assert row["0020000D"]["Value"] == [FIRST.study_uid]
        assert (await client.delete(f"{STUDY}/corrections/{number}")).status_code == 204
        assert (await client.get(f"{WEB}/metadata")).json() == stored.json()
        assert (await client.get(f"{STUDY}/corrections")).json()[0]["undone_by"] == "asking"


async def test_series_and_patients(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        body = {"attributes": {"SeriesDescription": "Knee"}, "reason": "swap", "code": "COERCE"}
        assert (await client.patch(SERIES, json=body)).status_code == 200
        (row,) = (await client.get(f"{WEB}/series?includefield=SeriesDescription")).json()
        assert row["0008103E"]["Value"] == ["Knee"]
        answer = await client.post("/api/patients/P1/merge", json={"into": "P2", "reason": "one person"})
        assert len(answer.json()["corrections"]) == 1
        assert len((await client.get("/dicom-web/studies?PatientID=P2")).json()) == 2


@pytest.mark.parametrize("name", ["into", "into_issuer", "issuer", "reason"])
async def test_half_a_surrogate_pair_is_no_text(name: str, tmp_path: Path) -> None:
    """RFC 8259 8.2; JSON may say it, and no index takes it."""
    async with asking(tmp_path) as client:
        body = json.dumps({"into": "P2", "reason": "one person", name: "\ud800"})
        headers = {"content-type": "application/json"}
        assert (await client.post("/api/patients/P1/merge", content=body, headers=headers)).status_code == 422
        for value in ("\ud800", [{"Alphabetic": "\ud800"}]):
            body = json.dumps({"attributes": {"PatientName": value}, "reason": "why"})
            assert (await client.patch(STUDY, content=body, headers=headers)).status_code == 400


@pytest.mark.parametrize("identifier", ["12/34", "12/", "a merge/merge", "50%"])
async def test_a_patient_id_of_any_characters(identifier: str, tmp_path: Path) -> None:
    async with asking_with(VERBS, tmp_path, [build(1, patient_id=identifier), OTHER]) as client:
        body = {"into": "P2", "reason": "one person"}
        answer = await client.post(f"/api/patients/{quote(identifier, safe='')}/merge", json=body)
        assert (answer.status_code, len(answer.json()["corrections"])) == (200, 1)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (STUDY, {"attributes": {"PatientName": "x"}}, 422),
        (STUDY, {"attributes": {}, "reason": "why"}, 422),
        (STUDY, {"attributes": {"StudyInstanceUID": "1.2"}, "reason": "why"}, 400),
        (STUDY, {"attributes": {"PatientName": "x"}, "reason": "why", "code": "OTHER"}, 422),
        (STUDY, {"attributes": {"PatientName": {"alphabetic": "x"}}, "reason": "why"}, 400),
        (STUDY, {"attributes": {"PatientName": [{"Alphabetic": "x", "Latin": "x"}]}, "reason": "why"}, 400),
        ("/api/studies/1.2.3", {"attributes": {"PatientName": "x"}, "reason": "why"}, 404),
        ("/api/studies/none", {"attributes": {"PatientName": "x"}, "reason": "why"}, 400),
        (f"{STUDY}/series/1.2", {"attributes": {"Modality": "MR"}, "reason": "why"}, 404),
    ],
)
async def test_what_is_refused(path: str, body: dict[str, object], status: int, tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        assert (await client.patch(path, json=body)).status_code == status
        assert (await client.delete(f"{STUDY}/corrections/9")).status_code == 404


async def test_only_who_may_change(tmp_path: Path) -> None:
    async with asking(tmp_path, VERBS - {"change"}) as client:
        body = {"attributes": {"PatientName": "x"}, "reason": "why"}
        assert (await client.patch(STUDY, json=body)).status_code == 403
        assert (await client.delete(f"{STUDY}/corrections/1")).status_code == 403
        assert (await client.get(f"{STUDY}/corrections")).json() == []
