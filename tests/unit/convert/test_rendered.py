"""What workers do for /rendered and /thumbnail: refused before anything is read, or drawn in words."""

from __future__ import annotations

import pytest

from sagittal.convert.rendered import _card, thumbnail
from sagittal.errors import BadRequest
from sagittal.pixels.rendering.attributes import Attributes


def test_a_thumbnail_has_its_measure() -> None:
    with pytest.raises(BadRequest, match="more than 67108864 pixels"):
        thumbnail([], [], 1, "image/png", 8_193)


def test_what_has_no_picture_is_drawn_whatever_its_modality() -> None:
    assert _card(Attributes({"00080060": {"vr": "CS", "Value": ["\x85O\rT"]}}), 64).any()
