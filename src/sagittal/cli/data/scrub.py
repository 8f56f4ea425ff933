"""`sagittal scrub`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagittal.cli.data.place import Done, data_option, existing, note
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import DirectoryHeld, SagittalError

if TYPE_CHECKING:
    from sagittal.archive.upkeep.scrub import Progress


@click.command("scrub")
@data_option
@click.option("--rate", type=click.IntRange(1), metavar="MB", help="At most so many MB a second.")
@click.option(
    "--after", type=click.IntRange(0), default=0, help="Go on after the instance that an earlier run ended at."
)
@json_option
def command(data: Path, rate: int | None, after: int, as_json: bool) -> int:
    """Check every object against its digest and the index, also while serving. Any finding: exit status 1."""
    from sagittal.archive.index.connection import open_reader
    from sagittal.archive.local import LocalVolume
    from sagittal.archive.opening import INDEX, hold
    from sagittal.archive.upkeep.scrub import Finding, Scrub
    from sagittal.archive.upkeep.tasks import upgrade_in

    path = existing(data)
    try:
        lock: int | None = hold(path)
        upgrade_in(path)
    except DirectoryHeld:
        lock = None
    volume, connection = LocalVolume(path), open_reader(path / INDEX)
    # While a server stores, a young file may not have its row yet.
    young, bytes_per_second = 60.0 if lock is None else 0.0, rate and rate * 1_000_000
    scrub = Scrub(
        connection, {1: volume}, bytes_per_second=bytes_per_second, after=min(after, (1 << 63) - 1), young_seconds=young
    )
    findings = seen = 0
    try:
        with progress("Scrubbing", None) as advance:
            for told in scrub.run():
                if isinstance(told, Finding):
                    findings += 1
                    result(as_json, told._asdict())
                advance(scrub.progress.instances - seen)
                seen = scrub.progress.instances
    except KeyboardInterrupt:
        say(f"stopped; go on with --after {scrub.progress.after}")
        raise
    finally:
        connection.close()
        volume.close()
        _write_down(path, findings, scrub.progress, lock)
        if lock is not None:
            os.close(lock)
    say(f"{scrub.progress.instances} instances, {scrub.progress.bytes} bytes, {findings} findings")
    return 1 if findings else 0


def _write_down(path: Path, findings: int, seen: Progress, lock: int | None) -> None:
    """In the audit log: through the server, or here where the lock is held. What was found counts without it, too."""
    from sagittal.archive.access import LOCAL, audit_row
    from sagittal.archive.upkeep.tasks import note_in

    detail = f"{findings} findings, {seen.bytes} bytes"
    done = Done("findings" if findings else "done", detail, seen.instances)
    try:
        if lock is None:
            run(note(path, "scrub", done))
        else:
            note_in(path, audit_row(LOCAL, "scrub", done.outcome, detail=detail, number_of_instances=done.instances))
    except SagittalError as error:
        say(error.text)
