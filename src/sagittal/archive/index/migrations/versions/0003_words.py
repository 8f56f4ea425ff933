"""Words of names for fuzzy matching, filled for the studies that are held; attributes indexed by configuration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sagittal.archive.index.finding import people
from sagittal.dicom.matching.names import fold_name

revision = "0003"
down_revision = "0002"

_TABLES = (
    "CREATE TABLE name_word (id INTEGER NOT NULL, store INTEGER NOT NULL, word TEXT DEFAULT '' NOT NULL, "
    "PRIMARY KEY (id), UNIQUE (store, word))",
    "CREATE TABLE name_code (store INTEGER NOT NULL, code TEXT NOT NULL, word INTEGER NOT NULL, "
    "PRIMARY KEY (store, code, word)) WITHOUT ROWID",
    "CREATE INDEX ix_name_code_word ON name_code (word)",
    "CREATE TABLE name_use (word INTEGER NOT NULL, tag INTEGER NOT NULL, study INTEGER NOT NULL, "
    "PRIMARY KEY (word, tag, study)) WITHOUT ROWID",
    "CREATE INDEX ix_name_use_study ON name_use (study)",
    "CREATE TABLE indexed_attribute (name TEXT NOT NULL, done INTEGER DEFAULT '0' NOT NULL, "
    "until INTEGER DEFAULT '0' NOT NULL, PRIMARY KEY (name))",
    "CREATE TABLE attribute_value (name TEXT NOT NULL, value TEXT NOT NULL, instance INTEGER NOT NULL, "
    "PRIMARY KEY (name, value, instance)) WITHOUT ROWID",
    "CREATE INDEX ix_attribute_value_instance ON attribute_value (instance)",
)


def upgrade() -> None:
    """New tables and a column; names are read from the rows."""
    op.add_column("series", sa.Column("operators_name_search", sa.Text, nullable=False, server_default=""))
    for statement in _TABLES:
        op.execute(statement)
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.create_function("fold_name", 1, fold_name, deterministic=True)
    connection.execute("UPDATE series SET operators_name_search = fold_name(operators_name) WHERE operators_name <> ''")
    people.record_all(connection)
