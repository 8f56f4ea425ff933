"""What an object's sender says for it where it is silent: character set, issuer of the Patient ID, offset from UTC."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from builders import Built, build, opened, uid

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.upkeep.reindex import Reindex
from sagittal.limits import Limits

PATIENT_NAME, ISSUER, TIMEZONE = 0x00100010, 0x00100021, 0x00080201
NODE = Source("dimse", "CT1", "SAGITTAL", character_set="GB18030", issuer_of_patient_id="HOSP", timezone="+0800")
CHINESE, GERMAN = "Wang^XiaoDong=王^小东", "Müller^Jürgen"


def named(name: bytes, charset: bytes = b"", **more: str) -> Built:
    return build(1, extra={"PatientName": name, "SpecificCharacterSet": charset, **more})


async def put(archive: Archive, built: Built, source: Source) -> None:
    transfer = archive.store_begin(LOCAL, source, syntax_uid=built.syntax_uid)
    transfer.write(built.data)
    await transfer.commit()


async def held(archive: Archive) -> tuple[str, str, str, str]:
    """Name, issuer and offset in the index, and the name in the metadata."""
    wanted = frozenset({PATIENT_NAME, ISSUER, TIMEZONE})
    rows = await archive.find(LOCAL, Query("STUDY", {}, wanted))
    (row,) = (dict(zip(rows.columns, row, strict=False)) for row in rows.rows)
    refs = await archive.instances(LOCAL, study_uid=uid("study", 1))
    metadata = [each async for page in archive.metadata(LOCAL, refs) for each in page]
    name = orjson.loads(metadata[0])["00100010"]["Value"][0]
    shown = "=".join(name[group] for group in ("Alphabetic", "Ideographic", "Phonetic") if group in name)
    return str(row[PATIENT_NAME]), str(row[ISSUER]), str(row[TIMEZONE]), shown


CASES = [
    (named(CHINESE.encode("gb18030")), NODE, CHINESE, "HOSP", "+0800"),
    (named(CHINESE.encode("gb18030"), b"KLINGON"), NODE, CHINESE, "HOSP", "+0800"),
    (named(GERMAN.encode("latin-1"), b"ISO_IR 100"), NODE, GERMAN, "HOSP", "+0800"),
    (named(GERMAN.encode("latin-1"), b"ISO-IR-100"), NODE, GERMAN, "HOSP", "+0800"),  # misspelt, but known
    (named(CHINESE.encode("gb18030")), replace(NODE, character_set=""), None, "HOSP", "+0800"),
    (
        named(CHINESE.encode("gb18030"), b"", IssuerOfPatientID="THEIRS", TimezoneOffsetFromUTC="-0100"),
        NODE,
        CHINESE,
        "THEIRS",
        "-0100",
    ),
    (named(b"Doe^Jane"), Source("dimse", "MR1", "SAGITTAL"), "Doe^Jane", "", ""),
]


@pytest.mark.parametrize(("built", "source", "name", "issuer", "timezone"), CASES)
def test_what_the_sender_says_reaches_the_index(
    built: Built, source: Source, name: str | None, issuer: str, timezone: str, tmp_path: Path
) -> None:
    async def run() -> tuple[str, str, str, str]:
        async with opened(tmp_path) as archive:
            await put(archive, built, source)
            return await held(archive)

    before = asyncio.run(run())
    assert before[1:3] == (issuer, timezone)
    assert name is None or (before[0], before[3]) == (name, name)
    assert name is not None or "\ufffd" in before[0]

    volume = LocalVolume(tmp_path)
    assert [each.error for each in Reindex(tmp_path, volume, Limits(), INDEX, time.time_ns() // 1000).run()] == [""]
    volume.close()

    async def again() -> tuple[str, str, str, str]:
        async with opened(tmp_path) as archive:
            return await held(archive)

    assert asyncio.run(again()) == before  # the node may have gone meanwhile


@pytest.mark.parametrize(("case", "assumed"), [(0, "GB18030"), (1, "GB18030"), (2, ""), (4, ""), (6, "")])
async def test_the_receipt_says_what_was_assumed(case: int, assumed: str, tmp_path: Path) -> None:
    built, source, *_ = CASES[case]
    async with opened(tmp_path) as archive:
        await put(archive, built, source)
    connection = sqlite3.connect(tmp_path / INDEX)
    assert connection.execute("SELECT calling_aet, character_set FROM receipt").fetchall() == [
        (source.calling_aet, assumed)
    ]
    connection.close()


async def test_two_senders_do_not_remember_for_each_other(tmp_path: Path) -> None:
    """The same bytes mean another name from another node."""
    name = "Müller".encode("latin-1")
    async with opened(tmp_path) as archive:
        for number, charset in enumerate(("ISO_IR 100", "ISO_IR 144", "ISO_IR 100")):
            built = build(1, study=number, patient_id=f"P{number}", extra={"PatientName": name})
            await put(archive, built, Source("dimse", "A", character_set=charset))
        rows = await archive.find(LOCAL, Query("STUDY", {}, frozenset({PATIENT_NAME})))
        at = rows.columns.index(PATIENT_NAME)
        assert sorted(str(row[at]) for row in rows.rows) == sorted(["Müller", "Müller", name.decode("iso8859-5")])
