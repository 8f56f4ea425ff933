"""Frames out of video, and video out of frames."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy
import pytest
from images import image

from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels import frames
from sagittal.pixels.codecs import video
from sagittal.pixels.description import Description

DESCRIBED = Description(96, 128, 3, 8, 8, 7, False, "RGB", frames=6)


def pictures(described: Description = DESCRIBED) -> list[numpy.ndarray]:
    """A bright square that moves on a slope."""
    found = []
    for number in range(described.frames):
        picture = numpy.zeros(described.shape, "u1")
        picture[...] = (numpy.arange(described.columns) * 200 // described.columns + 20).reshape(
            (1, -1) if described.samples == 1 else (1, -1, 1)
        )
        picture[20:40, 10 + 12 * number : 30 + 12 * number] = 230
        found.append(picture)
    return found


@pytest.mark.parametrize("name", ["synth_h264_hp41.dcm", "synth_hevc_mp51.dcm", "synth_mpeg2_mpml.dcm"])
def test_frames_of_the_corpus(corpus_dir: Path, name: str) -> None:
    held = image(corpus_dir / "video" / name)
    assert held is not None and held.pixel_data is not None
    pieces = list(frames.fragments(held.read, *held.pixel_data))
    stream = b"".join(held.read(*piece) for piece in pieces)
    found = list(video.decode(stream, held.description))
    assert len(found) == held.description.frames == 25
    assert {each.shape for each in found} == {(240, 320, 3)}
    assert all((first != second).any() for first, second in pairwise(found))
    numpy.testing.assert_array_equal(next(video.decode(stream, held.description, 7, 7)), found[6])
    assert video.decoded(held.description).photometric == "RGB"


@pytest.mark.parametrize("uid", video.CODINGS)
@pytest.mark.parametrize("samples", [1, 3])
def test_made_and_read_again(uid: str, samples: int) -> None:
    described = replace(DESCRIBED, samples=samples, photometric="RGB" if samples == 3 else "MONOCHROME2")
    stream = video.encode(pictures(described), described, uid, 29.97)
    after = video.encoded(described, uid)
    assert (after.photometric, after.samples, after.planar) == ("YBR_PARTIAL_420", 3, 0)
    found = list(video.decode(stream, after))
    assert len(found) == 6
    for made, read in zip(pictures(described), found, strict=True):
        plain = made if samples == 3 else made[..., numpy.newaxis]
        assert numpy.abs(read.astype(int) - plain).mean() < 6


@pytest.mark.parametrize("uid", video.CODINGS)
@pytest.mark.parametrize("count", [1, 2])
def test_few_frames_without_content_are_video_too(uid: str, count: int) -> None:
    """A short stream is not taken for one of another kind, whose frames would be anything."""
    described = replace(DESCRIBED, rows=64, columns=64, frames=count)
    stream = video.encode([numpy.full(described.shape, 90, "u1")] * count, described, uid)
    with av.open(io.BytesIO(stream)) as found:  # by whoever looks what it is
        context = found.streams.video[0].codec_context
        assert ("mpegts" if context.name == "mpeg2video" else "mp4") in found.format.name  # browsers play no other
        assert context.name == "mpeg2video" or context.codec_tag in ("avc1", "hvc1")
        assert context.name == "mpeg2video" or not context.has_b_frames  # x265 has no decoding times for so few
        assert (context.colorspace, context.color_range) == (6, 1)  # BT.601, else players take a high one for BT.709
    packets = (stream[at : at + 188] for at in range(0, len(stream), 188))
    unpadded = b"".join(packet for packet in packets if packet[1:3] != b"\x1f\xff")
    for each in {stream, unpadded}:
        decoded = list(video.decode(each, described))
        assert len(decoded) == count and numpy.abs(numpy.array(decoded).astype(int) - 90).max() <= 4


def streamed(codec: str, form: str) -> bytes:
    """A video with frames out of order, 20 a second; and sound, if its container can have that."""
    held = io.BytesIO()
    with av.open(held, "w", format=form) as made:
        track = made.add_stream(codec, rate=20, options={"bf": "2", "x265-params": "log-level=none"})
        track.width, track.height, track.pix_fmt = 128, 96, "yuv420p"
        sound = made.add_stream("aac", rate=44100, layout="mono") if form == "mpegts" else None
        for each in pictures():
            made.mux(track.encode(av.VideoFrame.from_ndarray(each, format="rgb24")))
        made.mux(track.encode(None))
        for number in range(12 if sound else 0):
            silence = av.AudioFrame.from_ndarray(numpy.zeros((1, 1024), "f4"), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 44100, number * 1024
            made.mux(sound.encode(silence))
        if sound:
            made.mux(sound.encode(None))
    return held.getvalue()


@pytest.mark.parametrize(
    ("codec", "form"), [("libx264", "mpegts"), ("libx264", "h264"), ("libx265", "mpegts"), ("libx265", "hevc")]
)
def test_other_containers_become_mp4(codec: str, form: str) -> None:
    stream, out = streamed(codec, form), io.BytesIO()
    video.into_mp4(stream, out, 20.0)
    boxes, at = [], 0
    while at < len(out.getvalue()):
        boxes.append(out.getvalue()[at + 4 : at + 8])
        at += int.from_bytes(out.getvalue()[at : at + 4], "big")
    assert boxes[:2] == [b"ftyp", b"moov"] and boxes[-1] == b"mdat"  # so that players begin before all is there
    with av.open(io.BytesIO(out.getvalue())) as found:
        sounds, track = found.streams.audio, found.streams.video[0]
        assert [each.codec_context.name for each in sounds] == ["aac"] * (form == "mpegts")
        assert track.codec_context.codec_tag == ("avc1" if codec == "libx264" else "hvc1")
        times = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in found.decode(track)]
    late = 0.024 if form == "mpegts" else 0.051  # the sound begins earlier; FFmpeg has the last bare frames late
    assert [time for time, _ in times] == pytest.approx([0.05 * number for number in range(6)], abs=late)
    for (_, copied), read in zip(times, video.decode(stream, DESCRIBED), strict=True):
        numpy.testing.assert_array_equal(copied, read)


def test_what_is_no_video_becomes_none() -> None:
    whole = streamed("libx264", "mpegts")
    for broken in (b"", b"GIF89a" * 100, whole[:1000]):
        with pytest.raises(PixelsUndecodable):
            video.into_mp4(broken, io.BytesIO(), 20.0)
    untimed = re.sub(rb"(?s)(?<=\x00\x00\x01\xe0...)[\x80\xc0]", b"\0", whole)  # no PTS in any PES packet
    with pytest.raises(PixelsUndecodable, match="does not say when"):
        video.into_mp4(untimed, io.BytesIO(), 20.0)


@pytest.mark.parametrize("uid", video.CODINGS)
def test_what_is_seen_stays(uid: str) -> None:
    """Frames full of detail get the bits that they need."""
    described = replace(DESCRIBED, rows=256, columns=256, samples=1, photometric="MONOCHROME2", frames=4)
    noise = numpy.random.default_rng(7).normal(128, 40, (64, 65)).clip(0, 255)
    detail = [noise.repeat(4, 0).repeat(4, 1).astype("u1")[:, n : n + 256] for n in range(4)]
    found = list(video.decode(video.encode(detail, described, uid), replace(described, samples=3, photometric="RGB")))
    error = numpy.array([made.astype(int) - read[..., 0] for made, read in zip(detail, found, strict=True)])
    assert error.std() < 6


@pytest.mark.parametrize(
    ("rate", "code"),
    [(23.976, 1), (24, 2), (25, 3), (29.97, 4), (30, 5), (50, 6), (59.94, 7), (60, 8), (15, 1), (120, 8)],
)
def test_mpeg2_has_the_nearest_rate_that_there_is(rate: float, code: int) -> None:
    """By frame_rate_code, ISO 13818-2 Table 6-4: the last half octet of the head's fourth number."""
    stream = video.encode(pictures(), DESCRIBED, "1.2.840.10008.1.2.4.101", rate)
    assert stream[stream.index(b"\0\0\1\xb3") + 7] & 15 == code


