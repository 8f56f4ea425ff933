"""Objects and frames in other transfer syntaxes than they are stored in, as they are sent.

Workers make them, a little ahead of the socket; a lossy syntax makes an instance with a SOP Instance UID of its own. An
instance that can't be made is left out of several, with a line in the log, unless all are. Deliberately not here: what
can be had (`offers`), and what lies in the stored file as it is wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reencode import can_reencode
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import PASSING, SagittalError
from sagittal.pixels.reach import first_carrying
from sagittal.web.wire.accept import (
    DICOM,
    Choice,
    Offer,
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
