"""Frames of videos as pictures, and multi-frame images as videos: through a running archive, and by the command."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Served
from conftest import sagittal_here as sagittal
from interop.pictured import STUDY, image
from PIL import Image
from programs import corpus_folder

NAMES = ["synth_h264_hp41", "synth_hevc_mp51", "synth_mpeg2_mpml"]
HIDE_PYAV = "import sys\nsys.modules['av'] = None\n"


def stored(served: Served, data: bytes) -> str:
    import pydicom

    kind = {"content-type": "application/dicom"}
    assert httpx.post(served.http + "/dicom-web/studies", content=data, headers=kind, timeout=60).status_code == 200
    held = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    series = f"{served.http}/dicom-web/studies/{held.StudyInstanceUID}/series/{held.SeriesInstanceUID}"
    return f"{series}/instances/{held.SOPInstanceUID}"


def get(address: str, accept: str) -> httpx.Response:
    return httpx.get(address, headers={"accept": accept}, timeout=60)


def shown(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def decoded(data: bytes) -> list[Any]:
    """The frames as FFmpeg decodes them, independently of our reading."""
    import av
    import pydicom
    from pydicom.encaps import generate_fragments

    pixels = pydicom.dcmread(io.BytesIO(data)).PixelData
    stream = b"".join(list(generate_fragments(pixels))[1:])
    with av.open(io.BytesIO(stream)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_a_video(shared_server: Served, name: str) -> None:
    data = (corpus_folder() / "video" / f"{name}.dcm").read_bytes()
    address, frames = stored(shared_server, data), decoded(data)
    for number in (1, 13, 25):
        assert (shown(get(f"{address}/frames/{number}/rendered", "image/png")) == frames[number - 1]).all()
    assert (shown(get(address + "/rendered", "image/png")) == frames[0]).all()
    assert get(address + "/frames/26/rendered", "image/png").status_code == 404
    small = shown(get(address + "/thumbnail", "image/png"))
    expected = np.asarray(Image.fromarray(frames[12]).resize(small.shape[1::-1], Image.Resampling.HAMMING))
    assert max(small.shape) == 200 and np.abs(small.astype(int) - expected).max() <= 1
    parts = get(f"{address}/frames/2,3/rendered", 'multipart/related; type="image/png"')
    assert parts.content.count(b"\x89PNG") == 2


def test_a_video_is_its_own_rendering_and_can_be_had_as_others(shared_server: Served) -> None:
    data = (corpus_folder() / "video" / "synth_mpeg2_mpml.dcm").read_bytes()
    address = stored(shared_server, data)
    whole = get(address + "/rendered", "*/*")
    assert whole.status_code == 303
    player = {"accept": "*/*", "range": "bytes=0-"}
    played = httpx.get(whole.headers["location"], headers=player, timeout=60)
    assert (played.status_code, played.headers["content-type"]) == (206, "video/mpeg")
    assert len(film_frames(played.content)) == 25  # what begins the answer is the video's, not a part's
    part = get(address + "/rendered", 'multipart/related; type="video/mpeg"').headers["location"]
    assert part.endswith("/bulkdata/7FE00010")
    moving = Image.open(io.BytesIO(get(address + "/rendered", "image/webp").content))
    assert moving.n_frames == 25  # type: ignore[attr-defined]
    film = get(address + "/rendered", "video/mp4")
    assert film.headers["content-type"] == "video/mp4" and len(film_frames(film.content)) == 25
    some = get(address + "/frames/1,5,9/rendered", "image/gif")
    assert Image.open(io.BytesIO(some.content)).n_frames == 3  # type: ignore[attr-defined]


def test_a_video_that_no_player_takes_is_put_into_mp4(shared_server: Served) -> None:
    data = streamed("synth_h264_hp41", "mpegts")
    address, frames = stored(shared_server, data), decoded(data)
    whole = get(address + "/rendered", "*/*")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.content[4:8] == b"ftyp"
    for played, held in zip(film_frames(whole.content, "rgb24"), frames, strict=True):
        assert (played == held).all()
    some = httpx.get(address + "/rendered", headers={"range": "bytes=1000-1999"}, timeout=60)
    assert (some.status_code, some.content) == (206, whole.content[1000:2000])
    assert httpx.get(address + "/rendered", headers={"range": "bytes=99999999-"}, timeout=60).status_code == 416
    assert httpx.head(address + "/rendered", timeout=60).headers["content-length"] == str(len(whole.content))
    known = httpx.get(address + "/rendered", headers={"if-none-match": whole.headers["etag"]}, timeout=60)
    assert known.status_code == 304
    part = get(address + "/rendered", 'multipart/related; type="video/mp4"')
    assert whole.content in part.content and part.headers["content-type"].startswith("multipart/related")
    _, study, _, series, _, uid = address.rsplit("/", 5)
    named = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": uid}
    by_uri = httpx.get(address.partition("/dicom-web")[0] + "/wado", params=named, timeout=60)
    assert (by_uri.status_code, by_uri.content) == (200, whole.content)
    kept = get(address + "/bulkdata/7FE00010", "application/octet-stream; transfer-syntax=*")
    assert kept.content[:1] == b"G"  # what is stored stays what it is


def streamed(name: str, form: str) -> bytes:
    """A video of the corpus in another container, as another instance."""
    import av
    import pydicom
    from pydicom.encaps import encapsulate, generate_fragments

    held, out = pydicom.dcmread(corpus_folder() / "video" / f"{name}.dcm"), io.BytesIO()
    source = io.BytesIO(b"".join(list(generate_fragments(held.PixelData))[1:]))
    with av.open(source) as found, av.open(out, "w", format=form) as made:
        track = made.add_stream_from_template(found.streams.video[0])
        for packet in found.demux(video=0):
            if packet.size:
                packet.stream = track
                made.mux(packet)
    held.PixelData, file = encapsulate([out.getvalue()], has_bot=False), io.BytesIO()
    held.SOPInstanceUID = held.file_meta.MediaStorageSOPInstanceUID = held.SOPInstanceUID[:-1]
    pydicom.dcmwrite(file, held)
    return file.getvalue()


def test_frames_of_a_video_by_wado_uri(shared_server: Served) -> None:
    data = (corpus_folder() / "video" / "synth_mpeg2_mpml.dcm").read_bytes()
    address, frames = stored(shared_server, data), decoded(data)
    _, study, _, series, _, uid = address.rsplit("/", 5)
    named = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": uid}

    def asked(**more: str) -> httpx.Response:
        return httpx.get(address.partition("/dicom-web")[0] + "/wado", params=named | more, timeout=60)

    assert (shown(asked(frameNumber="13", contentType="image/png")) == frames[12]).all()
    assert (shown(asked(contentType="image/png")) == frames[0]).all()
    assert asked(frameNumber="2").headers["content-type"] == "image/jpeg"
    assert asked(frameNumber="26").status_code == 400  # PS3.18 9.5.2
    assert Image.open(io.BytesIO(asked(contentType="image/gif").content)).n_frames == 25  # type: ignore[attr-defined]
    for answer in (asked(), asked(contentType="video/mpeg")):
        assert answer.status_code == 303
        assert get(answer.headers["location"], "*/*").headers["content-type"] == "video/mpeg"


def film_frames(data: bytes, form: str = "gray") -> list[Any]:
    import av

    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]


def multiframe() -> bytes:
    import pydicom

    levels = np.stack([np.full((48, 64), level, np.uint8) for level in (0, 100, 200, 255)])
    held, file = image(9901, levels, "7.2", FrameTime=100, WindowCenter=128, WindowWidth=256), io.BytesIO()
    held.StudyInstanceUID = f"{STUDY}.9"
    pydicom.dcmwrite(file, held, enforce_file_format=True)
    return file.getvalue()


def test_frames_as_a_film(shared_server: Served) -> None:
    address = stored(shared_server, multiframe())
    film = get(address + "/rendered", "video/mp4")
    frames = film_frames(film.content)
    assert [frame.shape for frame in frames] == [(48, 64)] * 4
    assert [int(frame[20, 20]) for frame in frames] == pytest.approx([0, 100, 200, 255], abs=6)


def test_without_the_extra(start_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE_PYAV)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    served = start_server()
    address = stored(served, (corpus_folder() / "video" / "synth_h264_hp41.dcm").read_bytes())
    refused = get(address + "/frames/1/rendered", "image/png")
    assert (
        refused.status_code == 406
        and "uv sync --extra video in a clone, else pip install av" in refused.json()["detail"]
    )
    assert shown(get(address + "/thumbnail", "image/png")).shape == (200, 200)  # a card
    assert get(address + "/rendered", "*/*").status_code == 303
    film = get(stored(served, streamed("synth_h264_hp41", "mpegts")) + "/rendered", "*/*")
    assert film.status_code == 406 and "need the extra `video`" in film.json()["detail"]
    film = get(stored(served, multiframe()) + "/rendered", "video/mp4")
    assert film.status_code == 406 and "uv sync --extra video in a clone, else pip install av" in film.json()["detail"]


def test_by_the_command(tmp_path: Path) -> None:
    video = corpus_folder() / "video" / "synth_hevc_mp51.dcm"
    done = sagittal("render", video, "--frame", "25", "-o", tmp_path / "last.png")
    assert done.returncode == 0, done.stderr
    assert (np.asarray(Image.open(tmp_path / "last.png")) == decoded(video.read_bytes())[24]).all()
