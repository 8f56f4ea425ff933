"""Lossless round trips of every syntax that encodes x depth x sign x photometric interpretation x frames, in one suite.

Frame by frame in shapes that are hard on codecs; and as whole instances of one frame and of three, so that what lies
around frames (bits without gaps, words of Big Endian, fragments, offset tables) holds for each of them too.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy
import pytest

from sagittal.dicom.frameindex import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from sagittal.dicom.models.encode import Bulk, data_set
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES
from sagittal.errors import NotAcceptable
from sagittal.limits import ReaderLimits
from sagittal.pixels.codecs import ROWS, codec
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description
from sagittal.pixels.images import Image, read_whole
from sagittal.pixels.instances import Transcoding, joined
from sagittal.pixels.transcode import plan

LOSSLESS = Options(near=0, reversible=True, effort=1)
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
WRITTEN = [uid for uid, row in ROWS.items() if row.encodes and uid not in LOSSY]
FLOATS = [Description(13, 7, 1, 32, 32, 31, kind="float"), Description(13, 7, 1, 64, 64, 63, kind="double")]

DEPTHS = [(1, 1), (8, 1), (8, 5), (8, 8), (16, 8), (16, 10), (16, 12), (16, 14), (16, 16), (32, 20), (32, 24), (32, 32)]
DEPTHS += [(12, 12), (24, 24), (64, 64)]
COLOURS = [(1, "MONOCHROME1"), (1, "MONOCHROME2"), (1, "PALETTE COLOR"), (3, "RGB"), (3, "YBR_FULL")]
SHAPES = [(13, 7), (1, 1), (3, 3), (40, 33)]


def descriptions() -> list[Description]:
    found = [*FLOATS]
    for (allocated, stored), signed, (samples, photometric) in product(DEPTHS, (False, True), COLOURS):
        if (signed and (stored == 1 or samples == 3 or photometric == "PALETTE COLOR")) or (
            samples == 3 and stored == 1
        ):
            continue
        if photometric in ("MONOCHROME1", "PALETTE COLOR") and (allocated, stored) not in ((8, 8), (16, 12), (16, 16)):
            continue
        for planar, high in product((0, 1) if samples == 3 else (0,), {stored - 1, allocated - 1}):
            found.append(
                Description(13, 7, samples, allocated, stored, high, signed, photometric, planar)
            )  # fmt: skip
    return found


def pixels(described: Description, seed: int = 1) -> Any:
    """Noise on a slope that reaches both ends of the range."""
    random = numpy.random.default_rng(seed)
    if described.kind != "integer":
        return random.standard_normal(described.shape).astype(described.dtype) * 1e6
    whole = random.integers(described.lowest, described.highest, described.shape, dtype=described.dtype, endpoint=True)
    flat = whole.reshape(-1)
    flat[0], flat[-1] = described.lowest, described.highest
    return whole


def named(described: Description) -> str:
    if described.kind != "integer":
        return described.kind
    sign = "s" if described.signed else "u"
    high = f"h{described.high_bit}" if described.high_bit != described.bits_stored - 1 else ""
    planar = "planar" if described.planar else ""
    return f"{sign}{described.bits_stored}in{described.bits_allocated}{high}-{described.photometric}{planar}"


def taken(uid: str, described: Description) -> bool:
    try:
        codec(uid).encoded(described, LOSSLESS)
    except NotAcceptable:
        return False
    return True


CASES = [(uid, described) for uid in WRITTEN for described in descriptions() if taken(uid, described)]


@pytest.mark.parametrize("shapes", [SHAPES[:2], pytest.param(SHAPES[2:], marks=pytest.mark.slow)], ids=["some", "more"])
@pytest.mark.parametrize("uid", WRITTEN)
def test_lossless_round_trip(uid: str, shapes: list[tuple[int, int]]) -> None:
    one = codec(uid)
    assert not one.loses(LOSSLESS)
    for described in (each for to, each in CASES if to == uid):
        for rows, columns in shapes:
            shaped = replace(described, rows=rows, columns=columns)
            array = pixels(shaped)
            written = one.encoded(shaped, LOSSLESS)
            read = one.decode(one.encode(array, shaped, LOSSLESS), written)
            assert read.dtype == array.dtype, named(shaped)
            numpy.testing.assert_array_equal(read, array, named(shaped))
            assert one.decoded(written).photometric == shaped.photometric, named(shaped)


def instance(described: Description, arrays: list[Any]) -> tuple[bytes, Image]:
    """A data set in Explicit VR Little Endian of these frames, and its image."""
    native = codec(EXPLICIT_LE)
    frames = [native.encode(array, described, LOSSLESS) for array in arrays]
    pixels = b"".join(joined(frames, described.frame_bits))
    pixels += b"\0" * (len(pixels) & 1)
    tag = {"float": FLOAT_PIXEL_DATA, "double": DOUBLE_PIXEL_DATA}.get(described.kind, PIXEL_DATA)
    vr = {"float": "OF", "double": "OD"}.get(described.kind, "OB" if described.bits_allocated <= 8 else "OW")
    members = described.members() | {"00280008": {"vr": "IS", "Value": [len(arrays)]}}
    members[f"{tag:08X}"] = {"vr": vr, "BulkDataURI": "pixels"}
    made = b"".join(data_set(members, SYNTAXES[EXPLICIT_LE], lambda uri: Bulk(len(pixels), [pixels])))
    return made, held(made, EXPLICIT_LE)


def held(data: bytes, uid: str) -> Image:
    return read_whole(uid, lambda at, length: data[at : at + length], ReaderLimits())


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("uid", WRITTEN)
def test_whole_instances_of_one_frame_and_of_several(uid: str, count: int) -> None:
    for described in (each for to, each in CASES if to == uid):
        arrays = [pixels(described, number) for number in range(count)]
        data, image = instance(described, arrays)
        made = Transcoding(image, lambda data=data: [data], uid, LOSSLESS)
        frames = list(made.frames()) if made.first_encodes else []
        there = held(b"".join(made.data_set(frames, [len(frame) for frame in frames])), uid)
        assert there.count == count, named(described)
        for number, array in enumerate(arrays, 1):
            numpy.testing.assert_array_equal(there.frame(number).stored, array, named(described))


COUNTS = {
    "1.2.840.10008.1.2": 137,
    "1.2.840.10008.1.2.1.99": 137,
    "1.2.840.10008.1.2.2": 137,
    "1.2.840.10008.1.2.1": 137,
    "1.2.840.10008.1.2.1.98": 135,
    "1.2.840.10008.1.2.4.57": 90,
    "1.2.840.10008.1.2.4.70": 90,
    "1.2.840.10008.1.2.4.80": 90,
    "1.2.840.10008.1.2.4.81": 90,
    "1.2.840.10008.1.2.4.90": 123,
    "1.2.840.10008.1.2.4.91": 123,
    "1.2.840.10008.1.2.4.110": 93,
    "1.2.840.10008.1.2.4.112": 93,
    "1.2.840.10008.1.2.4.201": 121,
    "1.2.840.10008.1.2.4.202": 121,
    "1.2.840.10008.1.2.4.203": 121,
    "1.2.840.10008.1.2.5": 118,
    "1.2.840.10008.1.2.8.1": 135,
}


def test_the_suite_is_as_large_as_it_says() -> None:
    """A codec that begins to refuse what it took would make the suite smaller, not fail."""
    counts = {uid: sum(each == uid for each, _ in CASES) for uid in WRITTEN}
    assert counts == COUNTS


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
@pytest.mark.parametrize("uid", WRITTEN)
def test_colours_by_plane_of_one_row_or_column(uid: str, shape: tuple[int, int]) -> None:
    """What comes of planes has strides that encoders refuse where a side is one pixel."""
    described = Description(*shape, 3, 8, 8, 7, False, "RGB", 1)
    native = pixels(replace(described, planar=0)).transpose(2, 0, 1).tobytes()
    made = plan(described, EXPLICIT_LE, uid, LOSSLESS)
    numpy.testing.assert_array_equal(
        codec(uid).decode(made.frame(native), made.target), codec(EXPLICIT_LE).decode(native, described)
    )


@pytest.mark.parametrize("allocated", [16, 32])
@pytest.mark.parametrize("bits", [2, 8, 9, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_ls_of_few_bits_in_wide_cells(allocated: int, bits: int, signed: bool) -> None:
    described, uid = Description(13, 7, 1, allocated, bits, bits - 1, signed), "1.2.840.10008.1.2.4.80"
    one, array = codec(uid), pixels(described)
    numpy.testing.assert_array_equal(one.decode(one.encode(array, described, LOSSLESS), described), array)


@pytest.mark.parametrize("uid", [f"1.2.840.10008.1.2.4.{tail}" for tail in ("57", "70", "80", "90", "51", "91")])
def test_precision_tells_cells_from_values(uid: str) -> None:
    """Streams of others by a High Bit that is not Bits Stored - 1: with cells up to it, or values alone (PS3.5 8.2)."""
    described = Description(96, 90, 1, 16, 12, 11)  # CharLS has no other precision than 16 for fewer pixels
    told, one, options = replace(described, high_bit=15), codec(uid), replace(LOSSLESS, quality=100)
    array = numpy.add.outer(numpy.arange(96), numpy.arange(90)).astype("uint16") * 22
    of_values = one.encode(array, described, options)
    numpy.testing.assert_array_equal(one.decode(of_values, told), one.decode(of_values, described))
    numpy.testing.assert_allclose(one.decode(of_values, told), array, atol=2)
    if uid.endswith(".51"):  # of 8 or 12 bits
        return
    of_cells = one.encode(array << 4, described.cells(), options)
    numpy.testing.assert_array_equal(one.decode(of_cells, told), array)
    if not one.loses(options):
        with_overlays = one.encode(array | 0x9000, described.cells(), options)
        numpy.testing.assert_array_equal(one.decode(with_overlays, described), array)


@pytest.mark.parametrize("signed", [False, True])
def test_a_reversible_stream_that_was_cut_does_not_wrap_around(signed: bool) -> None:
    """JPEG 2000 of others with a loss may have the reversible wavelet, and the precision of the cells."""
    import imagecodecs

    described, kind = Description(64, 64, 1, 16, 12, 11, signed), "int16" if signed else "uint16"
    noise = numpy.random.default_rng(1).random((64, 64))
    array = numpy.where(noise < 0.3, described.highest, described.lowest).astype(kind)
    stream = bytes(imagecodecs.jpeg2k_encode(array, 55, codecformat="J2K", bitspersample=16, reversible=True))
    assert imagecodecs.jpeg2k_decode(stream).max() > described.highest
    found = codec("1.2.840.10008.1.2.4.91").decode(stream, described)
    numpy.testing.assert_allclose(found.astype(int), array, atol=500)


def test_an_overlay_over_what_is_dark_is_not_taken_for_a_loss() -> None:
    described, one = Description(16, 16, 1, 16, 12, 11, planes=True), codec("1.2.840.10008.1.2.4.91")
    array = numpy.arange(256, dtype="uint16").reshape(16, 16)
    stream = one.encode(array | 0x1000, described.cells(), LOSSLESS)
    numpy.testing.assert_array_equal(one.decode(stream, described), array)


@pytest.mark.parametrize("near", [0, 2])
@pytest.mark.parametrize("shape", [(113, 102), (127, 129), (300, 300)])
def test_jpeg_ls_of_noise(shape: tuple[int, int], near: int) -> None:
    """Which needs more bytes than the pixels have."""
    described = Description(*shape, 1, 8, 8, 7)
    one = codec("1.2.840.10008.1.2.4.81")
    array = numpy.random.default_rng(1).integers(0, 256, shape, "u1")
    read = one.decode(one.encode(array, described, Options(near=near)), described)
    assert numpy.abs(read.astype(int) - array).max() == near


@pytest.mark.parametrize("kind", [numpy.uint8, numpy.uint16])
@pytest.mark.parametrize("near", [0, 3])
@pytest.mark.parametrize("noise", [0, 20, 1 << 16])
def test_values_that_fill_their_container_have_one_code_stream(kind: Any, near: int, noise: int) -> None:
    """Both ways to CharLS give the same bytes: a picture, one with noise, noise alone."""
    jpeg_ls = pytest.importorskip("sagittal.pixels.codecs.jpeg_ls")
    pytest.importorskip("jpeg_ls")
    made = numpy.random.default_rng(5)
    picture = numpy.add.outer(numpy.arange(200), numpy.arange(180)) * 3 + made.integers(0, noise + 1, (200, 180))
    pixels = picture.astype(kind)
    bits = pixels.itemsize * 8
    assert jpeg_ls._plain(pixels, near) == jpeg_ls._precise(pixels, bits, near, near)


@pytest.mark.parametrize(("high_bit", "cells"), [(11, "0500ffff00f8ff07"), (13, "1400fcff00e0fc1f")])
def test_the_bits_above_signed_values_are_those_of_the_sign(high_bit: int, cells: str) -> None:
    """As originals mostly had them, and pydicom decodes: many readers take cells of 16 bits for the values."""
    described = Description(1, 4, 1, 16, 12, high_bit, True)
    values = numpy.array([[5, -1, -2048, 2047]], "i2")
    made = codec(EXPLICIT_LE).encode(values, described, LOSSLESS)
    assert made.hex() == cells
    assert codec(EXPLICIT_LE).decode(made, described).tolist() == values.tolist()
