"""How an original gives way to what was made of it. Every function is inside a transaction of the writer.

An original that is let go is deleted under a tombstone of its own level, `ORIGINAL`: it can come back beside what was
made of it until the collector removes it as it removes anything else. Its digest stays as an alias. Deliberately not
here: which version that is and whether it still may be (`ingest.versions`).
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER
from sagittal.archive.index.hierarchy import recount
from sagittal.archive.index.upkeep.feed import note

ORIGINAL = "original"  # tombstone.level

_PLACE = (
    "SELECT instance.store, sop_instance_uid, instance.study, instance.series, coalesce(study_instance_uid, ''), "
    "coalesce(series_instance_uid, ''), instance.state FROM instance LEFT JOIN series ON series.id = instance.series "
    "LEFT JOIN study ON study.id = instance.study WHERE instance.id = ?"
)
TOMBSTONE = (
    "INSERT INTO tombstone (store, level, study_instance_uid, series_instance_uid, sop_instance_uid, principal, "
    "reason, number_of_instances, at) VALUES (?,?,?,?,?,?,?,?,?)"
)
_KEEP = (
    "INSERT OR IGNORE INTO alias (store, digest, instance, pixels) SELECT store, digest, ?, ? FROM instance "
    "WHERE id = ?",
    "INSERT OR IGNORE INTO alias (store, digest, instance, pixels) SELECT store, digest, ?, pixels FROM alias "
    "WHERE instance = ?",
)
_CARRIES = (
    "UPDATE discrepancy SET instance = ? WHERE store = ? AND (level IN ('patient', 'study') AND parent = ? "
    "OR level = 'series' AND parent = ?) AND instance = ?"
)
_REVISED = "UPDATE {} SET revision = revision + 1, changed_at = ? WHERE id = ?"
_IS_HELD = f"SELECT 1 FROM instance WHERE store = ? AND sop_instance_uid = ? AND state = {CURRENT} AND digest = ?"
ALIASES = "SELECT digest, pixels FROM alias WHERE instance = ?"


class Place(NamedTuple):
    """Where a version is."""

    store: int
    sop_instance_uid: str
    study: int | None
    series: int | None
    study_uid: str
    series_uid: str
    state: int


def let_go(connection: sqlite3.Connection, instance: int, syntax_uid: str, who: str, at: int) -> Place:
    """The current version `instance` is one no more, and deleted: what is the same in `syntax_uid` takes its place.

    Counts stay as they are, since the caller adds that one; study and series get a new revision.
    """
    place = Place._make(connection.execute(_PLACE, (instance,)).fetchone())
    _bury(connection, instance, place, DELETED_OTHER, syntax_uid, who, at)
    for table, id in (("study", place.study), ("series", place.series)):
        connection.execute(_REVISED.format(table), (at, id))
    return place


def inherit(connection: sqlite3.Connection, place: Place, versions: tuple[int, int], pixels: str) -> None:
    """Of (original, made): the digest of the first, with those pixels, and the digests that it stood for are aliases of
    the second, which carries what it carried.
    """
    (original, made), (own, inherited) = versions, _KEEP
    connection.execute(own, (made, pixels, original))
    connection.execute(inherited, (made, original))
    connection.execute(_CARRIES, (made, place.store, place.study, place.series, original))


def hide_source(
    connection: sqlite3.Connection, instance: int, made: tuple[str, str], syntax_uid: str, who: str, at: int
) -> bool:
    """Delete what another instance, `made` (SOP Instance UID, digest), was derived from; False unless both are held."""
    row = connection.execute(_PLACE, (instance,)).fetchone()
    if row is None or (place := Place._make(row)).state != CURRENT:
        return False
    if connection.execute(_IS_HELD, (place.store, *made)).fetchone() is None:
        return False
    _bury(connection, instance, place, DELETED, syntax_uid, who, at)
    note(connection, "deleted", at, [instance])
    if place.study is not None:
        recount(connection, place.study, at, went=[instance])
    return True


def _bury(
    connection: sqlite3.Connection, instance: int, place: Place, state: int, syntax_uid: str, who: str, at: int
) -> None:
    uids = place.study_uid, place.series_uid, place.sop_instance_uid
    row = (place.store, ORIGINAL, *uids, who, f"transcoded to {syntax_uid}", 1, at)
    tombstone = connection.execute(TOMBSTONE, row).lastrowid
    connection.execute("UPDATE instance SET state = ?, tombstone = ? WHERE id = ?", (state, tombstone, instance))
    connection.execute("DELETE FROM failed_transcoding WHERE instance = ?", (instance,))
