"""The change feed: how it is read, and what it says of versions that the index has."""

from __future__ import annotations

import json
import sqlite3

CHANGES = (
    "SELECT id, kind, study_instance_uid, series_instance_uid, sop_instance_uid, at FROM change "
    "WHERE id > ? AND +store = ? ORDER BY id LIMIT ?"
)
_NEWEST = "SELECT coalesce(max(id), 0) FROM change"
_NOTE = (
    "INSERT INTO change (store, kind, study_instance_uid, series_instance_uid, sop_instance_uid, instance, at) "
    "SELECT instance.store, ?, coalesce(study_instance_uid, ''), coalesce(series_instance_uid, ''), sop_instance_uid, "
    "instance.id, ? FROM instance LEFT JOIN series ON series.id = instance.series "
    "LEFT JOIN study ON study.id = instance.study WHERE instance.id IN (SELECT value FROM json_each(?))"
)


def newest(connection: sqlite3.Connection) -> int:
    """The number of the last change; 0 without any."""
    return int(connection.execute(_NEWEST).fetchone()[0])


def note(connection: sqlite3.Connection, kind: str, at: int, instances: list[int]) -> None:
    """Say what became of these versions."""
    connection.execute(_NOTE, (kind, at, json.dumps(instances)))
