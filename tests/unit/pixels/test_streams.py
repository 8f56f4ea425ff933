"""Headers of code streams, as real encoders write them, and what is none."""

from __future__ import annotations

import imagecodecs
import numpy
import pytest

from sagittal.errors import PixelsUndecodable
from sagittal.pixels.codecs import streams

GREY = numpy.arange(30 * 50, dtype="uint16").reshape(30, 50)
RGB = numpy.arange(30 * 50 * 3, dtype="uint8").reshape(30, 50, 3)


def test_jpeg() -> None:
    read = streams.jpeg(imagecodecs.jpeg8_encode(RGB, 90, subsampling="422"))
    assert (read.process, read.precision, read.rows, read.columns) == (0xC0, 8, 30, 50)
    assert (read.components, read.sampling, read.jfif, read.adobe) == ((1, 2, 3), (0x21, 0x11, 0x11), True, -1)
    assert streams.jpeg(imagecodecs.jpeg8_encode(GREY & 4095, 90, bitspersample=12)).precision == 12


def test_jpeg_lossless_has_a_predictor() -> None:
    read = streams.jpeg(imagecodecs.jpeg8_encode(GREY, lossless=True, predictor=1, bitspersample=14))
    assert (read.process, read.precision, read.predictor) == (0xC3, 14, 1)
    assert streams.jpeg(imagecodecs.jpeg8_encode(GREY, lossless=True, predictor=6)).predictor == 6
    frame = b"\xff\xc3\0\x0b\x08\0\x0a\0\x0a\x01\x01\x11\0"
    assert streams.jpeg(b"\xff\xd8" + frame + b"\xff\xd9\0\x02").predictor == 0  # ends without a scan


def test_jpeg_ls() -> None:
    read = streams.jpeg(imagecodecs.jpegls_encode(RGB))
    assert (read.process, read.rows, read.columns, len(read.components)) == (0xF7, 30, 50, 3)


def test_jpeg_2000() -> None:
    signed = imagecodecs.jpeg2k_encode(
        GREY.view("int16"), level=0, codecformat="J2K", bitspersample=12, reversible=True
    )
    read = streams.jpeg2000(signed)
    assert read == streams.Jpeg2000(30, 50, 1, 12, True, True, False)
    boxed = imagecodecs.jpeg2k_encode(RGB, level=40, codecformat="JP2", reversible=False)
    assert streams.jpeg2000(boxed) == streams.Jpeg2000(30, 50, 3, 8, False, False, False)
    assert streams.jpeg2000(imagecodecs.htj2k_encode(GREY, reversible=True)).high_throughput


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("shape", [(30, 50), (64, 256), (8, 8), (300, 200), (512, 512), (1000, 1)])
def test_jpeg_xl(shape: tuple[int, int], container: bool) -> None:
    image = numpy.zeros(shape, "uint8")
    assert streams.jpegxl(imagecodecs.jpegxl_encode(image, lossless=True, effort=1, usecontainer=container)) == shape


def test_jpeg_xl_of_a_jpeg() -> None:
    assert streams.jpegxl(imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg8_encode(RGB, 90))) == (30, 50)


@pytest.mark.parametrize("read", [streams.jpeg, streams.jpeg2000, streams.jpegxl])
@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\xff\xff", b"\xff\x4f\xff\x51" + b"\0" * 80, b"\xff\x0a"]
)
def test_what_is_none(read: object, data: bytes) -> None:
    with pytest.raises(PixelsUndecodable):
        read(data)  # type: ignore[operator]


@pytest.mark.parametrize("at", [24, 28, 43, 44])
def test_jpeg_2000_of_no_size(at: int) -> None:
    """Tile sizes and sample steps of 0 had a decoder divide by them."""
    stream = bytearray(imagecodecs.htj2k_encode(GREY, reversible=True))
    stream[at : at + (4 if at < 40 else 1)] = bytes(4 if at < 40 else 1)
    with pytest.raises(PixelsUndecodable, match="of no size"):
        streams.jpeg2000(bytes(stream))


@pytest.mark.parametrize("at", [43, 44, 47])  # XRsiz and YRsiz of the first component, YRsiz of the second
def test_jpeg_2000_of_subsampled_components(at: int) -> None:
    """OpenJPEG's planes are smaller then, and were read beyond their ends."""
    stream = bytearray(imagecodecs.jpeg2k_encode(RGB, level=0, codecformat="J2K"))
    stream[at] = 2
    with pytest.raises(PixelsUndecodable, match="subsampled"):
        streams.jpeg2000(bytes(stream))
