"""The limits of the engine at cap-1, cap and cap+1; queries, zip files and imports have theirs in their own tests."""

from __future__ import annotations

import asyncio
import io
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import build, opened, resting, store
from threads import at_once

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.index.writer import AuditRow
from sagittal.archive.ingest import Source, compare, staging
from sagittal.archive.ingest.spool import Spool
from sagittal.archive.ingest.staging import Gauge, Pen
from sagittal.archive.local import LocalVolume
from sagittal.archive.upkeep import importer, sources
from sagittal.errors import Busy, LimitExceeded, StorageUnavailable
from sagittal.limits import ArchiveLimits, Limits

AROUND = pytest.mark.parametrize("more", [-1, 0, 1])


@contextmanager
def gauge(path: Path, **limits: Any) -> Iterator[Gauge]:
    made = Gauge(LocalVolume(path), ArchiveLimits(free_bytes_min=0, **limits))
    yield made
    made.threads.shutdown()
    made.volume.close()


@AROUND
def test_transfer_bytes_max(more: int) -> None:
    needed = Limits().transfer_bytes
    archive = ArchiveLimits(transfer_bytes_max=needed - more)
    if more > 0:
        with pytest.raises(ValueError, match="transfer_bytes_max"):
            Limits(archive=archive)
    else:
        assert Limits(archive=archive).transfer_bytes == needed


@AROUND
def test_staging_inline_bytes_max(tmp_path: Path, more: int) -> None:
    with gauge(tmp_path, staging_inline_bytes_max=100) as of:
        pen = Pen(of)
        pen.write(bytes(60))
        pen.write(bytes(40 + more))
        assert (pen.staged is not None) == (more > 0)
        pen.discard()


@AROUND
def test_slow_write_seconds(tmp_path: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 10.0 + more))
    monkeypatch.setattr(staging, "perf_counter", lambda: next(clock))
    with gauge(tmp_path, slow_write_seconds=10.0) as of:
        staged = of.volume.stage()
        of.write(staged, b"x")
        assert of.slow == (more > 0)
        of.volume.discard(staged)


@AROUND
def test_slow_write_pending_bytes_max(tmp_path: Path, more: int) -> None:
    """From that many on the sender has to wait."""

    async def run(of: Gauge) -> None:
        release = threading.Event()
        of.slow = True
        of.volume.stage = lambda: release.wait() and LocalVolume.stage(of.volume)  # type: ignore[method-assign,return-value,assignment]
        pen = Pen(of)
        pen.write(bytes(100 + more))
        waiting = pen.ready()
        assert (waiting is not None) == (more >= 0)
        release.set()
        await pen.finish()
        if waiting is not None:
            await waiting
        pen.discard()

    with gauge(tmp_path, slow_write_pending_bytes_max=100, staging_inline_bytes_max=0) as of:
        asyncio.run(run(of))


@AROUND
def test_unsynced_bytes_max(tmp_path: Path, more: int) -> None:
    async def run(of: Gauge) -> None:
        synced: list[int] = []
        of.volume.sync_file = synced.append  # type: ignore[method-assign]
        pen = Pen(of)
        pen.write(bytes(50))
        pen.write(bytes(50 + more))
        await pen.finish()
        assert len(synced) == (more > 0)
        pen.discard()

    with gauge(tmp_path, unsynced_bytes_max=100, staging_inline_bytes_max=0, slow_write_seconds=60.0) as of:
        asyncio.run(run(of))


@AROUND
def test_metadata_part_characters(tmp_path: Path, more: int) -> None:
    """That many make a part, which a thread compresses; fewer wait for the committer."""

    async def run(of: Gauge) -> None:
        spool = Spool(of)
        spool.write("x" * (100 + more))
        await spool.finish()
        assert len(spool._parts) == (more >= 0)
        assert b"".join(map(zlib.decompress, spool)) == b"x" * (100 + more)
        spool.discard()

    with gauge(tmp_path, metadata_part_characters=100) as of:
        asyncio.run(run(of))


@AROUND
def test_metadata_held_bytes_max(tmp_path: Path, more: int) -> None:
    with gauge(tmp_path, metadata_held_bytes_max=100) as of:
        spool = Spool(of)
        assert spool._keep(bytes(60)) == bytes(60)
        kept = spool._keep(bytes(40 + more))
        assert isinstance(kept, tuple) == (more > 0)
        spool.discard()


