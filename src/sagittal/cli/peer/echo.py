"""`sagittal echo`."""

from __future__ import annotations

import time
from typing import Any

import click

from sagittal.cli.output import json_option, result, run, say
from sagittal.cli.peer.options import peer_options
from sagittal.client.dimse import PLAIN, open_dimse, syntax_for
from sagittal.client.place import Access
from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.dimse.address import PeerAddress
from sagittal.net.client import Proposal


@click.command("echo")
@peer_options
@json_option
def command(peer: PeerAddress, access: Access, as_json: bool) -> int:
    """C-ECHO: verify that PEER (AET@host:port) answers."""
    row = run(_echo(peer, access))
    result(as_json, row, f"{row['peer']} answers {row['status']} after {row['seconds'] * 1000:.1f} ms")
    return 0 if row["status"] == "0000" else 1


async def _echo(peer: PeerAddress, access: Access) -> dict[str, Any]:
    begun = time.perf_counter()
    async with (
        open_dimse(peer, access, say) as archive,
        await archive.associate([Proposal(VERIFICATION, PLAIN)]) as association,
    ):
        syntax_for(association, VERIFICATION)
        status = await association.echo()
        seconds = round(time.perf_counter() - begun, 6)  # a release may take as long as it likes
    return {"peer": str(peer), "status": f"{status:04X}", "seconds": seconds}
