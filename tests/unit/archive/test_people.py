"""Words of names in the index: kept up with studies, filled for an index of before."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index import schema
from sagittal.archive.index.removal import Target
from sagittal.archive.query import Query

NAME = 0x00100010


def words(path: Path) -> set[str]:
    connection = sqlite3.connect(path / "index.db")
    try:
        return {word for (word,) in connection.execute("SELECT word FROM name_word")}
    finally:
        connection.close()


async def test_words_go_with_their_last_study(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        one = build(1, study="a", patient_id="A", patient_name="Doe^Jane")
        await store(archive, one, build(1, study="b", patient_id="B", patient_name="Doe^John"))
        assert {"doe", "jane", "john", "roe", "richard"} == words(tmp_path)
        await archive.delete(LOCAL, Target(one.study_uid), "test")
        await archive.collect(now=1 << 60)
        assert {"doe", "john", "roe", "richard"} == words(tmp_path)
        assert len((await archive.find(LOCAL, Query("STUDY", {NAME: "doe"}, fuzzy=True))).rows) == 1


async def test_a_name_that_comes_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, build(1, patient_name=""), build(2, patient_name="Doe^Jane"))
        assert len((await archive.find(LOCAL, Query("STUDY", {NAME: "jane"}, fuzzy=True))).rows) == 1


def test_an_index_of_before_is_filled(tmp_path: Path) -> None:
    async def hold() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, build(1, patient_name="Doe^Jane", extra={"OperatorsName": "Ärzt^A\\Roe^B"}))

    asyncio.run(hold())
    connection = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '0002'")
    for name in ("name_word", "name_code", "name_use", "indexed_attribute", "attribute_value"):
        connection.execute(f"DROP TABLE {name}")
    connection.execute("ALTER TABLE series DROP COLUMN operators_name_search")
    later = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    _take_back(connection, later)
    connection.close()

    async def look() -> None:
        async with opened(tmp_path) as archive:
            assert len((await archive.find(LOCAL, Query("STUDY", {NAME: "jayne doe"}, fuzzy=True))).rows) == 1
            assert len((await archive.find(LOCAL, Query("SERIES", {0x00081070: "roe^*"}))).rows) == 1
            assert await archive.readers.run(schema.revision_of) >= "0003"

    asyncio.run(look())


def test_names_folded_as_before_are_folded_anew(tmp_path: Path) -> None:
    """Letters with a stroke were left as they are: in columns, in words, in attributes of the configuration."""
    extra = {"OperatorsName": "Øre^B", "ReferringPhysicianName": "Đurić^C", "PhysiciansOfRecord": "Ægir^D"}
    one = build(1, patient_name="Łukasz^A", charset="ISO_IR 192", extra=extra)

    async def hold() -> None:
        archive = await Archive.open(tmp_path, durability="off", attributes=("PhysiciansOfRecord",))
        await store(archive, one, build(2, study="b", patient_id="B"))
        await archive.close()

    asyncio.run(hold())
    connection = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '0006'")
    for table, column, now, before in (
        ("patient", "patient_name_search", "lukasz^a", "łukasz^a"), ("name_word", "word", "lukasz", "łukasz"),
        ("study", "patient_name_search", "lukasz^a", "łukasz^a"),
        ("study", "referring_physician_name_search", "duric^c", "đuric^c"),
        ("series", "operators_name_search", "ore^b", "øre^b"), ("attribute_value", "value", "paegir^d", "pægir^d"),
    ):  # fmt: skip
        done = connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (before, now))
        assert done.rowcount == 1, table
    connection.close()

    async def look() -> None:
        async with opened(tmp_path) as archive:
            for level, tag, key in (
                ("STUDY", NAME, "lukasz*"), ("PATIENT", NAME, "Łukasz^A"), ("SERIES", 0x00081070, "ore^*"),
                ("STUDY", 0x00080090, "duric^*"), ("STUDY", 0x00081048, "aegir*"),
            ):  # fmt: skip
                assert len((await archive.find(LOCAL, Query(level, {tag: key}))).rows) == 1, key
            assert len((await archive.find(LOCAL, Query("STUDY", {NAME: "lukasz"}, fuzzy=True))).rows) == 1

    asyncio.run(look())
    assert "łukasz" not in words(tmp_path)


def _take_back(connection: sqlite3.Connection, tables: list[str]) -> None:
    """What migrations after this one made; each knows how to make it again."""
    for table in tables:
        if table.startswith("correction") or table in ("alias", "failed_transcoding"):
            connection.execute(f"DROP TABLE {table}")
    connection.execute("DROP TABLE store")
    for table in ("node", "token"):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN works_in")


@pytest.mark.parametrize("name", ["ab" * 2_000, " ".join(f"word{at}" for at in range(2_000))])
async def test_what_is_no_name_takes_little_of_the_index(tmp_path: Path, name: str) -> None:
    """A word of thousands of letters had as many spellings, each as long: one small object took 280 megabytes."""
    async with opened(tmp_path / "archive") as archive:
        await store(archive, build(1, patient_name=name))
        assert len((await archive.find(LOCAL, Query("STUDY", {NAME: name[:4] + "*"}, fuzzy=True))).rows) == 1
        assert archive.index.stat().st_size < 2 << 20
