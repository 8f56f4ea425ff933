"""Stored videos in a real browser, as `/rendered` gives them: played, and gone to a place in them."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import httpx
import numpy as np
import pytest
from builders import build
from conftest import Served
from programs import need

PLAYED = """async (second) => {
    const film = document.querySelector("video"), canvas = document.createElement("canvas");
    const at = (name) => new Promise((done) => film.addEventListener(name, done, {once: true}));
    if (film.readyState < 2 && !film.error) await Promise.race([at("loadeddata"), at("error")]);
    if (film.error) return [film.error.message];
    const there = at("seeked");
    film.currentTime = second;
    await there;
    [canvas.width, canvas.height] = [film.videoWidth, film.videoHeight];
    const drawn = canvas.getContext("2d");
    drawn.drawImage(film, 0, 0);
    return [film.videoWidth, film.videoHeight, film.duration, drawn.getImageData(32, 24, 1, 1).data[0]];
}"""


def film(form: str) -> bytes:
    """Two seconds of 64 x 48, ever brighter."""
    held = io.BytesIO()
    with av.open(held, "w", format=form) as made:
        track = made.add_stream("libx264", rate=10, options={"bf": "2", "crf": "10"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            made.mux(track.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 12 * number, "u1"), format="rgb24")))
        made.mux(track.encode(None))
    return held.getvalue()


@pytest.mark.slow  # a browser starts in seconds
@pytest.mark.parametrize("form", ["mpegts", "h264", "mp4"])
def test_a_browser_plays_it(start_server: Callable[..., Served], form: str) -> None:
    from playwright.sync_api import sync_playwright

    stream = film(form)
    stream += b"\0" * (len(stream) % 2)
    built = build(syntax_uid="1.2.840.10008.1.2.4.102", rows=48, columns=64, extra={"FrameTime": "100"})
    ahead, begun, _ = built.part10.partition(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\0\0\0\0")
    item = b"\xfe\xff\x00\xe0" + len(stream).to_bytes(4, "little") + stream
    file = ahead + begun + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    served = start_server()
    web = f"{served.http}/dicom-web/studies"
    kind = {"content-type": "application/dicom"}
    assert httpx.post(web, content=file, headers=kind, timeout=60).status_code == 200
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        address = f"{web}/{built.study_uid}/series/{built.series_uid}/instances/{built.sop_instance_uid}/rendered"
        shown = {"body": f'<video preload="auto" src="{address}">', "content_type": "text/html"}
        page.route("**/viewer", lambda route: route.fulfill(**shown))
        page.goto(f"{served.http}/viewer")
        wide, high, seconds, bright = page.evaluate(PLAYED, 1.55)
        browser.close()
    assert (wide, high) == (64, 48) and seconds == pytest.approx(2, abs=0.11)
    assert bright == pytest.approx(12 * 15, abs=8)
