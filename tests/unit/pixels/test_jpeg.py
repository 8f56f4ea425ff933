"""Colours of JPEG: what the stream says goes before what the data set says, and what is written is what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import imagecodecs
import numpy
import pytest

from sagittal.errors import LimitExceeded, NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs import codec, streams
from sagittal.pixels.codecs.interface import Options, complaints, refusals
from sagittal.pixels.description import Description

BASELINE, JPEG_2000 = (codec(f"1.2.840.10008.1.2.4.{tail}") for tail in (50, 91))
RGB = Description(16, 24, 3, 8, 8, 7, photometric="RGB")
REDDISH = numpy.full(RGB.shape, (200, 90, 40), "u1")
JFIF, ADOBE = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0", b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"


def stream(kind: str, marker: bytes, names: bytes) -> bytes:
    """Of colours as they are ("rgb"), or as YCbCr; with that marker alone, and components of these names."""
    made = bytearray(imagecodecs.jpeg8_encode(REDDISH, 95, colorspace="rgb", outcolorspace=kind, subsampling="444"))
    frame, scan = made.index(b"\xff\xc0"), made.index(b"\xff\xda")
    for number, name in enumerate(names):
        made[frame + 10 + 3 * number] = made[scan + 5 + 2 * number] = name
    return b"\xff\xd8" + marker + made[made.index(b"\xff\xdb") :]


@pytest.mark.parametrize(
    ("kind", "marker", "names", "photometric"),
    [
        ("rgb", b"", b"\1\2\3", "RGB"),
        ("rgb", b"", b"RGB", "YBR_FULL_422"),
        ("rgb", ADOBE + b"\0", b"\1\2\3", "YBR_FULL_422"),
        ("ycbcr", b"", b"\1\2\3", "YBR_FULL_422"),
        ("ycbcr", JFIF, b"\1\2\3", "RGB"),
        ("ycbcr", ADOBE + b"\1", b"\1\2\3", "RGB"),
    ],
)
def test_what_colours_are_in_a_stream(kind: str, marker: bytes, names: bytes, photometric: str) -> None:
    data = stream(kind, marker, names)
    assert streams.jpeg(data).components == tuple(names)
    read = BASELINE.decode(data, replace(RGB, photometric=photometric))
    assert numpy.abs(read.astype(int) - REDDISH).max() <= 4


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("subsampling", [False, True])
def test_colours_are_written_as_they_are_labelled(photometric: str, subsampling: bool) -> None:
    described, options = replace(RGB, photometric=photometric), Options(subsampling=subsampling)
    array = REDDISH if photometric == "RGB" else numpy.full(RGB.shape, (116, 84, 186), "u1")  # PS3.3 C.7.6.3.1.2
    data, said = BASELINE.encode(array, described, options), BASELINE.encoded(described, options)
    assert said.photometric == ("YBR_FULL_422" if subsampling else "YBR_FULL")
    assert streams.jpeg(data).sampling == (0x21 if subsampling else 0x11, 0x11, 0x11)
    assert numpy.abs(BASELINE.decode(data, said).astype(int) - (200, 90, 40)).max() <= 4
    assert BASELINE.decoded(said).photometric == "RGB"


def test_a_ratio_out_of_reach_comes_as_near_as_it_can() -> None:
    noise = numpy.random.default_rng(1).integers(0, 256, RGB.shape, "u1")
    sizes = [len(JPEG_2000.encode(noise, RGB, Options(ratio=ratio))) for ratio in (4.0, 1e6)]
    assert sizes[0] > sizes[1] > 0


@pytest.mark.parametrize(("within", "made"), [(complaints, PixelsUndecodable), (refusals, NotAcceptable)])
def test_what_a_library_raises_is_told_as_ours(within: Any, made: type[Exception]) -> None:
    """But what is ours already, and that there is no memory: another request may have it."""
    for error, kind in (
        (ValueError("odd"), made),
        (LimitExceeded("long"), LimitExceeded),
        (MemoryError(), MemoryError),
    ):
        with pytest.raises(kind), within("JPEG"):
            raise error


@pytest.mark.parametrize(
    ("tail", "described", "bits"),
    [
        (50, Description(16, 24, 1, 8, 7, 6), 8),
        (51, Description(16, 24, 1, 8, 6, 6), 8),
        (51, Description(16, 24, 1, 16, 10, 12, photometric="MONOCHROME1"), 12),
        (51, Description(16, 24, 1, 16, 12, 11), 12),
    ],
)
def test_bits_stored_are_those_of_the_stream(tail: int, described: Description, bits: int) -> None:
    """PS3.5 Table 8.2.1-1: white becomes a bit more than white, which fewer bits would not have."""
    one = codec(f"1.2.840.10008.1.2.4.{tail}")
    said = one.encoded(described, Options())
    assert (said.bits_stored, said.high_bit) == (bits, bits - 1)
    array = numpy.random.default_rng(2).choice([0, described.highest], described.shape).astype(described.dtype)
    data = one.encode(array, described, Options(quality=50))
    assert streams.jpeg(data).precision == bits
    assert imagecodecs.jpeg8_decode(data).max() <= said.highest
    for colours in ("RGB", "YBR_FULL"):  # which would be darker
        if described.bits_stored != bits:
            with pytest.raises(NotAcceptable, match="8 or 12 bits"):
                one.encoded(replace(described, samples=3, photometric=colours), Options())


@pytest.mark.parametrize("tail", [50, 51])
def test_colours_that_are_neither_rgb_nor_ybr_are_not_taken_for_rgb(tail: int) -> None:
    with pytest.raises(NotAcceptable, match="not HSV"):
        codec(f"1.2.840.10008.1.2.4.{tail}").encoded(Description(16, 24, 3, 8, 8, 7, photometric="HSV"), Options())
