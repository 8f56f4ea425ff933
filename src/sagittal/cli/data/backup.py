"""`sagittal backup`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagittal.cli.data.place import data_option, existing, noted, open_archive, reading
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import DirectoryHeld

if TYPE_CHECKING:
    from sagittal.archive.upkeep.backup import Copied


@click.command("backup")
@data_option
@click.option("--link", is_flag=True, help="Hard links instead of copies, on the same file system.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
def command(data: Path, link: bool, folder: Path, as_json: bool) -> int:
    """Copy index and objects consistently into FOLDER, also while serving; again there copies only what is new."""
    return run(_backup(existing(data), folder, link, as_json))


async def _backup(data: Path, folder: Path, link: bool, as_json: bool) -> int:
    count = new = failed = 0
    with progress("Copying", None) as advance:
        async for copied in _copied(data, folder, link):
            advance(1)
            count, new = count + (not copied.error), new + (copied.is_new and not copied.error)
            if copied.error:
                failed += 1
                result(as_json, copied._asdict(), f"{copied.key}\t{copied.error}")
    say(f"{count} objects in {folder}, {new} of them new, {failed} damaged")
    if as_json:
        result(True, {"objects": count, "new": new, "damaged": failed})
    return 1 if failed else 0


async def _copied(data: Path, folder: Path, link: bool) -> AsyncIterator[Copied]:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.archive import INDEX
    from sagittal.archive.index.connection import open_reader
    from sagittal.archive.upkeep.backup import Backup
    from sagittal.archive.upkeep.tasks import back_up, steps

    try:
        async with open_archive(data) as archive:
            async for copied in back_up(archive, LOCAL, folder, link=link):
                yield copied
    except DirectoryHeld:  # a server goes on with its work; a snapshot of its index is enough
        async with noted(data, "backup") as done, reading(data) as (_, volumes):
            with closing(open_reader(data / INDEX)) as connection:
                run = Backup(connection, volumes, folder, now=time.time_ns() // 1000, link=link)
                async for copied in steps(run.run):
                    done.instances += not copied.error
                    yield copied
