"""A fresh index in one go, an older one brought up to date.

A fresh index is made from `fresh.sql`, which says the same as `tables.py` (a test compares them), so that neither
SQLAlchemy nor Alembic is imported; Alembic is imported only when an upgrade is due. An index from a newer program is
refused.
"""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

from sagittal.archive.index import MAIN, MAIN_STORE, READER_VERSION, SCHEMA_REVISION, clock
from sagittal.archive.index.upkeep import settings
from sagittal.errors import UsageError

_APPLICATION_ID = 0x53414749  # "SAGI", shown by file(1)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty index, or upgrade it; UsageError when it is newer than this program."""
    revision = revision_of(connection)
    if revision is None:
        create(connection)
    elif revision != SCHEMA_REVISION:
        upgrade(path, revision)


def revision_of(connection: sqlite3.Connection) -> str | None:
    """The revision stamped into the index; None when it has no tables of ours."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def check(revision: str) -> None:
    """UsageError for a revision that is newer than this program."""
    if revision > SCHEMA_REVISION:
        what = f"the index is of a newer program (revision {revision}, this one knows up to {SCHEMA_REVISION})"
        raise UsageError(f"{what}: run that, or restore a backup of before")


def create(connection: sqlite3.Connection) -> None:
    """All tables, stamped, in one transaction."""
    script = resources.files(__package__).joinpath("fresh.sql").read_text(encoding="utf-8")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (SCHEMA_REVISION,))
        connection.execute("INSERT INTO store (id, name, created_at) VALUES (?, ?, ?)", (MAIN_STORE, MAIN, clock()))
        settings.write(connection, "reader_version", READER_VERSION)
        connection.execute("INSERT INTO volume (id, store, name, kind) VALUES (1, ?, 'local', 'local')", (MAIN_STORE,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it
            connection.execute("ROLLBACK")
        raise
    connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")


def upgrade(path: Path, revision: str) -> None:
    """Run the migrations that are due."""
    check(revision)
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Options are interpolated, and a URL ends at `?`: neither is for the path of an index.
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["index"] = path
    command.upgrade(config, "head")


def generate() -> str:
    """The text of `fresh.sql`, from the tables (for the person who changes them, and for the test)."""
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    from sagittal.archive.index.transcoding import tables

    dialect = sqlite.dialect()
    statements = []
    for table in tables.schema.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements.extend(str(CreateIndex(index).compile(dialect=dialect)).strip() for index in indexes)
    statements.append("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    return "".join(statement.replace("\t", "  ") + ";\n" for statement in statements)


if __name__ == "__main__":
    Path(__file__).with_name("fresh.sql").write_text(generate(), encoding="utf-8")
