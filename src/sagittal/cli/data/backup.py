"""`sagittal backup`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagittal.archive.index import clock
from sagittal.cli.data.place import beside, check_outside, data_option, existing, open_unheld
from sagittal.cli.data.tally import tallied
from sagittal.cli.output import json_option, run, say

if TYPE_CHECKING:
    from sagittal.archive.index.connection import Readers
    from sagittal.archive.local import LocalVolume
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
    from sagittal.archive.access import LOCAL
    from sagittal.archive.upkeep.tasks import back_up

    async def work(_: Readers, volume: LocalVolume) -> Callable[[], Iterator[Copied]]:
        return partial(_snapshot, data, volume, folder, link)

    new = 0
    async with open_unheld(data) as archive:
        copies = beside(data, "backup", work) if archive is None else back_up(archive, LOCAL, folder, link=link)
        async with aclosing(copies) as objects:
            with tallied("Copying", as_json) as tally:
                async for copied in objects:
                    tally.add(copied)
                    new += copied.is_new and not copied.error
    say(f"{tally.done} objects in {folder}, {new} of them new, {tally.failed} damaged")
    return tally.close(objects=tally.done, new=new, damaged=tally.failed)


def _snapshot(data: Path, volume: LocalVolume, folder: Path, link: bool) -> Iterator[Copied]:
    """Of an index that a server goes on writing."""
    from sagittal.archive.index.connection import open_reader
    from sagittal.archive.opening import INDEX
    from sagittal.archive.upkeep.backup import Backup

    with closing(open_reader(data / INDEX)) as connection:
        yield from Backup(connection, {1: volume}, folder, now=clock(), link=link).run()
