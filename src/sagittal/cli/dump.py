"""`sagittal dump`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from sagittal.cli.inputs import FILE
from sagittal.cli.output import escaped, json_escaped, reason, say
from sagittal.dicom.dump import lines, metadata
from sagittal.errors import SagittalError

_READ_BYTES = 1 << 18


@click.command("dump")
@click.argument("paths", nargs=-1, required=True, type=FILE)
@click.option("--full", is_flag=True, help="Whole values, not their beginning.")
@click.option("--json", "as_json", is_flag=True, help="The DICOM JSON Model, one object a line.")
def command(paths: tuple[Path, ...], full: bool, as_json: bool) -> int:
    """Show the elements of DICOM files, a damaged one up to its defect. `-` is standard input."""
    failed = 0
    for path in paths:
        if len(paths) > 1 and not as_json:
            click.echo(escaped(f"# {path}", kept=""))
        try:
            if as_json:
                for piece in metadata(_chunks(path)):
                    click.echo(json_escaped(piece), nl=False)
                click.echo()
            else:
                for line in lines(_chunks(path), full=full):
                    click.echo(line)
        except BrokenPipeError:  # nobody reads this any more, which is no fault of the file
            raise
        except (SagittalError, OSError) as error:
            failed += 1
            say(f"{path}: {reason(error, path)}")
    return 1 if failed else 0


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            yield data
