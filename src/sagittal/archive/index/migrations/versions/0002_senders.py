"""What a node calls itself and where from; the character set that was assumed for what it sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ADDED = (("node", "name"), ("node", "addresses"), ("receipt", "character_set"))


def upgrade() -> None:
    """New columns, empty."""
    for table, column in _ADDED:
        op.add_column(table, sa.Column(column, sa.Text, nullable=False, server_default=""))
