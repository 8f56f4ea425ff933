"""`sagittal xml`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from sagittal.cli.models.converting import convert, model_options
from sagittal.dicom.models.xml import from_xml, to_xml


@click.command("xml")
@model_options
def command(**options: Any) -> int:
    """DICOM files as Native DICOM Model (PS3.19 A.1) on stdout; with --to-dicom such documents as DICOM files.

    `-` is standard input.
    """
    return convert(to_xml, _decoded, **options)


def _decoded(data: bytes) -> Iterator[dict[str, Any]]:
    yield from_xml(data)
