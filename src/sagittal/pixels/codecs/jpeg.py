"""JPEG Baseline, Extended and the retired progressive processes: PS3.5 8.2.1, ISO/IEC 10918-1 processes 1 to 13.

8 and 12 bits by libjpeg-turbo. Sequential and progressive, Huffman and arithmetic coded; hierarchical streams are
refused. Colours come out as RGB when the stream holds YCbCr: an Adobe marker says so, or the components' names, or
else Photometric Interpretation. Baseline is written with 8 bits, Extended with 8 or 12; neither takes signed pixels.
"""

from __future__ import annotations

from dataclasses import replace

from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import streams
from sagittal.pixels.codecs.interface import (
    YBR,
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

_RGB = (ord("R"), ord("G"), ord("B"))


class Jpeg(Codec):
    """The lossy processes."""

    method = "ISO_10918_1"

    def __init__(self, uid: str, name: str, bits_max: int = 0) -> None:
        """`bits_max`: what is written; 0: nothing is."""
        super().__init__(uid, name, lossy=True)
        self.takes = Takes(range(1, bits_max + 1), signed=False, palette=False) if bits_max else None

    def loses(self, options: Options) -> bool:
        return True

    def decode(self, data: bytes, description: Description) -> Array:
        import imagecodecs

        header = streams.jpeg(data)
        same_image(description, header.rows, header.columns, len(header.components))
        held = None
        if description.samples == 3:
            held = "ycbcr" if transformed(header, description) else "rgb"
        with complaints("JPEG"):
            found = imagecodecs.jpeg8_decode(data, colorspace=held, outcolorspace=held and "rgb")
        return values(found, description, header.precision, clip=True)

    def decoded(self, description: Description) -> Description:
        plain = super().decoded(description)
        return replace(plain, photometric="RGB") if plain.samples == 3 else plain

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        import imagecodecs

        held = None
        if description.samples == 3:
            held = "ycbcr" if description.photometric in YBR else "rgb"
        with refusals(self.name):
            done = imagecodecs.jpeg8_encode(
                masked(array, description),
                options.quality,
                colorspace=held,
                outcolorspace=held and "ycbcr",
                subsampling=(("422" if options.subsampling else "444") if held else None),
                bitspersample=_bits(description),
            )
        return bytes(done)

    def check(self, description: Description, options: Options) -> None:
        super().check(description, options)
        if description.samples != 3:
            return
        if description.photometric != "RGB" and description.photometric not in YBR:
            raise NotAcceptable(f"{self.name} takes RGB and YBR_FULL, not {description.photometric}")
        if description.bits_stored not in (8, 12):
            told = f"{description.photometric} of 8 or 12 bits, not {description.bits_stored}"
            raise NotAcceptable(f"{self.name} takes {told}: colours would become others")

    def encoded(self, description: Description, options: Options) -> Description:
        plain = super().encoded(description, options)
        bits = _bits(plain)  # an error takes white beyond fewer, and readers that mask those make it black
        plain = replace(plain, bits_stored=bits, high_bit=bits - 1)
        if plain.samples == 3:
            return replace(plain, photometric="YBR_FULL_422" if options.subsampling else "YBR_FULL")
        return plain


def transformed(header: streams.Jpeg, description: Description) -> bool:
    """Whether three components are YCbCr."""
    if header.adobe >= 0:
        return header.adobe == 1
    if header.components == _RGB:
        return False
    return header.jfif or description.photometric != "RGB"


def _bits(description: Description) -> int:
    """Those of the code stream, which Bits Stored has to be (PS3.5 Table 8.2.1-1)."""
    return 8 if description.bits_stored <= 8 else 12
