"""Digests that originals had before they were transcoded, and versions that could not be."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = (
    "CREATE TABLE alias (store INTEGER NOT NULL, digest TEXT NOT NULL, instance INTEGER NOT NULL, "
    "pixels TEXT DEFAULT '' NOT NULL, PRIMARY KEY (store, digest, instance), "
    "FOREIGN KEY(instance) REFERENCES instance (id)) WITHOUT ROWID",
    "CREATE INDEX ix_alias_instance ON alias (instance)",
    "CREATE TABLE failed_transcoding (instance INTEGER NOT NULL, store INTEGER NOT NULL, "
    "to_syntax TEXT DEFAULT '' NOT NULL, reason TEXT DEFAULT '' NOT NULL, again INTEGER DEFAULT '0' NOT NULL, "
    "at INTEGER NOT NULL, PRIMARY KEY (instance), FOREIGN KEY(instance) REFERENCES instance (id))",
)


def upgrade() -> None:
    """The tables, empty."""
    for statement in _TABLES:
        op.execute(statement)
