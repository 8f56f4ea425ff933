"""Stores by name, and who works in which; all there is is in main."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TABLE = (
    "CREATE TABLE store (id INTEGER NOT NULL, name TEXT NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (id), "
    "UNIQUE (name))"
)


def upgrade() -> None:
    """The table with main in it, and two columns."""
    op.execute(_TABLE)
    op.execute(
        "INSERT INTO store (id, name, created_at) VALUES (1, 'main', CAST(strftime('%s', 'now') AS INTEGER) * 1000000)"
    )
    for table in ("node", "token"):
        op.add_column(table, sa.Column("works_in", sa.Text, nullable=False, server_default=""))
