"""Lossless round trips of every syntax that encodes x depth x sign x photometric interpretation, in one suite."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy
import pytest

from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE
from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import ROWS, codec
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description

LOSSLESS = Options(near=0, reversible=True, effort=1)
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
SAME = {IMPLICIT_LE, DEFLATED_LE, EXPLICIT_BE}  # native frames like those of Explicit VR Little Endian
SYNTAXES = [uid for uid, row in ROWS.items() if row.encodes and uid not in LOSSY | SAME]

DEPTHS = [(1, 1), (8, 1), (8, 5), (8, 8), (16, 8), (16, 10), (16, 12), (16, 14), (16, 16), (32, 20), (32, 24), (32, 32)]
DEPTHS += [(12, 12), (24, 24), (64, 64)]
COLOURS = [(1, "MONOCHROME1"), (1, "MONOCHROME2"), (1, "PALETTE COLOR"), (3, "RGB"), (3, "YBR_FULL")]
SHAPES = [(13, 7), (1, 1), (3, 3), (40, 33)]


def descriptions() -> list[Description]:
    found = []
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


CASES = [(uid, described) for uid in SYNTAXES for described in descriptions() if taken(uid, described)]


@pytest.mark.parametrize(("uid", "described"), CASES, ids=lambda each: each if isinstance(each, str) else named(each))
def test_lossless_round_trip(uid: str, described: Description) -> None:
    for rows, columns in SHAPES:
        shaped = replace(described, rows=rows, columns=columns)
        array, one = pixels(shaped), codec(uid)
        written = one.encoded(shaped, LOSSLESS)
        assert not one.loses(LOSSLESS)
        data = one.encode(array, shaped, LOSSLESS)
        read = one.decode(data, written)
        assert read.dtype == array.dtype
        numpy.testing.assert_array_equal(read, array)
        assert one.decoded(written).photometric == shaped.photometric


COUNTS: dict[str, int] = {}


COUNTS = {
    "1.2.840.10008.1.2.1": 135,
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
    counts = {uid: sum(each == uid for each, _ in CASES) for uid in SYNTAXES}
    assert counts == COUNTS
