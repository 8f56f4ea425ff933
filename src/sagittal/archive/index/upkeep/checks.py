"""Statements of scrub: every version as a row, and questions whose answers should be empty."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sagittal.archive.index import CURRENT, PURGING


class Row(NamedTuple):
    """A version with all that its file can confirm."""

    id: int
    sop_class_uid: str
    sop_instance_uid: str
    syntax_uid: str
    digest: str
    volume: int
    key: str
    offset: int
    length: int
    header_length: int
    study_uid: str | None
    series_uid: str | None


_ROW = (
    "SELECT instance.id, instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid, "
    'instance.digest, instance.volume, instance."key", instance."offset", instance.length, instance.header_length, '
    "study.study_instance_uid, series.series_instance_uid FROM instance "
    "LEFT JOIN series ON series.id = instance.series LEFT JOIN study ON study.id = instance.study "
    f"WHERE +instance.state <> {PURGING} AND "
)
VERSIONS = f"{_ROW} instance.id > ? ORDER BY instance.id LIMIT ?"
VERSION = f"{_ROW} instance.id = ?"

_COUNTED = f"(SELECT count(*) FROM instance WHERE instance.series = series.id AND instance.state = {CURRENT})"
# (what is wrong, statement whose first column names where)
CONSISTENCY = (
    (
        "the series counts other instances than it has",
        f"SELECT series_instance_uid FROM series WHERE number_of_instances <> {_COUNTED}",
    ),
    (
        "the study counts other instances or series than it has",
        "SELECT study_instance_uid FROM study WHERE number_of_instances <> "
        "(SELECT coalesce(sum(number_of_instances), 0) FROM series WHERE series.study = study.id) "
        "OR number_of_series <> (SELECT count(*) FROM series "
        "WHERE series.study = study.id AND series.number_of_instances > 0)",
    ),
    (
        "the instance is of a series or study that is not there",
        "SELECT sop_instance_uid FROM instance LEFT JOIN series ON series.id = instance.series "
        "WHERE instance.series IS NOT NULL AND (series.id IS NULL OR series.study <> instance.study)",
    ),
    (
        "the study is of a patient who is not there",
        "SELECT study_instance_uid FROM study LEFT JOIN patient ON patient.id = study.patient WHERE patient.id IS NULL",
    ),
    (
        "the digest stands for an instance that is not there",
        "SELECT alias.digest FROM alias LEFT JOIN instance ON instance.id = alias.instance WHERE instance.id IS NULL",
    ),
    (
        "metadata of no instance",
        "SELECT DISTINCT metadata.instance FROM metadata LEFT JOIN instance ON instance.id = metadata.instance "
        "WHERE instance.id IS NULL",
    ),
)


def damages(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """(table, words) of what SQLite finds wrong in the file of the index; each table with its indexes at one moment."""
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for (words,) in connection.execute(f'PRAGMA integrity_check("{table}")').fetchall():
            if words != "ok":
                yield table, words


def unreferred(connection: sqlite3.Connection, volume: int, keys: Sequence[str]) -> list[str]:
    """Those of `keys` that no version lies at, versions on their way out included. One pass over all versions."""
    return [key for (key,) in connection.execute(_UNREFERRED, (json.dumps(list(keys)), volume))] if keys else []


_UNREFERRED = 'SELECT value FROM json_each(?) WHERE value NOT IN (SELECT "key" FROM instance WHERE volume = ?)'
