"""RLE Lossless: PS3.5 8.2.2 and Annex G. Whole cells, one byte plane a segment, at most 15 of them.

1-bit cells have no form in the table of PS3.5 8.2.2 and are not written. Frames that others made of them are read: one
byte a pixel, or packed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs.interface import Codec, Options, Takes, complaints, full, refusals
from sagittal.pixels.codecs.native import pack, unpack
from sagittal.pixels.description import Description

if TYPE_CHECKING:
    from sagittal.pixels.codecs.interface import Array

SEGMENTS_MAX = 15
_ROOM = 129  # the most that one byte of a segment can become is 128 bytes from 2


class Rle(Codec):
    """RLE Lossless."""

    cells = True
    takes = Takes(range(1, 65), samples=frozenset((1, 3)))

    def decode(self, data: bytes, description: Description) -> Array:
        plain = self._planes(description)
        if description.bits_allocated == 1:
            return self._bits(data, plain)
        return unpack(self._inflated(data, plain.values, plain.bits_allocated // 8), plain)

    def _planes(self, description: Description) -> Description:
        """As the segments have it: plane by plane, chrominance for every pixel."""
        return replace(description, planar=int(description.samples > 1), photometric=full(description.photometric))

    def _inflated(self, data: bytes, count: int, size: int) -> bytes:
        import imagecodecs

        if len(data) < 64 or int.from_bytes(data[:4], "little") not in range(1, SEGMENTS_MAX + 1):
            raise PixelsUndecodable("an RLE frame without its header")
        if len(data) * _ROOM < count * size:
            raise PixelsUndecodable("an RLE frame too short for its geometry")
        with complaints("RLE"):
            return bytes(imagecodecs.dicomrle_decode(data, f"<u{size}"))

    def _bits(self, data: bytes, description: Description) -> Array:
        found = self._inflated(data, (description.values + 7) // 8, 1)
        if len(found) < description.values:
            return unpack(found, description)
        return unpack(found, replace(description, bits_allocated=8, bits_stored=1, high_bit=0)) & 1

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        from rle.rle import encode_frame

        plain = replace(description, planar=0)
        with refusals(self.name):
            done = encode_frame(
                pack(array, plain), plain.rows, plain.columns, plain.samples, plain.bits_allocated, "<"
            )  # fmt: skip
        return bytes(done)

    def encoded(self, description: Description, options: Options) -> Description:
        self.check(description, options)
        if description.bits_allocated not in (8, 16, 32, 64) or description.subsampled:
            told = f"{description.bits_allocated} bits allocated, {description.photometric}"
            raise NotAcceptable(f"{self.name} has no form for {told} (PS3.5 8.2.2)")
        if description.bits_allocated // 8 * description.samples > SEGMENTS_MAX:
            raise NotAcceptable(f"{self.name} has {SEGMENTS_MAX} segments at the most (PS3.5 G.3)")
        return replace(description, planar=int(description.samples > 1))
