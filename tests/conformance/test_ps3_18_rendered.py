"""PS3.18 8.3.5.1 and 8.7.4: what may be asked of a picture, by the web's tables, is what the pictures are made by."""

from __future__ import annotations

from typing import get_args

import pytest

from sagittal.pixels.rendering import color, geometry, grayscale, pictures
from sagittal.web.render import asked


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (asked.STILL, pictures.SINGLE),
        (asked.MOVING, (*pictures.SECONDS_MIN, "video/mp4")),
        (asked.PROFILES, get_args(color.Profile)),
        (asked.FUNCTIONS.values(), grayscale.FUNCTIONS),
        ((asked.SIDE_MAX,), (geometry.SIDE_MAX,)),
    ],
)
def test_what_is_taken_is_what_is_made(said: object, known: object) -> None:
    assert list(said) == list(known)  # type: ignore[call-overload]


def test_names_are_those_of_the_standard() -> None:
    """8.7.4-1: JPEG is the default of still pictures; 8.3.5.1.1 to 8.3.5.1.5."""
    assert asked.STILL[0] == asked.SMALL[0] == "image/jpeg" and set(asked.SMALL) <= set(asked.STILL)
    assert {"image/jpeg", "image/gif", "image/png", "image/jp2"} <= set(asked.STILL)
    assert {*asked.PARAMETERS} >= {"annotation", "quality", "viewport", "window", "iccprofile"}
    assert {"patient", "technique"} == asked.ANNOTATIONS
    assert {name: name.upper().replace("-", "_") for name in asked.FUNCTIONS} == asked.FUNCTIONS
