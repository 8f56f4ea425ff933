"""One schema, told three times: the tables, the script for a fresh index, the migrations. They have to agree."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from builders import opened
from sqlalchemy import Engine, UniqueConstraint, event

from sagittal.archive.index import SCHEMA_REVISION, schema, tables
from sagittal.errors import UsageError

Shape = dict[str, list[tuple[object, ...]]]


def shape(path: Path) -> Shape:
    """Columns and indexes of every table, as SQLite sees them."""
    connection = sqlite3.connect(path)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: Shape = {}
        for name in sorted(names):
            found[name] = connection.execute(f"PRAGMA table_info({name})").fetchall()
            for _, index, unique, origin, partial in sorted(
                connection.execute(f"PRAGMA index_list({name})").fetchall()
            ):
                columns = [row[2] for row in connection.execute(f"PRAGMA index_info({index})")]
                key = "" if index.startswith("sqlite_autoindex") else index
                found[name].append((key, unique, origin, partial, *columns))
            found[name].sort(key=repr)
        return found
    finally:
        connection.close()


def fresh(path: Path) -> Path:
    connection = sqlite3.connect(path, isolation_level=None)
    schema.prepare(connection, path)
    connection.close()
    return path


def test_the_script_is_what_the_tables_say() -> None:
    script = Path(schema.__file__).with_name("fresh.sql").read_text(encoding="utf-8")
    assert script == schema.generate(), "run: python -m sagittal.archive.index.schema"


def test_migrations_lead_to_the_same_schema(tmp_path: Path) -> None:
    migrated = tmp_path / "migrated.db"
    connection = sqlite3.connect(migrated)
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.commit()
    assert schema.revision_of(connection) == ""
    connection.close()
    schema.upgrade(migrated, "")
    connection = sqlite3.connect(migrated)
    assert schema.revision_of(connection) == SCHEMA_REVISION
    assert connection.execute("SELECT id, name FROM volume").fetchall() == [(1, "local")]
    connection.close()
    assert shape(migrated) == shape(fresh(tmp_path / "fresh.db"))


def test_an_upgrade_that_ends_early_changes_nothing(tmp_path: Path) -> None:
    """As on a full disk: it is begun anew, which tables that are there already would not let it."""
    migrated = tmp_path / "migrated.db"
    with closing(sqlite3.connect(migrated)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "version_num='0005'" in statement:
            raise OSError("constructed")

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(OSError, match="constructed"):
            schema.upgrade(migrated, "")
    finally:
        event.remove(Engine, "before_cursor_execute", fail)
    assert list(shape(migrated)) == ["alembic_version"]
    schema.upgrade(migrated, "")
    assert shape(migrated) == shape(fresh(tmp_path / "fresh.db"))


class Full(sqlite3.Connection):
    """An index on a disk that is full at the commit, which SQLite takes back itself."""

    def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
        if statement != "COMMIT":
            return super().execute(statement, *more)
        super().execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")


def test_a_disk_that_is_full_as_an_index_is_made_is_told_as_such(tmp_path: Path) -> None:
    index = sqlite3.connect(tmp_path / "new.db", isolation_level=None, factory=Full)
    with closing(index), pytest.raises(sqlite3.OperationalError, match="full"):
        schema.create(index)


def test_letters_of_options_and_of_addresses_may_be_in_a_path(tmp_path: Path) -> None:
    (tmp_path / "%20?x=#").mkdir()
    migrated = tmp_path / "%20?x=#" / "index.db"
    with closing(sqlite3.connect(migrated)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    schema.upgrade(migrated, "")
    with closing(sqlite3.connect(migrated)) as connection:
        assert schema.revision_of(connection) == SCHEMA_REVISION
    assert [path.name for path in tmp_path.iterdir()] == ["%20?x=#"]


async def test_a_path_that_sqlite_does_not_take_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n\udce9"
    with pytest.raises(UsageError, match="has to be UTF-8"):
        async with opened(path):
            pass
    assert not path.exists()


async def test_a_newer_index_is_refused(tmp_path: Path) -> None:
    path = fresh(tmp_path / "index.db")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(UsageError, match=r"revision 9999.*run that, or restore a backup"):
        async with opened(tmp_path):
            pass


def test_every_unique_key_starts_with_the_store() -> None:
    for table in tables.schema.tables.values():
        if "store" not in table.c:
            continue
        keys = [c.columns.keys() for c in table.constraints if isinstance(c, UniqueConstraint)]
        keys += [index.columns.keys() for index in table.indexes if index.unique]
        assert all(key[0] == "store" for key in keys), table.name


def test_opening_imports_neither_alembic_nor_sqlalchemy_nor_pydicom(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from sagittal.archive.archive import Archive\n"
        "async def main():\n"
        "    archive = await Archive.open(Path(sys.argv[1])); await archive.close()\n"
        "asyncio.run(main())\n"
        "print(sorted({'alembic', 'sqlalchemy', 'pydicom', 'numpy'} & set(sys.modules)))"
    )
    for _ in range(2):  # fresh, and held
        ran = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "data"], capture_output=True, text=True, env=dict(os.environ)
        )
        assert ran.stdout.strip() == "[]", ran.stderr


def test_parameters_are_named_or_in_order() -> None:
    """Numbered ones are deprecated by Python 3.12.0 to 3.12.3, which take them for named."""
    for file in Path(schema.__file__).parent.rglob("*.py"):
        assert not re.search(r"\?[0-9]", file.read_text(encoding="utf-8")), file
