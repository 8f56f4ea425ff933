"""The grayscale transformations, against numbers worked out from PS3.3 C.11."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from images import attributes

from sagittal.errors import BadRequest
from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.grayscale import Modality, Pipeline, Window, extent, padding_of, window
from sagittal.pixels.rendering.render import AS_IT_IS, Frame, Options, render
from sagittal.pixels.rendering.states import GRAYSCALE, state_for
from sagittal.pixels.rendering.tables import Table, lut_of


def gray(values: list[int], instance: Attributes, *, photometric: str = "MONOCHROME2", **more: Any) -> list[int]:
    stored = np.array([values], np.int16 if more.get("signed") else np.uint16)
    description = Description(1, len(values), photometric=photometric, **more)
    shown, _ = render(Frame(instance, 1, stored, description), Options())
    return shown[0].tolist()


@pytest.mark.parametrize(
    ("function", "center", "width", "value", "expected"),
    [
        ("LINEAR", 2048, 4096, 0, 0.0),  # the worked example of C.11.2.1.2.1: 0 is the minimum, 4095 the maximum
        ("LINEAR", 2048, 4096, 4095, 1.0),
        ("LINEAR", 2048, 1, 2047, 0.0),
        ("LINEAR", 2048, 1, 2048, 1.0),
        ("LINEAR", 2048, 1, 2047.5, 0.0),
        ("LINEAR", 0, 100, -50, 0.0),
        ("LINEAR", 0, 100, 49, 1.0),
        ("LINEAR_EXACT", 2048, 4096, 0, 0.0),
        ("LINEAR_EXACT", 2048, 4096, 2048, 0.5),
        ("LINEAR_EXACT", 2048, 4096, 4096, 1.0),
        ("SIGMOID", 100, 40, 100, 0.5),
        ("SIGMOID", 100, 40, 110, 1 / (1 + np.exp(-1))),
    ],
)
def test_windows(function: Any, center: float, width: float, value: float, expected: float) -> None:
    assert Window(center, width, function).apply(np.array([float(value)]))[0] == pytest.approx(expected)


def test_window_widths_that_the_standard_forbids() -> None:
    for function, width in (("LINEAR", 0.5), ("LINEAR_EXACT", 0.0), ("SIGMOID", -1.0), ("CUBIC", 5.0)):
        with pytest.raises(BadRequest):
            window(10, width, function)


def test_rescaled_and_windowed() -> None:
    instance = attributes(t00281053=[2], t00281052=[-1000], t00281050=[40], t00281051=[401])
    # modality 2*480-1000 = -40 -> (-40-39.5)/400+0.5; the ends of the window are -160.5 and 239.5
    assert gray([0, 480, 520, 700], instance) == [0, round(255 * 0.30125), round(255 * 0.50125), 255]


def test_the_first_of_several_windows_and_a_sigmoid() -> None:
    instance = attributes(t00281050=[100, 5], t00281051=[40, 1], t00281056=["SIGMOID"])
    assert gray([100], instance) == [128]


def test_a_window_of_width_nought_is_ignored() -> None:
    assert gray([5, 10], attributes(t00281050=[0], t00281051=[0])) == [0, 255]


def test_monochrome1_is_inverse_and_shape_inverse_not_twice() -> None:
    assert gray([0, 100], attributes(), photometric="MONOCHROME1") == [255, 0]
    assert gray([0, 100], attributes(t20500020=["INVERSE"]), photometric="MONOCHROME1") == [255, 0]
    assert gray([0, 100], attributes(t20500020=["INVERSE"])) == [255, 0]
    assert gray([0, 100], attributes(t20500020=["IDENTITY"])) == [0, 255]


@pytest.mark.parametrize("value", [0, 1, 40000])
def test_one_value_alone_is_black(value: int) -> None:
    """As empty slices are, beside others of their series."""
    assert gray([value, value], attributes()) == [0, 0]
    assert gray([value, value], attributes(), photometric="MONOCHROME1") == [255, 255]


def test_a_range_costs_no_copy_of_the_values() -> None:
    """As numbers of 64 bits a whole slide's would be more than a worker has."""
    stored = np.arange(1 << 18, dtype=np.uint16).reshape(512, 512)
    tracemalloc.start()
    try:
        found = extent(Modality(-2.0, 100.0), stored, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == [100 - 2 * 65535, 100]
    assert peak < stored.nbytes


def test_padding_does_not_count_for_the_range() -> None:
    assert gray([63536 - 65536, 0, 50, 100], attributes(t00280120=[-2000]), signed=True) == [0, 0, 128, 255]


def test_padding_as_unsigned_number_of_signed_pixels() -> None:
    stored = np.array([-2000, 5], np.int16)
    mask = padding_of(attributes(t00280120=[63536]), stored, signed=True)
    assert mask is not None and mask.tolist() == [True, False]


def test_a_modality_table_goes_before_the_line() -> None:
    table = {"t00283002": [3, 10, 16], "t00283006": [7, 8, 30]}
    instance = attributes(t00283000=[table], t00281053=[99], t00281052=[0], t00281050=[15.5], t00281051=[32])
    assert gray([0, 10, 11, 12, 50], instance) == [round(255 * (v - 15) / 31 + 127.5) for v in (7, 7, 8, 30, 30)]


def test_a_voi_table_goes_before_the_window() -> None:
    table = {"t00283002": [4, 100, 8], "t00283006": [0, 85, 170, 255]}
    instance = attributes(t00283010=[table], t00281050=[1], t00281051=[1])
    assert gray([0, 100, 101, 102, 103, 999], instance) == [0, 0, 85, 170, 255, 255]


@pytest.mark.parametrize(
    ("signed", "modality", "first", "pixel"),
    [
        (True, {}, 0xFFFF, 0),  # -1: SS said as US
        (False, {"t00281053": [1], "t00281052": [-11]}, 0xFFFF, 11),
        (False, {"t00281053": [-1], "t00281052": [9]}, 0xFFFF, 9),
        (True, {"t00281053": [1], "t00281052": [0x8000]}, 0x8001, 2),  # none is less than 0
        (True, {"t00283000": [{"t00283002": [2, 0, 16], "t00283006": [0xFFFF, 0xFFFF]}]}, 0xFFFE, 0),
    ],
)
@pytest.mark.parametrize("by_state", [False, True])
def test_what_a_voi_table_begins_with_is_signed_as_the_modality_is(
    signed: bool, modality: dict[str, Any], first: int, pixel: int, by_state: bool
) -> None:
    table = {"t00283010": [{"t00283002": [3, first, 8], "t00283006": [0, 85, 255]}]}
    described = Description(1, 1, signed=signed)
    held = attributes(t00080016=[GRAYSCALE], t00283110=[table], **modality)
    state = state_for(held, "1.2", 1, described) if by_state else AS_IT_IS
    instance = attributes() if by_state else attributes(**table, **modality)
    frame = Frame(instance, 1, np.array([[pixel]], described.dtype), described)
    assert render(frame, Options(), state)[0].tolist() == [[85]]  # what is behind the first


@pytest.mark.parametrize(("kind", "bits", "tag"), [("float", 32, 0x122), ("double", 64, 0x123)])
def test_padding_of_floats(kind: Any, bits: int, tag: int) -> None:
    described = Description(1, 4, bits_allocated=bits, bits_stored=bits, high_bit=bits - 1, kind=kind)
    stored = np.array([[0.1, -1e30, 1.0, 2.0]], described.dtype)
    instance = attributes(**{f"t0028{tag:04x}": [-1e30], f"t0028{tag + 2:04x}": [0.1]})
    assert render(Frame(instance, 1, stored, described), Options())[0].tolist() == [[0, 0, 0, 255]]


def test_a_window_of_one_over_fractions_is_no_threshold() -> None:
    """As maps of 0 to 1 have it, without a thought of C.11.2.1.2.1."""
    described = Description(1, 4, bits_allocated=32, bits_stored=32, high_bit=31, kind="float")
    frame = Frame(attributes(t00281050=[0.5], t00281051=[1]), 1, np.array([[0, 0.2, 0.8, 1]], np.float32), described)
    assert render(frame, Options())[0].tolist() == [[0, 51, 204, 255]]
    assert render(frame, Options(Window(0.5, 1)))[0].tolist() == [[0, 255, 255, 255]]  # who asks for it gets it


def test_functional_groups_of_the_frame_go_before_shared_ones() -> None:
    def windowed(center: int) -> dict[str, Any]:
        return {"t00289132": [{"t00281050": [center], "t00281051": [1]}]}

    instance = attributes(t52009229=[windowed(5)], t52009230=[windowed(100), {}])
    stored, description = np.array([[50, 150]], np.uint16), Description(1, 2, frames=2)
    shown = [render(Frame(instance, number, stored, description), Options())[0].tolist() for number in (1, 2)]
    assert shown == [[[0, 255]], [[255, 255]]]


def test_large_frames_by_table_as_small_ones_by_number() -> None:
    pipeline = Pipeline(Modality(0.5, -100), Window(40, 400))
    stored = np.arange(-4000, 4000, dtype=np.int16).reshape(80, 100)
    whole = pipeline.apply(stored)
    assert (whole[::8] == np.stack([pipeline.apply(row) for row in stored[::8]])).all()


def test_floats() -> None:
    description = Description(1, 3, bits_allocated=32, bits_stored=32, high_bit=31, kind="float")
    frame = Frame(attributes(), 1, np.array([[0.0, np.nan, 2.5]], np.float32), description)
    assert render(frame, Options())[0].tolist() == [[0, 0, 255]]


def test_what_a_header_says_of_all_frames_is_not_taken_for_what_it_says_of_one() -> None:
    groups = [{"t00289132": [{"t00281050": [center], "t00281051": [4]}]} for center in (2, 4)]
    instance = attributes(t52009230=groups, t00281050=[100], t00281051=[200])
    stored, description = np.array([[1, 3, 5]], np.uint16), Description(1, 3)
    shown = [render(Frame(instance, number, stored, description), Options())[0].tolist() for number in (1, 2, 1)]
    assert shown == [[[85, 255, 255]], [[0, 85, 255]], [[85, 255, 255]]]


def test_a_header_is_worked_out_once_for_all_frames() -> None:
    instance = attributes(t00281050=[2], t00281051=[4])
    stored, description = np.array([[1, 3, 5]], np.uint16), Description(1, 3)
    for number in (1, 2):
        assert render(Frame(instance, number, stored, description), Options())[0].tolist() == [[85, 255, 255]]
    asked = Options(window=Window(4, 4))  # a request goes before
    assert render(Frame(instance, 3, stored, description), asked)[0].tolist() == [[0, 85, 255]]


def test_a_table_has_no_more_bits_than_its_entries() -> None:
    words = {"vr": "OW", "InlineBinary": "AAABAAIAAwA="}
    item = {"00283002": {"vr": "US", "Value": [4, 0, 65535]}, "00283006": words}
    table = lut_of(Attributes(item), signed=False)
    assert table is not None
    assert (table.bits, table.entries.tolist()) == (16, [0, 1, 2, 3])


def test_tables_take_any_number() -> None:
    table = Table(-1, np.array([10, 20, 30], np.uint16), 8)
    given = np.array([-np.inf, -1e30, -1.0, 0.0, 1.0, 1e30, np.inf, np.nan])
    with np.errstate(all="raise"):
        assert table.apply(given).tolist() == [10, 10, 10, 20, 30, 30, 30, 10]
