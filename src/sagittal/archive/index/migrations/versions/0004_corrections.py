"""Corrections of studies and series, kept beside the objects."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE = (
    "CREATE TABLE correction (id INTEGER NOT NULL, store INTEGER NOT NULL, "
    "study_instance_uid TEXT DEFAULT '' NOT NULL, series_instance_uid TEXT DEFAULT '' NOT NULL, "
    "attributes TEXT DEFAULT '' NOT NULL, texts TEXT DEFAULT '' NOT NULL, replaced TEXT DEFAULT '' NOT NULL, "
    "code TEXT DEFAULT '' NOT NULL, reason TEXT DEFAULT '' NOT NULL, principal TEXT DEFAULT '' NOT NULL, "
    "at INTEGER NOT NULL, undone_at INTEGER, undone_by TEXT DEFAULT '' NOT NULL, PRIMARY KEY (id))"
)


def upgrade() -> None:
    """The table, empty."""
    op.execute(_TABLE)
    op.execute("CREATE INDEX ix_correction_study ON correction (store, study_instance_uid)")
