"""What is kept of small pictures, and what is given up."""

from __future__ import annotations

import pytest

from sagittal.web.render.shelf import Shelf


@pytest.mark.parametrize(("bytes_max", "kept"), [(29, ["c", "b"]), (30, ["a", "b", "c"]), (31, ["a", "b", "c"])])
def test_the_least_used_goes_first(bytes_max: int, kept: list[str]) -> None:
    shelf = Shelf(bytes_max)
    for tag in "ab":
        shelf.put(tag, bytes(10))
    shelf.get("b")
    shelf.put("c", bytes(10))
    assert [tag for tag in "abc" if shelf.get(tag) is not None] == sorted(kept)


@pytest.mark.parametrize(("bytes_max", "held"), [(9, False), (10, True), (11, True)])
def test_one_that_is_too_large_is_not_kept(bytes_max: int, held: bool) -> None:
    shelf = Shelf(bytes_max)
    shelf.put("a", bytes(10))
    assert (shelf.get("a") is not None) == held


def test_the_same_again_counts_once() -> None:
    shelf = Shelf(20)
    for _ in range(5):
        shelf.put("a", bytes(10))
    shelf.put("b", bytes(10))
    assert shelf.get("a") and shelf.get("b")
