"""SIGKILL at every fault point an object passes, in a process of its own; then the directory is opened again.

Nothing acknowledged may be lost, nothing may be there twice or in part, and nothing may be left over.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
from pathlib import Path

import forked
import pytest
from builders import Built, build, file_of, opened, store

from sagittal.archive.access import LOCAL

OBJECTS = 8
POINTS = ("staging.create", "staging.write", "file.sync", "object.rename", "directory.create", "directory.sync",
          "index.begin", "index.commit", "index.committed", "answer")  # fmt: skip

_PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from builders import build
from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.faults import from_environment
from sagittal.archive.ingest import Source
from sagittal.limits import ArchiveLimits, Limits

async def send(archive, number):
    transfer = archive.store_begin_part10(LOCAL, Source("dimse"))
    transfer.write(build(number, rows=int(sys.argv[2])).part10)
    outcome = await transfer.commit()
    os.write(1, f"{outcome.sop_instance_uid}\\n".encode())

async def main():
    limits = Limits(archive=ArchiveLimits(directory_files_max=3, free_bytes_min=0))
    archive = await Archive.open(Path(sys.argv[1]), limits=limits, faults=from_environment(os.environ))
    for first in range(0, 8, 2):  # two at a time: batches of one and of two
        await asyncio.gather(send(archive, first), send(archive, first + 1))
    await archive.close()

asyncio.run(main())
"""


def killed(data: Path, point: str, nth: int, rows: int) -> list[str]:
    """Store until the process dies at the `nth` passing of `point`; gives the acknowledged UIDs."""
    environment = os.environ | {"SAGITTAL_FAULT": f"{point}:kill:{nth}"}
    ran = forked.done(forked.python, _PROGRAM, str(data), str(rows), timeout=60, environment=environment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return ran.stdout.split()


async def check(data: Path, acknowledged: list[str], offered: list[Built]) -> None:
    async with opened(data) as archive:
        assert list((data / "staging").iterdir()) == []
        held = {}
        for built in offered:
            versions = await archive.versions(LOCAL, built.sop_instance_uid)
            assert len(versions) <= 1
            if versions:
                held[built.sop_instance_uid] = versions[0]
                ref = versions[0]
                file = file_of(archive, ref)
                assert hashlib.sha256(file).hexdigest() == built.digest
        assert set(acknowledged) <= held.keys()
        assert sorted(archive.volume.keys()) == sorted(ref.key for ref in held.values())
        outcomes = await store(archive, *offered)
        assert [outcome.status for outcome in outcomes] == [
            "duplicate" if built.sop_instance_uid in held else "stored" for built in offered
        ]
        assert (await archive.statistics(LOCAL)).instances == len(offered)


def counted(data: Path) -> tuple[int, int]:
    connection = sqlite3.connect(data / "index.db")
    try:
        sums = connection.execute("SELECT sum(number_of_instances), sum(number_of_series) FROM study").fetchone()
        return int(sums[0]), int(sums[1])
    finally:
        connection.close()


@pytest.mark.parametrize(("nth", "rows"), [(1, 4), (3, 4), (2, 12_000)])  # 12,000 rows go to staging at once
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(tmp_path: Path, point: str, nth: int, rows: int) -> None:
    offered = [build(number, rows=rows) for number in range(OBJECTS)]
    acknowledged = killed(tmp_path / "data", point, nth, rows)
    assert len(acknowledged) < OBJECTS
    asyncio.run(check(tmp_path / "data", acknowledged, offered))
    assert counted(tmp_path / "data") == (OBJECTS, 1)


def test_an_index_that_is_not_of_these_objects_removes_nothing(tmp_path: Path) -> None:
    """An older index put back by hand: objects it does not know were acknowledged once."""
    data = tmp_path / "data"

    async def fill(*numbers: int) -> None:
        async with opened(data) as archive:
            await store(archive, *(build(number) for number in numbers))

    asyncio.run(fill(1))
    older = (data / "index.db").read_bytes()
    asyncio.run(fill(2, 3))
    (data / "index.db").write_bytes(older)
    asyncio.run(fill())
    assert len(list((data / "objects").rglob("*/*"))) == 3
