"""High-Throughput JPEG 2000: PS3.5 8.2.14, ISO/IEC 15444-15, by OpenJPH; lossless, lossless with RPCL options, lossy.

Everything is written as RPCL with a TLM marker and a lowest resolution of at most 64 pixels, so that one form serves
all three. Precision is that of the container (8, 16 or 32 bits). Lossy streams are read by OpenJPEG: OpenJPH's
decoder wraps around at the ends of 16 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import streams
from sagittal.pixels.codecs.interface import Options, Takes, complaints, refusals
from sagittal.pixels.codecs.jpeg2000 import Jpeg2000, mixes
from sagittal.pixels.description import Description

if TYPE_CHECKING:
    from sagittal.pixels.codecs.interface import Array

_LEVELS, _LOWEST = 5, 64
_LOSSY_BITS_MAX = 16


class Htj2k(Jpeg2000):
    """All three syntaxes."""

    method = "ISO_15444_15"
    takes = Takes(range(2, 33))

    def _read(self, data: bytes, header: streams.Jpeg2000) -> Array:
        import imagecodecs

        if not header.reversible:
            return super()._read(data, header)
        with complaints("HTJ2K"):
            found: Array = imagecodecs.htj2k_decode(data, planar=False)
        return found

    def check(self, description: Description, options: Options) -> None:
        super().check(description, options)
        if description.bits_stored == 32 and not description.signed:  # OpenJPH's versions disagree about these
            raise NotAcceptable(f"{self.name} takes 31 bits of unsigned pixels, not 32")
        if self.loses(options) and description.bits_stored > _LOSSY_BITS_MAX:
            raise NotAcceptable(f"{self.name} takes {_LOSSY_BITS_MAX} bits with loss, not {description.bits_stored}")

    def _write(self, array: Array, description: Description, options: Options, psnr: float) -> bytes:
        import imagecodecs
        import numpy

        loses, levels = self.loses(options), _LEVELS
        if min(description.rows, description.columns) == 1:
            levels = 0  # OpenJPH 0.27 loses zeros of a single row or column that is decomposed
        while max(description.rows, description.columns) >> levels > _LOWEST:
            levels += 1
        container = array.dtype.itemsize * 8
        step = (
            12**0.5 * 10 ** (-psnr / 20) / 2 ** (container - description.bits_stored)
        )  # noise of uniform quantisation
        with refusals(self.name):
            done = imagecodecs.htj2k_encode(
                numpy.ascontiguousarray(array),
                level=step if loses else None,
                rgb=mixes(description),
                planar=False,
                resolutions=levels,
                reversible=not loses,
                tlm=True,
            )
        return bytes(done)
