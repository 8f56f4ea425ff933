"""Pictures that a person has looked at: rendering makes them again, but for a little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_objects import GOLDEN
from PIL import Image

FOLDER = Path(__file__).parents[3] / "golden"
WORDS = {"presentation_state"}  # whose text another version of the font may draw a little differently


@pytest.mark.parametrize("name", GOLDEN)
def test_looks_as_it_did(name: str) -> None:
    made = GOLDEN[name]()
    kept = np.asarray(Image.open(FOLDER / f"{name}.png"))
    assert made.shape == kept.shape
    apart = np.abs(made.astype(int) - kept)
    assert apart.mean() <= (2.0 if name in WORDS else 0.1)
    assert name in WORDS or apart.max() <= 2


def test_every_golden_is_small_and_used() -> None:
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert set(files) == set(GOLDEN)
    assert max(files.values()) < 12_000
