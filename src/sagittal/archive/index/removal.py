"""Statements and row work of delete, undelete and the collector. Every function is inside a transaction of the writer.

A deleted version keeps its row until its bytes go: DELETED was current, DELETED_OTHER was not, PURGING can no longer
come back. After any of these the writer's memory of studies is out of date (`Hierarchy.forget`). Deliberately not here:
files, and who may.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER, OTHER, PURGING
from sagittal.archive.index.hierarchy import INSTANCE, recount, remove_series, remove_study, retire
from sagittal.archive.index.transcoding.originals import ORIGINAL, TOMBSTONE
from sagittal.archive.index.upkeep.feed import note
from sagittal.archive.index.upkeep.settling import Objects

_OF_STUDY = "study IN (SELECT id FROM study WHERE store = ? AND study_instance_uid = ?)"
_OF_SERIES = f"series IN (SELECT id FROM series WHERE series.store = ? AND series_instance_uid = ? AND {_OF_STUDY})"
# In halves, here and below: of SOP Instance UIDs there are two indexes, of current versions and of the others.
_OF_INSTANCE = " UNION ALL ".join(
    f"SELECT id FROM instance WHERE store = ? AND sop_instance_uid = ? AND state {side} {CURRENT}"
    for side in ("=", "<>")
)
_HIDE = (
    f"UPDATE instance SET tombstone = ?, state = CASE state WHEN {CURRENT} THEN {DELETED} ELSE {DELETED_OTHER} END "
    "WHERE id IN (SELECT value FROM json_each(?))"
)
TOMBSTONES = (
    "SELECT id, level, study_instance_uid, series_instance_uid, sop_instance_uid, principal, reason, "
    "number_of_instances, at, undone_at, purged_at FROM tombstone WHERE store = ? "
    f"AND (level = '{ORIGINAL}') = ? ORDER BY id DESC LIMIT ?"
)
_DELETED_OF = (
    "SELECT id, state, study, sop_instance_uid, digest FROM instance "
    f"WHERE tombstone = ? AND store = ? AND state IN ({DELETED}, {DELETED_OTHER})"
)
_HELD = " UNION ALL ".join(
    f"SELECT digest, state FROM instance WHERE store = :store AND sop_instance_uid = :uid AND {state}"
    for state in (f"state = {CURRENT}", f"state <> {CURRENT} AND state = {OTHER}")
)
_DUE = (
    "SELECT instance.id FROM tombstone CROSS JOIN instance ON instance.tombstone = tombstone.id "
    f"WHERE tombstone.purged_at IS NULL AND tombstone.at < CASE tombstone.level WHEN '{ORIGINAL}' THEN ? ELSE ? END "
    f"AND instance.state IN ({DELETED}, {DELETED_OTHER}) LIMIT ?"
)
_PURGING = (
    'SELECT id, sop_instance_uid, volume, "key", length, study, series, tombstone FROM instance '
    "WHERE id IN (SELECT value FROM json_each(?)) AND state = ?"
)
# Only rows of one SOP Instance UID can share a file, those of any store.
_REFERRED = " UNION ALL ".join(
    "SELECT 1 FROM instance WHERE store IN (SELECT id FROM store) AND sop_instance_uid = ? "
    f'AND state {side} {CURRENT} AND volume = ? AND "key" = ? AND id <> ?'
    for side in ("=", "<>")
)


class Purging(NamedTuple):
    """A version on its way out."""

    id: int
    sop_instance_uid: str
    volume: int
    key: str
    length: int
    study: int | None
    series: int | None
    tombstone: int


class Target(NamedTuple):
    """What a delete names: a study, a series in a study, or an instance (in a series, when that is given)."""

    study_uid: str = ""
    series_uid: str = ""
    sop_instance_uid: str = ""

    @property
    def level(self) -> str:
        return "instance" if self.sop_instance_uid else "series" if self.series_uid else "study"


def _under(store: int, target: Target) -> tuple[str, list[object]]:
    """What is true of instances under the target, and its values."""
    where, values = list[str](), list[object]()
    if target.sop_instance_uid:
        where.append(f"id IN ({_OF_INSTANCE})")
        values += [store, target.sop_instance_uid] * 2
    if target.series_uid:
        where.append(_OF_SERIES if target.study_uid else _OF_SERIES.partition(f" AND {_OF_STUDY}")[0] + ")")
        values += [store, target.series_uid]
    if target.study_uid:
        if not target.series_uid:
            # series leads to its instances by an index, study does not
            where.append(f"series IN (SELECT series.id FROM series WHERE {_OF_STUDY})")
        values += [store, target.study_uid]
    return " AND ".join(where), values


def find_target(connection: sqlite3.Connection, store: int, target: Target) -> list[tuple[int, int | None]]:
    """(instance, study) of the versions held under the target that are not deleted yet."""
    under, values = _under(store, target)
    statement = f"SELECT id, study FROM instance WHERE state IN ({OTHER}, {CURRENT}) AND {under}"
    return connection.execute(statement, values).fetchall()


def hide(
    connection: sqlite3.Connection,
    store: int,
    target: Target,
    rows: list[tuple[int, int | None]],
    who: str,
    why: str,
    at: int,
) -> int:
    """Delete the versions `rows` of `find_target` under a tombstone; gives its number."""
    row = (store, target.level, *target, who, why, len(rows), at)
    tombstone = connection.execute(TOMBSTONE, row).lastrowid
    assert tombstone is not None
    ids = [id for id, _ in rows]
    connection.execute(_HIDE, (tombstone, json.dumps(ids)))
    note(connection, "deleted", at, ids)
    for study in {study for _, study in rows if study is not None}:
        recount(connection, study, at, went=[id for id, of in rows if of == study])
    return tombstone


def covered(connection: sqlite3.Connection, store: int, tombstones: Iterable[int]) -> list[int]:
    """The versions that some tombstones cover."""
    return [id for each in tombstones for id, *_ in connection.execute(_DELETED_OF, (each, store))]


def unhide(connection: sqlite3.Connection, store: int, tombstone: int, at: int, looked: Objects) -> int:
    """Bring back what a tombstone of a store covers, and was `looked` at; gives the number of versions.

    Where another version has become current meanwhile, the old one comes back beside it, unless the very same file is
    held.
    """
    back: list[int] = []
    studies: set[int] = set()
    for id, state, study, uid, digest in connection.execute(_DELETED_OF, (tombstone, store)).fetchall():
        held = connection.execute(_HELD, {"store": store, "uid": uid}).fetchall()  # one file twice, perhaps
        if any(file == digest for file, _ in held):
            continue
        new = CURRENT if state == DELETED and all(there == OTHER for _, there in held) else OTHER
        connection.execute("UPDATE instance SET tombstone = NULL, state = ? WHERE id = ?", (new, id))
        back.append(id)
        studies |= {study} - {None}
    if back:
        note(connection, "undeleted", at, back)
        connection.execute("UPDATE tombstone SET undone_at = ? WHERE id = ?", (at, tombstone))
        for study in studies:
            recount(connection, study, at, came=back, looked=looked)
    return len(back)


def tombstones_of(connection: sqlite3.Connection, store: int, target: Target) -> list[int]:
    """Tombstones that can be undone and were made for exactly this target, newest first."""
    uids = [(name, uid) for name, uid in zip(_TOMBSTONE_UIDS, target, strict=True) if uid]
    where = " AND ".join(f"{name} = ?" for name, _ in uids)
    under, values = _under(store, target)  # of the instances there is an index, of tombstones' UIDs none
    rows = connection.execute(
        f"SELECT id FROM tombstone WHERE id IN (SELECT tombstone FROM instance WHERE {under}) "
        f"AND store = ? AND level = ? AND {where} AND purged_at IS NULL ORDER BY id DESC",
        (*values, store, target.level, *(uid for _, uid in uids)),
    )
    return [id for (id,) in rows]


_TOMBSTONE_UIDS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def mark_due(connection: sqlite3.Connection, deleted_before: int, originals_before: int, count_max: int) -> list[int]:
    """Versions whose grace period is over, now PURGING; those that a collector which died had marked come first.

    Originals of what was transcoded have a grace period of their own.
    """
    left = [id for (id,) in connection.execute(f"SELECT id FROM instance WHERE tombstone > 0 AND state = {PURGING}")]
    before = originals_before, deleted_before
    due = [id for (id,) in connection.execute(_DUE, (*before, max(0, count_max - len(left))))]
    connection.execute(
        f"UPDATE instance SET state = {PURGING} WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(due),)
    )
    return left + due


def purging(connection: sqlite3.Connection, ids: list[int], at: int) -> list[Purging]:
    """The versions marked by `mark_due`; the change feed says that they go."""
    note(connection, "purged", at, ids)
    return [Purging._make(row) for row in connection.execute(_PURGING, (json.dumps(ids), PURGING))]


def take_out(connection: sqlite3.Connection, row: Purging) -> bool:
    """Take the row of a version out; gives whether no other version refers to its file."""
    place = (row.sop_instance_uid, row.volume, row.key, row.id)
    referred = connection.execute(_REFERRED, place + place).fetchone() is not None
    retire(connection, INSTANCE, row.id)
    for statement in _TAKE_OUT:
        connection.execute(statement, (row.id,))
    return not referred


_TAKE_OUT = (
    "DELETE FROM metadata WHERE instance = ?",
    "DELETE FROM frame_index WHERE instance = ?",
    "DELETE FROM attribute_value WHERE instance = ?",
    # Who sent what was transcoded since is told by what it became.
    "UPDATE receipt SET instance = (SELECT min(alias.instance) FROM alias JOIN instance gone "
    "ON gone.store = alias.store AND gone.digest = alias.digest WHERE gone.id = receipt.instance) WHERE instance = ?",
    "DELETE FROM alias WHERE instance = ?",
    "DELETE FROM failed_transcoding WHERE instance = ?",
    "DELETE FROM instance WHERE id = ?",
)


def close_tombstones(connection: sqlite3.Connection, rows: list[Purging], at: int) -> None:
    """After `take_out`: mark tombstones that cover nothing any more, remove series, studies, patients without any."""
    for tombstone in {row.tombstone for row in rows}:
        if connection.execute("SELECT 1 FROM instance WHERE tombstone = ?", (tombstone,)).fetchone() is None:
            connection.execute("UPDATE tombstone SET purged_at = ? WHERE id = ?", (at, tombstone))
            connection.execute(f"DELETE FROM tombstone WHERE id = ? AND level = '{ORIGINAL}'", (tombstone,))
    _remove_empty(connection, {row.series for row in rows}, {row.study for row in rows})


def _remove_empty(connection: sqlite3.Connection, series: set[int | None], studies: set[int | None]) -> None:
    for id in series:
        if id is not None:
            remove_series(connection, id, "SELECT 1 FROM instance WHERE series = :id")
    for id in studies:
        if id is not None:
            remove_study(connection, id, "SELECT 1 FROM series WHERE study = :id")
