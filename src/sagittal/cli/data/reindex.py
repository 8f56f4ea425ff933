"""`sagittal reindex`."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.data.place import data_option
from sagittal.cli.output import json_option, progress, result, say
from sagittal.errors import UsageError


@click.command("reindex")
@data_option
@json_option
def command(data: Path, as_json: bool) -> int:
    """Rebuild the index from the objects alone; what they can't tell is taken from the old index."""
    from sagittal.archive.upkeep.tasks import reindex

    if not (data / "objects").is_dir():
        raise UsageError(f"{data} is not a data directory")
    done = failed = 0
    with progress("Indexing", None) as advance:
        for indexed in reindex(data):
            advance(1)
            if not indexed.error:
                done += 1
                continue
            failed += 1
            result(as_json, indexed._asdict(), f"{indexed.key}\t{indexed.error}")
    say(f"{done} objects indexed, {failed} not")
    if as_json:
        result(True, {"objects": done, "failed": failed})
    return 1 if failed else 0
