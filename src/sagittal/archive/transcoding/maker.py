"""Makes an instance, or frames of it, in another transfer syntax: for peers and clients that cannot take it as stored.

A worker decodes and encodes; the result lies in a file without a name in the staging folder, where the page cache
keeps what is short-lived, and goes with its descriptor. The serving process touches no pixel. A loss of information is
never chosen here: who wants one says so, and the instance gets a SOP Instance UID of its own, the same each time.
Deliberately not here: which syntax a peer takes, and keeping what was made.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sagittal.archive import retrieve
from sagittal.archive.references import OpenObject
from sagittal.errors import Busy
from sagittal.folders import pieces_of
from sagittal.pixels.reach import loses
from sagittal.uid import derived_uid
from sagittal.workers.message import memory_file, write_whole
from sagittal.workers.worker import Input

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive
    from sagittal.archive.references import InstanceRef
    from sagittal.dicom.partial.frames import Extraction
    from sagittal.limits import Limits, ReaderLimits
    from sagittal.workers.pool import Pool

_CALLS = "sagittal.convert.transcoded"


def uid_of_lossy(ref: InstanceRef, to: str, options: Mapping[str, Any] | None = None) -> str:
    """The SOP Instance UID of what a loss makes of an instance, the same each time."""
    return derived_uid(ref.digest, to, repr(sorted((options or {}).items())))


class Made(OpenObject):
    """An instance in another syntax, its data set from the first byte of its file on; closing it ends it."""

    __slots__ = ("_ended", "corrected", "sop_instance_uid", "syntax_uid")

    def __init__(
        self, fd: int, length: int, ref: InstanceRef, syntax_uid: str, ended: Callable[[], None], limits: ReaderLimits
    ) -> None:
        corrections = ref.corrections
        super().__init__(fd, 0, length, 0, (syntax_uid, corrections, limits, ref.peculiar) if corrections else None)
        self.syntax_uid, self.sop_instance_uid = syntax_uid, ref.sop_instance_uid
        self.corrected = bool(corrections)
        self._ended = ended

    def close(self) -> None:
        if self.fd >= 0:
            super().close()
            self._ended()


class MadeFrames:
    """Frames in another syntax, one behind the other in a file; closing it ends it."""

    def __init__(self, fd: int, lengths: Sequence[int], ended: Callable[[], None]) -> None:
        self._fd, self.lengths, self._ended = fd, lengths, ended

    def frames(self, chunk_bytes: int) -> Iterator[Iterator[bytes]]:
        """Each frame in pieces, to be taken one after another."""
        at = 0
        for length in self.lengths:
            yield pieces_of(self._fd, at, length, chunk_bytes)
            at += length

    def close(self) -> None:
        """Give it back; more than once is no error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._ended()


class Maker:
    """Transcodes for one archive, so many at one time."""

    def __init__(self, archive: Archive, workers: Pool, limits: Limits) -> None:
        self._archive, self._workers, self._limits = archive, workers, limits
        self._room = asyncio.Semaphore(limits.archive.transcoded_max)

    async def instance(self, ref: InstanceRef, to: str) -> Made:
        """The data set of an instance in the syntax `to`, with the corrections in force.

        NotAcceptable when the syntax can't carry it, PixelsUndecodable, WorkerLost, LimitExceeded, Busy,
        StorageUnavailable, DamagedObject. One that loses information has another SOP Instance UID.
        """
        uid = uid_of_lossy(ref, to) if loses(ref.syntax_uid, to) else ""
        return await self._made("instance", ref, to, uid, instance_uid=uid)

    async def extracted(self, ref: InstanceRef, to: str, extraction: Extraction) -> Made:
        """A new instance with some frames of one, without loss. Raises as `instance` does."""
        return await self._made("extracted", ref, to, extraction.uid, extraction=asdict(extraction))

    async def _made(self, call: str, ref: InstanceRef, to: str, uid: str, **more: Any) -> Made:
        fd, told = await self._asked(call, ref, to, **more)
        made = Made(fd, told["length"], ref, to, self._room.release, self._limits.reader)
        if told["loses"] or "extraction" in more:
            made.sop_instance_uid = uid
        return made

    async def frames(self, ref: InstanceRef, numbers: Sequence[int], to: str) -> MadeFrames:
        """Frames (1 is the first) in the syntax `to`, each as it is without fragments. Raises as `instance` does."""
        fd, told = await self._asked("frames", ref, to, numbers=list(numbers))
        return MadeFrames(fd, told["lengths"], self._room.release)

    async def film(self, ref: InstanceRef) -> MadeFrames:
        """A video of H.264 or HEVC as MP4, whatever container it is stored in, as one frame. Raises as `instance`
        does.
        """
        fd, told = await self._asked("film", ref, ref.syntax_uid)
        loop = asyncio.get_running_loop()

        def ended() -> None:  # on the reader thread that closes it
            loop.call_soon_threadsafe(self._room.release)

        return MadeFrames(fd, told["lengths"], ended)

    async def _asked(self, call: str, ref: InstanceRef, to: str, **more: Any) -> tuple[int, Mapping[str, Any]]:
        """The file that a worker has filled, and what the worker tells of it. Whoever closes the file then releases
        its place in `_room`.
        """
        try:
            await asyncio.wait_for(self._room.acquire(), self._limits.archive.transcoded_wait_seconds_max)
        except TimeoutError:
            raise Busy("too many objects are sent in another syntax (limits.transcoded_max)") from None
        with ExitStack() as unless_done:
            unless_done.callback(self._room.release)
            fd = self._archive.volume.unnamed()
            unless_done.callback(os.close, fd)
            told = await self._filled(call, ref, fd, to, **more)
            unless_done.pop_all()
        return fd, told

    async def _filled(self, call: str, ref: InstanceRef, fd: int, to: str, **more: Any) -> Mapping[str, Any]:
        kept = await retrieve.prepared(self._archive.readers, ref)
        body = b"".join((*kept.metadata, kept.frame_index))
        told = {"digest": ref.digest, "syntax_uid": ref.syntax_uid, "index": len(kept.frame_index)}
        objects = [told | {"parts": [len(part) for part in kept.metadata]}]
        with self._archive.open_object(ref) as opened, _in_memory(body) as memory:
            inputs = [
                Input(opened.fd, opened.data_set_offset, ref.data_set_length),
                Input(memory, 0, len(body)),
                Input(fd, 0, 0),
            ]
            options = {} if loses(ref.syntax_uid, to) else {"reversible": True}
            more |= {"objects": objects, "to_syntax": to, "options": options}
            return (await self._workers.run(f"{_CALLS}:{call}", inputs, **more)).told


@contextmanager
def _in_memory(body: bytes) -> Iterator[int]:
    fd = memory_file("prepared")
    try:
        write_whole(fd, body)
        yield fd
    finally:
        os.close(fd)
