"""What to propose and what to send for objects that lie in files: presentation contexts, batches, data sets.

One context for each SOP class and stored transfer syntax, and an uncompressed alternative where the object is
uncompressed or can be decoded. Used by the SCU commands and by C-MOVE; nothing here opens an association.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dimse.service import Context, FileRegion, Source
from sagittal.folders import pieces_of
from sagittal.limits import ReaderLimits
from sagittal.net.client import Proposal
from sagittal.pixels.reach import reaches

CONTEXTS_MAX = 128  # PS3.8 9.3.2.2: odd ids 1 to 255
_READ_BYTES = 1 << 16

Item = TypeVar("Item")


@dataclass
class Batch(Generic[Item]):
    """What goes over one association."""

    proposals: list[Proposal] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)


def plan(items: Iterable[Item], kind: Callable[[Item], tuple[str, str]], *, decoding: bool = True) -> list[Batch[Item]]:
    """Items by SOP class, as many to an association as it has contexts; `kind` gives class and syntax."""
    by_class: dict[str, list[Item]] = {}
    for item in items:
        by_class.setdefault(kind(item)[0], []).append(item)
    batches: list[Batch[Item]] = []
    for sop_class, members in by_class.items():
        proposals = propose(sop_class, (kind(item)[1] for item in members), decoding=decoding)
        if not batches or len(batches[-1].proposals) + len(proposals) > CONTEXTS_MAX:
            batches.append(Batch())
        batches[-1].proposals += proposals
        batches[-1].items += members
    return batches


def propose(sop_class: str, stored: Iterable[str], *, decoding: bool = True) -> list[Proposal]:
    """A context for each stored syntax, and one with the plain syntaxes that any of them could be brought to."""
    syntaxes = list(dict.fromkeys(stored))[: CONTEXTS_MAX - 1]
    proposals = [Proposal(sop_class, (uid,)) for uid in syntaxes]
    plain = tuple(uid for uid in (EXPLICIT_LE, IMPLICIT_LE) if uid not in syntaxes)
    if plain and any(reaches(uid, EXPLICIT_LE) if decoding else syntax(uid).native for uid in syntaxes):
        proposals.append(Proposal(sop_class, plain))
    return proposals


def accepted_syntaxes(contexts: Iterable[Context]) -> dict[str, list[str]]:
    """SOP class → transfer syntaxes of its accepted contexts."""
    accepted: dict[str, list[str]] = {}
    for context in contexts:
        accepted.setdefault(context.abstract_syntax, []).append(context.transfer_syntax)
    return accepted


def choose_syntax(stored: str, accepted: Iterable[str]) -> str | None:
    """The stored syntax if it was accepted, else an uncompressed one if the object is uncompressed, else None."""
    offered = set(accepted)
    if stored in offered:
        return stored
    if not syntax(stored).native:
        return None
    for uid in (EXPLICIT_LE, IMPLICIT_LE, *sorted(offered)):
        if uid in offered and syntax(uid).plain:
            return uid
    return None


def data_set_source(fd: int, offset: int, length: int, stored: str, to: str, limits: ReaderLimits) -> Source:
    """The data set at `offset` of an open file in the syntax `to`; the caller closes `fd` after the sending."""
    if to == stored:
        return FileRegion(fd, offset, length)
    return reencode(pieces_of(fd, offset, length, _READ_BYTES), syntax(stored), syntax(to), limits)
