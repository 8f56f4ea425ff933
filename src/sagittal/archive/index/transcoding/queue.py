"""What rules have still to look at: the change feed, from where they came to; and what failed.

The change is committed with its object, so nothing more is written when an object comes in, and a process that dies
goes on where it was. Deliberately not here: the rules.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from sagittal.archive.index import CURRENT
from sagittal.archive.index.select import instances_statement
from sagittal.archive.index.upkeep import settings
from sagittal.archive.index.upkeep.feed import newest

_CURSOR = "transcoded"  # setting: the last change that was looked at
_CANDIDATE = (
    "SELECT instance.store, instance.id, instance.sop_class_uid, instance.transfer_syntax_uid, "
    "coalesce(series.modality, ''), coalesce(instance.rows, 0) > 0, "
    "EXISTS (SELECT 1 FROM frame_index WHERE frame_index.instance = instance.id), "
    "coalesce(receipt.kind, ''), coalesce(receipt.calling_aet, ''), coalesce(receipt.character_set, '') FROM "
)
_JOINS = (
    f" JOIN instance ON instance.id = asked.instance AND +instance.state = {CURRENT} "
    "LEFT JOIN series ON series.id = instance.series LEFT JOIN receipt ON receipt.id = "
    "(SELECT max(r.id) FROM receipt r WHERE r.instance = instance.id AND r.outcome {})"
)
_CAME = "IN ('stored', 'replaced')"
# A version that a person made current did not come in: there is no such receipt of it.
_COME = (
    f"{_CANDIDATE} change asked CROSS{_JOINS.format('= asked.kind')} WHERE asked.id > ? AND asked.id <= ? "
    "AND asked.kind IN ('stored', 'replaced') AND receipt.id IS NOT NULL ORDER BY asked.id"
)
_AGAIN = f"{_CANDIDATE} (SELECT instance FROM failed_transcoding WHERE again = 1) asked{_JOINS.format(_CAME)} LIMIT ?"
_LAST = "SELECT max(id) FROM (SELECT id FROM change WHERE id > ? ORDER BY id LIMIT ?)"
_FAILED = (
    "INSERT OR REPLACE INTO failed_transcoding (instance, store, to_syntax, reason, at) "
    "SELECT id, store, ?, ?, ? FROM instance WHERE id = ?"
)
_FAILURES = (
    "SELECT instance.sop_instance_uid, coalesce(study.study_instance_uid, ''), instance.transfer_syntax_uid, "
    "to_syntax, reason, again, at FROM failed_transcoding JOIN instance ON instance.id = failed_transcoding.instance "
    "LEFT JOIN study ON study.id = instance.study WHERE failed_transcoding.store = ? "
    "ORDER BY failed_transcoding.at DESC, instance.id DESC LIMIT ?"
)


class Candidate(NamedTuple):
    """A current version that came in: what rules ask about it."""

    store: int
    instance: int
    sop_class_uid: str
    syntax_uid: str
    modality: str
    has_rows: bool
    has_frames: bool  # that can be told apart; those of a deflated data set can't, nor those of a video
    kind: str  # Source.kind
    calling_aet: str
    character_set: str  # in which it was read because it names none


class Failure(NamedTuple):
    """An object that a rule fits and that stays as it came."""

    sop_instance_uid: str
    study_uid: str
    syntax_uid: str
    to_syntax: str
    reason: str
    again: int  # 1: it is tried once more
    at: int  # microseconds UTC


class State(NamedTuple):
    """How far the rules have come, in one store."""

    waiting: int  # changes, of any store, that were not looked at yet
    failed: int


def cursor(connection: sqlite3.Connection) -> int | None:
    """The last change that was looked at; None when there were no rules the last time."""
    kept = settings.read(connection, _CURSOR)
    return None if kept is None else int(kept)


def forget(connection: sqlite3.Connection) -> None:
    """Without rules, what comes in is none of theirs later either."""
    settings.forget(connection, _CURSOR)


def advance(connection: sqlite3.Connection, change: int) -> None:
    """All up to `change` has been looked at."""
    settings.write(connection, _CURSOR, change)


def page(connection: sqlite3.Connection, after: int, changes: int) -> tuple[list[Candidate], int]:
    """What came in within the next so many changes, and the last of those."""
    last = connection.execute(_LAST, (after, changes)).fetchone()[0]
    if last is None:
        return [], after
    return [Candidate._make(row) for row in connection.execute(_COME, (after, last))], int(last)


def again(connection: sqlite3.Connection, count: int) -> list[Candidate]:
    """Failed ones that somebody wants tried once more."""
    return [Candidate._make(row) for row in connection.execute(_AGAIN, (count,))]


def reference(connection: sqlite3.Connection, candidate: Candidate) -> tuple[Any, ...] | None:
    """The columns of `InstanceRef`; None when the version is not current any more."""
    statement = instances_statement(candidate.store, ("id",), CURRENT)
    row: tuple[Any, ...] | None = connection.execute(statement, (candidate.instance,)).fetchone()
    return row


def failed(connection: sqlite3.Connection, instance: int, to_syntax: str, reason: str, at: int) -> None:
    """Write down that a version stays as it came."""
    connection.execute(_FAILED, (to_syntax, reason, at, instance))


def settled(connection: sqlite3.Connection, instances: list[int]) -> None:
    """These need not be tried again: done, or no rule fits any more."""
    connection.executemany(
        "DELETE FROM failed_transcoding WHERE instance = ? AND again = 1", [(instance,) for instance in instances]
    )


def ask_again(connection: sqlite3.Connection, store: int) -> int:
    """Have everything that failed in a store tried once more, but what is not current any more; gives how many."""
    connection.execute(
        "DELETE FROM failed_transcoding WHERE store = ? "
        f"AND instance NOT IN (SELECT id FROM instance WHERE id = failed_transcoding.instance AND state = {CURRENT})",
        (store,),
    )
    done = connection.execute("UPDATE failed_transcoding SET again = 1 WHERE store = ?", (store,))
    return done.rowcount


def failures(connection: sqlite3.Connection, store: int, limit: int) -> list[Failure]:
    """The latest."""
    return [Failure._make(row) for row in connection.execute(_FAILURES, (store, limit))]


def state(connection: sqlite3.Connection, store: int) -> State:
    """How far it is."""
    done = cursor(connection)
    (count,) = connection.execute("SELECT count(*) FROM failed_transcoding WHERE store = ?", (store,)).fetchone()
    return State(0 if done is None else max(newest(connection) - done, 0), count)
