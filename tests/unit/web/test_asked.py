"""Query parameters of rendered resources, as `sagittal render` takes them too."""

from __future__ import annotations

from typing import Any

import pytest

from sagittal.errors import BadRequest
from sagittal.web.render.asked import SIDE_MAX, _read, viewport


def test_what_is_told_to_workers() -> None:
    given = (
        b"quality=50&window=40,400,Linear-Exact&presentationUID=1.2&annotation=technique,patient&iccprofile=srgb&x=1"
    )
    read = _read(given)
    assert read.options == {
        "annotations": ["patient", "technique"], "window": [40.0, 400.0, "LINEAR_EXACT"], "profile": "srgb",
    }  # fmt: skip
    assert (read.quality, read.state_uid) == (50, "1.2")
    assert len({each.key for each in (read, _read(given.replace(b"50", b"51")), _read(given[11:]))}) == 3


@pytest.mark.parametrize("name", ["annotation", "window", "viewport", "iccprofile", "quality", "presentationUID"])
def test_parameters_are_given_once_and_not_empty(name: str) -> None:
    for query, told in ((f"{name}=1&{name}=1", "given more than once"), (f"{name}=%20", "empty")):
        with pytest.raises(BadRequest, match=f"{name} is {told}"):
            _read(query.encode())


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
