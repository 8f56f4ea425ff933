"""JPEG Lossless: PS3.5 8.2.1, ISO/IEC 10918-1 process 14 with any predictor, or the first (SV1).

2 to 16 bits by libjpeg-turbo. Signed pixels travel as the same bits unsigned. No colour transform either way: what the
data set calls the samples is what they stay, and only of RGB the stream says that it is RGB. Precision is Bits Stored.
"""

from __future__ import annotations

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

_SCAN = b"\xff\xda\0\x0c\x03R\0G\0B\0"
_NAMED = (  # what a head says of RGB, and the same without saying so
    (b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0", b""),
    (b"\x03R\x11\0G\x11\0B\x11\0", b"\x03\1\x11\0\2\x11\0\3\x11\0"),
    (_SCAN, b"\xff\xda\0\x0c\x03\1\0\2\0\3\0"),
)


class JpegLossless(Codec):
    """Process 14; written with the first predictor, which any process 14 decoder takes."""

    takes = Takes(range(2, 17))

    def decode(self, data: bytes, description: Description) -> Array:
        import imagecodecs

        header = streams.jpeg(data)
        same_image(description, header.rows, header.columns, len(header.components))
        held = "rgb" if description.samples == 3 else None  # the same in and out: no transform
        with complaints("JPEG Lossless"):
            found = imagecodecs.jpeg8_decode(data, colorspace=held, outcolorspace=held)
        return values(found, description, header.precision)

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        import imagecodecs

        held = "rgb" if description.samples == 3 else None
        with refusals(self.name):
            done = imagecodecs.jpeg8_encode(
                masked(array, description),
                lossless=True,
                predictor=1,
                bitspersample=description.bits_stored,
                colorspace=held,
                outcolorspace=held,
            )
        misnamed = description.samples == 3 and description.photometric != "RGB"
        return _unnamed(bytes(done)) if misnamed else bytes(done)


def _unnamed(stream: bytes) -> bytes:
    """A stream without Adobe's marker, its components 1, 2 and 3: libjpeg names those that it leaves as they are R, G
    and B, and readers believe that rather than the data set.
    """
    scan = stream.index(_SCAN) + len(_SCAN)
    head = stream[:scan]
    for named, plain in _NAMED:
        head = head.replace(named, plain, 1)
    return head + stream[scan:]
