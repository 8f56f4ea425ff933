"""Overlay planes of films."""

from __future__ import annotations

import tracemalloc

from images import attributes

from sagittal.pixels.rendering.over.overlays import planes


def test_of_planes_of_many_frames_one_is_unpacked() -> None:
    rows, columns, frames = 63, 65, 64
    held = attributes(
        t60000010=[rows], t60000011=[columns], t60000015=[frames], t60003000=bytes(rows * columns * frames // 8)
    )
    tracemalloc.start()
    try:
        next(planes(held, frames, (rows, columns)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < rows * columns * frames  # a byte for every pixel of the film
