"""What the HTTP face of one archive is told, frozen, by `serve`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sagittal.limits import WebLimits

if TYPE_CHECKING:
    from sagittal.archive.access import Principal


class Nodes(Protocol):
    """The AE table as `/api/nodes` shows and changes it; each verb is authorized and audited by its maker."""

    def list(self) -> Sequence[Mapping[str, Any]]: ...

    def add(self, principal: Principal, peer: str) -> Awaitable[None]: ...

    def remove(self, principal: Principal, aet: str) -> Awaitable[bool]: ...


def _no_tokens() -> Mapping[str, Principal]:
    return {}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but the archive itself."""

    aet: str = "SAGITTAL"
    dimse_port: int = 11112
    loopback: bool = True  # bound to loopback: without tokens, the local principal may do all
    hosts: frozenset[str] = frozenset()  # names browsers may use for us, beside loopback and the address connected to
    origins: frozenset[str] = frozenset()  # `https://viewer.example`: pages that may write; none is the default
    public_url: str | None = None  # what clients see in front of a proxy, without a slash at the end
    tokens: Callable[[], Mapping[str, Principal]] = _no_tokens  # SHA-256 of a bearer token, hexadecimal -> who it is
    nodes: Nodes | None = None
    ready: Callable[[], Sequence[str]] = tuple  # reasons not to be ready, beside the archive's own
    durability: str = "full"
    limits: WebLimits = field(default_factory=WebLimits)
