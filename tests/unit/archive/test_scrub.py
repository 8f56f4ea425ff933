"""Scrub: every kind of damage is found, nothing else is."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from builders import build, opened, store
from denied import nobody_may_open

from sagittal.archive.access import LOCAL
from sagittal.archive.index.connection import open_reader
from sagittal.archive.index.removal import Target
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX
from sagittal.archive.upkeep.scrub import Finding, Scrub
from sagittal.dicom.syntaxes import DEFLATED_LE, RLE_LOSSLESS

OBJECTS = [
    build(1),
    build(2, syntax_uid=RLE_LOSSLESS, frames=3),
    build(3, syntax_uid=DEFLATED_LE),
    build(1, study=2, patient_name="Yamada^Tarou=山田^太郎", charset="ISO_IR 192"),
    build(9, study_uid="", series_uid="", sop_class_uid="1.2.840.10008.5.1.4.39.1"),
    build(1, extra={"StudyID": "another version"}),
]
FIRST = OBJECTS[0]


async def filled(path: Path) -> None:
    async with opened(path) as archive:
        await store(archive, *OBJECTS)
        await archive.delete(LOCAL, Target(OBJECTS[3].study_uid))


def scrub(path: Path, **options: float) -> list[Finding]:
    volume, connection = LocalVolume(path), open_reader(path / INDEX)
    try:
        run = Scrub(connection, {1: volume}, **{"young_seconds": 0, **options})  # type: ignore[arg-type]
        return [told for told in run.run() if isinstance(told, Finding)]
    finally:
        connection.close()
        volume.close()


async def test_a_clean_archive_has_no_findings(tmp_path: Path) -> None:
    await filled(tmp_path)
    assert scrub(tmp_path) == []


@pytest.mark.parametrize("vr", [b"LO", b"PN", b"UN", b"OB"])
async def test_identifiers_of_another_value_representation_are_no_findings(tmp_path: Path, vr: bytes) -> None:
    """They are stored and warned of; the metadata has them as they came."""
    long = vr in (b"OB", b"UN")
    data = build(1).data
    for head in (b"\x08\x00\x18\x00", b"\x20\x00\x0d\x00", b"\x20\x00\x0e\x00"):
        at = data.index(head + b"UI") + 4
        length = data[at + 2 : at + 4]
        data = data[:at] + vr + (b"\0\0" + length + b"\0\0" if long else length) + data[at + 4 :]
    async with opened(tmp_path) as archive:
        await store(archive, replace(build(1), data=data))
    assert scrub(tmp_path) == []
    with sqlite3.connect(tmp_path / INDEX) as connection:
        connection.execute("UPDATE study SET study_instance_uid = '1.2.3'")
    assert [finding.kind for finding in scrub(tmp_path)] == ["mismatch"]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def flip_head(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (flip, "flipped"),
        (flip_head, "flipped"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "truncated"),
        (lambda file: file.write_bytes(b""), "truncated"),
        (lambda file: file.write_bytes(file.read_bytes() + b"more"), "mismatch"),
        (lambda file: file.unlink(), "missing"),
    ],
)
@pytest.mark.parametrize("number", range(len(OBJECTS)))
async def test_damaged_files(tmp_path: Path, damage: Callable[[Path], None], kind: str, number: int) -> None:
    await filled(tmp_path)
    damage(tmp_path / "objects" / "0001" / OBJECTS[number].digest)
    [finding] = scrub(tmp_path)
    assert (finding.kind, finding.sop_instance_uid) == (kind, OBJECTS[number].sop_instance_uid)


async def test_swapped_files_are_both_found(tmp_path: Path) -> None:
    await filled(tmp_path)
    one, two = (tmp_path / "objects" / "0001" / built.digest for built in OBJECTS[:2])
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    assert len({finding.sop_instance_uid for finding in scrub(tmp_path)}) == 2


async def test_strays_and_strangers(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "objects" / "0001" / ("ab" * 32)).write_bytes(b"?")
    (tmp_path / "objects" / "0001" / "thumbs.db").write_bytes(b"?")
    (tmp_path / "objects" / "readme").write_bytes(b"?")
    assert sorted((finding.kind, finding.key) for finding in scrub(tmp_path)) == [
        ("stray", "0001/" + "ab" * 32),
        ("stray", "0001/thumbs.db"),
        ("stray", "readme"),
    ]
    assert [finding.key for finding in scrub(tmp_path, young_seconds=60)] == ["0001/thumbs.db", "readme"]


@pytest.mark.parametrize(
    "edit",
    [
        f"UPDATE instance SET sop_instance_uid = '1.2.3' WHERE digest = '{FIRST.digest}'",
        f"UPDATE instance SET sop_class_uid = '1.2.3' WHERE digest = '{FIRST.digest}'",
        f"UPDATE instance SET transfer_syntax_uid = '1.2.840.10008.1.2' WHERE digest = '{FIRST.digest}'",
        f"UPDATE instance SET digest = '{'ab' * 32}' WHERE digest = '{FIRST.digest}'",
        f"UPDATE instance SET header_length = header_length - 2 WHERE digest = '{FIRST.digest}'",
        f"UPDATE instance SET study = study + 1 WHERE digest = '{FIRST.digest}'",
        f"UPDATE study SET study_instance_uid = '1.2.3' WHERE study_instance_uid = '{FIRST.study_uid}'",
        f"UPDATE series SET series_instance_uid = '1.2.3' WHERE series_instance_uid = '{FIRST.series_uid}'",
        "UPDATE study SET number_of_instances = number_of_instances + 1",
        "UPDATE study SET number_of_series = number_of_series + 1",
        "UPDATE series SET number_of_instances = number_of_instances + 1",
        "UPDATE study SET patient = 99",
        "DELETE FROM metadata WHERE instance = 1",
        "UPDATE metadata SET body = x'00' WHERE instance = 1",
        "UPDATE metadata SET body = (SELECT body FROM metadata WHERE instance = 2) WHERE instance = 1",
        "UPDATE metadata SET instance = 99 WHERE instance = 1",
    ],
)
async def test_edited_rows(tmp_path: Path, edit: str) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / INDEX) as connection:
        assert connection.execute(edit).rowcount
    found = scrub(tmp_path)
    assert {finding.kind for finding in found} == {"mismatch"}


async def test_a_damaged_file_of_the_index(tmp_path: Path) -> None:
    """A bit flipped in an index of a table: the study is there, and is not found by its patient."""
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / INDEX)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        statement = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_study_patient_id'"
        (page,) = connection.execute(statement).fetchone()
    octets = bytearray((tmp_path / INDEX).read_bytes())
    at = octets.index(b"P1", (page - 1) * size, page * size)
    octets[at] ^= 1
    (tmp_path / INDEX).write_bytes(octets)
    found = scrub(tmp_path)
    assert found and {(one.kind, one.key) for one in found} == {("mismatch", "")}
    assert "damaged at its table study: " in found[0].detail


@pytest.mark.parametrize("young_seconds", [0.0, 60.0])
async def test_a_stray_of_the_future_is_found(tmp_path: Path, young_seconds: float) -> None:
    """As after a start at which the clock was not set yet."""
    await filled(tmp_path)
    stray = tmp_path / "objects" / "0001" / ("ab" * 32)
    stray.write_bytes(b"x")
    os.utime(stray, (time.time() + 86_400,) * 2)
    assert [finding.kind for finding in scrub(tmp_path, young_seconds=young_seconds)] == ["stray"]


async def test_a_damaged_row_does_not_open_other_files(tmp_path: Path) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / INDEX) as connection:
        connection.execute("UPDATE instance SET \"key\" = '../index.db' WHERE id = 1")
    assert {finding.kind for finding in scrub(tmp_path)} == {"missing", "stray"}


async def test_an_object_that_may_not_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path)
    nobody_may_open(monkeypatch, [tmp_path / "objects" / "0001" / OBJECTS[1].digest])
    [finding] = scrub(tmp_path)
    assert (finding.kind, finding.sop_instance_uid) == ("unreadable", OBJECTS[1].sop_instance_uid)
    assert "Permission denied" in finding.detail


async def test_blocks_that_cannot_be_read_are_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path)
    bad, act = (tmp_path / "objects" / "0001" / OBJECTS[1].digest).stat().st_ino, os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == bad:
            raise OSError(errno.EIO, "Input/output error")
        return act(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    [finding] = scrub(tmp_path)
    assert (finding.kind, finding.detail) == ("unreadable", "Input/output error")


async def test_a_resend_repairs_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path)
    file = tmp_path / "objects" / "0001" / OBJECTS[1].digest
    before = file.stat().st_ino

    with monkeypatch.context() as patch:
        nobody_may_open(patch, [file])
        async with opened(tmp_path) as archive:
            await store(archive, OBJECTS[1])
            assert archive.ready() == [], "one object is not the whole archive"
    assert file.stat().st_ino != before
    assert scrub(tmp_path) == []


async def test_a_resend_repairs(tmp_path: Path) -> None:
    await filled(tmp_path)
    flip(tmp_path / "objects" / "0001" / OBJECTS[1].digest)
    async with opened(tmp_path) as archive:
        await store(archive, OBJECTS[1])
    assert scrub(tmp_path) == []


async def test_it_goes_on_where_it_was_and_keeps_to_its_rate(tmp_path: Path) -> None:
    await filled(tmp_path)
    slept: list[float] = []
    volume, connection = LocalVolume(tmp_path), open_reader(tmp_path / INDEX)
    run = Scrub(connection, {1: volume}, bytes_per_second=100, sleep=slept.append, young_seconds=0)
    assert not [told for told in run.run() if isinstance(told, Finding)]
    assert run.progress.instances == len(OBJECTS)
    assert len(slept) == len(OBJECTS)
    rest = Scrub(connection, {1: volume}, after=run.progress.after - 2, young_seconds=0)
    assert not [told for told in rest.run() if isinstance(told, Finding)]
    assert rest.progress.instances == 2
    connection.close()
    volume.close()
