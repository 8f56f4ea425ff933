"""Reindex: the index anew from the objects alone, as they were received, through the same statements as ingest.

The new index is written beside the old one and takes its place at the very end, so that a reindex that dies changes
nothing. What objects can't tell (who sent them, what was deleted and why, nodes, tokens, the change feed, the audit
log) is carried over from the old index as far as that can be read; without it, of several versions of an instance the
oldest file is current. The data directory must not be open elsewhere. Deliberately not here: judging objects anew; they
were accepted once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, NamedTuple

from sagittal.archive.index import CURRENT, DELETED, MAIN, MAIN_STORE, OTHER, schema
from sagittal.archive.index.arrival import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    WANTED,
    Arrival,
    columns_of,
    with_senders,
)
from sagittal.archive.index.connection import is_of_the_moment, open_writer, settle
from sagittal.archive.index.hierarchy import count
from sagittal.archive.index.upkeep import carry, settling
from sagittal.archive.index.writer import AuditRow, IndexWriter, newest_key
from sagittal.archive.local import LocalVolume, sync
from sagittal.dicom.part10 import Part10Head
from sagittal.dicom.reader import Reader
from sagittal.dicom.scanning.memo import Memo
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import DamagedObject, SagittalError, words_of
from sagittal.limits import Limits

_READ_BYTES = 1 << 20
_BATCH = 200  # objects a transaction
_MEMO_BYTES = 16 << 20
_NEW = "reindex.db"
OLD = "index.before-reindex.db"


class Indexed(NamedTuple):
    """One object: indexed, or the reason why not; or, without a key, something of the old index that was lost."""

    key: str
    sop_instance_uid: str = ""
    error: str = ""


class Parts:
    """The metadata of one object, compressed in parts; large ones wait in a temporary file."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits.archive
        self._pieces: list[str] = []
        self._characters = 0
        self._parts: list[bytes | int] = []  # compressed, or its length in the spill
        self._held = 0
        self._spill: IO[bytes] | None = None

    def write(self, text: str) -> None:
        self._pieces.append(text)
        self._characters += len(text)
        if self._characters >= self._limits.metadata_part_characters:
            self._end_part()

    def __iter__(self) -> Iterator[bytes]:
        if self._pieces:
            self._end_part()
        if self._spill is not None:
            self._spill.seek(0)
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            elif self._spill is not None:
                yield self._spill.read(part)

    def _end_part(self) -> None:
        part = zlib.compress("".join(self._pieces).encode("utf-8", "replace"), 1)
        self._pieces.clear()
        self._characters = 0
        self._held += len(part)
        if self._held <= self._limits.metadata_held_bytes_max:
            self._parts.append(part)
            return
        if self._spill is None:
            self._spill = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed with the object
        self._spill.write(part)
        self._parts.append(len(part))


