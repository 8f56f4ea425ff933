"""What every handler of the HTTP face shares: the archive, the settings, the reader threads.

It deliberately knows no route and no clause of PS3.18.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sagittal.archive import DuplicatePolicy
from sagittal.archive.nodes import NOTHING_ASSUMED, Assumed
from sagittal.limits import Limits

if TYPE_CHECKING:
    from sagittal.archive.access import Principal
    from sagittal.archive.archive import Archive
    from sagittal.archive.transcoding.byrule import ByRule
    from sagittal.archive.transcoding.maker import Maker
    from sagittal.net.server import DimseServer
    from sagittal.services.nodes import NodeTable
    from sagittal.services.tokens import TokenTable
    from sagittal.web.render.ahead import Ahead
    from sagittal.web.render.shelf import Shelf
    from sagittal.web.retrieve.athand import AtHand
    from sagittal.web.wire.forwarded import Network
    from sagittal.workers.pool import Pool


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but the archive itself."""

    aet: str = "SAGITTAL"
    aets: Mapping[int, str] = field(default_factory=dict)  # by store: the title that stands for it, not our own
    dimse_port: int = 11112
    senders: tuple[str, str] = ("", "")  # how DCMTK and `sagittal store` send to it
    loopback: bool = True  # bound to loopback: without tokens, the local principal may do all
    hosts: frozenset[str] = frozenset()  # names browsers may use for us, beside loopback and the address connected to
    origins: frozenset[str] = frozenset()  # `https://viewer.example`: pages that may ask; none is the default
    public_url: str | None = None  # what clients see in front of a proxy, without a slash at the end
    trusted_proxies: tuple[Network, ...] = ()  # whose Forwarded and X-Forwarded-… are believed
    tokens: Callable[[], Mapping[str, Principal]] = dict  # SHA-256 of a bearer token, hexadecimal -> who it is
    nodes: NodeTable | None = None
    token_table: TokenTable | None = None
    listener: DimseServer | None = None  # what it counts, for `/metrics`
    by_rule: ByRule | None = None
    ready: Callable[[], Sequence[str]] = tuple  # reasons not to be ready, beside the archive's own
    durability: str = "full"
    duplicates: DuplicatePolicy = "keep-first"  # other content under a held SOP Instance UID
    assumed: Assumed = NOTHING_ASSUMED  # of objects that do not say it
    limits: Limits = field(default_factory=Limits)

    @property
    def wants_token(self) -> bool:
        """Whether a bearer token has to be shown; one that is shown has to be known in any case."""
        return bool(self.tokens()) or not self.loopback

    def aet_in(self, store: int) -> str:
        """The title under which what a store holds can be retrieved."""
        return self.aets.get(store, self.aet)


@dataclass(frozen=True, slots=True)
class House:
    """What the handlers share."""

    archive: Archive
    settings: Settings
    readers: ThreadPoolExecutor
    workers: Pool
    maker: Maker  # of objects in other transfer syntaxes
    pictures: Shelf  # rendered already
    thumbnails: Shelf
    ahead: Ahead  # of who looks at pictures
    at_hand: AtHand  # frames whose objects are open
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Counter[int] = field(default_factory=Counter)  # HTTP status -> how often
