"""The writing end of the index: everything that one batch of arrivals changes, in one transaction.

Driver-level statements, gathered and run by `flush` with executemany: about 0.1 ms of Python for an object.
Deliberately not here: which object becomes which version (`ingest.versions`), files, and when to commit
(`ingest.committer`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from sagittal.archive.index import CURRENT, DELETED, MAIN_STORE, OTHER, READER_VERSION
from sagittal.archive.index.arrival import INSTANCE_NUMBERS, INSTANCE_TEXTS, Arrival, number
from sagittal.archive.index.connection import begin
from sagittal.archive.index.finding.attributes import Attribute, keep, values_of_parts
from sagittal.archive.index.hierarchy import Hierarchy, recount
from sagittal.archive.index.transcoding import originals
from sagittal.archive.index.upkeep.feed import note
from sagittal.errors import NotFound

_VOLUME = 1
_TEXT_TAGS, _NUMBER_TAGS = tuple(INSTANCE_TEXTS), tuple(INSTANCE_NUMBERS)
_INSTANCE_COLUMNS = (
    "id,store,study,series,sop_instance_uid,sop_class_uid,state,digest,volume,key,length,header_length,"
    f"transfer_syntax_uid,{','.join(INSTANCE_TEXTS.values())},{','.join(INSTANCE_NUMBERS.values())},"
    "defects,reader_version,received_at"
)
_INSERT_INSTANCE = (
    f"INSERT INTO instance ({_INSTANCE_COLUMNS}) VALUES ({','.join('?' * (_INSTANCE_COLUMNS.count(',') + 1))})"
)
_INSERT_RECEIPT = (
    "INSERT INTO receipt (id, store, instance, outcome, kind, calling_aet, called_aet, address, at, character_set) "
    "VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_INSERT_CHANGE = (
    "INSERT INTO change (id, store, kind, study_instance_uid, series_instance_uid, sop_instance_uid, instance, at) "
    "VALUES (?,?,?,?,?,?,?,?)"
)
_INSERT_AUDIT = (
    "INSERT INTO audit (store, principal, principal_kind, verb, outcome, address, study_instance_uid, detail, "
    "number_of_instances, at) VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_HELD = "SELECT id, digest, key, length, header_length, transfer_syntax_uid, state, study FROM instance "
_SELECT_CURRENT = f"{_HELD} WHERE store = ? AND sop_instance_uid = ? AND state = {CURRENT}"
_SELECT_OTHER = (
    f"{_HELD} WHERE store = ? AND sop_instance_uid = ? AND state <> {CURRENT} AND state = {OTHER} AND digest = ?"
)
# Of any store: the same file in two of them is one object, when both came into one directory of the volume.
_KEY_REFERENCES = " UNION ALL ".join(
    "SELECT 1 FROM instance WHERE store IN (SELECT id FROM store) AND sop_instance_uid = ? "
    f"AND state {side} {CURRENT} AND key = ?"
    for side in ("=", "<>")
)
_VERSIONS = " UNION ALL ".join(
    "SELECT id FROM instance WHERE store IN (SELECT id FROM store) AND sop_instance_uid = :uid "
    f"AND state {side} {CURRENT}"
    for side in ("=", "<>")
)
_MOVE = (
    f"UPDATE instance SET key = :key WHERE id IN ({_VERSIONS}) AND digest = :digest "
    f"AND (store = :store OR key = :held) AND state < {DELETED}"
)


class Held(NamedTuple):
    """A version that the index holds already."""

    id: int
    digest: str
    key: str
    length: int
    header_length: int
    syntax_uid: str
    state: int
    study: int | None


class AuditRow(NamedTuple):
    """One line of the audit log."""

    principal: str
    principal_kind: str
    verb: str
    outcome: str = "done"
    address: str = ""
    study_uid: str = ""
    detail: str = ""
    number_of_instances: int = 0
    store: int = MAIN_STORE


class IndexWriter:
    """One writing connection; one thread. After an exception call `rollback`."""

    def __init__(self, connection: sqlite3.Connection, wanted: tuple[Attribute, ...] = ()) -> None:
        """`wanted` are the attributes that the configuration wants indexed."""
        self.connection = connection
        self._wanted = wanted
        self.hierarchy = Hierarchy(connection)
        self._instances: list[tuple[object, ...]] = []
        self._frames: list[tuple[int, bytes]] = []
        self._receipts: list[tuple[object, ...]] = []
        self._changes: list[tuple[object, ...]] = []
        self._audit: list[tuple[object, ...]] = []
        self._metadata: list[tuple[int, Iterable[bytes]]] = []

    # Transactions

    def begin(self, *, patient: bool = True) -> None:
        """Unless `patient`, a lock of somebody else is an error at once, not after a while."""
        begin(self.connection, patient=patient)

    def commit(self) -> None:
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Give up whatever the transaction did, in the tables and in memory."""
        for rows in (self._instances, self._frames, self._receipts, self._changes, self._audit, self._metadata):
            rows.clear()
        self.hierarchy.forget()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    # Questions

    def current(self, store: int, sop_instance_uid: str) -> Held | None:
        """The current version under this UID in a store."""
        row = self.connection.execute(_SELECT_CURRENT, (store, sop_instance_uid)).fetchone()
        return Held(*row) if row else None

    def other(self, store: int, sop_instance_uid: str, digest: str) -> Held | None:
        """A version that is not current, of just this file."""
        row = self.connection.execute(_SELECT_OTHER, (store, sop_instance_uid, digest)).fetchone()
        return Held(*row) if row else None

    def is_referred_to(self, sop_instance_uid: str, key: str) -> bool:
        """Whether any version of this UID, of any store, deleted ones too, lies at `key`."""
        arguments = (sop_instance_uid, key)
        return self.connection.execute(_KEY_REFERENCES, arguments + arguments).fetchone() is not None

    # Acts

    def add(self, arrival: Arrival, state: int, id: int | None = None, place: originals.Place | None = None) -> int:
        """A new version; CURRENT ones count. Gives its id, a new one unless `id` is (a rebuilt index keeps ids).

        With `place` it is where another version was, and counts in its stead.
        """
        if id is None:
            id = self.hierarchy.next_id("instance")
        study = series = None
        if place is not None:
            study, series = place.study, place.series
        elif arrival.study_uid:
            study, series = self.hierarchy.place(arrival, id, state)
            if state == CURRENT:
                self.hierarchy.count(arrival)
        get = arrival.values.get
        texts = [get(tag, "") for tag in _TEXT_TAGS]
        numbers = [number(get(tag)) for tag in _NUMBER_TAGS]
        # fmt: off
        self._instances.append((
            id, arrival.store, study, series, arrival.sop_instance_uid, arrival.sop_class_uid, state, arrival.digest,
            _VOLUME, arrival.key, arrival.length, arrival.header_length, arrival.syntax_uid, *texts, *numbers,
            " ".join(arrival.defects), READER_VERSION, arrival.received_at,
        ))
        # fmt: on
        self._metadata.append((id, arrival.metadata))
        if arrival.frames is not None:
            self._frames.append((id, arrival.frames))
        return id

    def demote(self, held: Held, at: int) -> None:
        """The current version becomes another one."""
        self._become(OTHER, held, at)

    def promote(self, held: Held, at: int) -> None:
        """Another version becomes the current one; there is none at the moment."""
        self._become(CURRENT, held, at)

    def _become(self, state: int, held: Held, at: int) -> None:
        self.flush(at)
        self.connection.execute("UPDATE instance SET state = ? WHERE id = ?", (state, held.id))
        if held.study is not None:
            recount(self.connection, held.study, at, [held.id], [held.id] if state == CURRENT else [])
            self.hierarchy.forget()

    def reencode(self, arrival: Arrival, held: Held, beside: Held | None) -> int:
        """The current version gives way to the same in another encoding, which may lie beside it; gives the new one."""
        who = arrival.principal, arrival.received_at
        place = originals.let_go(self.connection, held.id, arrival.syntax_uid, *who)
        if beside is None:
            id = self.add(arrival, CURRENT, place=place)
        else:
            id = beside.id
            self.connection.execute("UPDATE instance SET state = ? WHERE id = ?", (CURRENT, id))
        originals.inherit(self.connection, place, (held.id, id), arrival.encodes.pixels if arrival.encodes else "")
        return id

    def move(self, arrival: Arrival, held_key: str) -> None:
        """The versions of just this file in its store lie at its key now; those of other stores that lay at
        `held_key`, too.
        """
        bound = {"key": arrival.key, "uid": arrival.sop_instance_uid, "digest": arrival.digest, "store": arrival.store}
        self.connection.execute(_MOVE, bound | {"held": held_key})

    def receipt(self, arrival: Arrival, instance: int | None, outcome: str) -> None:
        # fmt: off
        self._receipts.append((
            self.hierarchy.next_id("receipt"), arrival.store, instance, outcome, arrival.kind, arrival.calling_aet,
            arrival.called_aet, arrival.address, arrival.received_at, arrival.character_set,
        ))
        # fmt: on

    def change(self, arrival: Arrival, instance: int, kind: str) -> None:
        # fmt: off
        self._changes.append((
            self.hierarchy.next_id("change"), arrival.store, kind, arrival.study_uid, arrival.series_uid,
            arrival.sop_instance_uid, instance, arrival.received_at,
        ))
        # fmt: on

    def audit(self, rows: Iterable[AuditRow], at: int) -> None:
        for row in rows:
            self._audit.append((row.store, *row[:-1], at))

    def flush(self, at: int) -> None:
        """Run what was gathered; before any statement that reads instances, and before the commit."""
        connection = self.connection
        for statement, rows in (
            (_INSERT_INSTANCE, self._instances),
            ("INSERT INTO frame_index (instance, body) VALUES (?,?)", self._frames),
            (_INSERT_RECEIPT, self._receipts),
            (_INSERT_CHANGE, self._changes),
            (_INSERT_AUDIT, self._audit),
        ):
            if rows:
                connection.executemany(statement, rows)
                rows.clear()
        if self._metadata:
            for id, parts in self._metadata if self._wanted else ():
                keep(connection, id, values_of_parts(parts, self._wanted))
            connection.executemany(
                "INSERT INTO metadata (instance, part, body) VALUES (?,?,?)",
                ((id, part, body) for id, parts in self._metadata for part, body in enumerate(parts)),
            )
            self._metadata.clear()
        self.hierarchy.flush(at)


