"""Frames that are made ahead are those that would be made when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from interop.pictured import image
from interop.test_rendered_kept import Opened, opened

from sagittal.limits import Limits
from sagittal.web.render import ahead

FRAMES = 40


def limits(most: int) -> Limits:
    held = Limits()
    return replace(held, web=replace(held.web, pictures_ahead_max=most))


async def stored(ours: Opened) -> str:
    """The address of an object of 40 frames that all differ."""
    frames = np.zeros((FRAMES, 48, 64), np.uint16)
    for number, frame in enumerate(frames):
        frame[:, number : number + 20] = 2500  # a bar on its way to the right
    return await ours.put(image(30, frames, "2.1"))


@pytest.mark.parametrize("query", ["", "?window=1500,2000&quality=70&viewport=20,20"])
@pytest.mark.parametrize("backwards", [False, True])
async def test_one_after_the_other(tmp_path: Path, query: str, backwards: bool) -> None:
    numbers = range(FRAMES, 0, -1) if backwards else range(1, FRAMES + 1)
    pictures, calls = [], []
    for most in (0, 16):
        async with opened(tmp_path / str(most), limits(most)) as ours:
            path = await stored(ours)
            answers = [await ours.made(f"{path}/frames/{n}/rendered{query}") for n in numbers]
            assert {answer.status_code for answer, _ in answers} == {200}
            pictures.append([answer.content for answer, _ in answers])
            calls.append([call for _, made in answers for call in made])
    assert pictures[0] == pictures[1] and len(set(pictures[0])) == FRAMES
    assert calls[0] == ["still"] * FRAMES
    assert calls[1].count("still") <= 3 and "stills" in calls[1]


async def test_one_here_and_one_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those about each are made ahead, the nearest first; each has its own picture all the same."""
    monkeypatch.setattr(ahead, "_BATCH_SECONDS", 60.0)  # so that batches grow on any machine
    pictures: list[list[bytes]] = []
    for most in (0, 16):
        async with opened(tmp_path / str(most), limits(most)) as ours:
            path = await stored(ours)
            for number in (20, 5, 33, 12, 27, 9, 37):
                await ours.made(f"{path}/frames/{number}/rendered")
                await ours.rest()
            answers = [await ours.made(f"{path}/frames/{number}/rendered") for number in range(1, FRAMES + 1)]
            pictures.append([answer.content for answer, _ in answers])
    assert "stills" in ours.calls
    assert [one == other for one, other in zip(*pictures, strict=True)] == [True] * FRAMES


async def test_all_of_them_as_parts(tmp_path: Path) -> None:
    """They come one after the other, so most of them are made by few calls."""
    async with opened(tmp_path) as ours:
        path = await stored(ours)
        answer, calls = await ours.made(f"{path}/rendered", accept='multipart/related; type="image/jpeg"')
        assert answer.status_code == 200 and answer.content.count(b"Content-Location") == FRAMES
        assert calls.count("still") < FRAMES // 2
