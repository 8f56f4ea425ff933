"""Waveforms as SVG: scale, units, padding, and what can't be drawn."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from pydicom.waveforms.numpy_handler import WAVEFORM_DTYPES

from sagittal.convert.waveform import channels, svg
from sagittal.errors import NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes


def member(*values: Any) -> dict[str, Any]:
    return {"vr": "XX", "Value": list(values)}


def group(
    samples: Any, *, units: str = "mV", sensitivity: float | None = 0.001, kind: str = "SS", **more: Any
) -> dict[str, Any]:
    data = np.asarray(samples)
    definition: dict[str, Any] = {"003A0208": member({"00080104": member("Lead II (Einthoven)")})}
    if sensitivity is not None:
        definition |= {"003A0210": member(sensitivity), "003A0212": member(2), "003A0213": member(0.5)}
        definition["003A0211"] = member({"00080100": member(units)})
    return {
        "003A0005": member(data.shape[1]), "003A0010": member(data.shape[0]), "003A001A": member(100),
        "54001006": member(kind), "003A0200": member(*[definition] * data.shape[1]),
        "54001010": {"vr": "OW", "InlineBinary": base64.b64encode(data.tobytes()).decode()},
    } | more  # fmt: skip


def drawn(instance: dict[str, Any]) -> list[list[tuple[float, float]]]:
    root = ET.fromstring(svg(Attributes(instance)))
    lines = root.findall(".//{*}polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()] for line in lines]  # type: ignore[misc]


def test_sensitivity_correction_and_baseline() -> None:
    (channel,) = channels(Attributes(group(np.array([[0], [1000], [-500]], "<i2"))))
    assert channel.samples.tolist() == [0.5, 2.5, -0.5]
    assert (channel.label, channel.units, channel.frequency) == ("II", "mV", 100.0)


@pytest.mark.parametrize(("bits", "kind"), [key for key in WAVEFORM_DTYPES if key[1] not in ("MB", "AB")])
def test_samples_of_every_kind_are_the_numbers_that_pydicom_reads(bits: int, kind: str) -> None:
    """PS3.3 C.10.9.1.5; those of 8 bits by a law are not linear."""
    numbers = np.array([[1], [2], [100]], np.dtype(WAVEFORM_DTYPES[bits, kind]).newbyteorder("<"))
    assert numbers.itemsize * 8 == bits
    (channel,) = channels(Attributes(group(numbers, kind=kind, sensitivity=None)))
    assert channel.samples.tolist() == [1, 2, 100]


def test_a_millivolt_is_ten_millimeters_and_a_second_twenty_five() -> None:
    samples = np.zeros((101, 1), "<i2")
    samples[100] = 500  # 1 mV by sensitivity and correction
    (line,) = drawn({"54000100": member(group(samples))})
    (first_x, first_y), (last_x, last_y) = line[0], line[-1]
    assert last_x - first_x == pytest.approx(25)
    assert first_y - last_y == pytest.approx(10, abs=0.02)


def test_leads_of_every_group_are_drawn_under_its_label() -> None:
    short, long = np.zeros((10, 3), "<i2"), np.zeros((200, 2), "<i2")
    labels = {"003A0020": member("RHYTHM <1>")}
    audio = group(np.zeros((10, 1), "u1"), kind="XB")
    instance = {"54000100": member(group(short, **labels), audio, group(long))}
    assert len(drawn(instance)) == 5
    picture = svg(Attributes(instance))
    root = ET.fromstring(picture)
    texts = [text.text for text in root.findall(".//{*}text")]
    assert "RHYTHM <1>" in texts and "group 2" in texts and texts.count("II") == 5
    rows = [line[0][1] for line in drawn(instance)]
    assert rows == sorted(rows) and len(set(rows)) == 5  # none over another
    assert (root.attrib["width"], root.attrib["height"]) == ("68.0mm", "182.0mm")  # 2 s; 5 rows and two labels
    assert "RHYTHM" not in svg(Attributes({"54000100": member(group(short, **labels))}))  # one needs no label


def test_of_hours_the_beginning_is_drawn_and_says_so() -> None:
    samples = np.zeros((3600 * 100, 1), "<i2")
    instance = {"54000100": member(group(samples))}
    (line,) = drawn(instance)
    assert line[-1][0] - line[0][0] == pytest.approx(60 * 25, abs=0.3)
    assert "the first 60 of 3600 seconds" in svg(Attributes(instance))
    assert "the first" not in svg(Attributes({"54000100": member(group(samples[:6000]))}))


@pytest.mark.parametrize("frequency", [0, -5, "1e400", "nan"])
def test_a_frequency_that_is_none_is_one_a_second(frequency: Any) -> None:
    held = group(np.zeros((3, 1), "<i2"), **{"003A001A": member(frequency)})
    assert channels(Attributes(held))[0].frequency == 1.0


def test_any_frequency_can_be_told() -> None:
    held = group(np.zeros((3, 1), "<i2"), **{"003A001A": member("1e308")})
    assert len(channels(Attributes(held))[0].samples) == 3


def test_microvolts_are_drawn_at_the_same_scale() -> None:
    samples = np.array([[0], [500]], "<i2")
    (line,) = drawn({"54000100": member(group(samples, units="uV", sensitivity=1.0))})
    assert line[0][1] - line[1][1] == pytest.approx(10, abs=0.02)


def test_other_units_fill_their_row() -> None:
    (line,) = drawn({"54000100": member(group(np.array([[0], [7], [3]], "<i2"), units="mm[Hg]"))})
    heights = [y for _, y in line]
    assert max(heights) - min(heights) == pytest.approx(24, abs=0.02)


def test_padding_breaks_the_line() -> None:
    padding = {"5400100A": {"vr": "OW", "InlineBinary": base64.b64encode(b"\x00\x80").decode()}}
    samples = np.array([[1], [2], [-32768], [3]], "<i2")
    assert [len(line) for line in drawn({"54000100": member(group(samples, **padding))})] == [2, 1]
    assert drawn({"54000100": member(group(samples[2:3], units="mm[Hg]", **padding))}) == []


def test_long_records_keep_their_extremes() -> None:
    samples = np.zeros((200_003, 1), "<i2")
    samples[[123_457, -1], 0] = 500, -500
    held = group(samples) | {"003A001A": member(10_000)}
    (line,) = drawn({"54000100": member(held)})
    assert len(line) < 20_000
    assert max(y for _, y in line) - min(y for _, y in line) == pytest.approx(20, abs=0.02)


def test_of_fewer_samples_than_are_told_those_are_drawn_that_there_are() -> None:
    held = group(np.array([[1, 5], [2, 6], [3, 7]], "<i2")) | {"003A0010": member(1000)}
    assert [len(line) for line in drawn({"54000100": member(held)})] == [3, 3]


def test_big_endian_samples() -> None:
    """Long ones are read as they are stored; short ones, and padding, are in the JSON, which has little endian."""
    stored, padding = (
        np.array([[256], [-2]], ">i2"),
        {"vr": "OW", "InlineBinary": base64.b64encode(b"\xfe\xff").decode()},
    )
    inline = group(stored.astype("<i2"), **{"5400100A": padding})
    bulk = inline | {"54001010": {"vr": "OW", "BulkDataURI": "?offset=0&length=4"}}
    for held in (inline, bulk):
        (channel,) = channels(Attributes(held, lambda at, length: stored.tobytes()[at : at + length], big_endian=True))
        assert channel.samples[0] == pytest.approx(256 * 0.002 + 0.5) and np.isnan(channel.samples[1])


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("MB", {0x00: -32124, 0x7F: 0, 0xFF: 0, 0x80: 32124, 0xF0: 120, 0xEF: 132, 0x6F: -132, 0xA5: 6652}),
        ("AB", {0x55: -8, 0xD5: 8, 0x2A: -32256, 0xAA: 32256, 0x80: 5504, 0x00: -5504, 0xC5: 264, 0xF5: 528}),
    ],
)
def test_the_laws_of_telephony(kind: str, told: dict[int, int]) -> None:
    """ITU-T G.711, with 16 bits as all programs have it. Padding is a code, not a value."""
    codes = np.array([[code] for code in told] + [[0x01]], "u1")
    padding = {"5400100A": {"vr": "OB", "InlineBinary": base64.b64encode(b"\1\0").decode()}}
    (channel,) = channels(Attributes(group(codes, kind=kind, sensitivity=None, **padding)))
    assert channel.samples[:-1].tolist() == list(told.values())
    assert np.isnan(channel.samples[-1])


@pytest.mark.parametrize("change", [{"54001006": member("XB")}, {"54001010": {"vr": "OW"}}, {"003A0005": member(0)}])
def test_what_can_not_be_drawn_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(NotAcceptable):
        svg(Attributes({"54000100": member(group(np.array([[1]], "<i2")) | change)}))


def test_objects_without_waveforms() -> None:
    with pytest.raises(NotAcceptable, match="no waveforms"):
        svg(Attributes({}))
