"""Has workers make pictures of instances: opens what they need, and hands over ranges of open files.

The serving process decodes nothing. Deliberately not here: media types, addresses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from sagittal.errors import NotFound
from sagittal.web.render.asked import Asked
from sagittal.web.render.kinds import IMAGE, MOVIE, OVER, kind_of
from sagittal.workers.message import memory_file
from sagittal.workers.worker import Input

if TYPE_CHECKING:
    from sagittal.archive.access import Principal
    from sagittal.archive.retrieve import InstanceRef, Prepared
    from sagittal.web.house import House

_CALLS = "sagittal.convert.rendered"
_REFERENCES_MAX = 200  # images looked for, of those that a state or segmentation names


class Easel:
    """Makes the pictures of one application."""

    def __init__(self, house: House) -> None:
        self._archive, self._workers = house.archive, house.workers

    async def still(self, principal: Principal, ref: InstanceRef, frame: int, media_type: str, asked: Asked) -> bytes:
        """A picture of one frame, 0 standing for the object; of an object that lies over others, of those."""
        refs, frame = await self._subject(principal, ref, frame, asked)
        more = {"frame": frame, "media_type": media_type, "options": asked.options, "quality": asked.quality}
        return await self._made("still", principal, refs, **more)

    async def moving(
        self, principal: Principal, ref: InstanceRef, frames: Sequence[int], media_type: str, asked: Asked
    ) -> bytes:
        """Frames as one moving picture."""
        refs, _ = await self._subject(principal, ref, 1, asked)
        more = {"frames": list(frames), "media_type": media_type, "options": asked.options, "quality": asked.quality}
        return await self._made("moving", principal, refs, background=True, **more)

    async def thumbnail(self, principal: Principal, ref: InstanceRef, frame: int, media_type: str, side: int) -> bytes:
        """A small picture, of whatever it is."""
        try:
            refs, frame = await self._subject(principal, ref, frame, Asked())
        except NotFound:  # what it lies over is not held
            refs = [ref]
        return await self._made("thumbnail", principal, refs, frame=frame, media_type=media_type, side=side)

    async def document(self, principal: Principal, ref: InstanceRef, media_type: str, links: dict[str, str]) -> bytes:
        """A report or a waveform."""
        return await self._made("document", principal, [ref], media_type=media_type, links=links)

    async def encapsulated(self, principal: Principal, ref: InstanceRef) -> bytes:
        """The document that an object encapsulates, without padding."""
        return await self._made("encapsulated", principal, [ref])

    async def references(
        self, principal: Principal, ref: InstanceRef, frame: int = 0
    ) -> list[tuple[InstanceRef, list[int]]]:
        """The instances held that an object, or a frame of it, refers to; in its order, with the frames it names."""
        with self._inputs([ref], [await self._archive.prepared(principal, ref)]) as (inputs, objects):
            told = (await self._workers.run(f"{_CALLS}:references", inputs, objects=objects, frame=frame)).told
        named = [(str(uid), [int(frame) for frame in frames]) for uid, frames in told["images"]][:_REFERENCES_MAX]
        if not named:
            return []
        try:
            held = await self._archive.instances(principal, sop_instance_uids=[uid for uid, _ in named])
        except NotFound:
            return []
        found = {each.sop_instance_uid: each for each in held}
        return [(found[uid], frames) for uid, frames in named if uid in found]

    async def _subject(
        self, principal: Principal, ref: InstanceRef, frame: int, asked: Asked
    ) -> tuple[list[InstanceRef], int]:
        """What is decoded, and what is laid over it; and the frame of that."""
        if kind_of(ref) is OVER:
            found = await self.references(principal, ref, frame)
            if found:
                image, frames = found[0]
                return [image, ref], frames[0] if frames else _middle(image)
            if ref.frames:  # a segmentation can be shown without its image
                return [ref], frame or 1
            raise NotFound("the images that the object lies over are not held")
        frame = frame or 1
        if asked.state_uid and kind_of(ref) in (IMAGE, MOVIE):
            (state,) = await self._archive.instances(principal, sop_instance_uids=[asked.state_uid])
            return [ref, state], frame
        return [ref], frame

    async def _made(self, call: str, principal: Principal, refs: Sequence[InstanceRef], **arguments: Any) -> bytes:
        prepared = [await self._archive.prepared(principal, ref) for ref in refs]
        with self._inputs(refs, prepared) as (inputs, objects):
            answer = await self._workers.run(f"{_CALLS}:{call}", inputs, objects=objects, **arguments)
        return bytes(answer.body)

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
                body = b"".join((*kept.metadata, kept.frame_index))
                memory = memory_file("prepared")
                stack.callback(os.close, memory)
                os.write(memory, body)
                inputs.append(Input(memory, 0, len(body)))
                parts = [len(part) for part in kept.metadata]
                told = {"digest": " ".join((ref.digest, *ref.corrected_at)), "syntax_uid": ref.syntax_uid}
                objects.append(told | {"parts": parts, "index": len(kept.frame_index)})
            yield inputs, objects


def _middle(ref: InstanceRef) -> int:
    return ((ref.frames or 1) + 1) // 2