class Reindex:
    """One reindex of the data directory `path`, whose lock the caller holds. Blocks: for a thread or a process."""

    def __init__(self, path: Path, volume: LocalVolume, limits: Limits, index_name: str, now: int) -> None:
        self._path = path
        self._volume = volume
        self._limits = limits
        self._index = (path / index_name).resolve()  # on another disk, perhaps: what is made of it lies beside it
        self._new = self._index.with_name(_NEW)
        self._now = now
        self._memo = Memo(_MEMO_BYTES)
        self._attached = False
        self._has_old = False
        self._next_id = 1
        self._read_objects = self._unread = 0
        self._strange = 0  # that can't be read, and would be in `main` once they can: the new index does not know them

    def run(self) -> Iterator[Indexed]:
        """Every object as it is indexed; the new index is in place when the iterator ends, and only then.

        The old index stays, with StorageUnavailable, when it can't be opened now or its objects are somewhere else, and
        in the end, with DamagedObject, when deleted ones or all can't be read.
        """
        _remove_index(self._new)
        try:
            yield from self._make()
            self._check_read()
            self._swap()
        except BaseException:  # the new one may be what has filled the disk
            _remove_index(self._new)
            raise

    def _make(self) -> Iterator[Indexed]:
        with closing(open_writer(self._new, durable=False)) as connection:
            schema.prepare(connection, self._new)
            yield from self._take_old(connection)
            writer = IndexWriter(connection)
            yield from self._objects(writer)
            self._finish(writer)

    def _check_read(self) -> None:
        if self._unread and not self._read_objects:  # whoever this runs as may not read them
            raise DamagedObject(f"none of {self._unread} objects can be read: the index stays as it is")
        if self._strange:
            raise DamagedObject(
                f"{self._strange} objects cannot be read that are deleted, or in another store than {MAIN}, and would "
                f"come back in {MAIN} once they can: the index stays; make them readable, or remove their files"
            )

    # The old index

    def _take_old(self, connection: sqlite3.Connection) -> Iterator[Indexed]:
        if not self._index.exists():
            return
        try:
            carry.attach(connection, self._index)
        except sqlite3.DatabaseError as error:
            if is_of_the_moment(error):
                raise
            yield Indexed("", error=f"the old index cannot be read: {error}")
            return
        self._attached = True
        connection.execute("BEGIN")
        lost = carry.carry_tables(connection)
        try:
            carry.carry_settings(connection)
            self._next_id = carry.carry_versions(connection)
            self._has_old = True
        except sqlite3.DatabaseError as error:
            if is_of_the_moment(error):
                raise
            lost.append(("instance", str(error)))
        connection.execute("COMMIT")
        for table, error_text in lost:
            yield Indexed("", error=f"the old index's table {table} cannot be read: {error_text}")
        # Else it would forget what is deleted and which store has what: the objects may be back the next time.
        if self._has_old and (newest := newest_key(connection, "old")) is not None:
            self._volume.check_directory_of(newest)

    # Objects

    def _objects(self, writer: IndexWriter) -> Iterator[Indexed]:
        done: list[Indexed] = []
        writer.begin()
        for key, store in self._in_order(writer.connection):
            versions = self._held(writer.connection, key, store)
            try:
                done.append(self._object(writer, key, versions))
                self._read_objects += 1
            except (SagittalError, OSError) as error:
                done.append(Indexed(key, error=words_of(error)))
                self._unread += 1
                self._strange += any(version.state >= DELETED or version.store != MAIN_STORE for version in versions)
            if len(done) >= _BATCH:
                writer.flush(self._now)
                writer.commit()
                yield from done
                done.clear()
                writer.begin()
        writer.flush(self._now)
        writer.commit()
        yield from done

    def _in_order(self, connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
        """Keys and stores, oldest first, as the first value of a study or series is what is kept: those of the old
        index study by study as they came into it, then directories in the order they were made, their files by the time
        they were written.
        """
        if self._has_old:
            yield from (each for each in carry.keys(connection) if self._volume.has(each[0]))
        for directory in self._volume.directories():
            for _, key in sorted((self._volume.written_at(key) or 0, key) for key in self._volume.keys_in(directory)):
                if not (self._has_old and carry.held(connection, key)):
                    yield key, MAIN_STORE

    def _held(self, connection: sqlite3.Connection, key: str, store: int) -> list[carry.HeldVersion]:
        versions = carry.held(connection, key) if self._has_old else []
        return [version for version in versions if version.store == store]

    def _object(self, writer: IndexWriter, key: str, held: list[carry.HeldVersion]) -> Indexed:
        connection = writer.connection
        arrival = self._read(key, carry.character_set_of(connection, held[0].id) if held else "")
        told = arrival.values
        versions: list[carry.HeldVersion | None] = [*held] or [None]
        for version in versions:
            arrival.store = version.store if version else MAIN_STORE  # no object tells its store
            if self._has_old:
                senders = carry.in_effect(connection, arrival.store, arrival.study_uid)
                arrival.values = with_senders(told, *senders)
            if version is None:
                break
            arrival.received_at = version.received_at
            state = version.state if version.state in carry.VERSION_STATES else OTHER
            writer.add(arrival, state, version.id)
            if version.tombstone is not None and state >= DELETED:
                writer.flush(self._now)
                carry.bury(connection, version.id, version.tombstone)
        if not held:
            writer.flush(self._now)  # the question must see the objects before this one
            has_current = carry.has_current(connection, arrival.store, arrival.sop_instance_uid, self._has_old)
            state = OTHER if has_current else CURRENT
            writer.add(arrival, state, self._next_id)
            self._next_id += 1
        return Indexed(key, arrival.sop_instance_uid)

    def _read(self, key: str, character_set: str) -> Arrival:
        """What one file tells; `character_set` was assumed when it came."""
        parts = Parts(self._path / "staging", self._limits)
        digest, head, reader, written_at = self._pass(key, parts, character_set)
        if digest != key.rpartition("/")[2]:
            raise DamagedObject("the bytes are not those that were received")
        parsed = reader.finish()
        values = columns_of(parsed.values)
        return Arrival(
            sop_class_uid=head.sop_class_uid or values.get(SOP_CLASS_UID, ""),
            sop_instance_uid=values.get(SOP_INSTANCE_UID, "") or head.sop_instance_uid or "",
            study_uid=values.get(STUDY_INSTANCE_UID, ""),
            series_uid=values.get(SERIES_INSTANCE_UID, ""),
            syntax_uid=head.syntax_uid,
            digest=digest,
            length=head.data_set_offset + parsed.size,
            header_length=head.data_set_offset,
            values=values,
            received_at=written_at,
            defects=parsed.defects,
            frames=None if parsed.frames is None else parsed.frames.encode(),
            key=key,
            metadata=parts,
        )

    def _pass(self, key: str, parts: Parts, character_set: str) -> tuple[str, Part10Head, Reader, int]:
        """One pass over a file: digest, head, the reader after its last byte, when it was written."""
        head, digest = Part10Head(self._limits.reader), hashlib.sha256()
        reader: Reader | None = None
        fd = self._volume.open(key)
        try:
            while data := os.read(fd, _READ_BYTES):
                digest.update(data)
                if reader is not None:
                    reader.feed(data)
                    continue
                head.feed(data)
                if head.done:
                    reader = self._reader(head, parts, character_set)
            written_at = int(os.fstat(fd).st_mtime * 1e6)
        finally:
            os.close(fd)
        if reader is None:
            head.finish()
            reader = self._reader(head, parts, character_set)
        return digest.hexdigest(), head, reader, written_at

    def _reader(self, head: Part10Head, parts: Parts, character_set: str) -> Reader:
        reader = Reader(
            syntax(head.syntax_uid),
            wanted=WANTED,
            limits=self._limits.reader,
            memo=self._memo,
            metadata=parts.write,
            character_set=character_set,
        )
        if head.rest:
            reader.feed(head.rest)
        return reader

    # The end

    def _finish(self, writer: IndexWriter) -> None:
        connection = writer.connection
        writer.begin()
        if self._has_old:
            carry.carry_revisions(connection)
            for study, rows in carry.otherwise(connection).items():
                settling.prefer(connection, study, rows, self._now)
                count(connection, study, self._now)
            carry.carry_listed(connection)
        carry.drop_dangling(connection)
        writer.audit((AuditRow("local", "local", "reindex"),), self._now)
        writer.flush(self._now)
        writer.commit()
        if self._attached:
            carry.detach(connection)
        settle(connection)

    def _swap(self) -> None:
        """The old index is kept under another name; its log must not be taken for the new one's."""
        sync(self._new)
        self._volume.faults.hit("reindex.swap")
        if self._index.exists():
            _settle(self._index)
            kept = self._index.with_name(OLD)
            kept.unlink(missing_ok=True)
            try:
                os.link(self._index, kept)
            except OSError:  # exFAT has no second names
                shutil.copy(self._index, kept)
                sync(kept)
            for suffix in ("-wal", "-shm"):
                log = self._index.with_name(self._index.name + suffix)
                if log.exists():
                    log.replace(kept.with_name(kept.name + suffix))
        self._new.replace(self._index)
        sync(self._index.parent)


def _settle(index: Path) -> None:
    """Bring what is in the log of an index into it, so that the log goes away; a damaged one keeps it."""
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(index)) as connection:
        settle(connection)


def _remove_index(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
