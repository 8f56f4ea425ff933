"""The AE table and the bearer tokens of a data directory: what `sagittal nodes` and `sagittal config token` keep.

Deliberately not here: who may open an association (services) and which token a request shows (web).
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from sagittal.archive.access import VERBS, Principal, authorize
from sagittal.archive.deletion import Act
from sagittal.archive.index import nodes as statements
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.writer import AuditRow
from sagittal.errors import UsageError

NODE_VERBS = frozenset({"echo", "store", "find", "get", "move"})
DUPLICATE_POLICIES = ("", "keep-first", "replace", "refuse")  # "": the archive's


class Node(NamedTuple):
    """One row of the AE table."""

    aet: str
    host: str
    port: int
    tls: bool = False
    verbs: frozenset[str] = NODE_VERBS
    syntax_order: tuple[str, ...] = ()  # (): the archive's
    duplicates: str = ""

    def __str__(self) -> str:
        return f"{self.aet}@[{self.host}]:{self.port}" if ":" in self.host else f"{self.aet}@{self.host}:{self.port}"


class Token(NamedTuple):
    """A bearer token, by the SHA-256 of its secret."""

    name: str
    digest: str
    verbs: frozenset[str]
    expires_at: int | None = None


async def read_nodes(readers: Readers) -> list[Node]:
    """The AE table, by title."""
    rows = await readers.run(lambda connection: connection.execute(statements.NODES).fetchall())
    return [
        Node(aet, host, port, bool(tls), frozenset(verbs.split()), tuple(order.split()), policy)
        for aet, host, port, tls, verbs, order, policy in rows
    ]


async def put_node(act: Act, principal: Principal, node: Node) -> None:
    """Add a node, or change the one of this title."""
    authorize(principal, "admin")
    _check_verbs(node.verbs)
    if node.duplicates not in DUPLICATE_POLICIES:
        raise UsageError(f"{node.duplicates!r} is not one of {' '.join(DUPLICATE_POLICIES[1:])}")
    place = node.aet, node.host, node.port, int(node.tls)
    row = *place, " ".join(sorted(node.verbs)), " ".join(node.syntax_order), node.duplicates, _now()
    await _do(act, principal, statements.PUT_NODE, row, f"node {node} set")


async def remove_node(act: Act, principal: Principal, aet: str) -> bool:
    """Take a node out of the table; whether it was there."""
    authorize(principal, "admin")
    return await _do(act, principal, statements.REMOVE_NODE, (aet,), f"node {aet} removed")


async def read_tokens(readers: Readers) -> list[Token]:
    """The bearer tokens that hold."""
    rows = await readers.run(lambda connection: connection.execute(statements.TOKENS).fetchall())
    return [
        Token(name, digest, frozenset(verbs.split()), expires_at)
        for name, digest, verbs, expires_at in rows
        if expires_at is None or expires_at > _now()
    ]


async def put_token(act: Act, principal: Principal, token: Token) -> None:
    """Add a token, or replace the one of this name."""
    authorize(principal, "admin")
    _check_verbs(token.verbs)
    row = token.name, token.digest, " ".join(sorted(token.verbs)), _now()
    await _do(act, principal, statements.PUT_TOKEN, row, f"token {token.name} made")


async def revoke_token(act: Act, principal: Principal, name: str) -> bool:
    """End a token; whether there was one."""
    authorize(principal, "admin")
    return await _do(act, principal, statements.REVOKE_TOKEN, (_now(), name), f"token {name} revoked")


def _check_verbs(verbs: frozenset[str]) -> None:
    if unknown := sorted(verbs - VERBS):
        raise UsageError(f"unknown verb {unknown[0]!r}; verbs are {' '.join(sorted(VERBS))}")


async def _do(act: Act, principal: Principal, statement: str, values: tuple[Any, ...], what: str) -> bool:
    """One statement and its audit row; whether it changed anything."""
    audit = AuditRow(principal.name, principal.kind, "admin", detail=what)
    return bool(await act(lambda connection: connection.execute(statement, values).rowcount, audit))


def _now() -> int:
    return time.time_ns() // 1000
