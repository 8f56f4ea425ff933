"""JPEG 2000: PS3.5 8.2.4, ISO/IEC 15444-1 lossless and lossy, by OpenJPEG; Part 2 (multi-component) is read only.

Sign and precision travel in the stream. Three samples of RGB are written with the colour transform (YBR_RCT, YBR_ICT),
others without. Up to 24 bits: beyond, OpenJPEG's arithmetic loses the low bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log10

from sagittal.pixels.codecs import streams
from sagittal.pixels.codecs.interface import (
    Array,
    Codec,
    Options,
    Takes,
    complaints,
    refusals,
    same_image,
    used,
    values,
)
from sagittal.pixels.description import Description

_LEVELS = 5
_ATTEMPTS = 8
_DECIBELS = 5.0, 120.0  # black and white noise is 6 dB from its mean, and no image is farther
_MIXED_BITS_MAX = 20  # more, and the transform reaches the bits that OpenJPEG loses


class Jpeg2000(Codec):
    """Part 1."""

    method = "ISO_15444_1"
    takes: Takes | None = Takes(range(1, 25))

    def loses(self, options: Options) -> bool:
        return self.lossy and not options.reversible

    def decode(self, data: bytes, description: Description) -> Array:
        header = streams.jpeg2000(data)
        same_image(description, header.rows, header.columns, header.components)
        found = self._read(data, header)
        loses = not header.reversible or (self.lossy and _hardly_leaves(found, description))
        return values(found, description, header.precision, clip=loses and header.signed == description.signed)

    def _read(self, data: bytes, header: streams.Jpeg2000) -> Array:
        import imagecodecs

        with complaints("JPEG 2000"):
            found: Array = imagecodecs.jpeg2k_decode(data, planar=False, numthreads=1)
        return found

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        if self.loses(options) and options.ratio > 0:
            return by_ratio(lambda psnr: self._write(array, description, options, psnr), description, options.ratio)
        return self._write(array, description, options, options.psnr + _headroom(array, description, options.psnr))

    def _write(self, array: Array, description: Description, options: Options, psnr: float) -> bytes:
        import imagecodecs
        import numpy

        loses = self.loses(options)
        levels = max(1, min(_LEVELS, min(description.rows, description.columns).bit_length() - 1) + 1)
        with refusals(self.name):
            done = imagecodecs.jpeg2k_encode(
                numpy.ascontiguousarray(narrowed(array, description)),
                level=max(round(psnr), 1) if loses else 0,
                codecformat="J2K",
                bitspersample=description.bits_stored,
                resolutions=levels,
                reversible=not loses,
                mct=mixes(description),
                numthreads=1,
            )
        return bytes(done)

    def encoded(self, description: Description, options: Options) -> Description:
        plain = super().encoded(description, options)
        if mixes(plain):
            return replace(plain, photometric="YBR_ICT" if self.loses(options) else "YBR_RCT")
        return plain


def _hardly_leaves(array: Array, description: Description) -> bool:
    """Whether values are out of Bits Stored by so little that it comes of a loss, as in reversible streams that were
    cut, and not of what lies in unused bits.
    """
    if description.planes:
        return False
    room = (description.highest - description.lowest) // 4
    return description.lowest - int(array.min()) <= room and int(array.max()) - description.highest <= room


class Part2(Jpeg2000):
    """Multi-component streams."""

    takes = None


def _headroom(array: Array, description: Description, psnr: float) -> float:
    """Decibels to add to a PSNR by the range of a frame's values, since encoders reckon by that of Bits Stored. No more
    than lead to an error of a third of a unit, which no integer shows.
    """
    most = 20 * log10(3 * (description.highest - description.lowest)) - psnr
    return max(0.0, min(-20 * log10(used(array, description)), most))


def mixes(description: Description) -> bool:
    """Whether the colour transform is used."""
    return description.samples == 3 and description.photometric == "RGB" and description.bits_stored <= _MIXED_BITS_MAX


def narrowed(array: Array, description: Description) -> Array:
    """Values in the smallest type that has Bits Stored: encoders take no fewer bits than the type is for."""
    size = next(size for size in (8, 16, 32) if size >= description.bits_stored)
    return array.astype(f"{'int' if description.signed else 'uint'}{size}", copy=False)


def by_ratio(write: Callable[[float], bytes], description: Description, ratio: float) -> bytes:
    """The code stream of the highest PSNR that is at least `ratio` times smaller than the native frame."""
    wanted, (low, high) = description.frame_bytes / ratio, _DECIBELS
    best = b""
    for _ in range(_ATTEMPTS):
        middle = (low + high) / 2
        done = write(middle)
        if len(done) <= wanted:
            best, low = done, middle
        else:
            high = middle
    return best or write(low)
