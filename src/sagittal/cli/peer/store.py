"""`sagittal store`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from sagittal.cli.files import ObjectFile, read_head, walk
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.cli.peer.options import open_association, peer_options
from sagittal.dimse.service import NoContext, Response
from sagittal.errors import Malformed, PeerError, SagittalError
from sagittal.limits import ReaderLimits
from sagittal.net.client import Association, Peer
from sagittal.net.proposing import Batch, accepted_syntaxes, choose_syntax, data_set_source, plan

_LIMITS = ReaderLimits()


@click.command("store")
@peer_options
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(peer: Peer, aet: str, paths: tuple[Path, ...], quiet: bool, as_json: bool) -> int:
    """C-STORE: send files and folders to PEER (AET@host:port). Files of another kind in folders are passed over."""
    report = Report(as_json)
    files = _read_heads(paths, report)
    with progress("Sending", len(files), quiet=quiet) as advance:
        run(_send(peer, aet, files, report, advance))
    say(f"{report.done} sent, {report.warned} of them with a warning, {report.failed} failed")
    return 1 if report.failed else 0


class Report:
    """What became of each file: failures and warnings always, successes with --json."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.done = self.warned = self.failed = 0

    def answered(self, file: ObjectFile, response: Response) -> None:
        status = response.status
        warning = status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116)
        if status and not warning:
            self.fail(file.path, response.comment or "the peer refused it", f"{status:04X}", file.sop_instance_uid)
            return
        self.done += 1
        self.warned += warning
        if warning and not self._as_json:
            say(f"{file.path}: {status:04X} {response.comment}")
        self._row(file.path, f"{status:04X}", response.comment, file.sop_instance_uid)

    def fail(self, path: Path, reason: str, status: str = "", uid: str = "") -> None:
        self.failed += 1
        if not self._as_json:
            say(f"{path}: {status + ' ' if status else ''}{reason}")
        self._row(path, status, reason, uid)

    def _row(self, path: Path, status: str, comment: str, uid: str) -> None:
        if self._as_json:
            row: dict[str, Any] = {"file": os.fspath(path), "sop_instance_uid": uid, "status": status}
            result(True, row | {"comment": comment})


def _read_heads(paths: Sequence[Path], report: Report) -> list[ObjectFile]:
    files = []
    for path in walk(paths):
        try:
            files.append(read_head(path, _LIMITS))
        except Malformed as error:
            # In a folder there may be anything; a file that is named, or broken DICOM, is a failure.
            if error.defect != "not-dicom" or path in paths:
                report.fail(path, error.text)
        except (SagittalError, OSError) as error:
            report.fail(path, str(error))
    return files


async def _send(
    peer: Peer, aet: str, files: Sequence[ObjectFile], report: Report, advance: Callable[[int], None]
) -> None:
    for batch in plan(files, lambda file: (file.sop_class_uid, file.syntax_uid)):
        await _send_batch(peer, aet, batch, report, advance)


async def _send_batch(
    peer: Peer, aet: str, batch: Batch[ObjectFile], report: Report, advance: Callable[[int], None]
) -> None:
    """Over one association; if the peer ends it under way, a new one goes on after the file that was lost."""
    waiting = list(reversed(batch.items))
    while waiting:
        async with await open_association(peer, aet, batch.proposals) as association:
            accepted = accepted_syntaxes(association.info.contexts)
            while waiting:
                file = waiting.pop()
                try:
                    await _send_file(association, file, accepted.get(file.sop_class_uid, ()), report)
                except PeerError as error:
                    report.fail(file.path, error.text, uid=file.sop_instance_uid)
                    break
                finally:
                    advance(1)


async def _send_file(association: Association, file: ObjectFile, accepted: Sequence[str], report: Report) -> None:
    to = choose_syntax(file.syntax_uid, accepted)
    if to is None:
        reason = f"the peer accepts {file.sop_class_uid} not in {file.syntax_uid}"
        report.fail(file.path, reason, uid=file.sop_instance_uid)
        return
    try:
        with file.path.open("rb") as opened:
            source = data_set_source(opened.fileno(), file.offset, file.length, file.syntax_uid, to, _LIMITS)
            response = await association.store(file.sop_class_uid, file.sop_instance_uid, to, source)
    except (NoContext, OSError) as error:
        report.fail(file.path, str(error), uid=file.sop_instance_uid)
        return
    report.answered(file, response)
