"""Query parameters of rendered resources, as `sagittal render` takes them too."""

from __future__ import annotations

from typing import Any

import pytest

from sagittal.errors import BadRequest
from sagittal.web.render.asked import SIDE_MAX, viewport


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8,6", [8, 6, 0.0, 0.0, None, None]),
        (" 4, 3,4,3,4.5,3", [4, 3, 4.0, 3.0, 4.5, 3.0]),
        ("8,6,0,0,-8,6", [8, 6, 0.0, 0.0, -8.0, 6.0]),
        ("2,2,6,,,2", [2, 2, 6.0, 0.0, None, 2.0]),
        (f"{SIDE_MAX},1", [SIDE_MAX, 1, 0.0, 0.0, None, None]),
    ],
)
def test_viewports(text: str, expected: list[Any]) -> None:
    assert viewport(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "8", "8,6,1", "a,b", "0,5", "5,-1", "8.5,6", f"{SIDE_MAX + 1},1", "8,6,0,0,0,6", "8,6,nan,0,4,4",
        "8,6,0,0,inf,6",
    ],
)  # fmt: skip
def test_viewports_that_are_none(text: str) -> None:
    with pytest.raises(BadRequest, match="viewport"):
        viewport(text)
