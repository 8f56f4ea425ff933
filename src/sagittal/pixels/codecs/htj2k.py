"""High-Throughput JPEG 2000: PS3.5 8.2.14, ISO/IEC 15444-15, by OpenJPH; lossless, lossless with RPCL options, lossy.

Everything is written as RPCL with a TLM marker and a lowest resolution of at most 64 pixels, so that one form serves
all three. Precision is Bits Stored. Lossy streams are read by OpenJPEG: OpenJPH's
decoder wraps around at the ends of 16 bits.
"""

from __future__ import annotations

from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import streams
from sagittal.pixels.codecs.interface import Array, Options, Takes, complaints, refusals
from sagittal.pixels.codecs.jpeg2000 import Jpeg2000, mixes
from sagittal.pixels.description import Description

_LEVELS, _LOWEST = 5, 64
_LOSSY_BITS_MAX = 16
_SIZ, _FIRST_COMPONENT = b"\xff\x51", 40  # from the marker to Ssiz, XRsiz and YRsiz of the first


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
        step = 12**0.5 * 10 ** (-psnr / 20)  # noise of uniform quantisation
        with refusals(self.name):
            done = imagecodecs.htj2k_encode(
                numpy.ascontiguousarray(_placed(array, description, loses=loses)),
                level=step if loses else None,
                rgb=mixes(description),
                planar=False,
                resolutions=levels,
                reversible=not loses,
                tlm=True,
            )
        return _of_precision(bytes(done), description)


def _placed(array: Array, description: Description, *, loses: bool) -> Array:
    """Values at the place in their container that a precision of Bits Stored means. With a loss, which is in parts of
    the container's range, they are spread over all of it; else unsigned ones lie around its middle.
    """
    container = array.dtype.itemsize * 8
    middle = 0 if description.signed else (1 << container - 1) - (1 << description.bits_stored - 1)
    if not loses and not middle:
        return array
    placed: Array = array << container - description.bits_stored if loses else array + array.dtype.type(middle)
    return placed


def _of_precision(stream: bytes, description: Description) -> bytes:
    """With Bits Stored as the precision of its components (SIZ, ISO/IEC 15444-1 A.5.1)."""
    at = stream.index(_SIZ) + _FIRST_COMPONENT
    told = bytes((description.bits_stored - 1 | description.signed << 7, 1, 1)) * description.samples
    return stream if stream.startswith(told, at) else stream[:at] + told + stream[at + len(told) :]
