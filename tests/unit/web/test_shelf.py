"""What is kept of pictures, and what is given up."""

from __future__ import annotations

import pytest

from sagittal.web.render.shelf import Shelf

_BYTES = 2048
_EACH = _BYTES + 1024  # with its name and place


@pytest.mark.parametrize(("more", "kept"), [(-1, "cdefghij"), (0, "bcdefghij"), (1, "bcdefghij")])
def test_the_least_used_goes_first(more: int, kept: str) -> None:
    shelf = Shelf(9 * _EACH + more)
    for name in "abcdefgh":
        shelf.put(name, bytes(_BYTES))
    shelf.put("i", bytes(_BYTES))
    shelf.put("j", bytes(_BYTES))
    assert "".join(name for name in "abcdefghij" if shelf.get(name) is not None) == kept


def test_what_is_used_stays() -> None:
    shelf = Shelf(9 * _EACH)
    for name in "abcdefghi":
        shelf.put(name, bytes(_BYTES))
    shelf.get("a")
    shelf.put("j", bytes(_BYTES))
    assert shelf.get("a") is not None and shelf.get("b") is None


@pytest.mark.parametrize(("more", "held"), [(-1, False), (0, True), (1, True)])
def test_one_that_is_too_large_is_not_kept(more: int, held: bool) -> None:
    shelf = Shelf(8 * (_EACH + more))
    shelf.put("a", bytes(_BYTES))
    assert (shelf.get("a") is not None) == held


def test_the_same_again_counts_once() -> None:
    shelf = Shelf(8 * _EACH)
    for _ in range(50):
        shelf.put("a", bytes(_BYTES))
    for name in "bcdefgh":
        shelf.put(name, bytes(_BYTES))
    assert all(shelf.get(name) for name in "abcdefgh")
