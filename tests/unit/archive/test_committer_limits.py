"""The limits of the committer and its thread at cap-1, cap and cap+1."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import Counter, deque
from itertools import chain, count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import build, opened, resting, store

from sagittal.archive.archive import Archive
from sagittal.archive.index.writer import AuditRow, IndexWriter
from sagittal.archive.ingest import batch
from sagittal.archive.ingest.batch import Batch, Begun
from sagittal.archive.ingest.clerk import Clerk
from sagittal.archive.ingest.spool import Spool
from sagittal.archive.ingest.staging import Gauge
from sagittal.archive.local import LocalVolume
from sagittal.limits import ArchiveLimits, Limits

AROUND = pytest.mark.parametrize("more", [-1, 0, 1])
UNHURRIED: Any = {"slow_rows_seconds": 600.0}  # rows are the loop's, however busy the machine is


def waiting_rows(path: Path) -> int:
    connection = sqlite3.connect(path / "index.db")
    try:
        return int(connection.execute("SELECT count(*) FROM audit WHERE verb = 'tested'").fetchone()[0])
    finally:
        connection.close()


@AROUND
def test_audit_seconds_max(more: int) -> None:
    """So long the committer waits for a batch that an audit row can ride with, by a queue with a time of its own."""

    class Arriving:
        def get(self, timeout: float) -> str:
            if ArchiveLimits().audit_seconds_max + more / 10 > timeout and not told:
                raise queue.Empty
            return "a turn"

    told: list[str] = []
    desk, waiting = SimpleNamespace(look="look"), deque(["a row"])
    clerk: Any = SimpleNamespace(_turns=Arriving(), audit=waiting, is_unwell=False, _desk=desk, _tell=told.append)
    clerk._idle_seconds = ArchiveLimits().audit_seconds_max
    assert Clerk._next(clerk) == "a turn"  # type: ignore[comparison-overlap]
    assert bool(told) == (more > 0)


@pytest.mark.parametrize(("seconds", "alone"), [(0.01, True), (600.0, False)])
async def test_audit_rows_ride_with_a_batch_or_alone(
    tmp_path: Path, seconds: float, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row waits so long for the next batch, and no longer."""
    waits, turn = threading.Event(), Clerk._turn  # between two turns

    def turned(self: Clerk, *given: Any) -> None:
        waits.clear()
        turn(self, *given)
        waits.set()

    monkeypatch.setattr(Clerk, "_turn", turned)
    limits = Limits(archive=ArchiveLimits(audit_seconds_max=seconds, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive:
        await store(archive, build(1))
        await asyncio.to_thread(waits.wait)
        archive.audit(AuditRow("A", "node", "tested"))
        if alone:
            async with asyncio.timeout(20):
                while not waiting_rows(tmp_path):
                    await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(0.05)
            assert not waiting_rows(tmp_path)
            await store(archive, build(2))
            assert waiting_rows(tmp_path) == 1  # it rode with that batch


async def committed_at_once(path: Path, number: int, **limits: Any) -> Archive:
    """So many wait until the committer takes them, behind a first one, which makes the directory."""
    async with opened(path, Limits(archive=ArchiveLimits(free_bytes_min=0, **limits, **UNHURRIED))) as archive:
        await store(archive, build(100))
        async with resting(archive):
            sending = [asyncio.ensure_future(store(archive, build(n))) for n in range(number)]
            while archive._committer.waiting < number:
                await asyncio.sleep(0)
        await asyncio.gather(*sending)
        return archive


@AROUND
def test_commit_batch_max(tmp_path: Path, more: int) -> None:
    archive = asyncio.run(committed_at_once(tmp_path, 3 + more, commit_batch_max=3))
    sizes = [2] if more < 0 else [3, 1][: 1 + more]
    assert archive.figures().batch_sizes == Counter([1, *sizes])


@AROUND
def test_rows_inline_max(tmp_path: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop writes the rows of so many; of more, the thread that commits them."""
    threads, add = list[str](), IndexWriter.add

    def adding(self: IndexWriter, *given: Any) -> int:
        threads.append(threading.current_thread().name)
        return add(self, *given)

    monkeypatch.setattr(IndexWriter, "add", adding)
    asyncio.run(committed_at_once(tmp_path, 3 + more, rows_inline_max=3))
    assert threads == ["committer", *["committer" if more > 0 else "MainThread"] * (3 + more)]


@AROUND
async def test_audit_rows_inline_max(tmp_path: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many rows for the audit log go with those that the loop writes; more, by the thread."""
    patient, begin = list[bool](), Batch.begin

    def beginning(self: Batch, *given: Any, **named: Any) -> Begun:
        patient.append(named["patient"])
        return begin(self, *given, **named)

    bounds = ArchiveLimits(audit_rows_inline_max=3, audit_seconds_max=600.0, free_bytes_min=0, **UNHURRIED)
    async with opened(tmp_path, Limits(archive=bounds)) as archive:
        await store(archive, build(1))
        monkeypatch.setattr(Batch, "begin", beginning)
        for _ in range(3 + more):
            archive.audit(AuditRow("A", "node", "tested"))
        await store(archive, build(2))
    assert waiting_rows(tmp_path) == 3 + more
    assert patient == [more > 0]


@AROUND
def test_rows_inline_characters_max(tmp_path: Path, more: int) -> None:
    limits = ArchiveLimits(rows_inline_characters_max=100, metadata_part_characters=200)
    volume = LocalVolume(tmp_path)
    spool = Spool(Gauge(volume, limits))
    spool.write("x" * (100 + more))
    assert spool.is_brief == (more <= 0)
    volume.close()


@pytest.mark.parametrize("each", [5.0, 6.0])
def test_what_the_loop_writes_counts_in_all(tmp_path: Path, each: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UNHURRIED, "slow_rows_seconds", 10.0)
    clock = chain((0.0, 0.0, 0.0, 2 * each), count(1000.0))
    monkeypatch.setattr(batch, "perf_counter", lambda: next(clock))
    archive = asyncio.run(committed_at_once(tmp_path, 2))
    assert archive._committer._clerk.batch.is_slow == (2 * each > 10)


@AROUND
async def test_slow_rows_seconds(tmp_path: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that took longer leave the next ones to the thread, until they were quick some times."""
    patient: list[bool] = []
    begin, clock = Batch.begin, chain((0.0, 10.0 + more), count(1000.0))

    def beginning(self: Batch, *given: Any, **named: Any) -> Begun:
        patient.append(named["patient"])
        monkeypatch.setattr(batch, "perf_counter", lambda: next(clock) if len(patient) == 1 else 0.0)
        return begin(self, *given, **named)

    limits = Limits(archive=ArchiveLimits(slow_rows_seconds=10.0, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive:
        await store(archive, build(100))
        monkeypatch.setattr(Batch, "begin", beginning)
        await store(archive, *(build(n) for n in range(10)))
    assert patient == [False, *[more > 0] * 8, False]
