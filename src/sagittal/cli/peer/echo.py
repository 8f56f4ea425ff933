"""`sagittal echo`."""

from __future__ import annotations

import time
from typing import Any

import click

from sagittal.cli.output import json_option, result, run
from sagittal.cli.peer.options import PLAIN, open_association, peer_options, syntax_for
from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.net.client import Peer, Proposal


@click.command("echo")
@peer_options
@json_option
def command(peer: Peer, aet: str, as_json: bool) -> int:
    """C-ECHO: verify that PEER (AET@host:port) answers."""
    row = run(_echo(peer, aet))
    result(as_json, row, f"{row['peer']} answers {row['status']} after {row['seconds'] * 1000:.1f} ms")
    return 0 if row["status"] == "0000" else 1


async def _echo(peer: Peer, aet: str) -> dict[str, Any]:
    begun = time.perf_counter()
    async with await open_association(peer, aet, [Proposal(VERIFICATION, PLAIN)]) as association:
        syntax_for(association, VERIFICATION)
        status = await association.echo()
    seconds = round(time.perf_counter() - begun, 6)
    return {"peer": f"{peer.aet}@{peer.host}:{peer.port}", "status": f"{status:04X}", "seconds": seconds}
