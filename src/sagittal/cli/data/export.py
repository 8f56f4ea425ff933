"""`sagittal export`."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagittal.cli.data.place import beside, check_outside, data_option, existing, local, open_unheld, store_option
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import NotFound

if TYPE_CHECKING:
    from sagittal.archive.access import Principal
    from sagittal.archive.index.connection import Readers
    from sagittal.archive.local import LocalVolume
    from sagittal.archive.references import InstanceRef
    from sagittal.archive.upkeep.exporter import Exported


@click.command("export")
@data_option
@store_option
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="An empty folder, or a new .zip file."
)
@click.option("--study", "studies", multiple=True, metavar="UID", help="Only this study; repeatable [all].")
@json_option
def command(data: Path, store: str, out: Path, studies: tuple[str, ...], as_json: bool) -> int:
    """Write instances of an archive as Part 10 files, each checked against its digest; also while serving."""
    check_outside(existing(data), out)
    return run(_export(data, store, out, studies, as_json))


async def _export(data: Path, store: str, out: Path, studies: Sequence[str], as_json: bool) -> int:
    from sagittal.archive.access import LOCAL, enter
    from sagittal.archive.index.upkeep import stores
    from sagittal.archive.retrieve import open_object
    from sagittal.archive.upkeep.exporter import export_to
    from sagittal.archive.upkeep.tasks import export

    async def work(readers: Readers, volume: LocalVolume) -> Callable[[], Iterator[Exported]]:
        principal = enter(LOCAL, stores.number_of(await readers.run(stores.read), store))
        refs = await _refs(readers, principal, studies)
        return partial(export_to, out, partial(open_object, {1: volume}), refs)

    async with open_unheld(data) as archive:
        if archive is None:
            return await _tell(beside(data, "export", work, store), out, as_json)
        principal = local(archive, store)
        refs = await _refs(archive.readers, principal, studies)
        return await _tell(export(archive, principal, refs, out), out, as_json)


async def _tell(exports: AsyncGenerator[Exported], out: Path, as_json: bool) -> int:
    done = failed = 0
    async with aclosing(exports) as files:
        with progress("Exporting", None) as advance:
            async for exported in files:
                advance(1)
                failed, done = failed + bool(exported.error), done + (not exported.error)
                uid = exported.ref.sop_instance_uid
                if as_json:
                    result(True, {"file": exported.name, "sop_instance_uid": uid, "error": exported.error})
                elif exported.error:
                    say(f"{uid}: {exported.error}")
    say(f"{done} instances exported to {out}, {failed} failed")
    return 1 if failed else 0


async def _refs(readers: Readers, principal: Principal, studies: Sequence[str]) -> list[InstanceRef]:
    """The current instances of these studies, or all that there are: those of no study are the last."""
    from sagittal.archive.query import Query, find
    from sagittal.archive.retrieve import instances
    from sagittal.archive.search.nonpatient import without_study
    from sagittal.limits import ArchiveLimits

    others: list[InstanceRef] = []
    gone: tuple[type[Exception], ...] = () if studies else (NotFound,)  # it was deleted since it was listed
    if not studies:
        others = await without_study(readers, principal)
        all_of_them = ArchiveLimits(query_rows_max=1 << 61, query_seconds_max=math.inf)
        rows = await find(readers, all_of_them, principal, Query("STUDY", {0x0020000D: ""}))
        studies = [str(uid) for (uid,) in rows.rows]
    found: list[InstanceRef] = []
    for study in dict.fromkeys(studies):  # one that is named twice, once
        with suppress(*gone):
            found += await instances(readers, principal, study_uid=study)
    return found + others
