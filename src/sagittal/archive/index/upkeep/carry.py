"""Statements of reindex: what the old index knows that objects can't tell, carried over into the new one.

The old index is attached as `old`, read-only in effect; any of its tables may turn out to be damaged. Deliberately not
here: reading objects.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER, OTHER, PURGING, schema
from sagittal.archive.index.arrival import (
    ISSUER_OF_PATIENT_ID,
    SERIES_COLUMNS,
    STUDY_COLUMNS,
    TIMEZONE_OFFSET_FROM_UTC,
)
from sagittal.archive.index.connection import is_of_the_moment, open_reader
from sagittal.archive.index.hierarchy import INSTANCE, retired

# In the order in which references need them. Not here: what objects tell, and what is made anew.
TABLES = ("store", "volume", "tombstone", "receipt", "change", "audit", "node", "token", "correction",
          "alias", "failed_transcoding")  # fmt: skip


def _of(table: str, columns: Mapping[int, str]) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.values())


_HELD_AGAINST = ("study", "series", "discrepancy")
_INDEXES = (
    "CREATE INDEX temp.was_study_uid ON was_study (study_instance_uid, store)",
    "CREATE INDEX temp.was_study_id ON was_study (id)",
    "CREATE INDEX temp.was_series_uid ON was_series (series_instance_uid, store)",
    "CREATE INDEX temp.was_series_id ON was_series (id)",
)
_KEPT_SETTINGS = "INSERT OR IGNORE INTO main.setting SELECT * FROM old.setting WHERE name <> 'opened'"
_VERSIONS = (
    'CREATE TEMP TABLE held AS SELECT "key", id, state, tombstone, received_at, store, study, series FROM old.instance'
)
# As they are carried over: while objects come in, corrections learn anew what those say instead.
_CORRECTED = (
    "CREATE TEMP TABLE corrected AS SELECT id, store, study_instance_uid, series_instance_uid, replaced "
    "FROM main.correction WHERE undone_at IS NULL"
)
_REPLACED = (
    "SELECT replaced FROM temp.corrected WHERE study_instance_uid = ? AND series_instance_uid = ? AND store = ? "
    "ORDER BY id DESC"
)
_BY_SENDERS = (ISSUER_OF_PATIENT_ID, TIMEZONE_OFFSET_FROM_UTC)
_STUDIES = "main.study n JOIN temp.was_study o ON o.store = n.store AND o.study_instance_uid = n.study_instance_uid"
_SERIES = (
    "main.series n JOIN main.study t ON t.id = n.study "
    "JOIN temp.was_study u ON u.store = t.store AND u.study_instance_uid = t.study_instance_uid "
    "JOIN temp.was_series o ON o.store = n.store AND o.series_instance_uid = n.series_instance_uid AND o.study = u.id"
)
_OTHERWISE = tuple(
    f"SELECT '{table}', n.id, {study}.id, n.store, {study}.study_instance_uid, {uid}, {_of('o', columns)} "
    f"FROM {rows} WHERE ({_of('n', columns)}) IS NOT ({_of('o', columns)}) "
    "OR EXISTS (SELECT 1 FROM temp.corrected c WHERE c.store = n.store "
    f"AND c.study_instance_uid = {study}.study_instance_uid AND c.series_instance_uid = {uid})"
    for table, columns, rows, study, uid in (
        ("study", STUDY_COLUMNS, _STUDIES, "n", "''"),
        ("series", SERIES_COLUMNS, _SERIES, "t", "n.series_instance_uid"),
    )
)
# What is listed of versions beside current ones depends on which were current when.
_LISTED = (
    "CREATE TEMP TABLE listed AS SELECT d.store, d.level, coalesce(n.id, t.id) AS parent, d.tag, d.value, d.kept, "
    "d.instance, d.number_of_instances, d.at FROM temp.was_discrepancy d "
    "LEFT JOIN temp.was_series o ON d.level = 'series' AND o.id = d.parent "
    "JOIN temp.was_study u ON u.id = CASE d.level WHEN 'series' THEN o.study ELSE d.parent END "
    "JOIN main.study t ON t.store = u.store AND t.study_instance_uid = u.study_instance_uid "
    "LEFT JOIN main.series n ON n.store = o.store AND n.series_instance_uid = o.series_instance_uid AND n.study = t.id "
    "WHERE d.level <> 'series' OR n.id IS NOT NULL"
)
_BESIDE = f"instance IN (SELECT id FROM main.instance WHERE state = {OTHER})"
_LIST = (
    "CREATE INDEX temp.listed_place ON listed (parent, tag, value)",
    f"DELETE FROM main.discrepancy AS d WHERE {_BESIDE} AND NOT EXISTS (SELECT 1 FROM temp.listed l "
    "WHERE l.level = d.level AND l.parent = d.parent AND l.tag = d.tag AND l.value = d.value)",
    "INSERT OR IGNORE INTO main.discrepancy "
    "(store, level, parent, tag, value, kept, instance, number_of_instances, at) "
    f"SELECT * FROM temp.listed WHERE {_BESIDE}",
    "UPDATE main.discrepancy AS d SET (instance, at, number_of_instances) = "
    "(l.instance, l.at, max(d.number_of_instances, l.number_of_instances)) FROM temp.listed l "
    "WHERE l.level = d.level AND l.parent = d.parent AND l.tag = d.tag AND l.value = d.value "
    "AND EXISTS (SELECT 1 FROM main.instance i WHERE i.id = l.instance)",
)


class HeldVersion(NamedTuple):
    """What the old index said about the version at a key."""

    id: int
    state: int
    tombstone: int | None
    received_at: int
    store: int


def attach(connection: sqlite3.Connection, old: Path) -> None:
    """Attach the old index. UsageError when it is newer than this program, which would leave out what it keeps."""
    connection.execute("ATTACH DATABASE ? AS old", (str(old),))
    try:
        revision = connection.execute("SELECT version_num FROM old.alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB or is_of_the_moment(error):
            raise
        return  # it is empty, or damaged there
    if revision is not None:
        schema.check(str(revision[0]))


def detach(connection: sqlite3.Connection) -> None:
    """Let go of it."""
    connection.execute("DETACH DATABASE old")


def carry_tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Copy what can be copied, and beside it what new rows are held against; gives (table, error) for what can't.

    It is read by a connection of its own: one that has met a damaged page commits no more.
    """
    failed = []
    for table in _HELD_AGAINST:
        connection.execute(f"CREATE TEMP TABLE was_{table} AS SELECT * FROM main.{table} WHERE FALSE")
    for index in _INDEXES:
        connection.execute(index)
    ((path,),) = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'old'").fetchall()
    copies = [(table, f"main.{table}") for table in TABLES]
    copies += [(table, f"temp.was_{table}") for table in _HELD_AGAINST]
    with closing(open_reader(Path(path))) as old:
        for table, copy in copies:
            connection.execute("SAVEPOINT carry")
            try:
                _copy(old, connection, table, copy)
            except sqlite3.DatabaseError as error:
                if is_of_the_moment(error):
                    raise
                connection.execute("ROLLBACK TO carry")
                failed.append((table, str(error)))
            connection.execute("RELEASE carry")
    return failed


