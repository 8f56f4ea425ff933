"""Has workers make pictures of instances: opens what they need, and hands over ranges of open files.

What was made is kept for the next who asks (`shelf`); what comes next may be there already (`ahead`).

The serving process decodes nothing. Deliberately not here: media types, addresses.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from sagittal.errors import NotAcceptable, NotFound
from sagittal.web.render.asked import Asked
from sagittal.web.render.kinds import IMAGE, MOVIE, OVER, kind_of, shown_alone
from sagittal.web.render.shelf import Shelf, name_of
from sagittal.web.render.walks import Frames, Instances, Manner
from sagittal.workers.message import INLINE_BYTES_MAX, memory_file
from sagittal.workers.worker import Input

if TYPE_CHECKING:
    from sagittal.archive.access import Principal
    from sagittal.archive.references import InstanceRef
    from sagittal.archive.retrieve import Prepared
    from sagittal.web.house import House
    from sagittal.web.render.ahead import Walk
    from sagittal.workers.pool import Answer

_CALLS = "sagittal.convert.rendered"
_MOVING_MAX = 600  # frames of a moving picture: it is made whole in memory
_REFERENCES_MAX = 200  # images looked for, of those that a state or segmentation names


class Easel:
    """Makes the pictures of one application."""

    def __init__(self, house: House) -> None:
        self._archive, self._workers = house.archive, house.workers
        self._pictures, self._thumbnails = house.pictures, house.thumbnails
        self._ahead = house.ahead

    async def still(self, principal: Principal, ref: InstanceRef, frame: int, media_type: str, asked: Asked) -> bytes:
        """A picture of one frame, 0 standing for the object; of an object that lies over others, of those."""
        refs, frame = await self._subject(principal, ref, frame, asked)
        how = Manner("still", self._pictures, (media_type, asked.key), {"media_type": media_type, **_drawn(asked)})
        walk: Walk | None = None
        if refs[0] is ref and (ref.frames or 1) > 1:
            walk = Frames(self._called, principal, refs, frame, how)
        elif refs == [ref]:
            walk = self._series(principal, ref, how)
        return await self._picture(principal, refs, frame, how, walk)

    async def moving(
        self, principal: Principal, ref: InstanceRef, frames: Sequence[int], media_type: str, asked: Asked
    ) -> bytes:
        """Frames as one moving picture."""
        if len(frames) > _MOVING_MAX:
            raise NotAcceptable(f"{len(frames)} frames are too many for one moving picture; at most {_MOVING_MAX}")
        refs, _ = await self._subject(principal, ref, 1, asked)
        if refs[0] is not ref:
            raise NotAcceptable("frames over several images don't move: take them as parts (multipart/related)")
        name = name_of(refs, list(frames), media_type, asked.key)
        more = {"frames": list(frames), "media_type": media_type, **_drawn(asked)}
        make = partial(self._made, "moving", principal, refs, background=True, **more)
        return await _kept(self._pictures, name, make)

    async def thumbnail(self, principal: Principal, ref: InstanceRef, frame: int, media_type: str, side: int) -> bytes:
        """A small picture, of whatever it is."""
        try:
            refs, frame = await self._subject(principal, ref, frame, Asked())
        except NotFound:  # what it lies over is not held
            refs = [ref]
        how = Manner("thumbnail", self._thumbnails, (media_type, side), {"media_type": media_type, "side": side})
        walk = self._series(principal, ref, how) if refs == [ref] else None
        return await self._picture(principal, refs, frame, how, walk)

    async def document(self, principal: Principal, ref: InstanceRef, media_type: str, links: dict[str, str]) -> bytes:
        """A report or a waveform."""
        return await self._made("document", principal, [ref], media_type=media_type, links=links)

    async def encapsulated(self, principal: Principal, ref: InstanceRef) -> bytes:
        """The document that an object encapsulates, without padding."""
        return await self._made("encapsulated", principal, [ref])

    async def alone(self, principal: Principal, ref: InstanceRef, frame: int, media_type: str, asked: Asked) -> bytes:
        """An instance as what it is: a report, a waveform, a document, or a picture of one frame."""
        kind = kind_of(ref).name
        if kind in ("report", "waveform"):
            return await self.document(principal, ref, media_type, {})
        if kind == "document":
            return await self.encapsulated(principal, ref)
        return await self.still(principal, ref, frame, media_type, asked)

    async def others(self, principal: Principal, ref: InstanceRef, frame: int, asked: Asked) -> list[object]:
        """What tells the instances that a picture of `ref` is made of besides: entity tags have it."""
        if kind_of(ref) is not OVER and not asked.state_uid:
            return []
        try:
            refs, _ = await self._subject(principal, ref, frame, asked)
        except NotFound:
            return []
        return [(each.digest, each.corrected_at) for each in refs]

    async def references(
        self, principal: Principal, ref: InstanceRef, frame: int = 0
    ) -> list[tuple[InstanceRef, list[int]]]:
        """The instances held that an object, or a frame of it, refers to; in its order, with the frames it names."""
        find = partial(self._named, principal, ref, frame)
        named = orjson.loads(await _kept(self._thumbnails, name_of([ref], "references", frame), find))
        if not named:
            return []
        try:
            held = await self._archive.instances(principal, sop_instance_uids=[uid for uid, _ in named])
        except NotFound:
            return []
        found = {each.sop_instance_uid: each for each in held}
        return [(found[uid], frames) for uid, frames in named if uid in found]

    async def _named(self, principal: Principal, ref: InstanceRef, frame: int) -> bytes:
        """SOP Instance UIDs, and frames of each, that an object or a frame of it refers to, as JSON."""
        with self._inputs([ref], await self._archive.prepared(principal, [ref])) as (inputs, objects):
            told = (await self._workers.run(f"{_CALLS}:references", inputs, objects=objects, frame=frame)).told
        return orjson.dumps(told["images"][:_REFERENCES_MAX])

    async def _subject(
        self, principal: Principal, ref: InstanceRef, frame: int, asked: Asked
    ) -> tuple[list[InstanceRef], int]:
        """What is decoded, and what is laid over it; and the frame of that."""
        if kind_of(ref) is OVER:
            found = await self.references(principal, ref, frame)
            if found:
                image, frames = found[0]
                return [image, ref], frames[0] if frames else _middle(image)
            if shown_alone(ref):
                return [ref], frame or 1
            raise NotFound("the images that the object lies over are not held")
        frame = frame or 1
        if asked.state_uid and kind_of(ref) in (IMAGE, MOVIE):
            (state,) = await self._archive.instances(principal, sop_instance_uids=[asked.state_uid])
            return [ref, state], frame
        return [ref], frame

    def _series(self, principal: Principal, ref: InstanceRef, how: Manner) -> Walk | None:
        """The series of an instance of one frame, gone through one after the other."""
        if kind_of(ref) is not IMAGE or ref.series_uid is None:
            return None
        return Instances(self._archive, self._called, principal, ref, how)

    async def _picture(
        self, principal: Principal, refs: Sequence[InstanceRef], frame: int, how: Manner, walk: Walk | None
    ) -> bytes:
        """One that is kept, or comes, or is made now; then what comes next on the walk may be."""
        name = name_of(refs, frame, *how.how)
        make = partial(self._made, how.call, principal, refs, frame=frame, **how.arguments)
        if walk is None:
            return await _kept(how.shelf, name, make)
        body = await _kept(how.shelf, name, partial(self._ahead.come_or, walk, name, make))
        self._ahead.asked(walk)
        return body

    async def _made(self, call: str, principal: Principal, refs: Sequence[InstanceRef], **arguments: Any) -> bytes:
        return bytes((await self._called(call, principal, refs, **arguments)).body)

    async def _called(
        self,
        call: str,
        principal: Principal,
        refs: Sequence[InstanceRef],
        *,
        ahead: bool = False,
        background: bool = False,
        **arguments: Any,
    ) -> Answer:
        """What nobody asked for yet is written down as that, and done in the background."""
        prepared = await self._archive.prepared(principal, refs, "rendering ahead" if ahead else "rendering")
        with self._inputs(refs, prepared) as (inputs, objects):
            call, background = f"{_CALLS}:{call}", background or ahead
            return await self._workers.run(call, inputs, objects=objects, background=background, **arguments)

    @contextmanager
    def _inputs(
        self, refs: Sequence[InstanceRef], prepared: Sequence[Prepared]
    ) -> Iterator[tuple[list[Input], list[dict[str, Any]]]]:
        """Descriptors of the objects and of what was kept of them, and what workers are told of each."""
        inputs: list[Input] = []
        objects: list[dict[str, Any]] = []
        with ExitStack() as stack:
            for ref, kept in zip(refs, prepared, strict=True):
                opened = stack.enter_context(self._archive.open_object(ref))
                inputs.append(Input(opened.fd, opened.data_set_offset, ref.data_set_length))
                inputs.append(_input(b"".join((*kept.metadata, kept.frame_index)), stack))
                parts = [len(part) for part in kept.metadata]
                told = {"digest": " ".join((ref.digest, *ref.corrected_at)), "syntax_uid": ref.syntax_uid}
                objects.append(told | {"parts": parts, "index": len(kept.frame_index)})
            yield inputs, objects


def _input(body: bytes, stack: ExitStack) -> Input:
    """Bytes as an input: along with the request when they are few, else a file in memory until the stack is left."""
    if len(body) <= INLINE_BYTES_MAX:
        return Input(-1, 0, len(body), body)
    memory = memory_file("prepared")
    stack.callback(os.close, memory)
    os.write(memory, body)
    return Input(memory, 0, len(body))


def _drawn(asked: Asked) -> dict[str, Any]:
    """How a picture is asked for, as workers are told."""
    return {"options": asked.options} | ({} if asked.quality is None else {"quality": asked.quality})


async def _kept(shelf: Shelf, name: bytes, make: Callable[[], Awaitable[bytes]]) -> bytes:
    """What is kept under a name, made when it is not there."""
    if (held := shelf.get(name)) is not None:
        return held
    body = await make()
    shelf.put(name, body)
    return body


def _middle(ref: InstanceRef) -> int:
    return ((ref.frames or 1) + 1) // 2
