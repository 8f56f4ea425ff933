"""What workers do for /rendered and /thumbnail, refused before anything is read."""

from __future__ import annotations

import pytest

from sagittal.convert.rendered import thumbnail
from sagittal.errors import BadRequest


def test_a_thumbnail_has_its_measure() -> None:
    with pytest.raises(BadRequest, match="more than 67108864 pixels"):
        thumbnail([], [], 1, "image/png", 8_193)
