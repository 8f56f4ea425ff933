"""Pixel data that comes as PNG images: decoded by workers, before its instance is encoded (PS3.18 Table 8.7.3-4).

The head of each image is read here and held against the limits on pixels; only then a worker sees it. What is decoded
goes to a staging file of its own, frame by frame. Deliberately not here: what the metadata say of it (`media`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sagittal.archive.ingest.scratch import Scratch
from sagittal.dicom.models.encode import Bulk
from sagittal.dicom.streams.png import read_png
from sagittal.dicom.streams.stills import Still
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.workers.worker import Input

if TYPE_CHECKING:
    from sagittal.limits import PixelLimits
    from sagittal.web.house import House
    from sagittal.web.store.bulk import BulkPart, Held

PNG = "image/png"
_PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Native:
    """Decoded frames, one behind the other; `discard` when they are not needed any more."""

    scratch: Scratch
    head: Still

    def bulk(self) -> Bulk:
        """All of them."""
        return Bulk(self.scratch.length, self.scratch.pieces(0, self.scratch.length, _PIECE_BYTES))

    def discard(self) -> None:
        self.scratch.discard()


async def decoded(house: House, held: Held, parts: Sequence[BulkPart]) -> Native | None:
    """The frames of the parts when all of them are PNG images. BadRequest, LimitExceeded, PixelsUndecodable."""
    if not parts or any(part.type != PNG for part in parts):
        return None
    for part in parts:
        part.used = True
    run = partial(asyncio.get_running_loop().run_in_executor, house.readers)
    heads = [await run(read_png, held.reader(part), part.length) for part in parts]
    head = heads[0]
    if any(other != head for other in heads):
        raise BadRequest("the frames differ in size, samples or bits")
    check(head, house.settings.limits.pixels)
    scratch = house.archive.scratch()
    try:
        for part in parts:
            made = await house.workers.run(
                "sagittal.convert.png:decoded",
                [Input(held.scratch.fd, part.start, part.length)],
                rows=head.rows, columns=head.columns, samples=head.samples, bits=head.bits,
            )  # fmt: skip
            scratch.write(made.body)
            if (ready := scratch.ready()) is not None:
                await ready
        await scratch.finish()
    except BaseException:
        scratch.discard()
        raise
    return Native(scratch, head)


def check(head: Still, limits: PixelLimits) -> None:
    """LimitExceeded when a frame is larger than may be decoded."""
    pixels = head.rows * head.columns
    if pixels > limits.frame_pixels_max:
        raise LimitExceeded(f"the image has {pixels} pixels, more than {limits.frame_pixels_max} (frame_pixels_max)")
    size = pixels * head.samples * head.bits // 8
    if size > limits.frame_bytes_max:
        raise LimitExceeded(f"the image has {size} bytes, more than {limits.frame_bytes_max} (frame_bytes_max)")
