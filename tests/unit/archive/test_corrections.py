"""Corrections in the engine: the index, every way out of an archive, later instances, taking back, reindex, backup."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import applied
from builders import Built, build, opened, revision_of, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.upkeep.backup import restore
from sagittal.archive.upkeep.exporter import export_folder
from sagittal.archive.upkeep.reindex import Reindex
from sagittal.archive.upkeep.tasks import back_up
from sagittal.dicom.elements import encode
from sagittal.dicom.part10 import Part10Head
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.errors import BadRequest, NotFound
from sagittal.limits import Limits, ReaderLimits

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG_BASELINE)
CHUNK = 1 << 16


def objects() -> list[Built]:
    return [build(number, syntax_uid=uid, rows=32, columns=32) for number, uid in enumerate(SYNTAXES, 1)]


FIRST = build(1)
STUDY = (FIRST.study_uid, "")
SERIES = (FIRST.study_uid, FIRST.series_uid)


@asynccontextmanager
async def holding(tmp_path: Path, *held: Built) -> AsyncIterator[Archive]:
    async with opened(tmp_path / "a") as archive:
        await store(archive, *held)
        yield archive


async def correct(archive: Archive, where: tuple[str, str] = STUDY, code: str = "CORRECT", **attributes: Any) -> int:
    return await archive.correct(LOCAL, where, attributes, "mixed up at the modality", code)


async def find(archive: Archive, level: str, *tags: int, **keys: str) -> list[Any]:
    from sagittal.dicom.dictionary import tag_of

    asked = {tag_of(name): value for name, value in keys.items()} | {tag: "" for tag in tags if tag}
    rows = await archive.find(LOCAL, Query(level, asked, frozenset(tags)))
    return [[row[rows.columns.index(tag)] for tag in tags] for row in rows.rows]


NAME, ID, DESCRIPTION, STUDY_UID = 0x00100010, 0x00100020, 0x00081030, 0x0020000D


async def metadata(archive: Archive, built: Built) -> Any:
    refs = await archive.instances(LOCAL, sop_instance_uids=[built.sop_instance_uid])
    ((text,),) = [texts async for texts in archive.metadata(LOCAL, refs)]
    parts = b"".join([part async for part in archive.metadata_parts(LOCAL, refs[0])])
    assert parts == text
    return json.loads(text)


def read(file: bytes) -> Any:
    """The metadata of a Part 10 file."""
    head = Part10Head(ReaderLimits())
    head.feed(file)
    head.finish()
    texts: list[str] = []
    reader = Reader(syntax(head.syntax_uid), wanted=frozenset(), limits=ReaderLimits(), metadata=texts.append)
    reader.feed(file[head.data_set_offset :])
    assert not {"tag-order", "element-duplicate"} & set(reader.finish().defects)
    return json.loads("".join(texts))


def placeless(obj: Any) -> Any:
    return {tag: {k: v for k, v in element.items() if k != "BulkDataURI"} for tag, element in obj.items()}


async def test_queries_find_what_is_right(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        before = await revision_of(archive, FIRST.study_uid)
        await correct(archive, PatientName="Roe^Jöan", StudyDescription="Knee", PatientBirthDate=None)
        assert await find(archive, "STUDY", STUDY_UID, PatientName="ROE*") == [[FIRST.study_uid]]
        assert await find(archive, "STUDY", STUDY_UID, PatientName="DOE*") == []
        assert await find(archive, "STUDY", NAME, 0x00100030, DESCRIPTION) == [["Roe^Jöan", "", "Knee"]]
        assert await find(archive, "PATIENT", NAME, PatientID="P1") == [["Roe^Jöan"]]
        assert await revision_of(archive, FIRST.study_uid) == before + 1
        changes, _ = await archive.changes(LOCAL, None, 10)
        assert [(change.kind, change.sop_instance_uid) for change in changes][-1] == ("corrected", "")


async def test_a_series_is_corrected_alone(tmp_path: Path) -> None:
    other = build(1, series=2)
    async with holding(tmp_path, FIRST, other) as archive:
        number = await correct(archive, SERIES, SeriesDescription="Left knee", Modality="MR")
        assert await find(archive, "STUDY", 0x00080061) == [["CT\\MR"]]
        found = await find(archive, "SERIES", 0x0008103E, 0x00080060)
        assert sorted(found) == [["Left knee", "MR"], ["Series 2", "CT"]]
        assert (await metadata(archive, FIRST))["0008103E"]["Value"] == ["Left knee"]
        assert "04000561" not in await metadata(archive, other)
        with pytest.raises(NotFound):
            await correct(archive, (FIRST.study_uid, "1.2.3"), SeriesDescription="x")
        await archive.undo_correction(LOCAL, FIRST.study_uid, number)
        assert await find(archive, "STUDY", 0x00080061) == [["CT"]]


async def test_every_way_out_says_the_same(tmp_path: Path) -> None:
    held = objects()
    async with holding(tmp_path, *held) as archive:
        await correct(archive, PatientName="Roe^Jane", PatientID="P2", StudyDescription="Schädel")
        await correct(archive, SERIES, "COERCE", SeriesDescription="Дом")
        refs = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        files = {}
        for ref in refs:
            with archive.open_object(ref) as found:
                files[ref.sop_instance_uid] = b"".join(found.file(CHUNK))
                assert found.sent_size() == ref.sent_size == len(files[ref.sop_instance_uid])
                again = b"".join(found.data_set(1000))
                assert files[ref.sop_instance_uid].endswith(again)
        for built in held:
            told = read(files[built.sop_instance_uid])
            assert placeless(told) == placeless(await metadata(archive, built))
            assert told["00100010"]["Value"] == [{"Alphabetic": "Roe^Jane"}]
            assert [len(item["04000550"]["Value"][0]) for item in told["04000561"]["Value"]] == [3, 1]
            assert told["0008103E"]["Value"] == ["Дом"]
        await over_http(archive, files)
        for exported in export_folder(archive.open_object, refs, tmp_path / "out"):
            assert (tmp_path / "out" / exported.name).read_bytes() == files[exported.ref.sop_instance_uid]
        listing = (tmp_path / "out" / "index.csv").read_text()
        assert all(hashlib.sha256(file).hexdigest() in listing for file in files.values())


async def over_http(archive: Archive, files: dict[str, bytes]) -> None:
    base = f"/dicom-web/studies/{FIRST.study_uid}"
    async with (
        applied(archive) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8042") as client,
    ):
        for uid, file in files.items():
            stored = {"accept": "application/dicom; transfer-syntax=*"}
            answer = await client.get(f"{base}/series/{FIRST.series_uid}/instances/{uid}", headers=stored)
            assert answer.content == file and int(answer.headers["content-length"]) == len(file)
            cut = {**stored, "range": f"bytes=100-{len(file) - 50}"}
            part = await client.get(f"{base}/series/{FIRST.series_uid}/instances/{uid}", headers=cut)
            assert part.status_code == 206 and part.content == file[100 : len(file) - 49]
        answer = await client.get(
            base, headers={"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        )
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert all(file in answer.content for file in files.values())
        zipped = await client.get(base, headers={"accept": "application/zip"})
        with zipfile.ZipFile(io.BytesIO(zipped.content)) as names:
            assert {names.read(name) for name in names.namelist() if name.endswith(".dcm")} == set(files.values())
        native = next(uid for uid in files)
        explicit = {"accept": "application/dicom"}
        answer = await client.get(f"{base}/series/{FIRST.series_uid}/instances/{native}", headers=explicit)
        assert placeless(read(answer.content)) == placeless(read(files[native]))
        frame = await client.get(
            f"{base}/series/{FIRST.series_uid}/instances/{native}/frames/1",
            headers={"accept": "application/octet-stream"},
        )
        assert frame.content == objects()[0].frames[0]


async def test_what_is_not_corrected_goes_out_as_it_is(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        (ref,) = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        assert ref.corrections == () and ref.sent_size == ref.size
        with archive.open_object(ref) as found:
            assert b"".join(found.file(CHUNK)) == FIRST.part10


async def test_objects_stay_as_they_are(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        await correct(archive, PatientName="Roe")
        (ref,) = await archive.versions(LOCAL, FIRST.sop_instance_uid)
        with archive.open_object(ref) as found:
            assert b"".join(found.file(CHUNK)) == FIRST.part10
        (outcome,) = await store(archive, FIRST)
        assert outcome.status == "duplicate"


async def test_corrections_are_taken_back_in_any_order(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        first = await correct(archive, PatientName="One", StudyDescription="Knee")
        second = await correct(archive, PatientName="Two")
        third = await correct(archive, PatientName="Three")
        await archive.undo_correction(LOCAL, FIRST.study_uid, third)
        assert await find(archive, "STUDY", NAME, DESCRIPTION) == [["Two", "Knee"]]
        await archive.undo_correction(LOCAL, FIRST.study_uid, first)
        assert await find(archive, "STUDY", NAME, DESCRIPTION) == [["Two", "Study 1"]]
        assert len((await metadata(archive, FIRST))["04000561"]["Value"]) == 1
        await archive.undo_correction(LOCAL, FIRST.study_uid, second)
        assert await find(archive, "STUDY", NAME) == [["Doe^Jane"]]
        assert "04000561" not in await metadata(archive, FIRST)
        with pytest.raises(NotFound):
            await archive.undo_correction(LOCAL, FIRST.study_uid, second)
        rows = await archive.corrections_of(LOCAL, FIRST.study_uid)
        assert [(row.id, row.undone_by) for row in rows] == [(first, "local"), (second, "local"), (third, "local")]
        assert {row.reason for row in rows} == {"mixed up at the modality"}


async def test_a_study_goes_to_the_patient_of_its_identifier(tmp_path: Path) -> None:
    other = build(1, study=2, patient_id="P2", patient_name="Roe^Jane")
    third = build(1, study=3)

    async def patients(archive: Archive) -> list[Any]:
        return sorted(await find(archive, "PATIENT", ID, NAME))

    async with holding(tmp_path, FIRST, other, third) as archive:
        number = await correct(archive, PatientID="P2", PatientName="Roe^Jane")
        assert sorted(await find(archive, "STUDY", STUDY_UID, PatientID="P2")) == sorted(
            [[FIRST.study_uid], [other.study_uid]]
        )
        assert await patients(archive) == [["P1", "Doe^Jane"], ["P2", "Roe^Jane"]]
        await correct(archive, (third.study_uid, ""), PatientID="P9")  # the last study of P1 takes its row along
        assert await patients(archive) == [["P2", "Roe^Jane"], ["P9", "Doe^Jane"]]
        await archive.undo_correction(LOCAL, FIRST.study_uid, number)
        assert await patients(archive) == [["P1", "Doe^Jane"], ["P2", "Roe^Jane"], ["P9", "Doe^Jane"]]


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({}, "no attribute"),
        ({"StudyInstanceUID": "1.2"}, "can be corrected"),
        ({"SpecificCharacterSet": "ISO_IR 100"}, "can be corrected"),
        ({"PixelData": "x"}, "can be corrected"),
        ({"SeriesDescription": "x"}, "can be corrected"),
        ({"Nonsense": "x"}, "neither a keyword nor a tag"),
        ({"PatientName": {"vr": "LO", "Value": ["x"]}}, "has VR PN"),
        ({"PatientName": {"vr": "PN", "BulkDataURI": "x"}}, "given by its Value"),
        ({"PatientWeight": "heavy"}, "number-invalid"),
        ({"PatientComments": "x" * 100_000}, "value-too-long"),
        ({"StudyDate": "2020-01-02"}, "StudyDate is no DA"),
        ({"PatientBirthDate": "20230229"}, "PatientBirthDate is no DA"),
        ({"PatientSex": "m"}, "PatientSex is no CS"),
        ({"PatientAge": "35"}, "PatientAge is no AS"),
        ({"AccessionNumber": "12345678901234567"}, "AccessionNumber is no SH"),
        ({"PatientName": "Roe^Jane\n"}, "PatientName is no PN"),
        ({"OtherPatientIDsSequence": [{"00100022": {"vr": "CS", "Value": ["text"]}}]}, "TypeOfPatientID is no CS"),
    ],
)
async def test_what_cannot_be_corrected(attributes: dict[str, Any], why: str, tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        with pytest.raises(BadRequest, match=why):
            await archive.correct(LOCAL, STUDY, attributes, "why", "CORRECT")
        for reason, code, missed in ((" ", "CORRECT", "reason"), ("why", "correct", "the code is")):
            with pytest.raises(BadRequest, match=missed):
                await archive.correct(LOCAL, STUDY, {"PatientName": "x"}, reason, code)
        with pytest.raises(NotFound):
            await archive.correct(LOCAL, ("1.2.3", ""), {"PatientName": "x"}, "why", "CORRECT")
        assert await archive.corrections_of(LOCAL, FIRST.study_uid) == []


async def test_reindex_keeps_corrections(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        await correct(archive, SERIES, SeriesDescription="Knee")
        number = await correct(archive, PatientName="Roe^Jane", PatientID="P2")
    connection = sqlite3.connect(tmp_path / "a" / INDEX)
    connection.execute("UPDATE study SET patient_name = 'lost'")
    connection.commit()
    connection.close()
    volume = LocalVolume(tmp_path / "a")
    list(Reindex(tmp_path / "a", volume, Limits(), INDEX, time.time_ns() // 1000).run())
    volume.close()
    async with holding(tmp_path) as archive:
        assert await find(archive, "STUDY", NAME, ID) == [["Roe^Jane", "P2"]]
        assert await find(archive, "PATIENT", NAME, ID) == [["Roe^Jane", "P2"]]
        assert await find(archive, "SERIES", 0x0008103E) == [["Knee"]]
        assert (await metadata(archive, FIRST))["00100010"]["Value"] == [{"Alphabetic": "Roe^Jane"}]
        await archive.undo_correction(LOCAL, FIRST.study_uid, number)
        assert await find(archive, "STUDY", NAME, ID) == [["Doe^Jane", "P1"]]


async def test_backup_keeps_corrections(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        await correct(archive, PatientName="Roe^Jane")
        async for _ in back_up(archive, LOCAL, tmp_path / "backup"):
            pass
    list(restore(tmp_path / "backup", tmp_path / "b", INDEX))
    async with opened(tmp_path / "b") as archive:
        assert await find(archive, "STUDY", NAME) == [["Roe^Jane"]]
        assert len((await metadata(archive, FIRST))["04000561"]["Value"]) == 1


async def test_patients_are_merged_and_parted(tmp_path: Path) -> None:
    other = build(1, study=2, patient_id="P2", patient_name="Roe^Jane")
    third = build(1, study=3)
    async with holding(tmp_path, FIRST, other, third) as archive:
        numbers = await archive.merge_patient(LOCAL, ("P1", ""), ("P2", ""), "one person")
        assert await find(archive, "PATIENT", ID, NAME) == [["P2", "Roe^Jane"]]
        assert len(await find(archive, "STUDY", STUDY_UID, PatientID="P2")) == 3
        assert (await metadata(archive, third))["00100020"]["Value"] == ["P2"]
        for uid, number in zip((FIRST.study_uid, third.study_uid), numbers, strict=True):
            await archive.undo_correction(LOCAL, uid, number)
        assert sorted(await find(archive, "PATIENT", ID, NAME)) == [["P1", "Doe^Jane"], ["P2", "Roe^Jane"]]
        numbers = await archive.merge_patient(LOCAL, ("P1", ""), ("P2", ""), "one person")
        with pytest.raises(NotFound):
            await archive.undo_corrections(LOCAL, [*numbers, 999])
        assert await find(archive, "PATIENT", ID, NAME) == [["P2", "Roe^Jane"]]  # all or none
        await archive.undo_corrections(LOCAL, numbers)
        assert sorted(await find(archive, "PATIENT", ID, NAME)) == [["P1", "Doe^Jane"], ["P2", "Roe^Jane"]]
        for none in ([], numbers):
            with pytest.raises((BadRequest, NotFound)):
                await archive.undo_corrections(LOCAL, none)
        with pytest.raises(NotFound):
            await archive.merge_patient(LOCAL, ("P1", ""), ("P3", ""), "why")
        with pytest.raises(BadRequest):
            await archive.merge_patient(LOCAL, ("P1", ""), ("P1", ""), "why")
        with pytest.raises(BadRequest, match="reason"):
            await archive.merge_patient(LOCAL, ("P1", ""), ("P2", ""), "")


@pytest.mark.parametrize("is_behind", [False, True])
async def test_an_object_out_of_order_is_corrected_where_its_elements_are(tmp_path: Path, is_behind: bool) -> None:
    """The name stands behind the Original Attributes Sequence's place, before or behind Pixel Data."""
    name = encode([(NAME, "PN", b"Doe^Jane")], syntax(EXPLICIT_LE))
    pixels = FIRST.data[FIRST.data.index(b"\xe0\x7f\x10\x00") :]
    data = FIRST.data.removesuffix(pixels).replace(name, b"")
    data = data + pixels + name if is_behind else data + name + pixels
    assert len(data) == len(FIRST.data)
    async with holding(tmp_path) as archive:
        transfer = archive.store_begin(LOCAL, Source("import"), syntax_uid=EXPLICIT_LE)
        transfer.write(data)
        await transfer.commit()
        await correct(archive, PatientName="Roe^Tom", PatientComments="checked")
        (ref,) = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        with archive.open_object(ref) as opened:
            file = b"".join(opened.file(1 << 16))
        assert len(file) == ref.sent_size
        assert file.count(b"Doe^Jane") == 1  # in the Original Attributes Sequence
        assert file.count(name[:4]) == 2
        assert file.endswith(pixels)
        assert b"Roe^Tom" in file
        said = await metadata(archive, FIRST)
        assert said["00100010"]["Value"] == [{"Alphabetic": "Roe^Tom"}]
        assert json.dumps(said).count("Doe^Jane") == 1
        # Read in the metadata: no index answers what was said of the comments.
        found = await find(archive, "IMAGE", STUDY_UID, PatientName="Roe*", PatientComments="checked")
        assert found == [[FIRST.study_uid]]
        assert await find(archive, "IMAGE", STUDY_UID, PatientComments="Doe") == []
