"""Scrub: does every version still have its bytes, and do the rows say what the files say? Reads only; repairs nothing.

Works beside a serving archive: objects are immutable, and what is new or being removed is left alone. Findings:
`missing`, `unreadable` (the system refuses to read it), `truncated`, `flipped` (bytes differ from the digest),
`mismatch` (a row and its file, or rows among themselves, disagree), `stray` (a file that no row refers to). A re-send
of the object repairs the first four.
Deliberately not here: who is told.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from sagittal.archive.index.select import METADATA
from sagittal.archive.index.upkeep import checks
from sagittal.archive.index.upkeep.checks import Row
from sagittal.archive.local import LocalVolume
from sagittal.dicom.part10 import meta_group
from sagittal.errors import DamagedObject, words_of
from sagittal.folders import pieces_of

_READ_BYTES = 1 << 20
_PAGE = 500  # rows read at one time
_PROGRESS_SECONDS = 0.25
_KEYS_HELD = 100_000  # names of files compared with the index at one time
_YOUNG_SECONDS = 60.0  # a file this young may be waiting for its row
_SECONDS_AHEAD_MAX = 0.05  # throttling: sleep when this far ahead of the rate


class Finding(NamedTuple):
    """Something that is not as it should be."""

    kind: str  # "missing" | "unreadable" | "truncated" | "flipped" | "mismatch" | "stray"
    key: str  # of the object, or the name below `objects/`
    sop_instance_uid: str
    detail: str


class Progress(NamedTuple):
    """How far a scrub is; `after` continues it."""

    after: int
    instances: int
    bytes: int


class Scrub:
    """One scrub: iterate `run`. Blocks: for a thread or a process of its own."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        volumes: Mapping[int, LocalVolume],
        *,
        bytes_per_second: int | None = None,
        after: int = 0,
        young_seconds: float = _YOUNG_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`after` is the id of the last instance of an earlier run; `young_seconds` is 0 when nothing is received."""
        self.progress = Progress(after, 0, 0)
        self._connection = connection
        self._volumes = volumes
        self._rate = bytes_per_second
        self._young_seconds = young_seconds
        self._sleep = sleep
        self._started = time.monotonic()

    def run(self) -> Iterator[Finding | Progress]:
        """All findings as they are found, and now and then how far it is."""
        yield from self._versions()
        yield from self._rows()
        yield from self._strays()

    def _versions(self) -> Iterator[Finding | Progress]:
        told = time.monotonic()
        while True:
            page = [Row._make(row) for row in self._connection.execute(checks.VERSIONS, (self.progress.after, _PAGE))]
            if not page:
                return
            for row in page:
                found = [Finding(kind, row.key, row.sop_instance_uid, detail) for kind, detail in self._version(row)]
                if found and self._is_still_held(row):
                    yield from found
                done = self.progress
                self.progress = Progress(row.id, done.instances + 1, done.bytes + row.length)
                self._throttle()
                if time.monotonic() - told > _PROGRESS_SECONDS:
                    told = time.monotonic()
                    yield self.progress

    def _version(self, row: Row) -> Iterator[tuple[str, str]]:
        """What is wrong with one version (kind, detail): with its file, then with what its row and metadata say."""
        volume = self._volumes.get(row.volume)
        try:
            if volume is None:
                raise DamagedObject
            fd = volume.open(row.key)
        except DamagedObject as error:
            if volume is None or not volume.has(row.key):
                yield "missing", "the file is not there"
            else:
                yield "unreadable", error.text
            return
        try:
            yield from self._file(fd, row)
        except OSError as error:  # blocks that the disk can't read any more
            yield "unreadable", words_of(error)
        finally:
            os.close(fd)

    def _file(self, fd: int, row: Row) -> Iterator[tuple[str, str]]:
        """The length, digest and head of an open file, then what is derived of it."""
        size = os.fstat(fd).st_size
        if size < row.offset + row.length:
            yield "truncated", f"{size - row.offset} of {row.length} bytes"
            return
        head = os.pread(fd, row.header_length, row.offset)
        digest = self._digest(fd, row)
        if size != row.length and not row.offset:
            yield "mismatch", f"the file has {size} bytes, its row {row.length}"
        if digest != row.key.rpartition("/")[2]:
            yield "flipped", "the bytes are not those that were received"
        elif digest != row.digest:
            yield "mismatch", "the row has another digest"
        elif head != meta_group(row.sop_class_uid, row.sop_instance_uid, row.syntax_uid):
            yield "mismatch", "the row has another class, instance or syntax"
        else:
            yield from self._derived(row)

    def _digest(self, fd: int, row: Row) -> str:
        digest = hashlib.sha256()
        for piece in pieces_of(fd, row.offset, row.length, _READ_BYTES):
            digest.update(piece)
        return digest.hexdigest()

    def _derived(self, row: Row) -> Iterator[tuple[str, str]]:
        """The metadata is there and names the study, series and instance that the row is in."""
        uids = ("00080018", row.sop_instance_uid), ("0020000D", row.study_uid), ("0020000E", row.series_uid)
        names = [(tag, uid) for tag, uid in uids if uid]
        tail = b""
        parts = 0
        for (body,) in self._connection.execute(METADATA, (row.id,)):
            parts += 1
            try:
                text = tail + zlib.decompress(body)
            except zlib.error:
                yield "mismatch", "the metadata is damaged"
                return
            names = [name for name in names if not _told(text, *name)]
            tail = text[-200:]
        if not parts or names:
            detail = "the metadata names another study, series or instance" if parts else "the metadata is missing"
            yield "mismatch", detail

    def _is_still_held(self, row: Row) -> bool:
        """Deleted for good, or moved by a repair, since the row was read: no finding."""
        now = self._connection.execute(checks.VERSION, (row.id,)).fetchone()
        return now is not None and Row._make(now) == row

    def _rows(self) -> Iterator[Finding]:
        """The index itself: its file, counts and references. A count that a commit just changed is asked for a second
        time.
        """
        for table, words in checks.damages(self._connection):
            detail = f"the index is damaged at its table {table}: {words}; `sagittal reindex` makes a new one"
            yield Finding("mismatch", "", "", detail)
        for detail, statement in checks.CONSISTENCY:
            for name, *_ in self._connection.execute(statement).fetchall():
                again = {row[0] for row in self._connection.execute(statement)}
                if name in again:
                    yield Finding("mismatch", "", str(name), detail)

    def _strays(self) -> Iterator[Finding]:
        for number, volume in self._volumes.items():
            for name in volume.strangers():
                yield Finding("stray", name, "", "not a name that an object has")
            keys: list[str] = []
            for key in iter(volume.keys()):
                keys.append(key)
                if len(keys) >= _KEYS_HELD:
                    yield from self._unreferred(number, volume, keys)
                    keys = []
            yield from self._unreferred(number, volume, keys)

    def _unreferred(self, number: int, volume: LocalVolume, keys: list[str]) -> Iterator[Finding]:
        suspects = checks.unreferred(self._connection, number, keys)
        now, young = time.time_ns(), int(self._young_seconds * 1e9)
        # One of the future is not young: the clock was set back since.
        old = [key for key in suspects if (at := volume.written_at(key)) is not None and abs(now - at) >= young]
        # Asked again after the age: what was committed or removed meanwhile is no stray.
        for key in checks.unreferred(self._connection, number, old):
            if volume.written_at(key) is not None:
                yield Finding("stray", key, "", "no row refers to it")

    def _throttle(self) -> None:
        if self._rate:
            ahead = self.progress.bytes / self._rate - (time.monotonic() - self._started)
            if ahead > _SECONDS_AHEAD_MAX:
                self._sleep(ahead)


def _told(metadata: bytes, tag: str, uid: str) -> bool:
    """Whether this DICOM JSON has the UID: with its own VR, or with another one that the data set came with."""
    if f'"{tag}":{{"vr":"UI","Value":["{uid}"]}}'.encode() in metadata:
        return True
    binary = (re.escape(base64.b64encode((uid + padding).encode())) for padding in ("", "\0", " "))
    value = rb'"Value":\[(?:\{"Alphabetic":)?"%s"|"InlineBinary":"(?:%s)"' % (
        re.escape(uid.encode()),
        b"|".join(binary),
    )
    return re.search(rb'"%s":\{"vr":"[A-Z]{2}",(?:%s)' % (tag.encode(), value), metadata) is not None
