"""`sagittal move`."""

from __future__ import annotations

import click

from sagittal.cli.output import json_option, progress, result, run
from sagittal.cli.peer.options import PLAIN, identifier, open_association, peer_options, syntax_for
from sagittal.cli.peer.retrieving import Outcome, key_options, keys_and_level
from sagittal.dicom.sopclasses import STUDY_ROOT_MOVE
from sagittal.net.client import Peer, Proposal


@click.command("move")
@peer_options
@click.option("--to", "destination", required=True, metavar="AET", help="Where to: an AE title that the peer knows.")
@key_options
@json_option
def command(peer: Peer, aet: str, destination: str, level: str | None, keys: tuple[str, ...], as_json: bool) -> int:
    """C-MOVE: have PEER (AET@host:port) send instances to another AE."""
    wanted, level = keys_and_level(keys, level)
    outcome = Outcome()
    run(_move(peer, aet, destination, level, wanted, outcome))
    if as_json:
        result(True, outcome.row())
    return outcome.report()


async def _move(peer: Peer, aet: str, destination: str, level: str, keys: dict[int, str], outcome: Outcome) -> None:
    async with await open_association(peer, aet, [Proposal(STUDY_ROOT_MOVE, PLAIN)]) as association:
        syntax_uid = syntax_for(association, STUDY_ROOT_MOVE)
        responses = association.move(STUDY_ROOT_MOVE, identifier(level, keys, syntax_uid), destination)
        with progress("Moving", None) as advance:
            await outcome.follow(responses, syntax_uid, advance)
