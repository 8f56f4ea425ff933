"""One object coming in: its bytes are hashed, read and written to staging as they arrive, then handed to the committer.

The file that is kept is our own meta group and the data set exactly as received. C-STORE names class,
instance and syntax beforehand; a Part 10 file tells them in its head, and when that does not tell them, or tells others
than the data set, the file is written anew once they are known. Deliberately not here: syncs, versions, the index.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter

from sagittal.archive.access import Principal, audit_row
from sagittal.archive.index import clock
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
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.ingest.committer import Committer
from sagittal.archive.ingest.spool import Spool
from sagittal.archive.ingest.staging import Gauge, Pen
from sagittal.dicom.part10 import SHOWING_BYTES, Part10Head, meta_group, shown_syntax
from sagittal.dicom.reader import Parsed, Reader
from sagittal.dicom.scanning.memo import Memo
from sagittal.dicom.sopclasses import NON_PATIENT
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import Busy, DuplicateInstance, IdentifierMismatch, Malformed, SagittalError, StorageUnavailable
from sagittal.limits import Limits
from sagittal.uid import is_uid

_COPY_BYTES = 1 << 20
_HEAD_SLICE_BYTES = 32 << 10  # most small files at once, and little of a large one
_SLICE_BYTES, _SLOW_SLICE_BYTES = 16 << 10, 4 << 10  # of elements never met before: some 6 ms of reading, and 2
_TURN_SECONDS = 0.004  # then what is left of a read waits, so that others get their turn

# PS3.3 A: IODs without Patient, Study and Series modules.
_OF_NO_PATIENT = frozenset(chain.from_iterable(NON_PATIENT.values()))


@dataclass(frozen=True, slots=True)
class Ingest:
    """What all transfers of an archive share."""

    limits: Limits
    gauge: Gauge
    memo: Memo
    committer: Committer
    outcomes: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # see `Figures`

    def refused(self, principal: Principal, source: Source, error: SagittalError) -> None:
        """Count an object that is not kept. What is wrong with it is audited here; a batch audits what it refuses."""
        self.outcomes[source.kind, "refused", error.dimse_status] += 1
        if not isinstance(error, StorageUnavailable | Busy | DuplicateInstance):
            why = type(error).__name__
            row = audit_row(principal, "store", "failed", source.address, detail=why, number_of_instances=1)
            self.committer.audit(row)


class Transfer:
    """Write, then `commit` or `discard`; after an error only `discard`."""

    __slots__ = (
        "_agreed", "_behind", "_digest", "_error", "_first", "_head", "_headed", "_header", "_ingest", "_is_begun",
        "_pen", "_principal", "_promised", "_reader", "_slice", "_source", "_spool", "_syntax_uid", "_warnings",
    )  # fmt: skip

    def __init__(self, ingest: Ingest, principal: Principal, source: Source) -> None:
        self._ingest = ingest
        self._principal = principal
        self._source = source
        self._pen = Pen(ingest.gauge)
        self._spool = Spool(ingest.gauge)
        self._digest = hashlib.sha256()
        self._header = b""
        self._headed = ("", "")  # the class and instance of that header
        self._promised: tuple[str | None, str | None] = (None, None)  # class and instance, as the command says
        self._agreed = ""  # the syntax of the presentation context, until the data set shows its own
        self._first: bytes | memoryview = b""  # too few bytes for that
        self._head: Part10Head | None = None
        self._reader: Reader | None = None
        self._behind: list[bytes | memoryview] = []  # taken, but not read yet
        self._slice = _SLICE_BYTES
        self._is_begun = False
        self._error: SagittalError | None = None
        self._warnings: tuple[str, ...] = ()

    def expect_data_set(self, syntax_uid: str, sop_class_uid: str | None, sop_instance_uid: str | None) -> None:
        """The bytes of a data set follow. With class and instance known, the data set has to say the same."""
        self._promised, self._agreed = (sop_class_uid, sop_instance_uid), syntax_uid

    def expect_part10(self) -> None:
        """The bytes of a Part 10 file follow."""
        self._head = Part10Head(self._ingest.limits.reader)

    def write(self, fragments: bytes | memoryview | Sequence[bytes | memoryview], last: bool = False) -> None:
        """Take the next bytes, once per socket read; nothing of the buffers is kept. Raises a SagittalError.

        After the `last` none follow; not every sender knows which they are.
        """
        if self._error is not None:
            raise self._error
        if not isinstance(fragments, (bytes, memoryview)):
            fragments = fragments[0] if len(fragments) == 1 else b"".join(fragments)
        try:
            if self._behind:  # nobody waited
                self._read_behind(math.inf)
            if self._head is not None:
                fragments = self._take_head(self._head, fragments)
            elif self._agreed:
                fragments = self._take_first(fragments)
            if fragments:
                self._take(fragments, last)
        except SagittalError as error:
            self._fail(error)
            raise
        except BaseException:
            self.discard()
            raise

    def _fail(self, error: SagittalError) -> None:
        self._error = error
        self._ingest.refused(self._principal, self._source, error)
        self.discard()

    def ready(self) -> Awaitable[object] | None:
        """None, or something to wait for before the next write: the disk or a processor is behind."""
        return self._catch_up() if self._behind else self._pen.ready() or self._spool.ready()

    async def commit(self, expected_study_uid: str | None = None, expected_class_uids: Collection[str] = ()) -> Outcome:
        """Make the object durable and visible. Raises a SagittalError; then nothing of it remains.

        IdentifierMismatch for another study, or a class that is none of those named.
        """
        if self._error is not None:
            raise self._error
        try:
            try:
                arrival = await self._finish(expected_study_uid, expected_class_uids)
            except BaseException:
                self.discard()
                raise
            outcome = await self._ingest.committer.submit(arrival, self._pen, self._spool, self._source.policy)
        except SagittalError as error:
            self._ingest.refused(self._principal, self._source, error)
            raise
        self._ingest.outcomes[self._source.kind, outcome.status, 0] += 1
        return outcome

    def discard(self) -> None:
        """Forget the object."""
        self._behind.clear()
        self._pen.discard()
        self._spool.discard()

    # Incoming bytes

    def _open(self, syntax_uid: str, sop_class_uid: str | None, sop_instance_uid: str | None) -> None:
        ingest = self._ingest
        self._syntax_uid = syntax_uid
        self._reader = Reader(
            syntax(syntax_uid),
            wanted=WANTED,
            limits=ingest.limits.reader,
            memo=ingest.memo,
            metadata=self._spool.write,
            character_set=self._source.character_set,
        )
        self._headed = sop_class_uid or "", sop_instance_uid or ""
        if all(self._headed):
            self._header = meta_group(*self._headed, syntax_uid)
            self._digest.update(self._header)
            self._pen.write(self._header)

    def _take_first(self, data: bytes | memoryview) -> bytes | memoryview:
        """The first element, whole or not, shows whether a data set is in the syntax that was agreed on for it: there
        are peers whose are in another. Gives what is to be taken of it now.
        """
        data = b"".join((self._first, data)) if self._first else data
        if len(data) < SHOWING_BYTES:
            self._first = bytes(data)
            return b""
        self._open_shown(data)
        return data

    def _open_shown(self, data: bytes | memoryview) -> None:
        agreed, self._agreed = self._agreed, ""
        shown = shown_syntax(agreed, bytes(data[:SHOWING_BYTES]))
        self._warnings = () if shown == agreed else ("syntax-wrong",)
        self._open(shown, *self._promised)

    def _take_head(self, head: Part10Head, fragments: bytes | memoryview) -> memoryview:
        """Of a long read no more than a head takes is copied; gives what is left."""
        left = memoryview(fragments)
        while left and not head.done:
            head.feed(left[:_HEAD_SLICE_BYTES])
            left = left[_HEAD_SLICE_BYTES:]
        if head.done:
            self._end_head(head)
        return left

    def _end_head(self, head: Part10Head) -> None:
        self._head = None
        self._warnings = head.defects
        # UIDs that are none go the way of missing ones: the data set decides.
        class_uid, instance_uid = head.sop_class_uid, head.sop_instance_uid
        self._open(head.syntax_uid, class_uid, instance_uid if is_uid(instance_uid or "") else None)
        if head.rest:
            self._take(head.rest)

    def _take(self, data: bytes | memoryview, last: bool = False) -> None:
        # Behind what came of the head; or it is perhaps all of it: see `_finish`.
        if self._behind or (not self._is_begun and len(data) <= _HEAD_SLICE_BYTES):
            data = _kept(data)
            self._behind.append(data)
        else:
            self._read(data, _TURN_SECONDS)
        self._pen.write(data)
        if last:
            self._begin_sync()  # a thread wakes to it while this one hashes, which takes no interpreter
        self._digest.update(data)

    def _begin_sync(self) -> None:
        """All is there; what is left to do with it is done while the file is synced."""
        if self._pen.is_whole and all(self._headed):
            self._ingest.committer.begin(self._pen)

    def _read(self, data: bytes | memoryview, seconds: float) -> None:
        """As far as the time goes; the rest is kept for `_catch_up`. Within a long value all is passed over at once."""
        reader = self._reader
        assert reader is not None
        self._is_begun = True
        at, size, began = 0, len(data), perf_counter()
        while size - at > self._slice and not reader.passes_over(size - at):
            reader.feed(data[at : at + self._slice])
            at += self._slice
            if perf_counter() - began > seconds:
                self._behind.insert(0, _kept(data[at:]))
                self._slice = _SLOW_SLICE_BYTES
                return
        reader.feed(data[at:] if at else data)

    def _read_behind(self, seconds: float) -> None:
        began = perf_counter()
        while self._behind:
            self._read(self._behind.pop(0), seconds)
            if perf_counter() - began > seconds:
                return

    async def _catch_up(self) -> None:
        """Read on. What is wrong with it, the next write or the commit says."""
        try:
            await self._read_on()
        except SagittalError as error:
            self._fail(error)
        except BaseException:
            self.discard()
            raise

    async def _read_on(self) -> None:
        """A turn at a time."""
        while self._behind:
            await asyncio.sleep(0)
            self._read_behind(_TURN_SECONDS)

    # The end

    async def _finish(self, expected_study_uid: str | None, expected_class_uids: Collection[str]) -> Arrival:
        if self._head is not None:
            self._head.finish()
            self._end_head(self._head)
        elif self._agreed:  # what came is too short to be a data set
            self._open_shown(self._first)
            if self._first:
                self._take(self._first)
        assert self._reader is not None
        self._begin_sync()
        self._read_behind(_TURN_SECONDS)
        await self._read_on()
        parsed = self._reader.finish()
        if not parsed.size:
            raise Malformed("empty", "the data set is empty")
        await self._pen.finish()
        await self._spool.finish()
        arrival = self._arrival(parsed, expected_class_uids)
        if expected_study_uid is not None and arrival.study_uid != expected_study_uid:
            raise IdentifierMismatch("Study Instance UID (0020,000D) is not that of the request")
        if self._headed != (arrival.sop_class_uid, arrival.sop_instance_uid):
            await asyncio.get_running_loop().run_in_executor(self._ingest.gauge.threads, self._write_anew, arrival)
        return arrival

    def _arrival(self, parsed: Parsed, expected_class_uids: Collection[str]) -> Arrival:
        values = columns_of(parsed.values)
        source, principal = self._source, self._principal
        return Arrival(
            *self._uids(values, expected_class_uids),
            syntax_uid=self._syntax_uid,
            digest=self._digest.hexdigest(),
            length=len(self._header) + parsed.size,
            header_length=len(self._header),
            values=with_senders(values, source.issuer_of_patient_id, source.timezone),
            received_at=clock(),
            store=principal.store,
            kind=source.kind,
            calling_aet=source.calling_aet,
            called_aet=source.called_aet,
            address=source.address,
            principal=principal.name,
            principal_kind=principal.kind,
            character_set=source.character_set if parsed.character_set_assumed else "",
            defects=self._warnings + parsed.defects,
            frames=None if parsed.frames is None else parsed.frames.encode(),
            encodes=source.encodes,
            metadata=self._spool,
        )

    def _uids(self, values: dict[int, str], expected_class_uids: Collection[str]) -> tuple[str, str, str, str]:
        """Class, instance, study and series, checked: PS3.4 B.2.3, A900."""
        class_uid, instance_uid = self._promised
        found = values.get(SOP_CLASS_UID, "")
        if class_uid and found and found != class_uid:
            raise IdentifierMismatch("SOP Class UID (0008,0016) differs from the command")
        # No presentation context could ever carry one that is no UID.
        class_uid = _uid(found or class_uid or self._headed[0], "SOP Class UID (0008,0016)")
        if expected_class_uids and class_uid not in expected_class_uids:
            raise IdentifierMismatch("the SOP class is none that this resource takes")
        found = _uid(values.get(SOP_INSTANCE_UID), "SOP Instance UID (0008,0018)")
        if instance_uid and found != instance_uid:
            raise IdentifierMismatch("SOP Instance UID (0008,0018) differs from the command")
        if class_uid in _OF_NO_PATIENT and not values.get(STUDY_INSTANCE_UID):
            return class_uid, found, "", ""
        study_uid = _uid(values.get(STUDY_INSTANCE_UID), "Study Instance UID (0020,000D)")
        return class_uid, found, study_uid, _uid(values.get(SERIES_INSTANCE_UID), "Series Instance UID (0020,000E)")

    def _write_anew(self, arrival: Arrival) -> None:
        """The file with the right meta group before the data set; on a thread."""
        if self._pen.synced is not None:
            self._pen.synced.exception()
        before = self._pen.settle()
        pen, digest = Pen(self._ingest.gauge), hashlib.sha256()
        start = arrival.header_length
        self._header = meta_group(arrival.sop_class_uid, arrival.sop_instance_uid, self._syntax_uid)
        pen.write(self._header)
        digest.update(self._header)
        try:
            while data := os.pread(before.fd, _COPY_BYTES, start):
                start += len(data)
                digest.update(data)
                self._ingest.gauge.volume.write(pen.settle(), data)
        except BaseException:
            pen.discard()
            raise
        self._pen.discard()
        self._pen = pen
        arrival.digest = digest.hexdigest()
        arrival.length += len(self._header) - arrival.header_length
        arrival.header_length = len(self._header)


def _kept(data: bytes | memoryview) -> bytes | memoryview:
    """The same for good: a copy, unless it is of bytes, which nobody changes."""
    return data if isinstance(data, bytes) or isinstance(data.obj, bytes) else bytes(data)


def _uid(value: str | None, name: str) -> str:
    if not value:
        raise IdentifierMismatch(f"{name} is missing or empty")
    if not is_uid(value):
        raise IdentifierMismatch(f"{name} is not a valid UID")
    return value