@pytest.mark.parametrize(
    "described",
    [
        replace(DESCRIBED, rows=95),
        replace(DESCRIBED, rows=4000),
        replace(DESCRIBED, bits_allocated=16, bits_stored=12, high_bit=11),
        replace(DESCRIBED, photometric="YBR_FULL"),
    ],
)
def test_what_video_cannot_carry(described: Description) -> None:
    with pytest.raises(NotAcceptable):
        video.encode([], described, "1.2.840.10008.1.2.4.102")


def test_syntaxes_that_are_passed_through() -> None:
    with pytest.raises(NotAcceptable, match="passed through"):
        video.encoded(DESCRIBED, "1.2.840.10008.1.2.4.106")


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"nothing that is video" * 50,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile x\n",
    ],
)
def test_what_is_no_video(stream: bytes) -> None:
    with pytest.raises(PixelsUndecodable):
        list(video.decode(stream, DESCRIBED))


def test_another_size_than_declared() -> None:
    stream = video.encode(pictures(), DESCRIBED, "1.2.840.10008.1.2.4.100")
    with pytest.raises(PixelsUndecodable, match="96 x 128"):
        list(video.decode(stream, replace(DESCRIBED, rows=98)))


def test_a_stream_cut_short() -> None:
    stream = video.encode(pictures(), DESCRIBED, "1.2.840.10008.1.2.4.102")
    try:
        found = list(video.decode(stream[: len(stream) // 2], DESCRIBED))
    except PixelsUndecodable:
        found = []
    assert len(found) < 6


def test_fragments_that_go_too_far() -> None:
    value = frames.ITEM + b"\0\0\0\0" + frames.ITEM + b"\x08\0\0\0abcd"
    with pytest.raises(PixelsUndecodable, match="beyond"):
        list(frames.fragments(lambda at, size: value[at : at + size], 0, len(value)))
