"""JPEG-LS: PS3.5 8.2.3, ISO/IEC 14495-1, by CharLS. Lossless, and near-lossless with an error of at most NEAR.

2 to 16 bits; precision is Bits Stored where pyjpegls is installed, else (and of signed pixels) that of the container.
Values have 8 bits at least, since DCMTK reads no fewer, of 16-bit cells 9: readers take a stream of 8 for one of bytes,
which the data set denies.
Signed pixels travel as the same bits unsigned. An error could take a value over the end of Bits Stored where the stream
has more bits, and readers that mask it would turn the highest value into the lowest: such frames lose nothing.
"""

from __future__ import annotations

from dataclasses import replace

from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import streams
from sagittal.pixels.codecs.interface import (
    Array,
    Codec,
    Options,
    Takes,
    complaints,
    masked,
    refusals,
    same_image,
    values,
)
from sagittal.pixels.description import Description

_EOI = b"\xff\xd9"
_SPIFF = b"\xff\xd8\xff\xe8\x00\x20SPIFF"  # the head of a file (ISO/IEC 14495-1 F), which imagecodecs writes
_SPIFF_END = b"\xff\xe8\x00\x08\x00\x00\x00\x01"  # after it the code stream begins
_BITS_MAX = 16
_SMALL = 1 << 14  # bytes of pixels, to which noise adds too much for the buffer of pyjpegls
_EXPANSION, _HEADS = 4, 1024  # the most bits of a value (14495-1 A.2.1: LIMIT) to its own; bytes around


class JpegLs(Codec):
    """Both syntaxes."""

    takes = Takes(range(2, _BITS_MAX + 1))
    method = "ISO_14495_1"

    def loses(self, options: Options) -> bool:
        return self.lossy and options.near > 0

    def decode(self, data: bytes, description: Description) -> Array:
        import imagecodecs

        header = streams.jpeg(data)
        same_image(description, header.rows, header.columns, len(header.components))
        with complaints("JPEG-LS"):
            # CharLS looks for a marker for ever when a stream ends without one.
            found = imagecodecs.jpegls_decode(data if _EOI in data[-4:] else data + _EOI)
        return values(found, description, header.precision, clip=self.lossy and not description.signed)

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        # Sign and all for signed pixels: many readers take the container as it comes and extend no sign.
        cell = min(array.dtype.itemsize * 8, _BITS_MAX)
        bits = cell if description.signed else max(description.bits_stored, 8, cell - 7)
        near = options.near if self.lossy else 0
        wider = description.signed or description.bits_stored < cell
        in_cells = 0 if near and wider and _leaves(array, description, near) else near
        if description.signed or bits > description.bits_stored:
            near = in_cells
        pixels = masked(
            array, replace(description, signed=False, bits_allocated=64, bits_stored=bits, high_bit=bits - 1)
        )
        with refusals(self.name):
            whole = bits == pixels.itemsize * 8 and pixels.ndim == 2  # one code stream either way, here without copies
            if whole or (pixels.nbytes <= _SMALL and near == in_cells):
                return _plain(pixels, near)
            return _precise(pixels, bits, near, in_cells)

    def check(self, description: Description, options: Options) -> None:
        super().check(description, options)
        if self.lossy and not 0 <= options.near < min(256, 1 << description.bits_stored - 1):
            raise NotAcceptable(f"{self.name}: NEAR {options.near} is out of range")


def _leaves(array: Array, description: Description, near: int) -> bool:
    """Whether an error of `near` could take a value over the end of Bits Stored."""
    low, high = int(array.min()) - near, int(array.max()) + near
    return high > description.highest or (description.signed and low < description.lowest)


def _precise(pixels: Array, bits: int, near: int, in_cells: int) -> bytes:
    """With `bits` of precision; where that can't be with those of the container, and the error that is right then."""
    try:
        import jpeg_ls
    except ImportError:  # no wheel for this Python
        return _plain(pixels, in_cells)
    rows, columns = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim > 2 else 1
    try:
        done = jpeg_ls.encode_buffer(pixels.tobytes(), rows, columns, samples, bits, near, 2 if samples > 1 else 0)
    except RuntimeError:  # noise: its buffer is as large as the pixels
        return _plain(pixels, in_cells)
    return bytes(done)


def _plain(pixels: Array, near: int) -> bytes:
    """With the precision of the container; without the head, which would say what the samples mean."""
    import imagecodecs

    try:
        done = bytes(imagecodecs.jpegls_encode(pixels, near))
    except RuntimeError:  # noise: its buffer is hardly larger than the pixels
        done = bytes(imagecodecs.jpegls_encode(pixels, near, out=pixels.nbytes * _EXPANSION + _HEADS))
    return done[done.index(_SPIFF_END) + len(_SPIFF_END) :] if done.startswith(_SPIFF) else done
