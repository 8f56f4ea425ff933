"""Which options say something of which transfer syntax: the table against what the codecs do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sagittal.pixels.codecs import ROWS, codec, encodes
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description
from sagittal.pixels.reach import READ_BY

VALUES: dict[str, tuple[Any, Any]] = {
    "quality": (20, 95), "near": (1, 9), "ratio": (4.0, 20.0), "psnr": (30.0, 60.0), "distance": (0.5, 5.0),
    "effort": (1, 9),
}  # fmt: skip


@pytest.mark.parametrize("option", sorted(READ_BY.keys() | VALUES.keys()))
def test_an_option_changes_what_those_make_that_read_it(option: str) -> None:
    smooth = np.cumsum(np.random.default_rng(1).normal(size=(64, 64)), axis=1) * 8 + 128
    pixels, described = smooth.clip(0, 255).astype(np.uint8), Description(64, 64, 1, 8, 8, 7, False, "MONOCHROME2")
    changed = set()
    for uid in filter(encodes, ROWS):
        one, other = (codec(uid).encode(pixels, described, Options(**{option: value})) for value in VALUES[option])
        if one != other:
            changed.add(uid)
    assert changed == READ_BY[option]
