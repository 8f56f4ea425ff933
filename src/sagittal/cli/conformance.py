"""`sagittal conformance`."""

from __future__ import annotations

import click


@click.command("conformance")
def command() -> None:
    """Print the DICOM conformance statement as Markdown, from the tables that the program runs on."""
    from sagittal.conformance import statement

    click.echo(statement(), nl=False)
