"""What is written on pictures can be read, in the letters of Europe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sagittal.pixels.description import Description
from sagittal.pixels.lettering import fonts
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.render import Frame, Options, render

BOX = "\ufffe"  # no character, so that no font has it


def written(name: str) -> Any:
    """A picture with the name of a patient."""
    held = Attributes({"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}})
    stored = np.zeros((64, 256), np.uint8)
    frame = Frame(held, 1, stored, Description(64, 256, 1, 8, 8, 7))
    return render(frame, Options(annotations=frozenset({"patient"})))[0].tolist()


@pytest.mark.parametrize("letter", "üßéµ°ŁřğΩжЯ")
def test_a_name_is_no_box(letter: str) -> None:
    assert written(f"A{letter}B") != written(f"A{BOX}B")


def test_an_accent_is_on_its_letter() -> None:
    assert written("Mu\u0308ller") == written("M\u00fcller")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x1c", "\x1d", "\x1e", "\x85", "\u2029"])
def test_whatever_ends_a_line_is_drawn_as_its_end(end: str) -> None:
    assert fonts.composed(f"a{end}b") == "a\nb"
    assert written(f"a{end}b") == written("a\nb")
