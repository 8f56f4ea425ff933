"""Corrections where an answer is made of metadata: queries that no index answers, and pictures."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from builders import Built, build, store
from unit.archive.test_corrections import FIRST, SERIES, correct, holding

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.query import Query
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE
from sagittal.limits import ArchiveLimits, Limits, WorkerLimits
from sagittal.web.app import create_app
from sagittal.web.house import Settings
from sagittal.workers.pool import Pool

STUDY_UID = 0x0020000D


async def test_what_no_index_answers_is_found_as_it_is_right(tmp_path: Path) -> None:
    held = [build(1, extra={"PatientComments": "wrong"}), build(1, study=2, extra={"PatientComments": "other"})]
    comments, right = 0x00104000, {"vr": "LT", "Value": ["right"]}
    async with holding(tmp_path, *held) as archive:
        number = await correct(archive, PatientComments="right")
        await correct(archive, SERIES, ProtocolName="Knee")
        for level in ("PATIENT", "STUDY", "SERIES", "IMAGE"):
            expected = {"right": 1, "wrong": 0, "other": 1}
            for text, count in expected.items():
                rows = await archive.find(LOCAL, Query(level, {comments: text}))
                assert len(rows.rows) == count == await archive.count(LOCAL, Query(level, {comments: text})), level
        found = await archive.find(LOCAL, Query("SERIES", {0x00181030: "Knee"}, frozenset({STUDY_UID})))
        assert [row[found.columns.index(STUDY_UID)] for row in found.rows] == [FIRST.study_uid]
        (told,) = (await archive.find(LOCAL, Query("STUDY", {STUDY_UID: FIRST.study_uid, comments: ""}))).extra
        assert told["00104000"] == right
        (told,) = (await archive.find(LOCAL, Query("STUDY", {STUDY_UID: FIRST.study_uid}, include_all=True))).extra
        assert told["00104000"] == right
        await archive.undo_correction(LOCAL, FIRST.study_uid, number)
        assert len((await archive.find(LOCAL, Query("STUDY", {comments: "wrong"}))).rows) == 1


async def test_attributes_indexed_by_configuration_are_found_as_they_are_right(tmp_path: Path) -> None:
    held = [build(1, extra={"Occupation": "wrong"}), build(1, study=2, patient_id="P2", extra={"Occupation": "other"})]
    occupation = 0x00102180
    limits = Limits(archive=ArchiveLimits(scan_instances_max=2))  # what is read is the corrected study alone
    archive = await Archive.open(tmp_path, limits=limits, durability="off", attributes=["Occupation"])
    try:
        await store(archive, *held, *(build(number, study=3, patient_id="P3") for number in range(1, 9)))
        await correct(archive, Occupation="right")
        for level, each in (("PATIENT", 1), ("STUDY", 1), ("SERIES", 1), ("IMAGE", 1)):
            for text, count in {"right": each, "wrong": 0, "other": each, "o*": each}.items():
                rows = await archive.find(LOCAL, Query(level, {occupation: text}))
                assert len(rows.rows) == count, (level, text)
                assert await archive.count(LOCAL, Query(level, {occupation: text})) == count
    finally:
        await archive.close()


async def pictured(archive: Archive, built: Built) -> httpx.Response:
    pool = Pool(WorkerLimits(workers=1))
    app = create_app(archive, Settings(), pool)
    path = f"/dicom-web/studies/{built.study_uid}/series/{built.series_uid}/instances/{built.sop_instance_uid}"
    asked = {"annotation": "patient", "viewport": "400,400", "accept": "image/png"}
    try:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8042") as client:
            answer = await client.get(f"{path}/rendered", params=asked)
    finally:
        await pool.close()
        app.close()
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("uid", [EXPLICIT_LE, DEFLATED_LE])
async def test_pictures_show_the_right_name(uid: str, tmp_path: Path) -> None:
    wrong, right = (
        build(1, patient_name=name, syntax_uid=uid, rows=64, columns=64) for name in ("Doe^Jane", "Roe^Tom")
    )

    async with holding(tmp_path / "wrong", wrong) as archive:
        before = await pictured(archive, wrong)
        await correct(archive, PatientName="Roe^Tom")
        after = await pictured(archive, wrong)
    async with holding(tmp_path / "right", right) as archive:
        expected = await pictured(archive, right)
    assert before.content != expected.content == after.content
    assert after.headers["etag"] != before.headers["etag"]
