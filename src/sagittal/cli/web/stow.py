"""`sagittal stow`."""

from __future__ import annotations

from typing import Any

import click

from sagittal.cli.output import json_option
from sagittal.cli.peer.options import url_options
from sagittal.cli.peer.store import sending_options, store
from sagittal.client.place import Access, Url
from sagittal.client.remote import Sending
from sagittal.errors import UsageError
from sagittal.uid import is_uid


@click.command("stow")
@url_options
@sending_options
@click.option("--study", default="", metavar="UID", help="Into this study only: others are refused by the server.")
@click.option("--requests", type=click.IntRange(1, 64), default=1, show_default=True, help="So many at a time.")
@json_option
def command(url: Url, access: Access, study: str, requests: int, **options: Any) -> int:
    """STOW-RS: send files and folders to the DICOMweb server at URL, one file a request."""
    if study and not is_uid(study):
        raise UsageError(f"{study!r} is not a UID")
    return store(url, access, Sending(associations=requests, study=study), **options)
