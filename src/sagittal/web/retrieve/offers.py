"""What stored objects and their frames can be had as: media types and transfer syntaxes, and the choice among them.

Offered are the stored syntax and those that there is a codec for. Where none is named the default of PS3.18 8.7.3 is
taken, which loses nothing; a lossy one has to be named. Deliberately not here: making any of it (`transcoded`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import ROWS, encodes
from sagittal.pixels.reach import reaches
from sagittal.pixels.transcode import RECOMPRESSED
from sagittal.web.retrieve.zipped import ZIP
from sagittal.web.wire.accept import (
    COMPRESSED_TYPES,
    DEFAULT_SYNTAXES,
    DICOM,
    OCTET_STREAM,
    Choice,
    MediaType,
    Offer,
    accepts,
    choices,
    names,
    names_of_parts,
)

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef

NATIVE = Offer(OCTET_STREAM, EXPLICIT_LE)
_NOT_ON_THE_WEB = frozenset((IMPLICIT_LE, EXPLICIT_BE, "1.2.840.10008.1.20"))  # PS3.18 8.7.3


def targets(stored: str) -> list[str]:
    """The syntaxes that an object can be answered in besides its own, the default first."""
    return [uid for uid in encoders() if uid != stored and reaches(stored, uid)]


def encoders() -> list[str]:
    """All syntaxes that something can be brought to here, the default first."""
    order = dict.fromkeys((EXPLICIT_LE, *DEFAULT_SYNTAXES.values(), *ROWS, RECOMPRESSED))
    return [uid for uid in order if uid not in _NOT_ON_THE_WEB and (encodes(uid) or uid == RECOMPRESSED)]


def object_offers(stored: str) -> list[Offer]:
    """How an instance can be answered. What is only there with loss, and can't be decoded, is its own default."""
    only = syntax(stored).lossless is False and not reaches(stored, EXPLICIT_LE)
    offers = [Offer(DICOM, stored, default=only)]
    return offers + [Offer(DICOM, uid, stored=False) for uid in targets(stored)]


@lru_cache(maxsize=64)
def frame_offers(stored: str) -> list[Offer]:
    """How frames can be answered: compressed ones under their own media type, or as octets."""
    offers = _typed(stored, is_stored=True) if syntax(stored).encapsulated else [NATIVE]
    for uid in targets(stored):
        if syntax(uid).encapsulated:
            offers += _typed(uid, is_stored=False)
        elif uid == EXPLICIT_LE and syntax(stored).encapsulated:
            offers.append(Offer(OCTET_STREAM, EXPLICIT_LE, stored=False))
    return offers


def _typed(uid: str, *, is_stored: bool) -> list[Offer]:
    own = [Offer(COMPRESSED_TYPES[uid], uid, stored=is_stored)] if uid in COMPRESSED_TYPES else []
    return [*own, Offer(OCTET_STREAM, uid, stored=is_stored)]


def until_sure(found: Iterable[Choice]) -> list[Choice]:
    """Choices as far as the first that needs no codec, so that none after it will be wanted."""
    made = []
    for choice in found:
        made.append(choice)
        if choice.offer.stored:
            break
    return made


def frame_choices(ranges: Sequence[MediaType], ref: InstanceRef, single: bool) -> list[Choice]:
    """The media type and syntax of the frames of an instance, the best first: which of them carries the pixels, shows
    when it is tried. NotAcceptable says what there is.
    """
    offers = frame_offers(ref.syntax_uid)
    if found := until_sure(choices(ranges, offers, single=single)):
        return found
    if not single and not any(wanted.multipart for wanted in ranges):
        raise NotAcceptable(f"several frames are answered as {names_of_parts(offers)}")
    held = syntax(ref.syntax_uid).name
    raise NotAcceptable(f"the frames are held in {held} and can be had as {names(offers)}; pictures are at …/rendered")


def held_choice(ranges: Sequence[MediaType], ref: InstanceRef, single: bool) -> Choice:
    """The media type of the frames of an instance as they are held. NotAcceptable."""
    offers = [offer for offer in frame_offers(ref.syntax_uid) if offer.stored]
    if (found := next(choices(ranges, offers, single=single), None)) is not None:
        return found
    what = " or ".join(f"{offer.type}; transfer-syntax={offer.syntax}" for offer in offers)
    held = syntax(ref.syntax_uid).name
    text = f"the frames are held in {held} and can be had as {what}; another form would need a codec"
    if not single and not any(wanted.multipart for wanted in ranges):
        text = f"several of them are answered as {names_of_parts(offers)}"
    raise NotAcceptable(text)


def object_choices(ranges: Sequence[MediaType], syntax_uid: str, single: bool) -> list[Choice]:
    """The packagings and syntaxes of an instance held in `syntax_uid` that are wanted, the best first: which of them
    carries it, shows when it is tried. NotAcceptable.
    """
    if found := until_sure(choices(ranges, object_offers(syntax_uid), single=single)):
        return found
    if not any(accepts([MediaType(wanted.root)], DICOM) for wanted in ranges):
        text = f'objects are answered as multipart/related; type="{DICOM}", or as {ZIP}'
    elif not single and not any(wanted.multipart for wanted in ranges):
        text = f'several instances are answered as multipart/related; type="{DICOM}", or as {ZIP}'
    else:
        text = (
            f"an instance is held in {syntax(syntax_uid).name} ({syntax_uid}). It is answered as stored: "
            f'multipart/related; type="{DICOM}"; transfer-syntax=*; or in {_others(syntax_uid)}'
        )
    raise NotAcceptable(text)


def _others(syntax_uid: str) -> str:
    found = targets(syntax_uid)
    return ", ".join(found) if found else "no other syntax, since there is no codec for its own"
