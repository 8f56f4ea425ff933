"""The AE table and the bearer tokens of a data directory: what `sagittal nodes` and `sagittal config token` keep.

Deliberately not here: who may open an association (services) and which token a request shows (web).
"""

from __future__ import annotations

import sqlite3
from ipaddress import ip_network
from typing import Any, NamedTuple

from sagittal.archive import POLICIES
from sagittal.archive.access import VERBS, Principal, audit_row, authorize
from sagittal.archive.acts import Act
from sagittal.archive.index import clock
from sagittal.archive.index import nodes as statements
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.upkeep import stores
from sagittal.dicom.matching.times import is_offset
from sagittal.errors import NotFound, UsageError
from sagittal.hosts import authority
from sagittal.uid import is_uid

NODE_VERBS = frozenset({"echo", "store", "find", "get", "move"})


class Assumed(NamedTuple):
    """What is assumed of objects that do not say it, where their sender's node does not either."""

    character_set: str = ""  # defined terms of (0008,0005), joined by a backslash
    timezone: str = ""  # offset from UTC, "+0100"


NOTHING_ASSUMED = Assumed()


class Node(NamedTuple):
    """One row of the AE table. Empty: as the archive does it, or nothing."""

    aet: str
    host: str
    port: int
    tls: bool = False
    verbs: frozenset[str] = NODE_VERBS
    syntax_order: tuple[str, ...] = ()  # transfer syntaxes by preference; "*" is every other one, without it none
    duplicates: str = ""
    name: str = ""  # for people
    addresses: tuple[str, ...] = ()  # addresses and networks that it calls from; (): those of `host`
    character_set: str = ""  # of what it sends without one: defined terms of (0008,0005), joined by a backslash
    issuer_of_patient_id: str = ""  # of Patient IDs that it sends without one
    timezone: str = ""  # its offset from UTC, "+0100"
    store: str = ""  # the name of the store that it works in, whatever title it calls

    def __str__(self) -> str:
        return f"{self.aet}@{authority(self.host, self.port)}"


class Token(NamedTuple):
    """A bearer token, by the SHA-256 of its secret."""

    name: str
    digest: str
    verbs: frozenset[str]
    store: str = ""  # the name of the only store it is for, unless it may `admin`; "": main


async def read_nodes(readers: Readers) -> list[Node]:
    """The AE table, by title."""
    rows = await readers.run(lambda connection: connection.execute(statements.NODES).fetchall())
    return [
        Node(aet, host, port, bool(tls), frozenset(verbs.split()), tuple(order.split()), policy, name,
             tuple(addresses.split()), *more)
        for aet, host, port, tls, verbs, order, policy, name, addresses, *more in rows
    ]  # fmt: skip


def check_node(node: Node) -> Node:
    """The node, its terms as the Standard writes them. UsageError for what can't be."""
    _check_verbs(node.verbs)
    if node.duplicates not in ("", *POLICIES):
        raise UsageError(f"{node.duplicates!r} is not one of {' '.join(POLICIES)}")
    for uid in node.syntax_order:
        if uid != "*" and not is_uid(uid):
            raise UsageError(f"{uid!r} is not the UID of a transfer syntax, nor *")
    for address in node.addresses:
        try:
            ip_network(address)
        except ValueError as error:
            raise UsageError(f"{address!r} is neither an address nor a network: {error}") from None
    character_set, _ = check_assumed(Assumed(node.character_set, node.timezone))
    for text in (node.name, node.issuer_of_patient_id):
        if len(text) > 64 or not text.isprintable() or "\\" in text or text != text.strip():
            raise UsageError(f"{text!r} is not a name of at most 64 characters without a backslash")
    return node._replace(character_set=character_set)


def check_assumed(given: Assumed) -> Assumed:
    """The same, as the Standard spells the terms. UsageError."""
    if not any(given):
        return given
    from sagittal.dicom import charset  # its tables are not needed before somebody names one

    terms, defects = charset.parse(given.character_set)
    if "charset-unknown" in defects:
        raise UsageError(f"{given.character_set!r} is not a defined term of Specific Character Set (PS3.3 C.12.1.1.2)")
    if given.timezone and not is_offset(given.timezone):
        raise UsageError(f"{given.timezone!r} is not an offset from UTC such as +0100 (PS3.3 C.12.1.1.8)")
    return Assumed("\\".join(terms), given.timezone)


async def put_node(act: Act, principal: Principal, node: Node) -> None:
    """Add a node, or change the one of this title."""
    authorize(principal, "admin")
    node = check_node(node)
    place = node.aet, node.host, node.port, int(node.tls)
    behaviour = " ".join(sorted(node.verbs)), " ".join(node.syntax_order), node.duplicates
    row = *place, *behaviour, node.name, " ".join(node.addresses), *node[9:], clock()
    await _do(act, principal, statements.PUT_NODE, row, f"node {node} set", node.store)


async def remove_node(act: Act, principal: Principal, aet: str) -> None:
    """Take a node out of the table. NotFound."""
    authorize(principal, "admin")
    await _do(act, principal, statements.REMOVE_NODE, (aet,), f"node {aet[:16]} removed")


async def read_tokens(readers: Readers) -> list[Token]:
    """The bearer tokens that hold."""
    rows = await readers.run(lambda connection: connection.execute(statements.TOKENS).fetchall())
    return [Token(name, digest, frozenset(verbs.split()), store) for name, digest, verbs, store in rows]


async def put_token(act: Act, principal: Principal, token: Token) -> None:
    """Add a token, or replace the one of this name."""
    authorize(principal, "admin")
    if not token.name.isprintable() or not 0 < len(token.name) <= 64:
        raise UsageError("a token needs a name of at most 64 printable characters")
    _check_verbs(token.verbs)
    row = token.name, token.digest, " ".join(sorted(token.verbs)), token.store, clock()
    await _do(act, principal, statements.PUT_TOKEN, row, f"token {token.name} made", token.store)


async def revoke_token(act: Act, principal: Principal, name: str) -> None:
    """End a token. NotFound."""
    authorize(principal, "admin")
    await _do(act, principal, statements.REVOKE_TOKEN, (clock(), name), f"token {name[:64]} revoked")


def _check_verbs(verbs: frozenset[str]) -> None:
    if unknown := sorted(verbs - VERBS):
        raise UsageError(f"unknown verb {unknown[0]!r}; verbs are {' '.join(sorted(VERBS))}")


async def _do(
    act: Act, principal: Principal, statement: str, values: tuple[Any, ...], what: str, store: str = ""
) -> None:
    """One statement and its audit row. UsageError for a store that is not there, NotFound if it changes nothing."""

    def run(connection: sqlite3.Connection) -> None:
        if store:
            stores.number_of(stores.read(connection), store)
        if not connection.execute(statement, values).rowcount:
            raise NotFound(f"there is no such {what.partition(' ')[0]}")

    await act(run, audit_row(principal, "admin", detail=what))
