"""`sagittal json`."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

import click
import orjson

from sagittal.cli.models.converting import convert, model_options
from sagittal.cli.output import json_text
from sagittal.errors import BadRequest


@click.command("json")
@model_options
def command(**options: Any) -> int:
    """DICOM files as DICOM JSON (PS3.18 F) on stdout, one object a line; with --to-dicom JSON as DICOM files.

    `-` is standard input.
    """
    return convert(json_text, _decoded, **options)


def _decoded(data: bytes) -> Iterator[dict[str, Any]]:
    """An object, an array of objects (as /metadata answers), or one object a line."""
    data = data.removeprefix(BOM_UTF8)  # RFC 8259 8.1
    try:
        told = orjson.loads(data)
    except ValueError:
        try:
            told = [orjson.loads(line) for line in data.splitlines() if line.strip()]
        except ValueError as error:
            told_as = "not UTF-8" if "UTF-8" in str(error) else error
            raise BadRequest(f"not JSON: {told_as}") from None
    for obj in told if isinstance(told, list) else [told]:
        if not isinstance(obj, dict):
            raise BadRequest("not an object of the DICOM JSON Model")
        yield obj
