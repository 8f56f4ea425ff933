"""Frames from one syntax to another, and what the data set says afterwards."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import product
from typing import Any

import numpy
import pytest
from PIL import Image

from sagittal.dicom.syntaxes import (
    DEFLATED_IMAGE_FRAME,
    EXPLICIT_BE,
    EXPLICIT_LE,
    HTJ2K_LOSSLESS,
    IMPLICIT_LE,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    SYNTAXES,
)
from sagittal.errors import LimitExceeded, NotAcceptable, PixelsUndecodable
from sagittal.limits import PixelLimits
from sagittal.pixels import transcode
from sagittal.pixels.codecs import codec, encodes
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description
from sagittal.pixels.reach import reaches
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.color import rgb_of

JPEG_XL_LOSSLESS, RECOMPRESSED, JPEG_XL = (f"1.2.840.10008.1.2.4.11{last}" for last in "012")
JPEG_EXTENDED, NEAR_LOSSLESS, HTJ2K = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.203"
LOSSLESS = (EXPLICIT_LE, RLE_LOSSLESS, DEFLATED_IMAGE_FRAME, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS,
            HTJ2K_LOSSLESS, JPEG_XL_LOSSLESS)  # fmt: skip
GREY = Description(11, 8, 1, 16, 12, 11, True)
RGB = Description(11, 8, 3, 8, 8, 7, False, "RGB", planar=1)
OVERLAID = Description(11, 8, 1, 16, 12, 11)
COMMENT: dict[str, Any] = {"00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "AXIAL"]},
                           "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
                           "00080018": {"vr": "UI", "Value": ["2.25.1"]}}  # fmt: skip


def slope(described: Description) -> Any:
    values = numpy.arange(described.values).reshape(described.shape) * 3 % 200
    return values.astype(described.dtype)


def natives(described: Description, count: int = 1) -> list[bytes]:
    native = codec(EXPLICIT_LE)
    return [native.encode(slope(described) + number, described, Options()) for number in range(count)]


@pytest.mark.parametrize(("first", "second"), list(product(LOSSLESS, LOSSLESS)))
@pytest.mark.parametrize("described", [GREY, RGB], ids=["grey", "rgb"])
def test_any_to_any_without_loss(first: str, second: str, described: Description) -> None:
    frames = natives(described, 2)
    there = transcode.plan(described, EXPLICIT_LE, first)
    on = transcode.plan(there.target, first, second)
    back = transcode.plan(on.target, second, EXPLICIT_LE)
    assert not (there.loses or on.loses or back.loses)
    for frame in frames:
        middle = there.frame(frame)
        last = on.frame(middle)
        assert there.error(frame, middle) == on.error(middle, last) == 0
        numpy.testing.assert_array_equal(codec(EXPLICIT_LE).decode(back.frame(last), back.target),
                                         codec(EXPLICIT_LE).decode(frame, described))  # fmt: skip
    assert back.target == replace(described, planar=0) or (first, second) == (EXPLICIT_LE, EXPLICIT_LE)


def test_what_the_table_of_syntaxes_says_is_encoded_is_reached() -> None:
    """Neither more nor less; XML and MIME are not ours to write, though their pixels lie as native ones."""
    assert {uid for uid in SYNTAXES if reaches(EXPLICIT_LE, uid)} == {uid for uid in SYNTAXES if encodes(uid)}
    for uid in (uid for uid, row in SYNTAXES.items() if not row.written):
        with pytest.raises(NotAcceptable, match="nothing is put into"):
            transcode.plan(GREY, EXPLICIT_LE, uid)


@pytest.mark.parametrize(
    ("to", "bits", "vr"), [(EXPLICIT_BE, 16, "OW"), (EXPLICIT_BE, 8, "OB"), (IMPLICIT_LE, 8, "OW")]
)
def test_native_frames_stay_as_they_are(to: str, bits: int, vr: str) -> None:
    made = transcode.plan(Description(3, 5, 1, bits, bits, bits - 1), EXPLICIT_LE, to)
    assert made.way == "same" and made.frame(b"anything") == b"anything"
    assert made.changes({}).members["7FE00010"] == {"vr": vr}


def test_whole_cells_keep_overlays_in_unused_bits() -> None:
    cells = slope(OVERLAID).astype("<u2")
    cells[2:5, 1] |= 0x8000
    frame = cells.tobytes()
    for to in (RLE_LOSSLESS, DEFLATED_IMAGE_FRAME):
        there = transcode.plan(OVERLAID, EXPLICIT_LE, to)
        assert there.way == "cells"
        back = transcode.plan(there.target, to, EXPLICIT_LE)
        assert back.frame(there.frame(frame)) == frame


def test_overlays_in_unused_bits_are_taken_out_where_they_would_be_lost() -> None:
    cells = slope(OVERLAID).astype("<u2")
    cells[2:5, 1] |= 0x8000
    members = {"60000100": {"vr": "US", "Value": [16]}, "60000102": {"vr": "US", "Value": [15]}}
    assert transcode.embedded_overlays(members) == [(0x6000, 15)]
    assert transcode.embedded_overlays(members | {"60000100": {"vr": "US", "Value": [1]}}) == []  # it has lost its data
    for nowhere in (300, -1, "15"):
        assert transcode.embedded_overlays(members | {"60000102": {"vr": "US", "Value": [nowhere]}}) == []
    plane = transcode.overlay_bits(cells.tobytes(), OVERLAID, EXPLICIT_LE, 15)
    expected = numpy.zeros((11, 8), "u1")
    expected[2:5, 1] = 1
    assert plane == expected.tobytes()
    found = transcode.overlay_members(0x6000, [plane, plane])
    assert (found["60000100"]["Value"], found["60000102"]["Value"]) == ([1], [0])
    assert transcode.embedded_overlays(members | found) == []
    made = transcode.plan(OVERLAID, EXPLICIT_LE, JPEG_2000_LOSSLESS)
    assert made.way == "values"
    decoded = codec(JPEG_2000_LOSSLESS).decode(made.frame(cells.tobytes()), made.target)
    numpy.testing.assert_array_equal(decoded, slope(OVERLAID))


@pytest.mark.parametrize(
    "to", [JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, JPEG_XL_LOSSLESS]
)
@pytest.mark.parametrize("signed", [False, True])
def test_no_more_bits_are_allocated_than_compressed_pixels_have(to: str, signed: bool) -> None:
    """PS3.5 8.2.1, 8.2.3: 8 or 16; of 32 peers read half of an image or none."""
    held = Description(3, 5, 1, 32, 12, 20, signed)
    array = numpy.arange(15, dtype=held.dtype).reshape(3, 5) - 7 * signed
    made = transcode.plan(held, EXPLICIT_LE, to)
    assert (made.target.bits_allocated, made.target.bits_stored, made.target.high_bit) == (16, 12, 11)
    native = codec(EXPLICIT_LE).encode(array, held, Options())
    decoded = codec(to).decode(made.frame(native), made.target)
    assert decoded.dtype == made.target.dtype
    numpy.testing.assert_array_equal(decoded, array)
    assert made.error(native, made.frame(native)) == 0


@pytest.mark.parametrize("to", [JPEG_BASELINE, JPEG_EXTENDED, NEAR_LOSSLESS, JPEG_2000, HTJ2K])
def test_eight_bits_with_loss_are_allocated_eight(to: str) -> None:
    """JPEG Baseline has no other form, and a peer finds half of the bytes that 16 would be."""
    held = Description(16, 16, 1, 16, 8, 7)
    made = transcode.plan(held, EXPLICIT_LE, to)
    assert (made.target.bits_allocated, made.target.bits_stored, made.target.high_bit) == (8, 8, 7)
    array = numpy.arange(256, dtype="u2").reshape(16, 16)
    decoded = codec(to).decode(made.frame(array.tobytes()), made.target)
    assert decoded.dtype == numpy.uint8 and numpy.abs(decoded.astype(int) - array).max() <= 8
    assert transcode.plan(held, EXPLICIT_LE, JPEG_LS_LOSSLESS).target.bits_allocated == 16
    if to not in (JPEG_BASELINE, HTJ2K):
        assert transcode.plan(Description(16, 16, 1, 32, 12, 11), EXPLICIT_LE, to).target.bits_allocated == 16


def test_photometric_interpretation_follows_the_code_stream() -> None:
    says = {
        JPEG_2000_LOSSLESS: "YBR_RCT",
        HTJ2K_LOSSLESS: "YBR_RCT",
        JPEG_BASELINE: "YBR_FULL_422",
        JPEG_LS_LOSSLESS: "RGB",
        RLE_LOSSLESS: "RGB",
    }
    for to, photometric in says.items():
        made = transcode.plan(RGB, EXPLICIT_LE, to)
        assert made.target.photometric == photometric
        changed = made.changes(RGB.members(), 2.0).members
        assert changed.get("00280004", {"Value": ["RGB"]})["Value"] == [photometric]
        assert changed["7FE00010"] == {"vr": "OB"}
        back = transcode.plan(made.target, to, EXPLICIT_LE)
        assert back.target.photometric == "RGB" and back.target.planar == 0
    full = transcode.plan(RGB, EXPLICIT_LE, JPEG_BASELINE, Options(subsampling=False))
    assert full.target.photometric == "YBR_FULL"
    assert transcode.plan(RGB, EXPLICIT_LE, JPEG_2000).target.photometric == "YBR_ICT"


def test_loss_is_told() -> None:
    members = COMMENT | RGB.members() | {"7FE00001": {"vr": "OV"}, "00280107": {"vr": "US", "Value": [200]}}
    made = transcode.plan(RGB, EXPLICIT_LE, JPEG_BASELINE)
    assert made.loses
    frame = natives(RGB)[0]
    written = made.frame(frame)
    told = transcode.changes(members, made, len(written), "2.25.2")
    found = told.members
    assert found["00282110"] == {"vr": "CS", "Value": ["01"]}
    assert found["00282112"]["Value"] == [round(len(frame) / len(written), 2)]
    assert found["00282114"]["Value"] == ["ISO_10918_1"]
    assert found["00080008"]["Value"] == ["DERIVED", "PRIMARY", "AXIAL"]
    assert found["00080018"]["Value"] == ["2.25.2"]
    assert found["00082112"]["Value"][0]["00081155"]["Value"] == ["2.25.1"]
    assert found["00089215"]["Value"][0]["00080100"]["Value"] == ["113040"]
    assert "ratio" in found["00082111"]["Value"][0]
    assert told.removed == {"7FE00001", "00280107"}


def test_a_second_loss_adds_to_the_first() -> None:
    members = COMMENT | RGB.members() | {
        "00282110": {"vr": "CS", "Value": ["01"]},
        "00282112": {"vr": "DS", "Value": [5.0]},
        "00282114": {"vr": "CS", "Value": ["ISO_15444_1"]},
        "00082111": {"vr": "ST", "Value": ["Cropped"]},
    }  # fmt: skip
    found = transcode.plan(RGB, EXPLICIT_LE, JPEG_BASELINE).changes(members, 8.0).members
    assert found["00282112"]["Value"] == [5.0, 8.0]
    assert found["00282114"]["Value"] == ["ISO_15444_1", "ISO_10918_1"]
    assert found["00082111"]["Value"][0].startswith("Cropped; Lossy compression")
    assert "00080018" not in found


@pytest.mark.parametrize(
    ("ratios", "methods", "source", "told"),
    [
        (["5"], [], EXPLICIT_LE, [None, "ISO_10918_1"]),
        (["5"], [], NEAR_LOSSLESS, ["ISO_14495_1", "ISO_10918_1"]),
        (["5", "6"], [], NEAR_LOSSLESS, [None, "ISO_14495_1", "ISO_10918_1"]),
        ([], ["ISO_15444_1"], EXPLICIT_LE, ["ISO_15444_1", "ISO_10918_1"]),
        ([], [], NEAR_LOSSLESS, ["ISO_10918_1"]),
    ],
)
def test_methods_stay_beside_their_ratios(ratios: Any, methods: Any, source: str, told: list[str | None]) -> None:
    members = COMMENT | {"00282110": {"vr": "CS", "Value": ["01"]}}
    members |= {"00282112": {"vr": "DS", "Value": ratios}, "00282114": {"vr": "CS", "Value": methods}}
    found = transcode.plan(RGB, source, JPEG_BASELINE).changes(members, 8.0).members
    assert found["00282114"]["Value"] == told
    assert found["00282112"]["Value"] == [*(ratios or [None] * len(methods)), 8.0]


@pytest.mark.parametrize(
    ("source", "before", "code"),
    [(EXPLICIT_LE, "00", "121320"), (EXPLICIT_LE, "01", "121330"), (NEAR_LOSSLESS, "00", "121330")],
)
def test_a_predecessor_is_called_uncompressed_only_if_it_lost_nothing(source: str, before: str, code: str) -> None:
    """PS3.16 CID 7202."""
    members = COMMENT | {"00282110": {"vr": "CS", "Value": [before]}}
    found = transcode.plan(RGB, source, JPEG_BASELINE).changes(members, 8.0, "2.25.2").members
    (reference,) = found["00082112"]["Value"]
    assert reference["0040A170"]["Value"][0]["00080100"]["Value"] == [code]


def test_decompressing_does_not_hide_the_loss() -> None:
    made = transcode.plan(replace(RGB, photometric="YBR_FULL_422"), JPEG_BASELINE, EXPLICIT_LE)
    assert not made.loses
    assert made.changes({}).members["00282110"]["Value"] == ["01"]
    assert "00282110" not in transcode.plan(GREY, RLE_LOSSLESS, EXPLICIT_LE).changes({}).members


@pytest.mark.parametrize("syntax_uid", [JPEG_BASELINE, JPEG_EXTENDED])
def test_a_recompressed_jpeg_comes_back_byte_for_byte(syntax_uid: str) -> None:
    there = transcode.plan(RGB, EXPLICIT_LE, syntax_uid)
    jpeg = there.frame(natives(RGB)[0])
    packed = transcode.plan(there.target, syntax_uid, RECOMPRESSED)
    smaller = packed.frame(jpeg)
    assert smaller != jpeg and packed.target == there.target and not packed.loses
    assert packed.error(jpeg, smaller) == 0
    assert transcode.plan(packed.target, RECOMPRESSED, syntax_uid).frame(smaller) == jpeg


@pytest.mark.parametrize("syntax_uid", [JPEG_XL_LOSSLESS, JPEG_XL])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "RGB"])
def test_a_recompressed_jpeg_under_another_syntax_of_jpeg_xl(syntax_uid: str, photometric: str) -> None:
    """Its decoder gives RGB, whatever the JPEG had and the data set still says."""
    there = transcode.plan(RGB, EXPLICIT_LE, JPEG_BASELINE, Options(subsampling=photometric != "YBR_FULL"))
    jpeg = there.frame(natives(RGB)[0])
    smaller = transcode.plan(there.target, JPEG_BASELINE, RECOMPRESSED).frame(jpeg)
    said = replace(there.target, photometric=photometric)
    array, described = codec(syntax_uid).decode(smaller, said), codec(syntax_uid).decoded(said)
    shown = rgb_of(Attributes({}), array, described.photometric, 8)
    expected = codec(JPEG_BASELINE).decode(jpeg, there.target)
    assert numpy.abs(shown.astype(int) - expected).mean() < 4  # chrominance is spread otherwise


def test_a_jpeg_comes_back_under_the_syntax_of_its_process() -> None:
    """Whatever its label was (PS3.5 A.4.1): the refusal of another says which."""
    made, progressive = io.BytesIO(), "1.2.840.10008.1.2.4.55"
    Image.effect_noise((RGB.columns, RGB.rows), 50).convert("RGB").save(made, "JPEG", progressive=True)
    jpeg = made.getvalue()
    smaller = transcode.plan(RGB, JPEG_BASELINE, RECOMPRESSED).frame(jpeg)
    with pytest.raises(NotAcceptable, match=rf"not of JPEG Baseline .*, but .*\({progressive}\)"):
        transcode.plan(RGB, RECOMPRESSED, JPEG_BASELINE).frame(smaller)
    assert transcode.plan(RGB, RECOMPRESSED, progressive).frame(smaller) == jpeg


def test_what_jpeg_xl_cannot_recompress() -> None:
    grey = replace(GREY, signed=False)
    jpeg = transcode.plan(grey, EXPLICIT_LE, JPEG_EXTENDED).frame(natives(grey)[0])
    with pytest.raises(NotAcceptable, match="8-bit"):
        transcode.plan(grey, JPEG_EXTENDED, RECOMPRESSED).frame(jpeg)
    with pytest.raises(NotAcceptable):
        transcode.plan(grey, EXPLICIT_LE, RECOMPRESSED)


@pytest.mark.parametrize(
    ("described", "to"),
    [
        (GREY, JPEG_BASELINE),
        (GREY, JPEG_EXTENDED),
        (replace(GREY, signed=False), JPEG_BASELINE),
        (replace(RGB, samples=1, photometric="PALETTE COLOR"), JPEG_BASELINE),
        (replace(RGB, samples=1, photometric="PALETTE COLOR"), JPEG_2000),
        (Description(4, 4, kind="float", bits_allocated=32, bits_stored=32, high_bit=31), RLE_LOSSLESS),
        (Description(4, 4, kind="float", bits_allocated=32, bits_stored=32, high_bit=31), DEFLATED_IMAGE_FRAME),
        (Description(4, 4, 1, 32, 32, 31), JPEG_LS_LOSSLESS),
        (Description(4, 4, 1, 32, 32, 31), JPEG_2000_LOSSLESS),
        (Description(4, 4, 1, 1, 1, 0), RLE_LOSSLESS),
        (Description(4, 4, 2, 8, 8, 7), JPEG_LS_LOSSLESS),
        (Description(4, 4, 3, 16, 10, 9, False, "YBR_FULL"), JPEG_EXTENDED),  # neutral: 512 here, 2048 of its 12 bits
        (RGB, "1.2.840.10008.1.2.4.92"),
        (RGB, "1.2.840.10008.1.2.4.102"),
        (RGB, "2.25.99"),
    ],
)
def test_what_a_syntax_cannot_carry_is_refused_before_anything_is_decoded(described: Description, to: str) -> None:
    with pytest.raises(NotAcceptable):
        transcode.plan(described, EXPLICIT_LE, to)


def test_limits_come_first() -> None:
    with pytest.raises(LimitExceeded):
        transcode.plan(GREY, EXPLICIT_LE, RLE_LOSSLESS, limits=PixelLimits(frame_pixels_max=87))


@pytest.mark.parametrize(
    "described",
    [
        GREY,
        Description(8, 11, 1, 16, 16, 15, True),
        Description(8, 11, 1, 16, 15, 14),
        Description(8, 11, 1, 16, 8, 7),
        Description(8, 11, 1, 8, 7, 6),
        Description(8, 11, 1, 8, 8, 7),
        Description(90, 100, 1, 16, 12, 11),
    ],
)
def test_near_lossless_does_not_wrap(described: Description) -> None:
    """Nor does it for readers that mask what lies above Bits Stored: no value of the stream does."""
    import imagecodecs

    made = transcode.plan(described, EXPLICIT_LE, NEAR_LOSSLESS, Options(near=3))
    random, ends = numpy.random.default_rng(4), [described.lowest, described.highest]
    for choice in (numpy.arange(*ends), ends):
        array = random.choice(choice, described.shape).astype(described.dtype)
        native = codec(EXPLICIT_LE).encode(array, described, Options())
        stream = made.frame(native)
        assert made.error(native, stream) <= 3
        found = imagecodecs.jpegls_decode(stream).astype(described.dtype)
        assert described.lowest <= found.min() <= found.max() <= described.highest
    middle = numpy.full(described.shape, (ends[0] + ends[1]) // 2) + random.integers(0, 9, described.shape)
    native = codec(EXPLICIT_LE).encode(middle.astype(described.dtype), described, Options())
    assert 0 < made.error(native, made.frame(native)) <= 3


def test_a_short_frame_is_refused_and_a_long_one_is_not() -> None:
    frame = natives(GREY)[0]
    made = transcode.plan(GREY, EXPLICIT_LE, JPEG_LS_LOSSLESS)
    assert made.frame(frame + b"\0\0") == made.frame(frame)
    with pytest.raises(PixelsUndecodable, match="174 bytes where its geometry needs 176"):
        made.frame(frame[:-2])


@pytest.mark.parametrize("to", [JPEG_2000, HTJ2K])
def test_a_ratio_is_kept(to: str) -> None:
    described = Description(128, 128, 1, 16, 12, 11)
    random = numpy.random.default_rng(3)
    image = (numpy.add.outer(numpy.arange(128), numpy.arange(128)) * 8 + random.integers(0, 300, (128, 128))) % 4096
    frame = image.astype("<u2").tobytes()
    for ratio in (4.0, 12.0):
        written = transcode.plan(described, EXPLICIT_LE, to, Options(ratio=ratio)).frame(frame)
        assert ratio <= len(frame) / len(written) < ratio * 1.5


@pytest.mark.parametrize("to", [JPEG_2000, HTJ2K])
@pytest.mark.parametrize(
    "described", [Description(64, 64, 3, 8, 8, 7, False, "RGB"), Description(64, 64, 1, 16, 12, 11)]
)
def test_a_ratio_is_kept_of_noise_too(described: Description, to: str) -> None:
    noise = numpy.random.default_rng(1).integers(0, described.highest, described.shape, described.dtype, endpoint=True)
    frame = codec(EXPLICIT_LE).encode(noise, described, Options())
    for ratio in (8.0, 15.0):
        written = transcode.plan(described, EXPLICIT_LE, to, Options(ratio=ratio)).frame(frame)
        assert ratio <= len(frame) / len(written) < ratio * 3


@pytest.mark.parametrize("to", [JPEG_2000, HTJ2K])
def test_the_ratio_that_was_asked_for_is_the_one_that_is_told(to: str) -> None:
    """Of a JPEG whose chrominance has half of the columns, too: what is encoded has all of them."""
    described = Description(64, 64, 3, 8, 8, 7, False, "RGB")
    noise = numpy.random.default_rng(1).integers(0, 256, described.shape).astype("u1")
    frame = codec(JPEG_BASELINE).encode(noise, described, Options(quality=95))
    made = transcode.plan(replace(described, photometric="YBR_FULL_422"), JPEG_BASELINE, to, Options(ratio=8.0))
    written = made.frame(frame)
    (told,) = transcode.changes(COMMENT, made, len(written), "2.25.2").members["00282112"]["Value"]
    assert 8 <= told < 12 and told == round(64 * 64 * 3 / len(written), 2)


def test_a_frame_that_is_no_number_anywhere_is_another() -> None:
    floats = Description(1, 2, kind="float", bits_allocated=32, bits_stored=32, high_bit=31)
    some, none = numpy.array([[1.0, 2.0]], "f4"), numpy.full((1, 2), numpy.nan, "f4")
    assert transcode.difference(some, floats, none, floats) == float("inf")
    assert transcode.difference(none, floats, none, floats) == 0.0
