"""`sagittal scrub`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sagittal.cli.data.place import data_option, existing
from sagittal.cli.output import json_option, progress, result, say
from sagittal.errors import DirectoryHeld


@click.command("scrub")
@data_option
@click.option("--rate", type=click.IntRange(1), metavar="MB", help="At most so many MB a second.")
@click.option(
    "--after", type=click.IntRange(0), default=0, help="Go on after the instance that an earlier run ended at."
)
@json_option
def command(data: Path, rate: int | None, after: int, as_json: bool) -> int:
    """Check every object against its digest and the index, also while serving. Any finding: exit status 1."""
    from sagittal.archive.archive import INDEX, hold
    from sagittal.archive.index.connection import open_reader
    from sagittal.archive.local import LocalVolume
    from sagittal.archive.upkeep.scrub import Finding, Scrub

    path = existing(data)
    try:
        lock: int | None = hold(path)
    except DirectoryHeld:
        lock = None
    volume, connection = LocalVolume(path), open_reader(path / INDEX)
    findings = 0
    try:
        # While a server stores, a young file may not have its row yet.
        young = 60.0 if lock is None else 0.0
        run = Scrub(
            connection, {1: volume}, bytes_per_second=rate and rate * 1_000_000, after=after, young_seconds=young
        )
        with progress("Scrubbing", None) as advance:
            for told in run.run():
                if isinstance(told, Finding):
                    findings += 1
                    result(as_json, told._asdict())
                else:
                    advance(0)
    except KeyboardInterrupt:
        say(f"stopped; go on with --after {run.progress.after}")
        raise
    finally:
        connection.close()
        volume.close()
        if lock is not None:
            os.close(lock)
    say(f"{run.progress.instances} instances, {run.progress.bytes} bytes, {findings} findings")
    return 1 if findings else 0
