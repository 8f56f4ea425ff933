"""What the services of one archive work with, handed in by `serve`: the engine, the AE table and the way to a peer.

No service opens a socket or reads a setting elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sagittal.archive import DuplicatePolicy
from sagittal.limits import ReaderLimits
from sagittal.net.client import Association, Peer, Proposal

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive
    from sagittal.archive.transcoding.maker import Maker

Connect = Callable[[Peer, Sequence[Proposal]], Awaitable[Association]]


class Sender(NamedTuple):
    """What the AE table says for the objects of one sender where they are silent, and about their duplicates."""

    duplicates: DuplicatePolicy = "keep-first"
    issuer_of_patient_id: str = ""
    character_set: str = ""
    timezone: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One archive as its services see it."""

    archive: Archive
    aet: str  # ours: Retrieve AE Title, and the calling one of C-MOVE's associations
    destination: Callable[[str], Peer | None]  # a node of the AE table, by its AE title
    connect: Connect
    limits: ReaderLimits
    maker: Maker | None = None  # of objects in other syntaxes; None: they go as they are stored or not at all
    sender: Callable[[str], Sender] = lambda _calling_aet: Sender()
    charsets: Callable[[str], tuple[str, ...]] = lambda _calling_aet: ()  # of identifiers without a good one
    aets: Mapping[int, str] = field(default_factory=dict)  # by store: the title that stands for it
    kept_is_success: bool = False  # 0000 rather than B000 when the first version was kept

    def aet_in(self, store: int) -> str:
        """The title under which what a store holds can be retrieved."""
        return self.aets.get(store, self.aet)
