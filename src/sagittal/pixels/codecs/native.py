"""Native pixels (PS3.5 8.1, 8.2): cells of Bits Allocated bits, one behind the other, Little Endian.

A frame comes here beginning at a byte and in Little Endian order: `pixels.frames` shifts 1-bit frames that begin
inside a byte and swaps those of Big Endian data sets. Encapsulated Uncompressed (PS3.5 A.4.11) is the same, one
fragment a frame.

YBR_FULL_422 frames (PS3.3 C.7.6.3.1.2: Y Y Cb Cr) come out as YBR_FULL, each chrominance value for both of its
pixels, and are never written. Bytes beyond the frame are padding; a frame with bytes missing is refused, not padded:
pixels that nobody stored would look like measured ones.
"""

from __future__ import annotations

from dataclasses import replace

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs.interface import Array, Codec, Options, Takes, full
from sagittal.pixels.description import Description

WHOLE = (8, 16, 32, 64)  # Bits Allocated that numpy has a type for


def unpack(data: bytes | memoryview, description: Description) -> Array:
    """One frame's cells as values; PixelsUndecodable when there are fewer bytes than the frame needs.

    The array may be a view of `data`, and then can't be written to.
    """
    import numpy

    whole = replace(description, photometric=full(description.photometric)) if description.subsampled else description
    if len(data) < description.frame_bytes:
        told = f"{len(data)} bytes where its geometry needs {description.frame_bytes}"
        raise PixelsUndecodable(f"a frame has {told}")
    if description.subsampled and len(data) < whole.frame_bytes:
        return _upsampled(data, description)
    if description.kind != "integer":
        kind = "<f4" if description.kind == "float" else "<f8"
        return _by_pixel(numpy.frombuffer(data, kind, description.values), description).astype(description.dtype)
    cells = _cells(data, description)
    return _by_pixel(_shifted(cells, description), description)


def _cells(data: bytes | memoryview, description: Description) -> Array:
    """The cells, unsigned, in the smallest type that has Bits Allocated."""
    import numpy

    bits, count = description.bits_allocated, description.values
    if bits in WHOLE:
        found = numpy.frombuffer(data, f"<u{bits // 8}", count)
        return found.astype(found.dtype.newbyteorder("="), copy=False)
    single = numpy.unpackbits(
        numpy.frombuffer(data, "u1", (count * bits + 7) // 8), count=count * bits, bitorder="little"
    )
    if bits == 1:
        return single
    wide = numpy.zeros((count, description.container_bits), "u1")  # 12, 24, 40 bits: PS3.5 had them until 1993
    wide[:, :bits] = single.reshape(count, bits)
    return numpy.packbits(wide, axis=1, bitorder="little").reshape(-1).view(f"<u{description.container_bits // 8}")


def _shifted(cells: Array, description: Description) -> Array:
    """Bits Stored bits below and including the High Bit, the sign extended."""
    size = cells.dtype.itemsize * 8
    if not description.signed and description.bits_stored == size:
        return cells
    low = description.high_bit + 1 - description.bits_stored
    if not description.signed:
        masked: Array = (cells >> low if low else cells) & cells.dtype.type((1 << description.bits_stored) - 1)
        return masked
    up, down = size - 1 - description.high_bit, size - description.bits_stored
    moved = cells << up if up else cells
    typed = moved.view(description.dtype)
    return typed >> down if down else typed


def _by_pixel(flat: Array, description: Description) -> Array:
    if description.samples == 1:
        return flat.reshape(description.rows, description.columns)
    if description.planar:
        planes = flat.reshape(description.samples, description.rows, description.columns)
        return planes.transpose(1, 2, 0)
    return flat.reshape(description.rows, description.columns, description.samples)


def _upsampled(data: bytes | memoryview, description: Description) -> Array:
    import numpy

    if description.columns % 2 or description.bits_allocated not in WHOLE:
        raise PixelsUndecodable(
            f"{description.photometric} of {description.columns} columns, which is odd, can't be read"
        )
    size = description.bits_allocated // 8
    cells = numpy.frombuffer(data, f"<u{size}", description.values // 3 * 2).astype(f"u{size}", copy=False)
    groups = _shifted(cells, replace(description, signed=False)).reshape(description.rows, description.columns // 2, 4)
    pixels = numpy.empty(description.shape, groups.dtype)
    pixels[:, 0::2, 0], pixels[:, 1::2, 0] = groups[:, :, 0], groups[:, :, 1]
    for pixel in (0, 1):
        pixels[:, pixel::2, 1:] = groups[:, :, 2:]
    if description.photometric.startswith("YBR_PARTIAL"):
        pixels = _full_range(pixels, description)
    return pixels.astype(description.dtype, copy=False)


def _full_range(pixels: Array, description: Description) -> Array:
    """YBR_PARTIAL (16 to 235, 16 to 240 of 8 bits) as YBR_FULL."""
    import numpy

    top = (1 << description.bits_stored) - 1
    wide = pixels.astype("float64") * (255 / top)
    scale, centre = numpy.array([255 / 219, 255 / 224, 255 / 224]), numpy.array([16, 128, 128])
    moved = (wide - centre) * scale + numpy.array([0, 128, 128])
    scaled: Array = numpy.clip(numpy.rint(moved * (top / 255)), 0, top).astype(pixels.dtype)
    return scaled


def pack(array: Array, description: Description) -> bytes:
    """One frame's values as cells, by pixel or by plane as Planar Configuration says. Unused bits above are those of
    the sign: many readers look at cells as a whole.
    """
    import numpy

    if description.samples > 1 and description.planar:
        array = array.transpose(2, 0, 1)
    array = numpy.ascontiguousarray(array)
    if description.kind != "integer":
        return array.astype("<f4" if description.kind == "float" else "<f8").tobytes()
    size, bits = array.dtype.itemsize * 8, description.bits_allocated
    cells = array.view(f"uint{size}")
    if description.bits_stored < size and not description.signed:
        cells = cells & cells.dtype.type((1 << description.bits_stored) - 1)
    if shift := description.high_bit + 1 - description.bits_stored:
        cells = cells << shift
    if bits in WHOLE:
        return cells.astype(f"<u{bits // 8}", copy=False).tobytes()
    flat = cells.reshape(-1)
    if bits == 1:
        return numpy.packbits(flat, bitorder="little").tobytes()
    single = numpy.unpackbits(flat.astype(f"<u{size // 8}").view("u1"), bitorder="little").reshape(-1, size)
    return numpy.packbits(single[:, :bits], bitorder="little").tobytes()


class Native(Codec):
    """Uncompressed pixels, in items or not."""

    cells = True
    takes = Takes(range(1, 65), kinds=frozenset(("integer", "float", "double")), samples=frozenset(range(1, 17)))

    def decode(self, data: bytes, description: Description) -> Array:
        return unpack(data, description)

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        return pack(array, description)

    def encoded(self, description: Description, options: Options) -> Description:
        self.check(description, options)
        if description.kind != "integer" and syntax(self.uid).encapsulated:
            raise NotAcceptable(f"{description.kind} pixels have no encapsulated form (PS3.5 8.2)")
        if description.subsampled:
            raise NotAcceptable(f"native frames are written as {full(description.photometric)}")
        return description
