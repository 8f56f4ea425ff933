"""Delete hides, undelete brings back, the collector removes bytes when the grace period is over.

Deleting writes a tombstone (who, when, why) and touches no file. The collector first commits that versions can no
longer come back; then, in a second transaction on the clerk's thread, it looks once more whether another version
refers to the same file, unlinks, and takes the rows out. Dying between any two of these steps loses nothing that is
referred to and leaves nothing behind: the next run goes on. Deliberately not here: who calls the collector and when.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sagittal.archive.access import Principal, audit_row, authorize
from sagittal.archive.acts import Act
from sagittal.archive.index import clock, removal
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.removal import Target
from sagittal.archive.index.upkeep.settling import Objects
from sagittal.archive.index.writer import AuditRow
from sagittal.archive.local import LocalVolume
from sagittal.errors import BadRequest, NotFound

_LOOK_STEP = 20  # versions that are looked at before it: some 2 ms
_PURGE_STEP = 100  # versions a transaction: 100 unlinks keep the committer for some milliseconds


class Deleted(NamedTuple):
    """What a delete did."""

    tombstone: int
    instances: int  # versions of instances


class Tombstone(NamedTuple):
    """A deletion: what, by whom, why, when; and whether it was undone or its bytes are gone."""

    id: int
    level: str  # "study" | "series" | "instance"; "original" of what was transcoded by rule
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    principal: str
    reason: str
    instances: int
    at: int
    undone_at: int | None
    purged_at: int | None


class Purged(NamedTuple):
    """What one run of the collector removed."""

    instances: int = 0
    bytes: int = 0


async def delete(act: Act, principal: Principal, target: Target, reason: str) -> Deleted:
    """Hide everything held under `target`; NotFound when nothing is, BadRequest without a target."""
    authorize(principal, "delete")
    if not any(target):
        raise BadRequest("nothing is named to delete")

    def run(connection: sqlite3.Connection) -> Deleted:
        rows = removal.find_target(connection, principal.store, target)
        if not rows:
            raise NotFound("nothing to delete")
        tombstone = removal.hide(connection, principal.store, target, rows, principal.name, reason, clock())
        return Deleted(tombstone, len(rows))

    done: Deleted = await act(run, _audit(principal, "delete", target, reason))
    return done


async def look_at(
    readers: Readers, instances: Callable[[sqlite3.Connection], Sequence[int]], bytes_max: int
) -> Objects:
    """What instances say, so that a transaction need not: some at a time, as far as there is room for it."""
    found, looked = await readers.run(instances), Objects(bytes_max=bytes_max)
    for at in range(0, len(found), _LOOK_STEP):
        await readers.run(looked.look, found[at : at + _LOOK_STEP])
    return looked


async def undelete(
    readers: Readers, act: Act, principal: Principal, target: Target, tombstone: int | None, bytes_max: int
) -> int:
    """Bring back what deletions of exactly `target`, or one tombstone, cover; NotFound when nothing can come back."""
    authorize(principal, "undelete")
    if tombstone is None and not any(target):
        raise BadRequest("nothing is named to undelete")

    store = principal.store

    def numbers(connection: sqlite3.Connection) -> list[int]:
        return [tombstone] if tombstone is not None else removal.tombstones_of(connection, store, target)

    looked = await look_at(
        readers, lambda connection: removal.covered(connection, store, numbers(connection)), bytes_max
    )

    def run(connection: sqlite3.Connection) -> int:
        back = sum(removal.unhide(connection, store, number, clock(), looked) for number in numbers(connection))
        if not back:
            raise NotFound("nothing to undelete")
        return back

    back: int = await act(run, _audit(principal, "undelete", target, f"tombstone {tombstone}" if tombstone else ""))
    return back


async def tombstones(readers: Readers, principal: Principal, limit: int, originals: bool) -> list[Tombstone]:
    """The latest deletions; with `originals` instead those that were let go for what was made of them by rule."""
    return await readers.rows(Tombstone, removal.TOMBSTONES, (principal.store, originals, limit))


async def collect(
    act: Act, volumes: Mapping[int, LocalVolume], principal: Principal, grace: tuple[float, float],
    now: int | None = None,
) -> Purged:  # fmt: skip
    """Remove what was deleted, in any store, so many seconds before `now` (microseconds); the second are of originals
    transcoded by rule.
    """
    authorize(principal, "admin")
    at = clock() if now is None else now
    before = at - int(grace[0] * 1e6), at - int(grace[1] * 1e6)
    total = Purged()
    while True:
        ids: list[int] = await act(lambda connection: removal.mark_due(connection, *before, _PURGE_STEP))
        if not ids:
            return total
        done: Purged = await act(partial(_purge, volumes, ids), _purge_audit(principal, len(ids)))
        total = Purged(total.instances + done.instances, total.bytes + done.bytes)


def _purge(volumes: Mapping[int, LocalVolume], ids: list[int], connection: sqlite3.Connection) -> Purged:
    """Unlink and forget. On the clerk's thread, so that no file gets its name between the question and the unlink."""
    rows = removal.purging(connection, ids, clock())
    directories = set()
    size = 0
    for row in rows:
        if removal.take_out(connection, row):
            volumes[row.volume].delete(row.key)
            directories.add((row.volume, row.key.partition("/")[0]))
            size += row.length
    for volume, directory in directories:
        volumes[volume].sync_directory(directory)
    removal.close_tombstones(connection, rows, clock())
    return Purged(len(rows), size)


def _audit(principal: Principal, verb: str, target: Target, detail: str) -> AuditRow:
    uids = " ".join(uid for uid in (target.series_uid, target.sop_instance_uid) if uid)
    return audit_row(principal, verb, "done", "", target.study_uid, f"{uids} {detail}".strip())


def _purge_audit(principal: Principal, count: int) -> AuditRow:
    return audit_row(principal, "purge", number_of_instances=count)