def _copy(old: sqlite3.Connection, connection: sqlite3.Connection, table: str, copy: str) -> None:
    ours = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
    theirs = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    names = [f'"{name}"' for name in ours if name in theirs]
    if names:
        columns, marks = ", ".join(names), ",".join("?" * len(names))
        rows = old.execute(f"SELECT {columns} FROM {table}")
        connection.executemany(f"INSERT OR REPLACE INTO {copy} ({columns}) VALUES ({marks})", rows)


def carry_settings(connection: sqlite3.Connection) -> None:
    """Settings, without the mark of the last opening: a rebuilt index must not remove what it does not know."""
    connection.execute(_KEPT_SETTINGS)


def carry_versions(connection: sqlite3.Connection) -> int:
    """Prepare `held` and `in_effect`; gives the first id that no version had."""
    connection.execute(_VERSIONS)
    connection.execute('CREATE INDEX temp.held_key ON held ("key")')
    connection.execute(_CORRECTED)
    connection.execute("CREATE INDEX temp.corrected_study ON corrected (study_instance_uid)")
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM old.instance").fetchone()
    return max(int(last), retired(connection, INSTANCE)) + 1


def keys(connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """Where versions of a store lay, and the store: one study after the other as they were made, for the first one of a
    patient describes it, and so its series, in whose order it is retrieved; of each in the order in which they came.
    """
    yield from connection.execute(
        'SELECT "key", store FROM temp.held GROUP BY "key", store ORDER BY min(study), min(series), min(id)'
    )


def held(connection: sqlite3.Connection, key: str) -> list[HeldVersion]:
    """The versions that lay at a key, of any store."""
    rows = connection.execute(
        'SELECT id, state, tombstone, received_at, store FROM temp.held WHERE "key" = ? ORDER BY id', (key,)
    )
    return [HeldVersion._make(row) for row in rows]


def in_effect(connection: sqlite3.Connection, store: int, study_uid: str) -> tuple[str, str]:
    """The issuer of the Patient ID and the offset from UTC of the study, as they were before they were corrected: they
    may have come from its sender's node.
    """
    row = connection.execute(
        "SELECT issuer_of_patient_id, timezone_offset_from_utc FROM temp.was_study "
        "WHERE store = ? AND study_instance_uid = ?",
        (store, study_uid),
    ).fetchone()
    said = dict(zip(_BY_SENDERS, row or ("", ""), strict=True)) | _replaced(connection, store, study_uid, "")
    issuer, offset = (said[tag] for tag in _BY_SENDERS)
    return issuer, offset


def _replaced(connection: sqlite3.Connection, store: int, study_uid: str, series_uid: str) -> dict[int, str]:
    """What the objects of a study or series said where that was corrected, when there was the old index."""
    found = dict[int, str]()
    for (replaced,) in connection.execute(_REPLACED, (study_uid, series_uid, store)):
        found |= {int(tag, 16): text for tag, text in json.loads(replaced).items()}
    return found


def otherwise(connection: sqlite3.Connection) -> dict[int, dict[tuple[str, int], dict[int, str]]]:
    """By the study, and by the row of it or of a series, what the old index said of those that are otherwise now, or
    are corrected: the value of another object may have won there.
    """
    found: dict[int, dict[tuple[str, int], dict[int, str]]] = {}
    for statement, columns in zip(_OTHERWISE, (STUDY_COLUMNS, SERIES_COLUMNS), strict=True):
        for table, id, study, store, study_uid, series_uid, *values in connection.execute(statement).fetchall():
            texts = dict(zip(columns, values, strict=True)) | _replaced(connection, store, study_uid, series_uid)
            found.setdefault(study, {})[table, id] = {tag: texts[tag] for tag in columns}
    return found


def character_set_of(connection: sqlite3.Connection, instance: int) -> str:
    """The character set that was assumed for a version when it came; receipts have been carried over."""
    row = connection.execute(
        "SELECT character_set FROM main.receipt WHERE instance = ? AND character_set <> '' ORDER BY id", (instance,)
    ).fetchone()
    return str(row[0]) if row else ""


def carry_revisions(connection: sqlite3.Connection) -> None:
    """Revisions go on from the old ones, so that no ETag comes to mean something else; so do the times of making."""
    connection.execute(
        "UPDATE main.study SET (revision, created_at) = (SELECT o.revision + main.study.revision, o.created_at "
        "FROM temp.was_study o WHERE o.store = main.study.store "
        "AND o.study_instance_uid = main.study.study_instance_uid) "
        "WHERE EXISTS (SELECT 1 FROM temp.was_study o WHERE o.store = main.study.store "
        "AND o.study_instance_uid = main.study.study_instance_uid)"
    )
    connection.execute(
        "UPDATE main.series SET revision = main.series.revision + coalesce((SELECT max(o.revision) "
        "FROM temp.was_series o WHERE o.store = main.series.store "
        "AND o.series_instance_uid = main.series.series_instance_uid), 0)"
    )


def carry_listed(connection: sqlite3.Connection) -> None:
    """After `otherwise`: of versions beside current ones that is listed which was, and each names whom it named."""
    for statement in (_LISTED, *_LIST):
        connection.execute(statement)


def bury(connection: sqlite3.Connection, instance: int, tombstone: int) -> None:
    """The version stays deleted."""
    connection.execute("UPDATE instance SET tombstone = ? WHERE id = ?", (tombstone, instance))


def drop_dangling(connection: sqlite3.Connection) -> None:
    """Receipts of versions whose object is gone stay, without the version; what is about those alone goes."""
    connection.execute(
        "UPDATE receipt SET instance = NULL WHERE instance IS NOT NULL AND instance NOT IN (SELECT id FROM instance)"
    )
    for table in ("alias", "failed_transcoding"):
        connection.execute(f"DELETE FROM {table} WHERE instance NOT IN (SELECT id FROM instance)")


def has_current(connection: sqlite3.Connection, store: int, sop_instance_uid: str, has_old: bool) -> bool:
    """Whether a current version is in the store, or was in the old index."""
    return any(
        connection.execute(
            f"SELECT 1 FROM {schema}.instance WHERE store = ? AND sop_instance_uid = ? AND state = {CURRENT}",
            (store, sop_instance_uid),
        ).fetchone()
        for schema in (("main", "old") if has_old else ("main",))
    )


VERSION_STATES = frozenset({OTHER, CURRENT, DELETED, DELETED_OTHER, PURGING})
