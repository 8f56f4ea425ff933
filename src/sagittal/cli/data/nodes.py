"""`sagittal nodes list|add|remove`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from sagittal.cli.data.place import data_option, open_archive, refused, server_of
from sagittal.cli.output import json_option, result, run, say
from sagittal.dimse.address import parse_peer
from sagittal.errors import DirectoryHeld, NotFound

DUPLICATES = ("keep-first", "replace", "refuse")


@click.group("nodes")
def command() -> None:
    """List, add and remove the nodes (AE table) of an archive; in force at once, also beside a running server."""


@command.command("list")
@data_option
@json_option
def list_nodes(data: Path, as_json: bool) -> None:
    """The AE table."""
    for row in run(_list(data)):
        result(as_json, row, f"{row['peer']}\t{' '.join(row['verbs'])}")


@command.command("add")
@click.argument("peer", metavar="AET@host:port")
@click.option("--tls", is_flag=True, help="We connect to it with TLS.")
@click.option("--duplicates", type=click.Choice(DUPLICATES), help="Other content under a held UID [as the archive].")
@data_option
def add_node(peer: str, tls: bool, duplicates: str | None, data: Path) -> None:
    """Add a node, or change the one of this AE title."""
    parse_peer(peer)
    run(_add(data, peer, tls, duplicates or ""))
    say(f"{peer} is a node")


@command.command("remove")
@click.argument("aet", metavar="AET")
@data_option
def remove_node(aet: str, data: Path) -> None:
    """Remove a node."""
    run(_remove(data, aet))
    say(f"{aet} is no node any more")


async def _list(data: Path) -> Sequence[Mapping[str, Any]]:
    from sagittal.archive.nodes import read_nodes
    from sagittal.services.nodes import row_of

    try:
        async with open_archive(data) as archive:
            return [row_of(node) for node in await read_nodes(archive.readers)]
    except DirectoryHeld:
        async with (await server_of(data)).client() as client:
            response = await client.get("/api/nodes")
            if response.is_error:
                refused(response)
            rows: list[dict[str, Any]] = response.json()
            return rows


async def _add(data: Path, peer: str, tls: bool, duplicates: str) -> None:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.nodes import Node, put_node

    try:
        async with open_archive(data) as archive:
            await put_node(archive.act, LOCAL, Node(*parse_peer(peer), tls=tls, duplicates=duplicates))
    except DirectoryHeld:
        async with (await server_of(data)).client() as client:
            response = await client.post("/api/nodes", json={"peer": peer, "tls": tls, "duplicates": duplicates})
            if response.is_error:
                refused(response)


async def _remove(data: Path, aet: str) -> None:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.nodes import remove_node as remove

    try:
        async with open_archive(data) as archive:
            if not await remove(archive.act, LOCAL, aet):
                raise NotFound(f"there is no node {aet}")
    except DirectoryHeld:
        async with (await server_of(data)).client() as client:
            response = await client.delete(f"/api/nodes/{quote(aet, safe='')}")
            if response.is_error:
                refused(response)
