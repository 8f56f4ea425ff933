"""`sagittal reindex`."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.data.place import data_option
from sagittal.cli.data.tally import tallied
from sagittal.cli.output import json_option, say
from sagittal.errors import UsageError


@click.command("reindex")
@data_option
@json_option
def command(data: Path, as_json: bool) -> int:
    """Rebuild the index from the objects alone; what they can't tell is taken from the old index."""
    from sagittal.archive.upkeep.tasks import reindex

    if not (data / "objects").is_dir():
        raise UsageError(f"{data} is not a data directory")
    with tallied("Indexing", as_json) as tally:
        for indexed in reindex(data):
            tally.add(indexed)
    say(f"{tally.done} objects indexed, {tally.failed} not")
    return tally.close()
