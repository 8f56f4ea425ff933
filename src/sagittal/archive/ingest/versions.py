"""What an arrival becomes whose SOP Instance UID is held already.

The decision is a table over what a comparison found and the policy of the sender's node. The comparison runs on a
thread of its own, never in the committer: it reads both files. Deliberately not here: rows and files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sagittal.archive.index.arrival import Encodes
from sagittal.archive.index.connection import open_reader
from sagittal.archive.index.select import METADATA
from sagittal.archive.index.transcoding.originals import ALIASES
from sagittal.archive.index.writer import Held
from sagittal.archive.ingest.compare import Version, first_difference, is_intact
from sagittal.archive.local import LocalVolume


class Plan(Enum):
    """What to do with an arrival."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REPAIR = "repair"  # the stored file is missing or damaged, and this is the same file
    KEEP = "keep"  # a version beside the current one
    KEPT = "kept"  # that version is there already
    REPLACE = "replace"
    PROMOTE = "promote"  # a version held beside becomes current
    REFUSE = "refuse"
    TRANSCODE = "transcode"  # the current version gives way to the same in another encoding
    OUTDATED = "outdated"  # that version is not current any more

    @property
    def status(self) -> str:
        """`Outcome.status`, and what receipts say."""
        return _STATUS[self]

    @property
    def verb(self) -> str:
        """What the audit log calls it."""
        return "transcode" if self in (Plan.TRANSCODE, Plan.OUTDATED) else "store"

    @property
    def has_file(self) -> bool:
        """Whether the bytes that came become an object."""
        return self in _WITH_FILE


_STATUS = {
    Plan.NEW: "stored",
    Plan.DUPLICATE: "duplicate",
    Plan.REPAIR: "duplicate",
    Plan.KEEP: "kept",
    Plan.KEPT: "kept",
    Plan.REPLACE: "replaced",
    Plan.PROMOTE: "replaced",
    Plan.REFUSE: "refused",
    Plan.TRANSCODE: "transcoded",
    Plan.OUTDATED: "outdated",
}
_WITH_FILE = frozenset({Plan.NEW, Plan.REPAIR, Plan.KEEP, Plan.REPLACE, Plan.PROMOTE, Plan.TRANSCODE})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison with the version `held` at `key` found."""

    held: int
    key: str
    same: bool  # content, however encoded
    intact: bool  # the stored file is what its digest says
    offending: int | None = None


def decide(policy: str, digest: str, held: Held, verdict: Verdict, beside: Held | None) -> Plan:
    """The plan for an arrival under a held UID. `beside`: a version, not current, of just this file."""
    if digest == held.digest:
        return Plan.DUPLICATE if verdict.intact else Plan.REPAIR
    if verdict.same and verdict.intact:
        return Plan.DUPLICATE
    if policy == "replace" or not verdict.intact:
        return Plan.REPLACE if beside is None else Plan.PROMOTE
    if policy == "refuse":
        return Plan.REFUSE
    return Plan.KEEP if beside is None else Plan.KEPT


def encoded(encodes: Encodes, digest: str, held: Held | None) -> Plan:
    """The plan for another encoding of a version: that has to be current, and the file the one that was verified."""
    is_current = held is not None and held.id == encodes.instance and held.digest != digest
    return Plan.TRANSCODE if is_current and digest == encodes.digest else Plan.OUTDATED


class Comparer:
    """Compares on one thread, with its own reading connection."""

    def __init__(self, index: Path, volume: LocalVolume, metadata_bytes_max: int) -> None:
        self._index = index
        self._volume = volume
        self._metadata_bytes_max = metadata_bytes_max
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compare")
        self._connection: sqlite3.Connection | None = None

    def submit(self, version: Callable[[], Version], held: Held, done: Callable[[Verdict | Exception], None]) -> None:
        """Compare later; `done` is called on the thread."""
        self._thread.submit(self._run, version, held, done)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()

    def _run(self, version: Callable[[], Version], held: Held, done: Callable[[Verdict | Exception], None]) -> None:
        try:
            done(self._compare(version(), held))
        except Exception as error:  # the sender is answered with it
            done(error)

    def _compare(self, arrival: Version, held: Held) -> Verdict:
        if not is_intact(self._volume, held.key, held.length, held.digest):
            return Verdict(held.id, held.key, arrival.digest == held.digest, intact=False)
        if arrival.digest == held.digest:
            return Verdict(held.id, held.key, same=True, intact=True)
        if self._connection is None:
            self._connection = open_reader(self._index)
        aliases = dict(self._connection.execute(ALIASES, (held.id,)).fetchall())
        if arrival.digest in aliases:  # as it came once
            return Verdict(held.id, held.key, same=True, intact=True)
        fd = self._volume.open(held.key)
        parts = [row[0] for row in self._connection.execute(METADATA, (held.id,))]
        stored = Version(fd, held.header_length, held.length, held.syntax_uid, held.digest, parts)
        try:
            same, offending = first_difference(arrival, stored, self._metadata_bytes_max)
            if not same and aliases:  # it was transcoded since: as it came, perhaps, otherwise encoded
                came = frozenset(aliases.values())
                same, offending = first_difference(arrival, stored, self._metadata_bytes_max, came)
        finally:
            stored.close()
        return Verdict(held.id, held.key, same, intact=True, offending=offending)