def promote_version(connection: sqlite3.Connection, store: int, instance: int, at: int) -> None:
    """Make a version that lies beside the current one the current one. NotFound when there is no such version."""
    found = connection.execute(
        f"SELECT sop_instance_uid FROM instance WHERE id = ? AND store = ? AND state = {OTHER}", (instance, store)
    ).fetchone()
    if found is None:
        raise NotFound("no version beside the current one has this number")
    writer = IndexWriter(connection)
    held = writer.current(store, found[0])
    if held is not None:
        writer.demote(held, at)
    beside = Held(*connection.execute(f"{_HELD} WHERE id = ?", (instance,)).fetchone())
    writer.promote(beside, at)
    note(connection, "replaced", at, [instance])


def newest_key(connection: sqlite3.Connection, schema: str = "main") -> str | None:
    """Where the index has its newest object; None when it has none."""
    row = connection.execute(f"SELECT key FROM {schema}.instance ORDER BY id DESC LIMIT 1").fetchone()
    return str(row[0]) if row else None


def referred_keys(connection: sqlite3.Connection, keys: Iterable[str]) -> set[str]:
    """Those of `keys` that some version refers to. Reads the newest rows first: it is about what a crash left."""
    missing, found = set(keys), set[str]()
    rows = connection.execute("SELECT key FROM instance ORDER BY id DESC")
    while missing and (row := rows.fetchone()) is not None:
        if row[0] in missing:
            missing.discard(row[0])
            found.add(row[0])
    return found