@AROUND
def test_compared_metadata_bytes_max(more: int) -> None:
    text = b'{"00100010":{"vr":"LO","Value":["%s"]}}'
    text %= b"x" * (200 + more - len(text) + 2)
    version = SimpleNamespace(metadata=[zlib.compress(text[:50]), zlib.compress(text[50:])])
    assert (compare._load(version, 200) is None) == (more > 0)  # type: ignore[arg-type]


@AROUND
def test_directory_files_max(tmp_path: Path, more: int) -> None:
    volume = LocalVolume(tmp_path, directory_files_max=3)
    for number in range(3 + more):
        volume.place(f"{number:064x}")
    assert volume.directories() == (["0001", "0002"] if more > 0 else ["0001"])
    volume.close()


@AROUND
def test_free_bytes_min(tmp_path: Path, more: int) -> None:
    volume = LocalVolume(tmp_path, free_bytes_min=1000)
    volume.free_bytes = lambda: 1000 + more  # type: ignore[method-assign]
    if more < 0:
        with pytest.raises(StorageUnavailable, match="nearly full"):
            volume.check()
        assert volume.probe() == "the volume is nearly full"
    else:
        volume.check()
        assert volume.probe() is None
    volume.close()


@AROUND
async def test_delete_grace_seconds(tmp_path: Path, more: int) -> None:
    """Walked in microseconds."""
    async with opened(tmp_path, Limits(archive=ArchiveLimits(delete_grace_seconds=100, free_bytes_min=0))) as archive:
        await store(archive, build())
        await archive.delete(LOCAL, Target(build().study_uid))
        [tombstone] = await archive.tombstones(LOCAL)
        purged = await archive.collect(now=tombstone.at + 100_000_000 + more)
        assert purged.instances == (more > 0)


@AROUND
async def test_import_transfers(tmp_path: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3 + more):
        (tmp_path / f"{number}.dcm").write_bytes(build(number).part10)
    running, most = 0, 0

    async def hold(*_: object) -> importer.Imported:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20):  # while others could begin
            await asyncio.to_thread(int)
        running -= 1
        return importer.Imported("x", "stored")

    monkeypatch.setattr(importer, "_import", hold)
    target: Any = SimpleNamespace(
        limits=Limits(archive=ArchiveLimits(import_transfers=3)), audited=lambda *_: nullcontext()
    )
    found = [one async for one in importer.import_files(target, LOCAL, [tmp_path], Source("import"))]
    assert len(found) == 3 + more
    assert most == min(3, 3 + more)


@AROUND
@pytest.mark.parametrize(("ratio", "free"), [(20, 100), (2, 200)])
def test_zip_ratio_max_and_zip_ratio_free_bytes(ratio: int, free: int, more: int) -> None:
    """Whichever of them allows more; here 200 bytes."""
    limits = ArchiveLimits(zip_ratio_max=ratio, zip_ratio_free_bytes=free)
    member = object.__new__(sources._OpenMember)
    info = SimpleNamespace(compress_size=10)
    member._member = SimpleNamespace(zip=SimpleNamespace(limits=limits, inflated=0), info=info)  # type: ignore[assignment]
    member._read = 0
    size = 200 + more
    member._stream = io.BytesIO(bytes(size))  # type: ignore[assignment]
    if more > 0:
        with pytest.raises(LimitExceeded, match="zip_ratio_max"):
            member.read(size)
    else:
        assert len(member.read(size)) == size


@AROUND
async def test_query_threads_and_sync_threads(tmp_path: Path, more: int) -> None:
    limits = Limits(archive=ArchiveLimits(query_threads=3, sync_threads=3, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive:
        for pool in pools(archive):
            found = await asyncio.to_thread(at_once, pool.submit, 3 + more, min(3, 3 + more))
            assert found == min(3, 3 + more)


def pools(archive: Archive) -> list[Any]:
    return [archive.readers._threads, archive._committer._clerk.sync_threads]


@AROUND
async def test_audit_rows_max(tmp_path: Path, more: int) -> None:
    """So many wait while the committer doesn't take them; a read that would need one more is refused."""
    limits = Limits(archive=ArchiveLimits(audit_rows_max=5, audit_seconds_max=600.0, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive, resting(archive):
        for _ in range(4 + more):
            archive.audit(AuditRow("A", "node", "tested"))
        if more > 0:
            with pytest.raises(Busy):
                await archive.statistics(LOCAL)
        else:
            await archive.statistics(LOCAL)
