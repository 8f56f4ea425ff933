"""Which transfer syntaxes an object can be brought to from the one it is in, told by the table of codecs alone.

Whether a syntax takes the pixels of one object (their bits, their sign) shows in `plan`. No codec is imported here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeVar

from sagittal.dicom.reencode import can_reencode
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs import ROWS, decodes, encodes
from sagittal.pixels.transcode import RECOMPRESSED, recompresses

A = TypeVar("A")
B = TypeVar("B")

# The syntaxes whose codec reads an option; to give it for another one is a mistake.
READ_BY: Mapping[str, frozenset[str]] = {
    option: frozenset(f"1.2.840.10008.1.2.4.{tail}" for tail in tails.split())
    for option, tails in {
        "quality": "50 51", "near": "81", "ratio": "91 203", "psnr": "91 203", "distance": "112", "effort": "110 112",
    }.items()
}  # fmt: skip


def reaches(stored: str, to: str) -> bool:
    """Whether there is a way from one syntax to another."""
    if can_reencode(syntax(stored), syntax(to)) or recompresses(stored, to):
        return True
    return decodes(stored) and encodes(to)


def loses(stored: str, to: str) -> bool:
    """Whether that way may lose information."""
    return stored != to and syntax(to).lossless is not True and not recompresses(stored, to)


def may_be_lossless(stored: str, to: str) -> bool:
    """Whether that way can be gone without loss, by a codec that is told so if need be."""
    return stored == to or syntax(to).lossless is not False or recompresses(stored, to)


def without_loss(stored: str, accepted: Collection[str]) -> list[str]:
    """Of the syntaxes that a peer takes, those that an object may be brought to without loss, the best first:
    uncompressed by preference. One that can't carry its pixels gives way to the next.
    """
    plain = (uid for uid in sorted(accepted) if syntax(uid).plain)
    order = dict.fromkeys((stored, EXPLICIT_LE, IMPLICIT_LE, *plain, *ROWS, RECOMPRESSED))
    return [uid for uid in order if uid in accepted and reaches(stored, uid) and not loses(stored, uid)]


async def first_carrying(
    able: Iterable[A], make: Callable[[A], Awaitable[B]], decoding: Callable[[A], bool] = lambda _: True
) -> tuple[A, B]:
    """The first of some syntaxes, or of what stands for one, that `make` can bring an object to, and what it made. If
    none can: NotAcceptable, as of the first.

    Whether a syntax takes the pixels shows when it is tried: codecs are for workers. Once the pixels turn out to be
    undecodable, only those are tried that need no `decoding`.
    """
    problem: NotAcceptable | None = None
    undecodable = False
    for to in able:
        if undecodable and decoding(to):
            continue
        try:
            return to, await make(to)
        except NotAcceptable as error:
            problem = problem or error
            undecodable = undecodable or isinstance(error, PixelsUndecodable)
    raise problem or NotAcceptable("there is no transfer syntax to send it in")
