"""`sagittal get`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from sagittal.cli.output import json_option, progress, result, run
from sagittal.cli.peer.folder import Dropped, Folder
from sagittal.cli.peer.options import (
    PLAIN,
    identifier,
    open_association,
    peer_options,
    read_response,
    syntax_for,
)
from sagittal.cli.peer.retrieving import Outcome, key_options, keys_and_level
from sagittal.dicom.sopclasses import STORAGE, STUDY_ROOT_FIND, STUDY_ROOT_GET, WELL_KNOWN
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.dimse.service import Request, StoreSink
from sagittal.errors import PeerError
from sagittal.net.client import Peer, Proposal
from sagittal.net.proposing import CONTEXTS_MAX

STUDY_UID, SOP_CLASSES_IN_STUDY = 0x0020000D, 0x00080062
_OTHERS = tuple(row.uid for row in SYNTAXES.values() if row.storable and row.uid not in PLAIN)


@click.command("get")
@peer_options
@key_options
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder [.]")
@click.option("--sop-class", "sop_classes", multiple=True, metavar="UID", help="SOP classes to take; repeatable.")
@json_option
def command(
    peer: Peer,
    aet: str,
    level: str | None,
    keys: tuple[str, ...],
    out: Path,
    sop_classes: tuple[str, ...],
    as_json: bool,
) -> int:
    """C-GET: retrieve instances from PEER (AET@host:port) into a folder."""
    wanted, level = keys_and_level(keys, level)
    outcome = Outcome()
    run(_get(peer, aet, level, wanted, out, sop_classes, as_json, outcome))
    if as_json:
        result(True, outcome.row())
    return outcome.report()


async def _get(
    peer: Peer,
    aet: str,
    level: str,
    keys: dict[int, str],
    out: Path,
    sop_classes: Iterable[str],
    as_json: bool,
    outcome: Outcome,
) -> None:
    received: set[str] = set()

    def arrived(path: Path, request: Request) -> None:
        uid = request.command["AffectedSOPInstanceUID"]
        received.add(uid)
        if as_json:
            result(True, {"file": str(path), "sop_instance_uid": uid})

    def store(request: Request) -> StoreSink:
        # Asked once more for what failed, a peer may send all it can in another syntax: the first stays.
        return Dropped() if request.command["AffectedSOPInstanceUID"] in received else folder.store(request)

    classes = tuple(sop_classes) or await _classes_in(peer, aet, keys.get(STUDY_UID, ""))
    folder = Folder(out, arrived)
    with progress("Receiving", None) as advance:
        for number, contexts in enumerate(proposals(classes)):
            part = outcome if number == 0 else Outcome()
            async with await open_association(peer, aet, contexts) as association:
                syntax_uid = syntax_for(association, STUDY_ROOT_GET)
                responses = association.get(STUDY_ROOT_GET, identifier(level, keys, syntax_uid), store)
                await part.follow(responses, syntax_uid, advance)
            outcome.came_later(received)
            if not outcome.failed_uids:
                return


def proposals(classes: Iterable[str]) -> list[list[Proposal]]:
    """For each association: C-GET itself, then each class in each transfer syntax, one a context; uncompressed first.

    One context for each syntax, so that the peer can send what it stores as it is: within a context it has no choice.
    Where the classes aren't known they are all proposed, uncompressed.
    """
    classes = list(classes) or sorted(STORAGE, key=lambda uid: WELL_KNOWN[uid].retired)
    if 2 * len(classes) >= CONTEXTS_MAX:
        found = [Proposal(sop_class, PLAIN, "scp") for sop_class in classes]
    else:
        found = [Proposal(sop_class, (uid,), "scp") for uid in (*PLAIN, *_OTHERS) for sop_class in classes]
    room = CONTEXTS_MAX - 1
    return [[Proposal(STUDY_ROOT_GET, PLAIN), *found[at : at + room]] for at in range(0, len(found), room)]


async def _classes_in(peer: Peer, aet: str, study_uids: str) -> tuple[str, ...]:
    """The SOP classes of the studies, if the peer tells; so contexts aren't spent on others."""
    keys = {STUDY_UID: study_uids, SOP_CLASSES_IN_STUDY: ""}
    found: dict[str, None] = {}
    try:
        async with await open_association(peer, aet, [Proposal(STUDY_ROOT_FIND, PLAIN)]) as association:
            syntax_uid = syntax_for(association, STUDY_ROOT_FIND)
            async for response in association.find(STUDY_ROOT_FIND, identifier("study", keys, syntax_uid)):
                classes = read_response(response.data_set, syntax_uid).get(SOP_CLASSES_IN_STUDY, "")
                found.update(dict.fromkeys(uid for uid in classes.split("\\") if uid))
    except PeerError:
        return ()
    return tuple(found)
