"""`sagittal dump`."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.inputs import FILE
from sagittal.cli.output import Failures, escaped, json_escaped
from sagittal.dicom.dump import lines, metadata
from sagittal.folders import read_in_pieces

_READ_BYTES = 1 << 18


@click.command("dump")
@click.argument("paths", nargs=-1, required=True, type=FILE)
@click.option("--full", is_flag=True, help="Whole values, not their beginning.")
@click.option("--json", "as_json", is_flag=True, help="The DICOM JSON Model, one object a line.")
def command(paths: tuple[Path, ...], full: bool, as_json: bool) -> int:
    """Show the elements of DICOM files, a damaged one up to its defect. `-` is standard input."""
    failures = Failures()
    for path in paths:
        if len(paths) > 1 and not as_json:
            click.echo(escaped(f"# {path}", kept=""))
        with failures.of(path):
            pieces = read_in_pieces(path, _READ_BYTES)
            if as_json:
                for piece in metadata(pieces):
                    click.echo(json_escaped(piece), nl=False)
                click.echo()
            else:
                for line in lines(pieces, full=full):
                    click.echo(line)
    return failures.status
