"""`sagittal store`."""

from __future__ import annotations

import asyncio
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sagittal.cli.inputs import FILE, uid_of
from sagittal.cli.options import together
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.cli.peer.options import place_options
from sagittal.client.opening import open_remote
from sagittal.client.outcome import Stored
from sagittal.client.place import Access, Place
from sagittal.client.remote import Sending
from sagittal.client.storing.files import read_objects
from sagittal.client.storing.rewrite import parse_changes
from sagittal.dicom.sopclasses import WELL_KNOWN
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.errors import PeerError, UsageError

_PATH = click.Path(path_type=Path)


# What is sent, and what is changed in it.
sending_options = together(
    click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False)),
    click.option("--set", "values", multiple=True, metavar="KEY=VALUE", help="Send with this value."),
    click.option("--remove", "removed", multiple=True, metavar="KEY", help="Send without this; repeatable."),
    click.option("--new-uids", is_flag=True, help="Send under new UIDs, the same for the same in all files."),
    click.option("--from", "listed", type=FILE, help="Read paths from this file too, one a line; `-` is stdin."),
    click.option("--failed", "failed_list", type=_PATH, help="Write the paths that failed to this file."),
    click.option("--halt", is_flag=True, help="End with the first failure [go on with the others]."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bar."),
)


@click.command("store")
@place_options
@sending_options
@click.option("--associations", type=click.IntRange(1, 64), default=1, show_default=True, help="So many at one time.")
@click.option(
    "--window", type=click.IntRange(1, 256), default=1, show_default=True, help="Operations outstanding on one (DIMSE)."
)
@click.option("--syntax", "syntaxes", multiple=True, metavar="SYNTAX", help="Propose this for every class; repeatable.")
@click.option(
    "--propose", "proposed", multiple=True, metavar="CLASS=SYNTAX,…", help="Propose these for this class; repeatable."
)
@click.option("--no-transcode", is_flag=True, help="Fail files whose syntax the peer does not take [transcode them].")
@json_option
def command(
    place: Place,
    access: Access,
    associations: int,
    window: int,
    syntaxes: tuple[str, ...],
    proposed: tuple[str, ...],
    no_transcode: bool,
    **options: Any,
) -> int:
    """Send files and folders to ARCHIVE: AET@host:port by C-STORE, a DICOMweb URL by STOW-RS, or a data directory.

    Files of another kind in folders are passed over. A file that fails keeps none of the others. What a peer does not
    take in its own transfer syntax goes in another one without loss (C-STORE only).
    """
    proposals = dict(_proposal(text) for text in proposed)
    wanted = tuple(uid_of(name, SYNTAXES, "transfer syntax") for name in syntaxes)
    return store(
        place,
        access,
        Sending(
            associations=associations, window=window, syntaxes=wanted, proposals=proposals, transcode=not no_transcode
        ),
        **options,
    )


def store(
    place: Place,
    access: Access,
    sending: Sending,
    *,
    paths: Sequence[Path],
    values: Iterable[str],
    removed: Iterable[str],
    new_uids: bool,
    listed: Path | None,
    failed_list: Path | None,
    halt: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Send, and report: failures and warnings always, successes with --json. The exit status."""
    sending = replace(sending, changes=parse_changes(values, removed, new_uids), halt=halt)
    gathered = [*paths, *_listed(listed)]
    if not gathered and listed is None:
        raise UsageError("name files or folders to send")
    report = _Report(as_json)
    try:
        run(_send(place, access, gathered, sending, quiet, report))
    finally:  # also where the peer went away, or Ctrl-C was typed: what is left to send has to be known
        report.close(failed_list)
    return 1 if report.failures else 0


class _Report:
    """What became of files: failures and warnings are told always, successes with --json."""

    def __init__(self, as_json: bool) -> None:
        self.failures: list[Path] = []
        self._as_json, self._sent, self._warned = as_json, 0, 0

    def add(self, answer: Stored) -> None:
        if answer.failed:
            self.failures.append(answer.file)
        else:
            self._sent += 1
            self._warned += answer.outcome == "warning"
        if self._as_json:
            row = {"file": os.fspath(answer.file), "sop_instance_uid": answer.sop_instance_uid, "status": answer.status}
            result(True, row | {"comment": answer.comment})
        elif answer.outcome != "success":
            reason = answer.comment or ("the peer refused it" if answer.failed else "stored with a warning")
            say(" ".join(part for part in (f"{answer.file}:", answer.status, reason) if part))

    def close(self, failed_list: Path | None) -> None:
        """The list of failures, and the counts unless nothing was tried."""
        if failed_list is not None:
            failed_list.write_bytes(b"".join(os.fsencode(path) + b"\n" for path in self.failures))
        if self._sent or self.failures:
            say(f"{self._sent} sent, {self._warned} of them with a warning, {len(self.failures)} failed")


async def _send(
    place: Place, access: Access, paths: Sequence[Path], sending: Sending, quiet: bool, report: _Report
) -> None:
    left: dict[Path, object] = dict.fromkeys(paths)
    try:
        files, unreadable = read_objects(paths)
        left = {file.path: file for file in files}
        for answer in unreadable:
            report.add(answer)
        if unreadable and sending.halt:
            return
        with progress("Sending", len(files), quiet=quiet) as advance:
            async with open_remote(place, access, say) as archive:
                async for answer in archive.store(files, sending):
                    report.add(answer)
                    left.pop(answer.file, None)
                    advance(1)
    except (PeerError, asyncio.CancelledError, KeyboardInterrupt):
        report.failures += left
        raise


def _listed(file: Path | None) -> list[Path]:
    if file is None:
        return []
    try:
        lines = file.read_bytes().removeprefix(BOM_UTF8).splitlines()
        return [Path(os.fsdecode(line)) for line in lines if line]
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _proposal(text: str) -> tuple[str, tuple[str, ...]]:
    sop_class, equals, syntaxes = text.partition("=")
    if not equals or not syntaxes:
        raise UsageError(f"{text!r} is not CLASS=SYNTAX,…")
    wanted = tuple(uid_of(name, SYNTAXES, "transfer syntax") for name in syntaxes.split(","))
    return uid_of(sop_class, WELL_KNOWN, "SOP class"), wanted
