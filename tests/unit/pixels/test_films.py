"""Instances into videos and out of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from images import attributes
from unit.pixels.test_instances import OVERLAY_IN_BIT_15, P, image, member, plain

from sagittal.errors import NotAcceptable, NotFound
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.films import seconds_each, transcoding
from sagittal.pixels.rendering.over.overlays import planes


def films() -> Iterable[Any]:
    ramp = np.repeat(np.arange(32, dtype=np.uint8)[None, None, :] * 6, 3 * 16, 0).reshape(3, 16, 32)
    tables = {f"0028110{n}": member("US", 256, 0, 16) for n in (1, 2, 3)}
    words = base64.b64encode(np.arange(256, dtype="<u2")[::-1].tobytes()).decode()
    tables |= {f"0028120{n}": {"vr": "OW", "InlineBinary": words} for n in (1, 2, 3)}
    yield pytest.param(ramp, ramp, {}, id="grey")
    octets = {"00280101": member("US", 8), "00280102": member("US", 7)}
    yield pytest.param(ramp.astype(np.uint16), ramp, octets, id="in wider cells")
    yield pytest.param(
        ramp.astype(np.uint16), 255 - ramp, {"00280004": member("CS", "PALETTE COLOR"), **tables}, id="wide palette"
    )
    yield pytest.param(ramp, 255 - ramp, {"00280004": member("CS", "MONOCHROME1")}, id="inverted")
    yield pytest.param(ramp, 255 - ramp, {"00280004": member("CS", "PALETTE COLOR"), **tables}, id="palette")
    yield pytest.param(
        np.stack([ramp, np.full_like(ramp, 128), np.full_like(ramp, 128)], axis=-1), ramp,
        {"00280004": member("CS", "YBR_FULL")}, id="ybr",
    )  # fmt: skip


@pytest.mark.parametrize(("pixels", "seen", "more"), [*films()])
def test_a_video_shows_what_the_frames_show(pixels: Any, seen: Any, more: dict[str, Any]) -> None:
    data = plain(pixels, **more, **{"00281050": member("DS", 10), "00281051": member("DS", 20)})
    held, to = image(data), P + ".4.102"
    made = transcoding(held, lambda: [data], to, Options(), "2.25.3")
    (stream,) = made.frames()
    film = image(b"".join(made.data_set([stream], [len(stream)])), to)
    assert (film.count, film.attributes.text(0x00280004)) == (3, "YBR_PARTIAL_420")
    assert not {"00281050", "00281051", "00281101", "00281201"} & film.members.keys()
    found = [frame.stored for frame in film.frames([1, 2, 3])]
    assert max(np.abs(each[..., 1].astype(int) - picture).max() for each, picture in zip(found, seen, strict=True)) <= 6
    for numbers in ([0, 1], [3, 4]):
        with pytest.raises(NotFound, match="3 frames"):
            next(film.frames(numbers))


@pytest.mark.parametrize(
    ("to", "milliseconds", "rate"),
    [
        (".4.102", 50, 20),
        (".4.102", 12.5, 80),
        (".4.100", 50, Fraction(24000, 1001)),
        (".4.101", 16.683, Fraction(60000, 1001)),
    ],
)
def test_a_video_has_the_rate_of_its_frames(to: str, milliseconds: float, rate: Fraction) -> None:
    """Or, in MPEG-2, the nearest that there is."""
    import av

    data = plain(np.zeros((4, 16, 32), np.uint8), **{"00181063": member("DS", milliseconds)})
    made = transcoding(image(data), lambda: [data], P + to, Options(), "2.25.3")
    (stream,) = made.frames()
    with av.open(io.BytesIO(stream)) as container:
        assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"t00181063": [40]}, [0.04, 0.04]),
        ({"t00181065": [0, 100, 300, 50]}, [0.3, 0.05]),  # each since the frame before
        ({"t00181065": [0, 100, 300]}, [0.3, 0.3]),
        ({"t00181063": [40], "t00181065": [0, 100, 300]}, [0.04, 0.04]),
        ({"t00181063": [40], "t00181065": [0, 100, 300], "t00280009": ["00181065"]}, [0.3, 0.3]),
        ({"t00180040": [20]}, [0.05, 0.05]),
        ({"t00180040": [60]}, [1 / 60, 1 / 60]),
        ({"t00181063": ["NaN"]}, [0.004, 0.004]),
        ({"t00181065": [0, 9e9, 0]}, [0.004, 0.004]),
        ({"t00181063": [9e9]}, [5, 5]),
        ({}, [0.1, 0.1]),
    ],
)
def test_how_long_frames_are_seen(said: dict[str, Any], seconds: list[float]) -> None:
    assert seconds_each(attributes(**said), [2, 3]) == pytest.approx(seconds)


def test_videos_are_asked_for_and_not_made_of_videos() -> None:
    data = plain(np.zeros((4, 16, 32), np.uint8))
    with pytest.raises(NotAcceptable, match="asked for"):
        transcoding(image(data), lambda: [data], P + ".4.102")
    with pytest.raises(NotAcceptable, match="passed through"):
        transcoding(image(data), lambda: [data], P + ".4.105", Options(), "2.25.3")
    made = transcoding(image(data), lambda: [data], P + ".4.102", Options(), "2.25.3")
    (stream,) = made.frames()
    film = b"".join(made.data_set([stream], [len(stream)]))
    with pytest.raises(NotAcceptable, match="taken apart"):
        transcoding(image(film, P + ".4.102"), lambda: [film], P + ".4.107", Options(), "2.25.4")


def test_overlays_in_unused_bits_lie_over_a_video() -> None:
    octets = {"00280101": member("US", 8), "00280102": member("US", 7)}
    data = plain(np.full((2, 6, 8), 0x8007, np.uint16), **OVERLAY_IN_BIT_15 | octets)
    into = transcoding(image(data), lambda: [data], P + ".4.102", Options(), "2.25.3")
    (stream,) = into.frames()
    film = b"".join(into.data_set([stream], [len(stream)]))
    held = image(film, P + ".4.102")
    assert all(next(planes(held.attributes, n, (6, 8))).mask.all() for n in (1, 2))
    left = {tag: one for tag, one in held.members.items() if tag != "60003000"} | {"60000100": member("US", 16)}
    out = transcoding(replace(held, members=left), lambda: [film], P + ".5")
    frames = list(out.frames())
    assert image(b"".join(out.data_set(frames, list(map(len, frames)))), P + ".5").count == 2
