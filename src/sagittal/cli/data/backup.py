"""`sagittal backup`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagittal.archive.index import clock
from sagittal.cli.data.place import check_outside, data_option, existing, noted, open_archive, reading
from sagittal.cli.data.tally import tallied
from sagittal.cli.output import json_option, run, say
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
    check_outside(existing(data), folder)
    return run(_backup(data, folder, link, as_json))


async def _backup(data: Path, folder: Path, link: bool, as_json: bool) -> int:
    new = 0
    async with aclosing(_copied(data, folder, link)) as objects:
        with tallied("Copying", as_json) as tally:
            async for copied in objects:
                tally.add(copied)
                new += copied.is_new and not copied.error
    say(f"{tally.done} objects in {folder}, {new} of them new, {tally.failed} damaged")
    return tally.close(objects=tally.done, new=new, damaged=tally.failed)


async def _copied(data: Path, folder: Path, link: bool) -> AsyncGenerator[Copied]:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.index.connection import open_reader
    from sagittal.archive.opening import INDEX
    from sagittal.archive.upkeep.backup import Backup
    from sagittal.archive.upkeep.tasks import back_up, steps

    try:
        async with open_archive(data) as archive, aclosing(back_up(archive, LOCAL, folder, link=link)) as objects:
            async for copied in objects:
                yield copied
    except DirectoryHeld:  # a server goes on with its work; a snapshot of its index is enough
        async with noted(data, "backup") as done, reading(data) as (_, volumes):
            with closing(open_reader(data / INDEX)) as connection:
                run = Backup(connection, volumes, folder, now=clock(), link=link)
                async with aclosing(steps(run.run)) as objects:
                    async for copied in objects:
                        done.instances += not copied.error
                        yield copied
