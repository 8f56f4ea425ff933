"""`sagittal restore`."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.data.place import data_option
from sagittal.cli.data.tally import tallied
from sagittal.cli.output import json_option, say


@click.command("restore")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@data_option
@json_option
def command(folder: Path, data: Path, as_json: bool) -> int:
    """Make a data directory, which must be empty or missing, from the backup in FOLDER."""
    from sagittal.archive.upkeep.tasks import restore

    with tallied("Restoring", as_json) as tally:
        try:
            for copied in restore(folder, data):
                tally.add(copied)
        finally:  # when some failed, that is raised as an error in the end
            if tally.done + tally.failed:
                tally.close()
    say(f"{tally.done} objects restored into {data}")
    return 0
