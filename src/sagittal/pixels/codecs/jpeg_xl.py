"""JPEG XL: PS3.5 8.2.17, ISO/IEC 18181, by libjxl: lossless, recompressed JPEG, lossy.

Unsigned pixels of 1 to 16 bits. Signed ones travel lossless as the same bits unsigned, and aren't taken with loss.
A recompressed JPEG gives back the very bytes of that JPEG (`to_jpeg`), and its pixels are those of the JPEG: they are
decoded from it, so that both syntaxes agree to the last bit. It is made of a JPEG only (`from_jpeg`), never of pixels.
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
    used,
    values,
)
from sagittal.pixels.codecs.jpeg import Jpeg
from sagittal.pixels.description import MONOCHROME, Description

_DISTANCE_MIN = 0.05  # that libjxl 0.12 knows, 0.01 before; what is to be nearer loses nothing


class JpegXl(Codec):
    """Lossless, and the syntax that takes both."""

    takes = Takes(range(1, 17))
    method = "ISO_18181_1"

    def loses(self, options: Options) -> bool:
        return self.lossy and not options.reversible and options.distance > 0

    def decode(self, data: bytes, description: Description) -> Array:
        import imagecodecs

        rows, columns = streams.jpegxl(data)
        same_image(description, rows, columns, description.samples)
        with complaints("JPEG XL"):
            if description.photometric == "YBR_FULL" and streams.recompressed(data):  # the JPEG's, of which RGB is made
                found = imagecodecs.jpeg8_decode(to_jpeg(data), colorspace="ycbcr", outcolorspace="ycbcr")
            else:
                found = imagecodecs.jpegxl_decode(data, numthreads=1)
        return values(found, description, found.dtype.itemsize * 8, clip=self.lossy and not description.signed)

    def decoded(self, description: Description) -> Description:
        plain = super().decoded(description)  # no stream has fewer columns of chrominance but those that become RGB
        return replace(plain, photometric="RGB") if description.subsampled else plain

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        import imagecodecs

        from sagittal.pixels.rendering.color import rgb_of_ybr

        loses = self.loses(options)
        if loses and description.photometric == "YBR_FULL":
            array = rgb_of_ybr(array)
        distance = options.distance * used(array, description) if loses else 0.0
        lossless = not loses or (description.samples == 1 and distance < _DISTANCE_MIN)  # colors of a loss are XYB
        with refusals(self.name):
            done = imagecodecs.jpegxl_encode(
                masked(array, description),
                lossless=lossless,
                distance=None if lossless else max(distance, _DISTANCE_MIN),
                effort=options.effort,
                bitspersample=description.bits_stored,
                photometric=1 if description.samples == 1 else 2,
                usecontainer=False,
                numthreads=1,
            )
        return bytes(done)

    def check(self, description: Description, options: Options) -> None:
        super().check(description, options)
        if self.loses(options) and description.signed:
            raise NotAcceptable(f"{self.name} does not take signed pixels with loss")
        ybr = description.photometric == "YBR_FULL" and description.bits_stored == 8
        if self.loses(options) and not (description.photometric in ("RGB", *MONOCHROME) or ybr):
            raise NotAcceptable(f"{self.name} takes colours as RGB with loss, not {description.photometric}")

    def encoded(self, description: Description, options: Options) -> Description:
        plain = super().encoded(description, options)
        return replace(plain, photometric="XYB") if plain.samples == 3 and self.loses(options) else plain


class Recompressed(Jpeg):
    """JPEG XL JPEG Recompression: a JPEG in fewer bytes."""

    def decode(self, data: bytes, description: Description) -> Array:
        rows, columns = streams.jpegxl(data)
        same_image(description, rows, columns, description.samples)
        return super().decode(to_jpeg(data), description)


def to_jpeg(data: bytes) -> bytes:
    """The JPEG that was recompressed, byte for byte."""
    import imagecodecs

    with complaints("JPEG XL"):
        jpeg = imagecodecs.jpegxl_decode_jpeg(data, numthreads=1)
    return bytes(jpeg)


def from_jpeg(data: bytes) -> bytes:
    """A JPEG recompressed. NotAcceptable for lossless, 12-bit and arithmetic coded ones, which JPEG XL cannot."""
    import imagecodecs

    header = streams.jpeg(data)
    if header.precision != 8 or header.process not in (0xC0, 0xC1, 0xC2):
        raise NotAcceptable("only 8-bit Huffman coded JPEG can be recompressed by JPEG XL")
    with refusals("JPEG XL JPEG Recompression"):
        done = imagecodecs.jpegxl_encode_jpeg(data, numthreads=1)
    return bytes(done)
