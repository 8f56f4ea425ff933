"""Who asks, and the one place that says no.

Every verb of the engine takes a principal and calls `authorize` first; DIMSE, web and UI have no other way in.
Deliberately not here: how a principal is found out (AE table, bearer token, user identity), which is for the rooms that
speak a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagittal.errors import NotAuthorized

VERBS = frozenset({"echo", "store", "find", "get", "move", "delete", "undelete", "change", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks: a node, a token's holder, or the operator at this machine."""

    name: str  # AE title, token name; written to the audit log
    kind: str  # "node" | "token" | "local"
    verbs: frozenset[str]


LOCAL = Principal("local", "local", VERBS)


def authorize(principal: Principal, verb: str) -> None:
    """Raise NotAuthorized unless `principal` may do `verb`."""
    if verb not in principal.verbs:
        raise NotAuthorized(f"{principal.name} may not {verb}")
