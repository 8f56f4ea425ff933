"""SIGKILL while upkeep is at work: collecting, reindexing, backing up. Opened again, all is as before or as after."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import forked
import pytest
from builders import build, opened, store, uid

from sagittal.archive.access import LOCAL
from sagittal.archive.index.connection import open_reader
from sagittal.archive.index.removal import Target
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX
from sagittal.archive.upkeep import tasks
from sagittal.archive.upkeep.backup import restore
from sagittal.archive.upkeep.scrub import Finding, Scrub

KEPT = [build(number, study="kept") for number in range(3)]
GONE = [build(number, study="gone") for number in range(3)]

_PROGRAM = """
import asyncio, os, sys, time
from pathlib import Path
from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.opening import INDEX
from sagittal.archive.faults import from_environment
from sagittal.archive.local import LocalVolume
from sagittal.archive.upkeep import tasks
from sagittal.archive.upkeep.reindex import Reindex
from sagittal.limits import Limits

data, what, faults = Path(sys.argv[1]), sys.argv[2], from_environment(os.environ)

async def main():
    archive = await Archive.open(data, faults=faults)
    if what == "collect":
        await archive.collect(now=int((time.time() + 31 * 86400) * 1e6))
    else:
        async for _ in tasks.back_up(archive, LOCAL, data.parent / "backup"):
            pass
    await archive.close()

if what == "reindex":
    list(Reindex(data, LocalVolume(data, faults=faults), Limits(), INDEX, 1).run())
else:
    asyncio.run(main())
"""


async def fill(data: Path) -> None:
    async with opened(data) as archive:
        await store(archive, *KEPT, *GONE)
        await archive.delete(LOCAL, Target(uid("study", "gone")))


def killed(data: Path, what: str, point: str, nth: int) -> None:
    environment = os.environ | {"SAGITTAL_FAULT": f"{point}:kill:{nth}"}
    ran = forked.done(forked.python, _PROGRAM, str(data), what, timeout=60, environment=environment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def findings(data: Path) -> list[Finding]:
    volume, connection = LocalVolume(data), open_reader(data / INDEX)
    try:
        run = Scrub(connection, {1: volume}, young_seconds=0)
        return [told for told in run.run() if isinstance(told, Finding)]
    finally:
        connection.close()
        volume.close()


async def kept(data: Path) -> list[str]:
    async with opened(data) as archive:
        return [ref.digest for ref in await archive.instances(LOCAL, study_uid=uid("study", "kept"))]


@pytest.mark.parametrize(
    ("point", "nth"),
    [("index.begin", 1), ("index.commit", 1), ("object.delete", 1), ("object.delete", 2), ("directory.sync", 1),
     ("index.commit", 2), ("index.committed", 2), ("index.commit", 3)],
)  # fmt: skip
def test_collecting(tmp_path: Path, point: str, nth: int) -> None:
    data = tmp_path / "data"
    asyncio.run(fill(data))
    killed(data, "collect", point, nth)
    assert asyncio.run(kept(data)) == [built.digest for built in KEPT]
    assert findings(data) == []

    async def again() -> None:
        async with opened(data) as archive:
            await archive.collect(now=1 << 62)
            assert (await archive.statistics(LOCAL)).deleted == 0
            assert len(list(archive.volume.keys())) == len(KEPT)
            assert {one.status for one in await store(archive, *GONE)} == {"stored"}

    asyncio.run(again())
    assert findings(data) == []


def test_reindexing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(fill(data))
    killed(data, "reindex", "reindex.swap", 1)
    assert asyncio.run(kept(data)) == [built.digest for built in KEPT]
    assert [one.error for one in tasks.reindex(data)] == [""] * 6
    assert asyncio.run(kept(data)) == [built.digest for built in KEPT]
    assert findings(data) == []
    assert sorted(path.name for path in data.iterdir() if "reindex.db" in path.name) == ["index.before-reindex.db"]


@pytest.mark.parametrize(("point", "nth"), [("backup.object", 1), ("backup.object", 4), ("backup.manifest", 1)])
def test_backing_up(tmp_path: Path, point: str, nth: int) -> None:
    data = tmp_path / "data"
    asyncio.run(fill(data))
    killed(data, "backup", point, nth)

    async def again() -> None:
        async with opened(data) as archive:
            async for one in tasks.back_up(archive, LOCAL, tmp_path / "backup"):
                assert not one.error

    asyncio.run(again())
    assert [one.error for one in restore(tmp_path / "backup", tmp_path / "restored", INDEX)] == [""] * 6
    assert asyncio.run(kept(tmp_path / "restored")) == [built.digest for built in KEPT]
    assert findings(tmp_path / "restored") == []
