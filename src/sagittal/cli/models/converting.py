"""The two directions of `sagittal json` and `sagittal xml`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from sagittal.cli.inputs import FILE, uid_of
from sagittal.cli.models.objects import read_object, write_object
from sagittal.cli.options import together
from sagittal.cli.output import Failures, result
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.errors import UsageError

_OUT = "DICOM file to write, or a folder that is there [.]"
# Files and where their bulk data and their results go.
model_options = together(
    click.argument("paths", nargs=-1, required=True, type=FILE),
    click.option("--to-dicom", is_flag=True, help="The other way."),
    click.option("-o", "--out", type=click.Path(path_type=Path), help=_OUT),
    click.option("--bulk", type=click.Path(path_type=Path, file_okay=False), help="Folder for bulk data."),
    click.option("--syntax", default="", help="Transfer syntax to write [as told]."),
)


def convert(
    encoded: Callable[[dict[str, Any]], bytes],
    decoded: Callable[[bytes], Iterator[dict[str, Any]]],
    *,
    paths: tuple[Path, ...],
    to_dicom: bool,
    out: Path | None,
    bulk: Path | None,
    syntax: str,
) -> int:
    """Each file on its own: one that fails keeps none of the others. The exit status."""
    if (out or syntax) and not to_dicom:
        raise UsageError("-o and --syntax go with --to-dicom; the models go to stdout")
    wanted = syntax and uid_of(syntax, SYNTAXES, "transfer syntax")
    failures, taken = Failures(), set(map(os.path.realpath, paths))
    for path in paths:
        with failures.of(path):
            if to_dicom:
                for obj in decoded(path.read_bytes()):
                    written = write_object(obj, out or Path(), bulk, wanted, taken)
                    result(False, {"file": str(written)})
            else:
                click.echo(encoded(read_object(path, bulk)))
    return failures.status
