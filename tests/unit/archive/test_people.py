"""Words of names in the index: kept up with studies, filled for an index of before."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from builders import build, opened, store

from sagittal.archive.access import LOCAL
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


def test_words_go_with_their_last_study(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            one = build(1, study="a", patient_id="A", patient_name="Doe^Jane")
            await store(archive, one, build(1, study="b", patient_id="B", patient_name="Doe^John"))
            assert {"doe", "jane", "john", "roe", "richard"} == words(tmp_path)
            await archive.delete(LOCAL, Target(one.study_uid), "test")
            await archive.collect(now=1 << 60)
            assert {"doe", "john", "roe", "richard"} == words(tmp_path)
            assert len((await archive.find(LOCAL, Query("STUDY", {NAME: "doe"}, fuzzy=True))).rows) == 1

    asyncio.run(run())


def test_a_name_that_comes_later(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, build(1, patient_name=""), build(2, patient_name="Doe^Jane"))
            assert len((await archive.find(LOCAL, Query("STUDY", {NAME: "jane"}, fuzzy=True))).rows) == 1

    asyncio.run(run())


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


def _take_back(connection: sqlite3.Connection, tables: list[str]) -> None:
    """What migrations after this one made; each knows how to make it again."""
    for table in tables:
        if table.startswith("correction") or table in ("alias", "failed_transcoding"):
            connection.execute(f"DROP TABLE {table}")
    connection.execute("DROP TABLE store")
    for table in ("node", "token"):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN works_in")
