"""The bulk data of a study, a series or an instance as one answer of parts: PS3.18 10.4.1.1.5 and 10.4.1.1.7.

What can't be had as it is wanted is left out, with a line in the log, unless nothing would be left. Deliberately not
here: one value alone, which has ranges (`bulkdata`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import PASSING, NotAcceptable, NotFound, SagittalError
from sagittal.web.retrieve.bulk.values import PIXEL_DATA, Value, frames_of, has_frames, named
from sagittal.web.retrieve.objects import Stored
from sagittal.web.retrieve.offers import NATIVE, frame_choices, held_choice
from sagittal.web.retrieve.transcoded import Transcoded
from sagittal.web.wire import uri
from sagittal.web.wire.accept import Choice, MediaType, acceptable
from sagittal.web.wire.conditions import entity_tag, headers, unchanged
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.resources import Readable, instance_address
from sagittal.web.wire.stream import Pushed, drawn

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sagittal.archive.access import Principal
    from sagittal.archive.references import InstanceRef, Ranges
    from sagittal.web.house import House

log = logging.getLogger("sagittal.web")


class Several:
    """Makes the answers."""

    def __init__(self, house: House, stored: Stored, transcoded: Transcoded) -> None:
        self._settings, self._archive, self._readers = house.settings, house.archive, house.readers
        self._stored, self._transcoded = stored, transcoded
        self._chunk_bytes = house.settings.limits.web.read_chunk_bytes

    def answer(self, request: Request, held: Readable, wanted: frozenset[str] | None) -> Response:
        """All values, or those of the `wanted` tags."""
        refs = held.refs
        ranges = acceptable(request, self._settings.limits.web.accept_ranges_max)
        choices = {ref.syntax_uid: _pixel_choices(ranges, ref) for ref in _one_of_each_syntax(refs)}
        root = next(iter(choices.values()))[0].offer.type
        addresses = uri.addresses(request, self._settings)
        base = [instance_address(addresses, ref) for ref in refs[:1]]
        tag = entity_tag(sorted(wanted or ()), *(ref.digest for ref in refs), *choices.values(), *base, weak=True)
        if (answer := unchanged(request, tag)) is not None:
            return answer
        framing = Framing(root)
        body = self._body(addresses, request.scope["principal"], refs, wanted, choices, framing)
        return Pushed(body, framing.content_type, [*headers(tag), *held.headers], held.status)

    async def _body(
        self,
        addresses: uri.Addresses,
        principal: Principal,
        refs: Sequence[InstanceRef],
        wanted: frozenset[str] | None,
        choices: Mapping[str, Sequence[Choice]],
        framing: Framing,
    ) -> AsyncGenerator[bytes]:
        empty, left_out = True, list[SagittalError]()
        async for ref, values in named(self._archive, principal, refs, wanted):
            address = instance_address(addresses, ref)
            async for piece in self._parts_of(ref, values, choices[ref.syntax_uid], framing, address, left_out):
                empty = False
                yield piece
        if empty:
            raise left_out[0] if left_out else NotFound("there is no such bulk data")
        yield framing.close

    async def _parts_of(
        self,
        ref: InstanceRef,
        values: Sequence[Value],
        able: Sequence[Choice],
        framing: Framing,
        address: str,
        left_out: list[SagittalError],
    ) -> AsyncGenerator[bytes]:
        """The parts of one instance; what can't be had as it is wanted is left out, and why is added to `left_out`."""
        frames: tuple[int, list[Ranges]] = (0, [])
        encapsulated = any(value.bounds is None and value.path == PIXEL_DATA for value in values)
        if encapsulated and not syntax(ref.syntax_uid).video and await has_frames(self._archive, ref):
            frames = await frames_of(self._archive, ref)
        choice, count, before = able[0], len(frames[1]), len(left_out)
        with _leaving_out(ref, left_out):
            choice = await self._transcoded.carried(ref, able, 1) if count else choice
        made = [] if choice.offer.stored else [value for value in values if value.bounds is None]
        as_held = [value for value in values if value not in made]
        pieces = self._parts_as_held(ref, as_held, frames, choice, framing, address)
        async for piece in drawn(self._readers, pieces, self._chunk_bytes):
            yield piece
        for value in made if len(left_out) == before else ():
            where = [f"{address}/bulkdata/{value.path}"] * count
            with _leaving_out(ref, left_out) as begun:
                if value.path != PIXEL_DATA or not where:
                    raise NotAcceptable("fragments that are no frames have no form but their own")
                async for piece in self._transcoded.some_frames(ref, range(1, count + 1), choice, framing, where):
                    begun.set()
                    yield piece

    def _parts_as_held(
        self,
        ref: InstanceRef,
        values: Sequence[Value],
        frames: tuple[int, list[Ranges]],
        choice: Choice,
        framing: Framing,
        address: str,
    ) -> Iterator[bytes]:
        """The parts of one instance for which nothing is decoded."""
        for value in values:
            where = f"{address}/bulkdata/{value.path}{value.query}"
            offer = NATIVE if value.bounds else choice.offer
            type_ = f"{offer.type};transfer-syntax={offer.syntax}"
            if value.bounds:
                yield framing.head(type_, where)
                yield from self._stored.value(ref, value.bounds[0], 0, value.bounds[1])
            elif value.path == PIXEL_DATA and syntax(ref.syntax_uid).video:
                yield framing.head(type_, where)
                yield from self._stored.code_stream(ref)
            elif value.path != PIXEL_DATA or not frames[1]:
                joined = [(at * 8, length * 8) for at, length in self._stored.fragments_at(ref, value.path)]
                yield framing.head(type_, where)
                for part in self._stored.frames(ref, [joined], 0):
                    yield from part
            else:
                for part in self._stored.frames(ref, frames[1], frames[0]):
                    yield framing.head(type_, where)
                    yield from part


@contextmanager
def _leaving_out(ref: InstanceRef, left_out: list[SagittalError]) -> Iterator[asyncio.Event]:
    """What fails within is left out of the answer; it is raised when some of it was sent, which the event tells."""
    begun = asyncio.Event()
    try:
        yield begun
    except PASSING:
        raise
    except SagittalError as error:
        if begun.is_set():
            raise
        log.warning("pixel data of %s is left out of an answer: %s", ref.sop_instance_uid, error.text)
        left_out.append(error)


def _pixel_choices(ranges: Sequence[MediaType], ref: InstanceRef) -> Sequence[Choice]:
    """How pixel data of an instance can be had as parts of several, the best first. NotAcceptable."""
    held = syntax(ref.syntax_uid)
    if held.encapsulated and not held.video:
        return frame_choices(ranges, ref, single=False)
    return [held_choice(ranges, ref, single=False)]


def _one_of_each_syntax(refs: Sequence[InstanceRef]) -> list[InstanceRef]:
    return list({ref.syntax_uid: ref for ref in reversed(refs)}.values())[::-1]
