"""Which transfer syntaxes an object can be brought to from the one it is in, told by the table of codecs alone.

Whether a syntax takes the pixels of one object (their bits, their sign) shows in `plan`. No codec is imported here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.pixels.codecs import ROWS, decodes, encodes
from sagittal.pixels.transcode import JPEGS, RECOMPRESSED

# The syntaxes whose codec reads an option; to give it for another one is a mistake.
READ_BY: Mapping[str, frozenset[str]] = {
    option: frozenset(f"1.2.840.10008.1.2.4.{tail}" for tail in tails.split())
    for option, tails in {
        "quality": "50 51", "near": "81", "ratio": "91 203", "psnr": "91 203", "distance": "112", "effort": "110 112",
    }.items()
}  # fmt: skip


def reaches(stored: str, to: str) -> bool:
    """Whether there is a way from one syntax to another."""
    if stored == to or (syntax(stored).native and syntax(to).native) or _recompressed(stored, to):
        return True
    return decodes(stored) and encodes(to)


def loses(stored: str, to: str) -> bool:
    """Whether that way may lose information."""
    return stored != to and syntax(to).lossless is not True and not _recompressed(stored, to)


def may_be_lossless(stored: str, to: str) -> bool:
    """Whether that way can be gone without loss, by a codec that is told so if need be."""
    return stored == to or syntax(to).lossless is not False or _recompressed(stored, to)


def without_loss(stored: str, accepted: Collection[str]) -> str | None:
    """Of the syntaxes that a peer takes, the one to bring an object to: uncompressed by preference; None: there is no
    way without loss.
    """
    native = (uid for uid in sorted(accepted) if syntax(uid).native)
    for uid in (stored, EXPLICIT_LE, IMPLICIT_LE, *native, *ROWS, RECOMPRESSED):
        if uid in accepted and reaches(stored, uid) and not loses(stored, uid):
            return uid
    return None


def _recompressed(stored: str, to: str) -> bool:
    return (stored == RECOMPRESSED and to in JPEGS) or (stored in JPEGS and to == RECOMPRESSED)
