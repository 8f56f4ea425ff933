"""`sagittal restore`."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.data.place import data_option
from sagittal.cli.output import json_option, progress, result, say


@click.command("restore")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@data_option
@json_option
def command(folder: Path, data: Path, as_json: bool) -> int:
    """Make a data directory, which must be empty or missing, from the backup in FOLDER."""
    from sagittal.archive.upkeep.tasks import restore

    done = failed = 0
    try:
        with progress("Restoring", None) as advance:
            for copied in restore(folder, data):
                advance(1)
                if not copied.error:
                    done += 1
                    continue
                failed += 1
                result(as_json, copied._asdict(), f"{copied.key}\t{copied.error}")
    finally:
        if as_json and done + failed:
            result(True, {"objects": done, "failed": failed})
    say(f"{done} objects restored into {data}")
    return 0
