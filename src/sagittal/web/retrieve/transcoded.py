"""Objects and frames in other transfer syntaxes than they are stored in: what can be offered, and how it is sent.

Offered are the syntaxes that there is a codec for. Where none is named the default of PS3.18 8.7.3 is taken, which
loses nothing; a lossy one has to be named, and makes an instance with a SOP Instance UID of its own. Workers do it, a
little ahead of the socket. An instance that can't be made is left out of several, with a line in the log, unless all
are. Deliberately not here: what lies in the stored file as it is wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reencode import can_reencode
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import NotAcceptable, SagittalError
from sagittal.pixels.codecs import ROWS, encodes
from sagittal.pixels.reach import reaches
from sagittal.pixels.transcode import RECOMPRESSED
from sagittal.web.wire.accept import (
    COMPRESSED_TYPES,
    DEFAULT_SYNTAXES,
    DICOM,
    OCTET_STREAM,
    Choice,
    MediaType,
    Offer,
    choose,
)
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import drawn

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef
    from sagittal.archive.transcoding.maker import Made
    from sagittal.web.house import House
    from sagittal.web.retrieve.objects import Stored

log = logging.getLogger("sagittal.web")
_NOT_ON_THE_WEB = frozenset((IMPLICIT_LE, EXPLICIT_BE, "1.2.840.10008.1.20"))  # PS3.18 8.7.3
_AHEAD = 2  # made while another is sent
_FRAMES_AT_ONCE = 16  # of one request to a worker


class _Closed(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closed)


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
    offers = _typed(stored, is_stored=True) if syntax(stored).encapsulated else [Offer(OCTET_STREAM, EXPLICIT_LE)]
    for uid in targets(stored):
        if syntax(uid).encapsulated:
            offers += _typed(uid, is_stored=False)
        elif uid == EXPLICIT_LE and syntax(stored).encapsulated:
            offers.append(Offer(OCTET_STREAM, EXPLICIT_LE, stored=False))
    return offers


def _typed(uid: str, *, is_stored: bool) -> list[Offer]:
    own = [Offer(COMPRESSED_TYPES[uid], uid, stored=is_stored)] if uid in COMPRESSED_TYPES else []
    return [*own, Offer(OCTET_STREAM, uid, stored=is_stored)]


def names(offers: Iterable[Offer]) -> str:
    """Offers for a person."""
    return ", ".join(dict.fromkeys(offer.media_type for offer in offers))


def frame_choice(ranges: Sequence[MediaType], ref: InstanceRef, single: bool) -> Choice:
    """The media type and syntax of the frames of an instance; NotAcceptable says what there is."""
    offers = frame_offers(ref.syntax_uid)
    try:
        return choose(ranges, offers, single=single)
    except NotAcceptable:
        pass
    if not single and not any(wanted.multipart for wanted in ranges):
        raise NotAcceptable(f'several frames are answered as multipart/related; type="{offers[0].type}"')
    held = syntax(ref.syntax_uid).name
    raise NotAcceptable(f"the frames are held in {held} and can be had as {names(offers)}; pictures are at …/rendered")


class Transcoded:
    """Makes the bodies of answers."""

    def __init__(self, house: House, stored: Stored) -> None:
        self._maker, self._readers, self._stored = house.maker, house.readers, stored
        self._chunk_bytes = house.settings.limits.web.read_chunk_bytes

    def needed(self, ref: InstanceRef, offer: Offer) -> bool:
        """Whether an offer needs a codec."""
        return not can_reencode(syntax(ref.syntax_uid), syntax(offer.syntax))

    async def file(self, ref: InstanceRef, to: str) -> AsyncGenerator[bytes]:
        """The Part 10 file of an instance in the syntax `to`."""
        with await self._maker.instance(ref, to) as made:
            async for piece in self._drawn(self._pieces(ref, made)):
                yield piece

    async def files(
        self, framing: Framing, refs: Sequence[InstanceRef], offers: Sequence[Offer], heads: Sequence[bytes]
    ) -> AsyncGenerator[bytes]:
        """Instances as parts; those that can't be made are left out."""
        jobs = [
            partial(self._maker.instance, ref, offer.syntax) if self.needed(ref, offer) else None
            for ref, offer in zip(refs, offers, strict=True)
        ]
        problem: SagittalError | None = None
        empty = True
        async with aclosing(_in_order(jobs)) as answers:
            following = iter(zip(refs, offers, heads, strict=True))
            async for made in answers:
                ref, offer, head = next(following)
                if isinstance(made, SagittalError):
                    problem = problem or made
                    log.warning("%s is left out of an answer: %s", ref.sop_instance_uid, made.text)
                    continue
                pieces = self._stored.file(ref, offer.syntax) if made is None else self._pieces(ref, made)
                empty = False
                yield head
                async for piece in self._drawn(pieces):
                    yield piece
        if empty and problem is not None:
            raise problem
        yield framing.close

    async def frames(
        self, ref: InstanceRef, numbers: Sequence[int], choice: Choice, framing: Framing, where: Sequence[str]
    ) -> AsyncGenerator[bytes]:
        """Frames in the syntax of `choice`, as parts that lie at `where`, or one alone."""
        to = choice.offer.syntax
        cuts = [numbers[at : at + _FRAMES_AT_ONCE] for at in range(0, len(numbers), _FRAMES_AT_ONCE)]
        heads = iter([framing.head(choice.offer.media_type, address) for address in where])
        async with aclosing(_in_order([partial(self._maker.frames, ref, cut, to) for cut in cuts])) as answers:
            async for made in answers:
                if isinstance(made, SagittalError):
                    raise made
                assert made is not None
                for frame in made.frames(self._chunk_bytes):
                    if choice.multipart:
                        yield next(heads)
                    async for piece in self._drawn(frame):
                        yield piece
        if choice.multipart:
            yield framing.close

    def _pieces(self, ref: InstanceRef, made: Made) -> Iterator[bytes]:
        yield meta_group(ref.sop_class_uid, made.sop_instance_uid, made.syntax_uid)
        yield from made.data_set(self._chunk_bytes)

    def _drawn(self, pieces: Iterator[bytes]) -> AsyncGenerator[bytes]:
        return drawn(self._readers, pieces, self._chunk_bytes)


async def _in_order(
    jobs: Sequence[Callable[[], Awaitable[C]] | None],
) -> AsyncGenerator[C | SagittalError | None]:
    """What each job gives or raises, in their order, some made ahead; None stays None. Closes each after its turn."""
    under_way: deque[asyncio.Future[C] | None] = deque()
    try:
        for at in range(len(jobs)):
            for job in jobs[at + len(under_way) : at + 1 + _AHEAD]:
                under_way.append(None if job is None else asyncio.ensure_future(job()))
            first = under_way[0]
            if first is None:
                under_way.popleft()
                yield None
                continue
            try:
                made = await asyncio.shield(first)
            except SagittalError as error:
                under_way.popleft()
                yield error
                continue
            yield made
            under_way.popleft()
            made.close()
    finally:
        for left in under_way:
            if left is not None:
                left.cancel()
                with suppress(SagittalError, asyncio.CancelledError):
                    (await left).close()
