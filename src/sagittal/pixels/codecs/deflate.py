"""Deflated Image Frame Compression: PS3.5 8.2.16 and A.4.13. Each frame's cells are one raw deflate stream."""

from __future__ import annotations

import zlib

from sagittal.pixels.codecs.interface import Array, Options, complaints
from sagittal.pixels.codecs.native import Native, pack, unpack
from sagittal.pixels.description import Description


class DeflatedFrame(Native):
    """Native frames, each deflated."""

    def decode(self, data: bytes, description: Description) -> Array:
        whole = description.values * description.bits_allocated // 8 + 1
        with complaints("deflate"):
            found = zlib.decompressobj(wbits=-15).decompress(data, whole)
        return unpack(found, description)

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.deflate_encode(pack(array, description), options.deflate_level, raw=True))
