"""`sagittal move`."""

from __future__ import annotations

import click

from sagittal.cli.output import json_option, run, say
from sagittal.cli.peer.options import model_options, peer_options, report, selection_options
from sagittal.client.dimse import MODELS, PLAIN, follow, open_dimse, syntax_for
from sagittal.client.keys import LEVELS, Question, identifier, level_of, parse_keys
from sagittal.client.outcome import Retrieved
from sagittal.client.place import Access
from sagittal.client.remote import named
from sagittal.dimse.address import PeerAddress, check_aet
from sagittal.net.client import Proposal


@click.command("move")
@peer_options
@click.option("--to", "destination", required=True, metavar="AET", help="Where to: an AE title that the peer knows.")
@selection_options(LEVELS)
@model_options
@click.option("--relational", is_flag=True, help="Ask for relational retrieval: UIDs without those above.")
@json_option
def command(
    peer: PeerAddress,
    access: Access,
    destination: str,
    level: str | None,
    keys: tuple[str, ...],
    model: str | None,
    relational: bool,
    as_json: bool,
) -> int:
    """C-MOVE: have PEER (AET@host:port) send instances to another AE.

    What other keys than UIDs match is looked up first. A whole patient with `-L patient`, asked of Patient Root.
    """
    check_aet(destination)
    wanted = parse_keys(keys)
    level = level or level_of(wanted, model)
    question = Question(level, wanted, model or ("patient" if level == "patient" else "study"), relational)
    return report(run(_move(peer, access, destination, question)), as_json)


async def _move(peer: PeerAddress, access: Access, destination: str, question: Question) -> Retrieved:
    sop_class, whole = MODELS[question.model][1], Retrieved.nothing()
    extended = {sop_class: b"\1"} if question.relational else {}
    async with open_dimse(peer, access, say) as archive:
        if not (questions := await named(archive, question)):
            return whole
        async with await archive.associate([Proposal(sop_class, PLAIN)], extended=extended) as association:
            syntax_uid = syntax_for(association, sop_class)
            for one in questions:
                outcome = Retrieved()
                responses = association.move(sop_class, identifier(one, syntax_uid), destination)
                await follow(responses, one, syntax_uid, outcome)
                whole.add(outcome)
    return whole
