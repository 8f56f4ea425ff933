"""The Image Pixel module as one value: read, checked, written back."""

from __future__ import annotations

from typing import Any

import pytest

from sagittal.dicom.models.members import element
from sagittal.errors import LimitExceeded, PixelsUndecodable
from sagittal.limits import PixelLimits
from sagittal.pixels.description import Description, describe

CT: dict[str, Any] = {
    "00280002": {"vr": "US", "Value": [1]},
    "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00280011": {"vr": "US", "Value": [256]},
    "00280100": {"vr": "US", "Value": [16]},
    "00280101": {"vr": "US", "Value": [12]},
    "00280102": {"vr": "US", "Value": [11]},
    "00280103": {"vr": "US", "Value": [1]},
    "7FE00010": {"vr": "OW"},
}


def test_from_json_and_back() -> None:
    read = describe(CT)
    assert read == Description(512, 256, 1, 16, 12, 11, True, "MONOCHROME2")
    assert (read.shape, read.dtype, read.lowest, read.highest) == ((512, 256), "int16", -2048, 2047)
    assert {**CT, **read.members()} == CT


def test_overlay_planes_in_unused_bits() -> None:
    bits = {"60020100": {"vr": "US", "Value": [16]}}
    assert describe(CT | bits).planes
    assert not describe(CT | bits | {"00280101": {"vr": "US", "Value": [16]}, "00280102": {}}).planes
    assert not describe(CT | {"60020100": {"vr": "US", "Value": [1]}}).planes


def test_what_is_missing_is_filled_in_where_it_can_be_read_in_one_way() -> None:
    given = {tag: element("US", value) for tag, value in (("00280010", 4), ("00280011", 6), ("00280100", 8))}
    read = describe(given | {"00280002": element("US", 3)})
    assert (read.bits_stored, read.high_bit, read.photometric, read.signed) == (8, 7, "RGB", False)
    assert read.shape == (4, 6, 3)
    assert describe(given).photometric == "MONOCHROME2"


@pytest.mark.parametrize("missing", ["00280010", "00280011", "00280100"])
def test_what_cannot_be_told_is_refused(missing: str) -> None:
    with pytest.raises(PixelsUndecodable, match="is missing"):
        describe({tag: value for tag, value in CT.items() if tag != missing})


@pytest.mark.parametrize(
    ("tag", "value"),
    [("00280101", 17), ("00280101", 0), ("00280102", 16), ("00280102", 10), ("00280100", 65), ("00280010", 0)],
)
def test_bits_that_do_not_go_together(tag: str, value: int) -> None:
    with pytest.raises(PixelsUndecodable):
        describe(CT | {tag: {"vr": "US", "Value": [value]}})


def test_float_and_double() -> None:
    plain = {tag: value for tag, value in CT.items() if tag not in ("00280100", "00280101", "00280102", "7FE00010")}
    single = describe(plain | {"7FE00008": {"vr": "OF"}})
    assert (single.kind, single.dtype, single.frame_bytes) == ("float", "float32", 512 * 256 * 4)
    double = describe(plain | {"7FE00009": {"vr": "OD"}})
    assert (double.kind, double.dtype, double.array_bytes) == ("double", "float64", 512 * 256 * 8)


def test_sizes_of_native_frames() -> None:
    assert Description(3, 3, 1, 1, 1, 0).frame_bits == 9
    assert Description(3, 3, 1, 1, 1, 0).frame_bytes == 2
    assert Description(2, 4, 3, 8, 8, 7, photometric="YBR_FULL_422").frame_bytes == 16
    assert Description(2, 4, 3, 8, 8, 7, photometric="YBR_FULL").frame_bytes == 24
    assert Description(2, 2, 1, 12, 12, 11).frame_bytes == 6


@pytest.mark.parametrize(("columns", "fits"), [(99, True), (100, True), (101, False)])
def test_frame_pixels_max(columns: int, fits: bool) -> None:
    described = Description(1, columns)
    limits = PixelLimits(frame_pixels_max=100)
    if fits:
        described.check(limits)
    else:
        with pytest.raises(LimitExceeded, match="frame_pixels_max"):
            described.check(limits)


@pytest.mark.parametrize(("most", "fits"), [(599, False), (600, True), (601, True)])
def test_frame_bytes_max(most: int, fits: bool) -> None:
    described = Description(10, 10, 3, 16, 16, 15, photometric="RGB")
    limits = PixelLimits(frame_bytes_max=most)
    if fits:
        described.check(limits)
    else:
        with pytest.raises(LimitExceeded, match="frame_bytes_max"):
            described.check(limits)
