"""The bearer tokens at work: who a token is, and changing them while serving.

Deliberately not here: how a request shows its token (web).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagittal.archive import nodes
from sagittal.archive.access import LOCAL, Principal, authorize
from sagittal.archive.index import MAIN_STORE
from sagittal.archive.index.upkeep.stores import number_of
from sagittal.archive.nodes import Token
from sagittal.errors import UsageError

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive


class TokenTable(Mapping[str, Principal]):
    """SHA-256 of a token, in hexadecimal → who shows it. The token in `server.json` is the local operator.

    That one is not counted: while the archive has no other, loopback needs none.
    """

    def __init__(self, archive: Archive, kept: Iterable[Token], fixed: Iterable[Token], local_digest: str) -> None:
        self._archive, self._local_digest = archive, local_digest
        self._kept = {token.name: token for token in kept}
        self._fixed = {token.name: token for token in fixed}
        self._principals: dict[str, Principal] = {}
        self._changed()

    def __getitem__(self, digest: str) -> Principal:
        return LOCAL if digest == self._local_digest else self._principals[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._principals)

    def __len__(self) -> int:
        return len(self._principals)

    def list(self) -> Sequence[Mapping[str, Any]]:
        """Every token by name, never its digest."""
        tokens = self._kept | self._fixed
        return [row_of(tokens[name]) for name in sorted(tokens)]

    async def add(self, principal: Principal, name: str, digest: str, verbs: Iterable[str], store: str = "") -> None:
        """Add a token, or replace the one of this name."""
        token = Token(name, digest, frozenset(verbs), store=store)
        with self._archive.audited(principal, "admin"):
            authorize(principal, "admin")
            self._check_free(name)
            await nodes.put_token(self._archive.act, principal, token)
        self._kept[name] = token
        self._changed()

    async def revoke(self, principal: Principal, name: str) -> None:
        """End a token. NotFound."""
        with self._archive.audited(principal, "admin"):
            authorize(principal, "admin")
            self._check_free(name)
            await nodes.revoke_token(self._archive.act, principal, name)
        self._kept.pop(name, None)
        self._changed()

    def _check_free(self, name: str) -> None:
        if name in self._fixed:
            raise UsageError(f"the token {name} is fixed by the configuration")

    def _changed(self) -> None:
        tokens = (self._kept | self._fixed).values()
        self._principals = {token.digest: self._principal(token) for token in tokens}

    def _principal(self, token: Token) -> Principal:
        store = number_of(self._archive.stores, token.store) if token.store else MAIN_STORE
        return Principal(token.name, "token", token.verbs, store)


def row_of(token: Token) -> dict[str, Any]:
    """A token for a person or a program, without its digest."""
    return {"name": token.name, "verbs": sorted(token.verbs), "store": token.store}
