"""Statements of the change feed."""

from __future__ import annotations

CHANGES = (
    "SELECT id, kind, study_instance_uid, series_instance_uid, sop_instance_uid, at FROM change "
    "WHERE id > ? AND +store = ? ORDER BY id LIMIT ?"
)
NEWEST = "SELECT coalesce(max(id), 0) FROM change"
