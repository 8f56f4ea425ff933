"""Statements of the change feed."""

from __future__ import annotations

from sagittal.archive.index import MAIN_STORE

CHANGES = (
    "SELECT id, kind, study_instance_uid, series_instance_uid, sop_instance_uid, at FROM change "
    f"WHERE id > ? AND +store = {MAIN_STORE} ORDER BY id LIMIT ?"
)
NEWEST = "SELECT coalesce(max(id), 0) FROM change"
