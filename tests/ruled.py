"""An archive with rules of `[[transcode]]` at work in this process: what the tests of transcoding by rule share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from builders import Built, file_of

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.faults import Faults
from sagittal.archive.index.connection import open_reader
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.references import InstanceRef
from sagittal.archive.transcoding.byrule import ByRule, Report
from sagittal.archive.transcoding.rules import Rule
from sagittal.archive.upkeep.scrub import Finding, Scrub
from sagittal.dicom.syntaxes import JPEG_LS_LOSSLESS
from sagittal.limits import Limits, WorkerLimits
from sagittal.pixels.images import read_whole
from sagittal.workers.pool import Pool

JPEG_LS = Rule(JPEG_LS_LOSSLESS)


@dataclass
class Ruled:
    """An open archive whose rules are at work."""

    archive: Archive
    by_rule: ByRule
    task: asyncio.Task[None]

    async def settled(self) -> Report:
        """Once everything that came in was looked at."""
        async with asyncio.timeout(60):
            while True:
                assert not self.task.done(), self.task.result()
                report = await self.by_rule.report(LOCAL, 100)
                if not report.state.waiting and not any(one.again for one in report.failures):
                    return report
                await asyncio.sleep(0.005)

    async def store(self, *objects: Built, policy: str = "keep-first", calling_aet: str = "") -> list[Outcome]:
        """Store objects one after the other; those with a calling AE title as C-STORE would."""
        outcomes = []
        for built in objects:
            source = Source("dimse" if calling_aet else "import", calling_aet, policy=policy)
            transfer = self.archive.store_begin_part10(LOCAL, source)
            transfer.write(built.part10)
            outcomes.append(await transfer.commit())
        return outcomes

    async def current(self, built: Built) -> InstanceRef:
        (ref,) = await self.archive.instances(LOCAL, sop_instance_uids=[built.sop_instance_uid])
        return ref

    async def states(self, built: Built) -> list[tuple[str, int]]:
        """Transfer syntax and state of every version, the oldest first."""
        return [(ref.syntax_uid, ref.state) for ref in await self.archive.versions(LOCAL, built.sop_instance_uid)]


@asynccontextmanager
async def ruled(
    data: Path,
    *rules: Rule,
    limits: Limits | None = None,
    faults: Faults | None = None,
    pool: type[Pool] = Pool,
    engine: type[ByRule] = ByRule,
    durability: str = "off",
) -> AsyncIterator[Ruled]:
    """An archive on `data` with these rules, closed as `serve` does."""
    archive = await Archive.open(data, limits=limits, faults=faults, durability=durability)
    try:
        workers = pool(WorkerLimits(workers=2), ("imagecodecs", "sagittal.convert.verified"))
        by_rule = engine(archive, workers, rules, limits or Limits())
        await by_rule.begin()
        task = asyncio.ensure_future(by_rule.run())
        try:
            yield Ruled(archive, by_rule, task)
        finally:
            task.cancel()
            await asyncio.wait((task,))
            await workers.close()
    finally:
        await archive.close()


@asynccontextmanager
async def ruling(tmp_path: Path, *rules: Rule, **more: Any) -> AsyncIterator[Ruled]:
    """An archive in the folder `a`, with one rule when none is given: JPEG_LS."""
    with patch("sagittal.archive.transcoding.byrule._GATHER_SECONDS", 0.01):
        async with ruled(tmp_path / "a", *(rules or (JPEG_LS,)), **more) as held:
            yield held


def frames_in(archive: Archive, ref: InstanceRef) -> list[bytes]:
    """The decoded values of every frame of what is stored."""
    data = file_of(archive, ref)[ref.header_length :]
    image = read_whole(ref.syntax_uid, lambda at, length: data[at : at + length], Limits().reader)
    return [image.frame(number + 1).stored.tobytes() for number in range(image.count)]


def findings(archive: Archive) -> list[Finding]:
    """What scrub says."""
    connection = open_reader(archive.index)
    try:
        run = Scrub(connection, archive.volumes, young_seconds=0)
        return [told for told in run.run() if isinstance(told, Finding)]
    finally:
        connection.close()
