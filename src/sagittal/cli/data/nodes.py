"""`sagittal nodes list|show|add|remove`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from sagittal.archive import POLICIES
from sagittal.cli.data.place import data_option, existing, tend
from sagittal.cli.output import json_option, result, run, say
from sagittal.dimse.address import parse_peer
from sagittal.errors import NotFound

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive

VERBS = "echo,store,find,get,move"


@click.group("nodes")
def command() -> None:
    """List, show, add and remove the nodes (AE table) of an archive; in force at once, also beside a running server."""


@command.command("list")
@data_option
@json_option
def list_nodes(data: Path, as_json: bool) -> None:
    """The AE table."""
    for row in run(_list(data)):
        store = row["store"] and f"store {row['store']}"
        result(as_json, row, "\t".join(filter(None, (row["peer"], " ".join(row["verbs"]), row["name"], store))))


@command.command("show")
@click.argument("aet", metavar="AET")
@data_option
@json_option
def show_node(aet: str, data: Path, as_json: bool) -> None:
    """One node with all that is known of it."""
    row = next((row for row in run(_list(data)) if row["aet"] == aet), None)
    if row is None:
        raise NotFound(f"there is no node {aet}")
    if as_json:
        result(True, row)
        return
    for key, value in row.items():
        shown = " ".join(value) if isinstance(value, list) else value
        result(False, row, f"{key}: {str(shown).lower() if isinstance(shown, bool) else shown}".rstrip())


@command.command("add")
@click.argument("peer", metavar="AET@host:port")
@click.option("--name", default="", help="What people call it.")
@click.option("--verbs", default=VERBS, show_default=True, help="What it may do, with commas between.")
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="Where it calls from, as 10.1.0.0/16.")
@click.option("--tls", is_flag=True, help="We connect to it with TLS.")
@click.option("--duplicates", type=click.Choice(POLICIES), help="Other content under a held UID [as the archive].")
@click.option("--syntax-order", default="", metavar="UIDS", help="Transfer syntaxes by preference; * for all others.")
@click.option("--character-set", default="", metavar="TERM", help="Of what it sends without one, as ISO_IR 100.")
@click.option("--issuer", default="", help="Issuer of Patient IDs that it sends without one.")
@click.option("--timezone", default="", metavar="OFFSET", help="Its offset from UTC, as +0100.")
@click.option("--store", default="", metavar="NAME", help="The store that it works in [that of the title it calls].")
@data_option
@json_option
def add_node(
    peer: str,
    data: Path,
    duplicates: str | None,
    verbs: str,
    syntax_order: str,
    issuer: str,
    as_json: bool,
    **more: Any,
) -> None:
    """Add a node, or change the one of this AE title: what is not given then is as if never given."""
    aet = parse_peer(peer).aet
    more |= {"duplicates": duplicates or "", "issuer_of_patient_id": issuer, "addresses": list(more["addresses"])}
    more |= {"verbs": _split(verbs), "syntax_order": _split(syntax_order)}
    run(_add(data, peer, more))
    if as_json:
        result(True, next(row for row in run(_list(data)) if row["aet"] == aet))
    say(f"{peer} is a node")


@command.command("remove")
@click.argument("aet", metavar="AET")
@data_option
@json_option
def remove_node(aet: str, data: Path, as_json: bool) -> None:
    """Remove a node."""
    run(_remove(data, aet))
    if as_json:
        result(True, {"aet": aet, "removed": True})
    say(f"{aet} is no node any more")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


async def _list(data: Path) -> Sequence[Mapping[str, Any]]:
    from sagittal.archive.nodes import read_nodes
    from sagittal.services.nodes import row_of

    async def here(archive: Archive) -> list[Mapping[str, Any]]:
        return [row_of(node) for node in await read_nodes(archive.readers)]

    return await tend(existing(data), here, "GET", "/api/nodes")


async def _add(data: Path, peer: str, fields: Mapping[str, Any]) -> None:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.nodes import Node, put_node

    lists = {"addresses": tuple(fields["addresses"]), "syntax_order": tuple(fields["syntax_order"])}
    node = Node(*parse_peer(peer), **{**fields, **lists, "verbs": frozenset(fields["verbs"])})
    row = {"peer": peer, **fields}
    await tend(data, lambda archive: put_node(archive.act, LOCAL, node), "POST", "/api/nodes", row)


async def _remove(data: Path, aet: str) -> None:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.nodes import remove_node as remove

    path = f"/api/nodes/{quote(aet, safe='')}"
    await tend(existing(data), lambda archive: remove(archive.act, LOCAL, aet), "DELETE", path)
