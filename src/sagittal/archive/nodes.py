"""The AE table and the bearer tokens of a data directory: what `sagittal nodes` and `sagittal config token` keep.

Deliberately not here: who may open an association (services) and which token a request shows (web).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

from sagittal.archive.access import VERBS, Principal, authorize
from sagittal.archive.index import nodes as statements
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


Act = Callable[[sqlite3.Connection], None]


def read_nodes(connection: sqlite3.Connection) -> list[Node]:
    """The AE table, by title."""
    return [
        Node(aet, host, port, bool(tls), frozenset(verbs.split()), tuple(order.split()), policy)
        for aet, host, port, tls, verbs, order, policy in connection.execute(statements.NODES)
    ]


def put_node(principal: Principal, node: Node) -> Act:
    """Add a node, or change the one of this title."""
    authorize(principal, "admin")
    _check_verbs(node.verbs)
    if node.duplicates not in DUPLICATE_POLICIES:
        raise UsageError(f"{node.duplicates!r} is not one of {' '.join(DUPLICATE_POLICIES[1:])}")
    row = (node.aet, node.host, node.port, int(node.tls), " ".join(sorted(node.verbs)), " ".join(node.syntax_order))
    return lambda connection: _do(connection, statements.PUT_NODE, *row, node.duplicates, _now())


def remove_node(principal: Principal, aet: str) -> Act:
    """Take a node out of the table; no error when it is not there."""
    authorize(principal, "admin")
    return lambda connection: _do(connection, statements.REMOVE_NODE, aet)


def read_tokens(connection: sqlite3.Connection) -> list[Token]:
    """The bearer tokens that hold."""
    now = _now()
    return [
        Token(name, digest, frozenset(verbs.split()), expires)
        for name, digest, verbs, expires in connection.execute(statements.TOKENS)
        if expires is None or expires > now
    ]


def put_token(principal: Principal, name: str, digest: str, verbs: frozenset[str]) -> Act:
    """Add a token, or replace the one of this name."""
    authorize(principal, "admin")
    _check_verbs(verbs)
    return lambda connection: _do(connection, statements.PUT_TOKEN, name, digest, " ".join(sorted(verbs)), _now())


def revoke_token(principal: Principal, name: str) -> Act:
    """End a token; no error when there is none of this name."""
    authorize(principal, "admin")
    return lambda connection: _do(connection, statements.REVOKE_TOKEN, _now(), name)


def _check_verbs(verbs: frozenset[str]) -> None:
    if unknown := sorted(verbs - VERBS):
        raise UsageError(f"unknown verb {unknown[0]!r}; verbs are {' '.join(sorted(VERBS))}")


def _do(connection: sqlite3.Connection, statement: str, *values: object) -> None:
    connection.execute(statement, values)


def _now() -> int:
    return time.time_ns() // 1000
