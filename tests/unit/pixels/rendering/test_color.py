"""Palettes plain and segmented, YBR, ICC profiles."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import dcmread
from pydicom.data import get_palette_files

from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.color import convert_profile, profile, rgb_of
from sagittal.pixels.rendering.tables import expanded


def palette(
    count: int, first: int, bits: int, *data: bytes, segmented: bool = False, big_endian: bool = False
) -> Attributes:
    """The three tables as bulk data one behind the other, as the data set would hold them."""
    members, places = {}, b""
    for n, octets in enumerate(data):
        members[f"{0x00281101 + n:08X}"] = {"vr": "US", "Value": [count, first, bits]}
        tag = (0x00281221 if segmented else 0x00281201) + n
        members[f"{tag:08X}"] = {"vr": "OW", "BulkDataURI": f"{tag:08X}?offset={len(places)}&length={len(octets)}"}
        places += octets
    return Attributes(members, lambda offset, length: places[offset : offset + length], big_endian=big_endian)


def words(*numbers: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(numbers)}H", *numbers)


def test_a_palette_of_16_bits_clamps_at_its_ends() -> None:
    held = palette(3, 10, 16, words(0, 0x8000, 0xFFFF), words(0x1000, 0x2000, 0x3000), words(0, 0, 0xFF00))
    shown = rgb_of(held, np.array([[0, 10, 11, 12, 200]], np.uint8), "PALETTE COLOR", 8)
    assert shown.tolist() == [[[0, 16, 0], [0, 16, 0], [128, 32, 0], [255, 48, 255], [255, 48, 255]]]


def test_big_endian_palettes() -> None:
    tables = [words(0, 0xFF00, order=">")] * 3
    shown = rgb_of(palette(2, 0, 16, *tables, big_endian=True), np.array([[0, 1]]), "PALETTE COLOR", 8)
    assert shown.tolist() == [[[0] * 3, [255] * 3]]


def test_entries_of_8_bits_two_in_a_word_and_one_in_a_word() -> None:
    for data in (bytes((1, 2, 3, 4)), words(1, 2, 3, 4)):
        shown = rgb_of(palette(4, 0, 8, data, data, data), np.array([[0, 1, 2, 3]]), "PALETTE COLOR", 8)
        assert shown[0, :, 0].tolist() == [1, 2, 3, 4]


def test_16_bit_tables_that_hold_8_significant_bits() -> None:
    data = words(0, 100, 255)
    shown = rgb_of(palette(3, 0, 16, data, data, data), np.array([[0, 1, 2]]), "PALETTE COLOR", 8)
    assert shown[0, :, 0].tolist() == [0, 100, 255]


def test_a_dark_table_beside_bright_ones_stays_dark() -> None:
    dark, bright = words(200, 200), words(0, 0xFFFF)
    shown = rgb_of(palette(2, 0, 16, dark, bright, bright), np.array([[0, 1]]), "PALETTE COLOR", 8)
    assert shown.tolist() == [[[0, 0, 0], [0, 255, 255]]]


@pytest.mark.parametrize("name", ["spring", "fall"])
def test_segments_of_octets_as_in_the_well_known_palettes(name: str) -> None:
    """PS3.6 B.1: segmented, 8-bit entries; each color is a line from its first entry to its last."""
    (file,) = get_palette_files(f"{name}.dcm")
    told = dcmread(file, force=True)
    data = [told[0x00281221 + n].value for n in range(3)]
    shown = rgb_of(palette(256, 0, 8, *data, segmented=True), np.arange(256)[None], "PALETTE COLOR", 8)
    lines = [np.linspace(octets[2], octets[5], 256).round() for octets in data]
    assert np.array_equal(shown[0], np.stack(lines, axis=-1))


@pytest.mark.parametrize("big_endian", [False, True])
def test_indirect_segments_of_octets(big_endian: bool) -> None:
    octets = bytes((0, 2, 7, 9, 1, 2, 11, 2, 2, 0, 0, 0, 0, 0))  # 7 9; in two steps to 11; both again; padding
    swapped = b"".join(octets[at : at + 2][::-1] for at in range(0, len(octets), 2))
    held = palette(8, 0, 8, *[swapped if big_endian else octets] * 3, segmented=True, big_endian=big_endian)
    assert rgb_of(held, np.arange(8)[None], "PALETTE COLOR", 8)[0, :, 1].tolist() == [7, 9, 10, 11] * 2


def test_segments_of_words_with_entries_of_8_bits() -> None:
    held = palette(4, 0, 8, *[words(0, 3, 5, 6, 7, 1, 1, 250)] * 3, segmented=True)
    assert rgb_of(held, np.arange(4)[None], "PALETTE COLOR", 8)[0, :, 0].tolist() == [5, 6, 7, 250]


def test_segmented_palettes() -> None:
    # discrete 0 0x100 0x200; linear in 4 steps to 0x600; indirect: both again
    segments = (0, 3, 0, 0x100, 0x200, 1, 4, 0x600, 2, 2, 0, 0)
    plain = [0, 0x100, 0x200, 0x300, 0x400, 0x500, 0x600]
    assert expanded(np.array(segments, np.uint16), 100).tolist() == plain * 2
    lines_first = (0, 2, 0, 10, 1, 2, 20, 0, 1, 40, 2, 2, 4, 0)  # copies from the line on
    assert expanded(np.array(lines_first, np.uint16), 100).tolist() == [0, 10, 15, 20, 40, 30, 20, 40]
    held = palette(14, 0, 16, *[words(*segments)] * 3, segmented=True)
    assert rgb_of(held, np.array([[6, 13]]), "PALETTE COLOR", 8)[0, :, 2].tolist() == [6, 6]


@pytest.mark.parametrize(
    "segments", [(1, 4, 9), (7, 1, 1), (2, 1, 9000, 0), (2, 1, 0, 0), (0, 1, 5, 2, 1, 3, 0, 1), (0, 1, 5, 2, 1, 6, 0)]
)
def test_broken_segments_are_refused_or_end(segments: tuple[int, ...]) -> None:
    try:
        assert len(expanded(np.array(segments, np.uint16), 50)) <= 50
    except PixelsUndecodable as error:
        assert "palette" in error.text


def test_a_missing_palette_is_told() -> None:
    for held in (Attributes({}), palette(256, 0, 16, b"", b"", b""), palette(256, 0, 16, words(1), words(1), b"")):
        with pytest.raises(NotAcceptable, match="palette"):
            rgb_of(held, np.zeros((1, 1), np.uint8), "PALETTE COLOR", 8)


@pytest.mark.parametrize(
    ("photometric", "stored", "rgb"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("YBR_FULL", (76, 85, 255), (254, 0, 0)),  # red by BT.601
        ("YBR_FULL_422", (150, 44, 21), (0, 255, 1)),
        ("YBR_PARTIAL_420", (235, 128, 128), (255, 255, 255)),
        ("YBR_PARTIAL_422", (16, 128, 128), (0, 0, 0)),
        ("YBR_RCT", (1, 2, 3), (1, 2, 3)),
        ("HSV", (85, 255, 255), (0, 255, 0)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("ARGB", (9, 1, 2, 3), (1, 2, 3)),
    ],
)
def test_photometric_interpretations(photometric: str, stored: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    shown = rgb_of(Attributes({}), np.array([[stored]], np.uint8), photometric, 8)
    assert np.abs(shown[0, 0].astype(int) - rgb).max() <= 1


@pytest.mark.parametrize(
    ("bits", "stored", "rgb"), [(16, (0, 0x1234, 65535), (0, 0x12, 255)), (12, (0, 2048, 4095), (0, 128, 255)),
                                (4, (0, 7, 15), (0, 119, 255))]
)  # fmt: skip
def test_colors_of_other_depths_than_eight(bits: int, stored: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    shown = rgb_of(Attributes({}), np.array([[stored]], np.uint16), "RGB", bits)
    assert tuple(shown[0, 0].tolist()) == rgb


def test_colors_of_16_bits() -> None:
    shown = rgb_of(Attributes({}), np.array([[[0, 0x8000, 0xFFFF]]], np.uint16), "RGB", 16)
    assert shown.tolist() == [[[0, 128, 255]]]


def test_icc_profiles() -> None:
    rgb = np.full((2, 2, 3), 100, np.uint8)
    assert convert_profile(rgb, b"", "no") == (rgb, None)
    assert convert_profile(rgb, b"mine", "yes")[1] == b"mine"
    unchanged, attached = convert_profile(rgb, profile("srgb"), "srgb")
    assert attached == profile("srgb") and np.abs(unchanged.astype(int) - 100).max() <= 1


@pytest.mark.parametrize(
    ("name", "red", "gray"),
    # sRGB's red and middle gray in the larger spaces, by their published primaries and gammas
    [("adobergb", (219, 0, 0), 127), ("rommrgb", (179, 70, 26), 109)],
)
def test_wider_color_spaces(name: Any, red: tuple[int, ...], gray: int) -> None:
    rgb = np.array([[[255, 0, 0], [128, 128, 128], [255, 255, 255]]], np.uint8)
    converted, attached = convert_profile(rgb, b"", name)
    assert attached == profile(name)
    assert np.abs(converted[0].astype(int) - [red, (gray,) * 3, (255,) * 3]).max() <= 2
    assert ImageCms.ImageCmsProfile(io.BytesIO(profile(name))).profile.xcolor_space == "RGB "
    back = ImageCms.profileToProfile(
        Image.fromarray(converted), io.BytesIO(profile(name)), io.BytesIO(profile("srgb")), outputMode="RGB"
    )
    assert np.abs(np.asarray(back).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("media_type", ["image/gif", "image/jxl", "image/jp2"])
def test_formats_without_profile_refuse_one(media_type: str) -> None:
    from sagittal.pixels.rendering.pictures import picture

    with pytest.raises(NotAcceptable, match="ICC"):
        picture(media_type, np.zeros((4, 4, 3), np.uint8), None, profile("srgb"))


def test_an_unusable_profile_is_told() -> None:
    from sagittal.errors import BadRequest

    with pytest.raises(BadRequest, match="ICC"):
        convert_profile(np.zeros((1, 1, 3), np.uint8), b"no profile", "srgb")


def test_the_profile_goes_into_the_picture() -> None:
    from sagittal.pixels.rendering.pictures import picture

    rgb = np.zeros((4, 4, 3), np.uint8)
    for kind in ("image/png", "image/jpeg", "image/webp"):
        opened = Image.open(io.BytesIO(picture(kind, rgb, None, profile("srgb"))))
        assert opened.info["icc_profile"] == profile("srgb")
