"""RLE Lossless: PS3.5 8.2.2 and Annex G. Whole cells, one byte plane a segment, at most 15 of them.

1-bit cells have no form in the table of PS3.5 8.2.2 and are not written. Frames that others made of them are read: one
byte a pixel, or packed.
"""

from __future__ import annotations

from dataclasses import replace

from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs.interface import Array, Codec, Options, Takes, complaints, full, refusals
from sagittal.pixels.codecs.native import WHOLE, pack, unpack
from sagittal.pixels.description import Description

SEGMENTS_MAX = 15
_HEADER = 64


class Rle(Codec):
    """RLE Lossless."""

    cells = True
    takes = Takes(range(1, 65), samples=frozenset((1, 3)))

    def decode(self, data: bytes, description: Description) -> Array:
        plain = replace(description, planar=int(description.samples > 1), photometric=full(description.photometric))
        if description.bits_allocated == 1:
            return _bits(data, plain)
        return unpack(_cells(data, plain), plain)

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
        if description.bits_allocated not in WHOLE or description.subsampled:
            told = f"{description.bits_allocated} bits allocated, {description.photometric}"
            raise NotAcceptable(f"{self.name} has no form for {told} (PS3.5 8.2.2)")
        if description.bits_allocated // 8 * description.samples > SEGMENTS_MAX:
            raise NotAcceptable(f"{self.name} has {SEGMENTS_MAX} segments at the most (PS3.5 G.3)")
        return replace(description, planar=int(description.samples > 1))


def _segments(data: bytes, count: int) -> list[bytes]:
    """The segments, as encoded. PixelsUndecodable unless there are `count`, inside of the frame (PS3.5 G.5)."""
    offsets = [int.from_bytes(data[at : at + 4], "little") for at in range(4, _HEADER, 4)][:count]
    if len(data) < _HEADER or int.from_bytes(data[:4], "little") != count:
        raise PixelsUndecodable(f"an RLE frame without a header of {count} segments")
    ends = [*offsets[1:], len(data)]
    if offsets[0] < _HEADER or any(not at < end <= len(data) for at, end in zip(offsets, ends, strict=True)):
        raise PixelsUndecodable("an RLE frame with segments outside of it")
    return [data[at:end] for at, end in zip(offsets, ends, strict=True)]


def _inflated(segment: bytes, least: int, most: int) -> bytes:
    """A segment's bytes. pylibjpeg-rle, since imagecodecs follows a damaged segment out of its buffer."""
    from rle.rle import decode_segment

    with complaints("RLE"):
        found = bytes(decode_segment(segment[: 2 * most + 2]))  # a byte as one of two, at the worst
    if len(found) < least:
        raise PixelsUndecodable(f"an RLE segment of {len(found)} bytes where its geometry needs {least}")
    return found


def _cells(data: bytes, description: Description) -> bytes:
    """Little Endian cells, plane by plane, of segments that begin with the most significant byte (PS3.5 G.2)."""
    import numpy

    pixels, size = description.rows * description.columns, description.bits_allocated // 8
    whole = numpy.empty((description.samples, pixels, size), "u1")
    for number, segment in enumerate(_segments(data, description.samples * size)):
        plane = numpy.frombuffer(_inflated(segment, pixels, pixels), "u1", pixels)
        whole[number // size, :, size - 1 - number % size] = plane
    return whole.tobytes()


def _bits(data: bytes, description: Description) -> Array:
    """One byte a pixel, or eight pixels: the segment's length tells."""
    (segment,) = _segments(data, 1)
    found = _inflated(segment, description.frame_bytes, description.values)
    if len(found) < description.values:
        return unpack(found, description)
    return unpack(found, replace(description, bits_allocated=8, bits_stored=1, high_bit=0)) & 1
