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
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reencode import can_reencode
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import PASSING, NotAcceptable, SagittalError
from sagittal.pixels.codecs import ROWS, encodes
from sagittal.pixels.reach import first_carrying, reaches
from sagittal.pixels.transcode import RECOMPRESSED
from sagittal.web.wire.accept import (
    COMPRESSED_TYPES,
    DEFAULT_SYNTAXES,
    DICOM,
    OCTET_STREAM,
    Choice,
    MediaType,
    Offer,
    choices,
    names,
)
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Pushed, drawn

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef
    from sagittal.archive.transcoding.maker import Made
    from sagittal.web.house import House
    from sagittal.web.retrieve.objects import Stored
    from sagittal.web.wire.conditions import Header

log = logging.getLogger("sagittal.web")
_NOT_ON_THE_WEB = frozenset((IMPLICIT_LE, EXPLICIT_BE, "1.2.840.10008.1.20"))  # PS3.18 8.7.3
_AHEAD = 2  # made while another is sent
_FRAMES_AT_ONCE = 16  # of one request to a worker


class _Closed(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closed)


class _Sent(NamedTuple):
    """An instance as it is sent: its syntax, and what was made of it (None: its stored file is sent)."""

    syntax_uid: str
    made: Made | None

    def close(self) -> None:
        if self.made is not None:
            self.made.close()


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

    async def carried(self, ref: InstanceRef, found: Sequence[Choice], number: int) -> Choice:
        """The first of some choices that frames of an instance can be had in, tried with one of them. NotAcceptable."""
        if len(found) == 1 or found[0].offer.stored:
            return found[0]

        async def tried(choice: Choice) -> Choice:
            if not choice.offer.stored:
                (await self._maker.frames(ref, [number], choice.offer.syntax)).close()
            return choice

        return (await first_carrying(found, tried, lambda choice: not choice.offer.stored))[1]

    async def file(self, ref: InstanceRef, offers: Sequence[Offer]) -> AsyncGenerator[bytes]:
        """The Part 10 file of an instance, as the first of some offers that it can be had as."""
        sent = await self._sent(ref, offers)
        try:
            async for piece in self._drawn(self._pieces(ref, sent)):
                yield piece
        finally:
            sent.close()

    async def files(
        self, framing: Framing, refs: Sequence[InstanceRef], offers: Sequence[Sequence[Offer]]
    ) -> AsyncGenerator[bytes]:
        """Instances as parts, each as the first of its offers that it can be had as; without one it is left out."""
        jobs = [partial(self._sent, ref, able) for ref, able in zip(refs, offers, strict=True)]
        problem: SagittalError | None = None
        empty = True
        async with aclosing(_in_order(jobs)) as answers:
            following = iter(refs)
            async for sent in answers:
                ref = next(following)
                if isinstance(sent, PASSING):
                    raise sent
                if isinstance(sent, SagittalError):
                    problem = problem or sent
                    log.warning("%s is left out of an answer: %s", ref.sop_instance_uid, sent.text)
                    continue
                empty = False
                yield framing.head(f"{DICOM};transfer-syntax={sent.syntax_uid}")
                async for piece in self._drawn(self._pieces(ref, sent)):
                    yield piece
        if empty and problem is not None:
            raise problem
        yield framing.close

    async def _sent(self, ref: InstanceRef, offers: Sequence[Offer]) -> _Sent:
        """An instance as the first of some offers that it can be had as."""

        async def tried(offer: Offer) -> _Sent:
            needed = self.needed(ref, offer)
            return _Sent(offer.syntax, await self._maker.instance(ref, offer.syntax) if needed else None)

        return (await first_carrying(offers, tried, partial(self.needed, ref)))[1]

    def frames(
        self, ref: InstanceRef, numbers: Sequence[int], choice: Choice, where: Sequence[str], headers: Iterable[Header]
    ) -> Pushed:
        """Frames in the syntax of `choice`, as parts that lie at `where`, or one alone."""
        framing = Framing(choice.offer.type)

        async def body() -> AsyncGenerator[bytes]:
            async for piece in self.some_frames(ref, numbers, choice, framing, where):
                yield piece
            if choice.multipart:
                yield framing.close

        return Pushed(body(), framing.content_type if choice.multipart else choice.offer.type, headers)

    async def some_frames(
        self, ref: InstanceRef, numbers: Sequence[int], choice: Choice, framing: Framing, where: Sequence[str]
    ) -> AsyncGenerator[bytes]:
        """The same frames, for an answer that goes on behind them."""
        to = choice.offer.syntax
        cuts = [numbers[at : at + _FRAMES_AT_ONCE] for at in range(0, len(numbers), _FRAMES_AT_ONCE)]
        heads = iter([framing.head(choice.offer.media_type, address) for address in where])
        async with aclosing(_in_order([partial(self._maker.frames, ref, cut, to) for cut in cuts])) as answers:
            async for made in answers:
                if isinstance(made, SagittalError):
                    raise made
                for frame in made.frames(self._chunk_bytes):
                    if choice.multipart:
                        yield next(heads)
                    async for piece in self._drawn(frame):
                        yield piece

    def _pieces(self, ref: InstanceRef, sent: _Sent) -> Iterator[bytes]:
        made = sent.made
        if made is None:
            yield from self._stored.file(ref, sent.syntax_uid)
            return
        yield meta_group(ref.sop_class_uid, made.sop_instance_uid, made.syntax_uid)
        yield from made.data_set(self._chunk_bytes)

    def _drawn(self, pieces: Iterator[bytes]) -> AsyncGenerator[bytes]:
        return drawn(self._readers, pieces, self._chunk_bytes)


async def _in_order(jobs: Sequence[Callable[[], Awaitable[C]]]) -> AsyncGenerator[C | SagittalError]:
    """What each job gives or raises, in their order, some made ahead. Closes each after its turn."""
    under_way: deque[asyncio.Future[C]] = deque()
    try:
        for at in range(len(jobs)):
            for job in jobs[at + len(under_way) : at + 1 + _AHEAD]:
                under_way.append(asyncio.ensure_future(job()))
            try:
                made = await asyncio.shield(under_way[0])
            except SagittalError as error:
                under_way.popleft()
                yield error
                continue
            yield made
            under_way.popleft()
            made.close()
    finally:
        for left in under_way:
            left.cancel()
            with suppress(SagittalError, asyncio.CancelledError):
                (await left).close()
