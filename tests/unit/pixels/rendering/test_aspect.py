"""Pixels that are not square, on pictures of images without a presentation state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from images import attributes

from sagittal.errors import BadRequest
from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.geometry import Viewport
from sagittal.pixels.rendering.render import Frame, Options, render
from sagittal.pixels.rendering.states import GRAYSCALE, state_for

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)


def ramp_frame(instance: Attributes) -> Frame:
    return Frame(instance, 1, RAMP.astype(np.uint16), Description(6, 8))


def state(**members: Any) -> Any:
    return state_for(attributes(_00080016=[GRAYSCALE], **members), "1.2.3", 1, Description(6, 8))


def measures(*spacing: float) -> dict[str, Any]:
    return {"_00289110": [{"_00280030": spacing}]}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, (6, 8)),
        ({"_00280030": [2, 1]}, (12, 8)),  # twice as high as wide: the first is that between rows
        ({"_00280030": [1, 2]}, (6, 16)),
        ({"_00181164": [0.4, 0.2]}, (12, 8)),
        ({"_00182010": [0.2, 0.3]}, (6, 12)),
        ({"_00280034": [4, 3]}, (8, 8)),
        ({"_00280034": [1, 2], "_00280030": [1, 1]}, (6, 8)),  # PS3.3 C.7.6.3: the ratio is for images without spacing
        ({"_00280034": [1, 2], "_00280030": [0, 0]}, (6, 16)),
        ({"_52009229": [measures(2, 1)]}, (12, 8)),
        ({"_52009230": [measures(2, 1), measures(1, 2)]}, (12, 8)),  # all frames alike, or they would not make a film
        ({"_00280030": [1.009, 1]}, (6, 8)),  # as good as square
        ({"_00280030": [1.2, 1]}, (7, 8)),
        ({"_00280030": [16, 1]}, (96, 8)),
        ({"_00280030": [16.1, 1]}, (6, 8)),  # nonsense
        ({"_00280030": [1, 17]}, (6, 8)),
        ({"_00280030": [-1, 1]}, (6, 8)),
        ({"_00280030": ["nan", 1]}, (6, 8)),
        ({"_00280030": [2]}, (6, 8)),
    ],
)
def test_pixels_become_square(members: dict[str, Any], expected: tuple[int, int]) -> None:
    """PS3.3 C.7.6.3.1.7: as a viewer shows them."""
    instance = attributes(**members)
    for number in (1, 2):
        frame = Frame(instance, number, RAMP, Description(6, 8, 1, 8, 8, 7, False, "MONOCHROME2", None, 2))
        assert render(frame, Options())[0].shape == expected


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (Viewport(100, 100), (100, 67)),  # 12 by 8
        (Viewport(100, 100, 0, 0, 2, 2), (100, 50)),  # the region is one of the image's pixels
        (Viewport(100, 100, 6, 4, 2, 2), (100, 50)),
        (Viewport(4, 4), (4, 3)),
    ],
)
def test_viewports_of_pixels_that_are_not_square(port: Viewport, expected: tuple[int, int]) -> None:
    asked = Options(viewport=port)
    assert render(ramp_frame(attributes(_00280030=[2, 1])), asked)[0].shape == expected
    with pytest.raises(BadRequest, match="8 by 6"):
        render(ramp_frame(attributes(_00280030=[2, 1])), Options(viewport=Viewport(100, 100, 0, 0, 8, 7)))


def test_the_area_of_a_state_goes_before_the_image() -> None:
    area = {"_00700052": [1, 1], "_00700053": [8, 6], "_00700100": ["SCALE TO FIT"], "_00700102": [1, 1]}
    instance = attributes(_00280030=[2, 1])
    assert render(ramp_frame(instance), Options(), state(_0070005a=[area]))[0].shape == (6, 8)
    assert render(ramp_frame(instance), Options(), state(_00700042=[90]))[0].shape == (8, 12)  # one that has none


def test_what_would_become_too_long_stays_as_it_is() -> None:
    pixels = np.zeros((4, 2000), np.uint8)
    frame = Frame(
        attributes(_00280030=[1, 9]), 1, pixels, Description(4, 2000, 1, 8, 8, 7, False, "MONOCHROME2", None, 1)
    )
    assert render(frame, Options())[0].shape == (4, 2000)


def test_a_round_shutter_looks_round() -> None:
    """Its radius counts pixels along a row (PS3.3 C.7.6.11), and the picture has square ones."""
    described, round_ = Description(10, 20), {"_00181600": ["CIRCULAR"], "_00181610": [5, 10], "_00181612": [6]}
    window = {"_00281050": [0x8080], "_00281051": [0x10000]}
    frame = Frame(attributes(_00280030=[2, 1], **window, **round_), 1, np.full((10, 20), 0x8080, np.uint16), described)
    seen = render(frame, Options())[0] > 64  # half of what is shown: rows are blended when they become more
    assert seen.shape == (20, 20)
    across, down = np.count_nonzero(seen.any(axis=0)), np.count_nonzero(seen.any(axis=1))
    assert (across, down) == (13, 14)
    area = {"_00700052": [1, 1], "_00700053": [20, 10], "_00700102": [1, 1]}
    held = state_for(attributes(_00080016=[GRAYSCALE], _0070005A=[area], **round_), "1.2.3", 1, described)
    assert np.count_nonzero((render(frame, Options(), held)[0] > 0).any(axis=1)) == 10  # pixels that are square
