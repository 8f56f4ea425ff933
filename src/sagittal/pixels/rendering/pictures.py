"""Rendered pictures as files: PNG, JPEG, GIF, WebP, JPEG XL, JPEG 2000, animated GIF and WebP, MP4 (PS3.18 8.7.4).

Deliberately not here: which of them a client wants.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs.video import name_colors

if TYPE_CHECKING:
    from PIL import Image

Picture = np.ndarray[Any, np.dtype[np.uint8]]
SINGLE = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/jxl", "image/jp2")
PROFILED = ("image/jpeg", "image/png", "image/webp")  # those that an ICC profile goes into
# Pixels of a side; other formats have more than an image can have. libjpeg reads no more of JPEG.
SIDES_MAX = {"image/jpeg": 65_500, "image/webp": 16_383, "video/mp4": 16_384}
QUALITY = 90
SECONDS_MIN = {"image/gif": 0.02, "image/webp": 0.011}  # browsers show shorter frames for a tenth of a second
_MP4_TICKS = 90_000  # a second
_H264 = ("libopenh264", "libx264")  # the one with the freer licence first, if PyAV was built with it


def picture(media_type: str, pixels: Picture, quality: int | None = None, profile: bytes | None = None) -> bytes:
    """One picture. `quality` is 1 to 100 (PS3.18 8.3.5.1.2); None: 90, and lossless where the format can be."""
    encode = _ENCODERS.get(media_type)
    if encode is None:
        raise NotAcceptable(f"{media_type} can't be rendered")
    if profile is not None and media_type not in PROFILED:
        raise NotAcceptable(f"{media_type} carries no ICC profile: use {', '.join(PROFILED)}, or iccprofile=no")
    _check_sides(media_type, pixels)
    plain = np.ascontiguousarray(pixels).ravel().reshape(pixels.shape)  # numpy leaves any strides along sides of one
    return encode(plain, quality, profile)


def moving(media_type: str, frames: Iterable[Picture], seconds: Sequence[float], quality: int | None = None) -> bytes:
    """A moving picture of frames of one size, each seen for its seconds."""
    if media_type == "video/mp4":
        return _mp4(iter(frames), seconds, quality)
    if media_type not in SECONDS_MIN:
        raise NotAcceptable(f"{media_type} doesn't move")
    from PIL import Image

    seconds = [max(SECONDS_MIN[media_type], each) for each in seconds]
    checked = (np.ascontiguousarray(_check_sides(media_type, frame)) for frame in frames)
    images: Iterator[Image.Image] = map(Image.fromarray, checked)
    out = io.BytesIO()
    if media_type == "image/webp":
        first = next(images).convert("RGB")
        times = [each * 1000 for each in seconds]
        options: dict[str, Any] = {"duration": times, "quality": quality or QUALITY, "method": 2}
    else:
        images = map(_timed, images, _ticks(seconds, 100))
        first, options = next(images), {}
    options |= {"save_all": True, "append_images": images, "loop": 0}
    first.save(out, media_type.partition("/")[2].upper(), **options)
    return out.getvalue()


def _ticks(seconds: Sequence[float], rate: int) -> Iterator[int]:
    """Each frame's time in ticks, `rate` a second: those of the whole film sum up to what it lasts."""
    ends = [round(end * rate) for end in itertools.accumulate(seconds)]
    return (end - begin for begin, end in itertools.pairwise((0, *ends)))


def _timed(image: Image.Image, hundredths: int) -> Image.Image:
    image.info["duration"] = hundredths * 10
    return image


def _check_sides(media_type: str, pixels: Picture) -> Picture:
    most = SIDES_MAX.get(media_type)
    if most is not None and max(pixels.shape[:2]) > most:
        raise NotAcceptable(f"{media_type} has sides of at most {most} pixels: use a viewport, or another media type")
    return pixels


def _pillow(kind: str, options: Callable[[int | None], dict[str, Any]]) -> Callable[..., bytes]:
    def encode(pixels: Picture, quality: int | None, profile: bytes | None) -> bytes:
        from PIL import Image

        out, more = io.BytesIO(), options(quality)
        if profile is not None:
            more["icc_profile"] = profile
        Image.fromarray(pixels).save(out, kind, **more)
        return out.getvalue()

    return encode


def _jpeg(pixels: Picture, quality: int | None, profile: bytes | None) -> bytes:
    if profile is not None:
        return _pillow("JPEG", lambda q: {"quality": q or QUALITY, "subsampling": 0})(pixels, quality, profile)
    import imagecodecs

    subsampling = "444" if pixels.ndim == 3 else None
    return bytes(imagecodecs.jpeg8_encode(pixels, level=quality or QUALITY, subsampling=subsampling))


def _decibels(quality: int) -> dict[str, Any]:
    """JPEG 2000 knows no quality but a ratio or a PSNR: from 25 dB to 50."""
    return {"irreversible": True, "quality_mode": "dB", "quality_layers": [25 + quality / 4]}


def _jxl(pixels: Picture, quality: int | None, profile: bytes | None) -> bytes:
    import imagecodecs

    if quality is None:
        return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=3))
    return bytes(imagecodecs.jpegxl_encode(pixels, level=quality, effort=3))


_ENCODERS: dict[str, Callable[..., bytes]] = {
    "image/jpeg": _jpeg,
    "image/png": _pillow("PNG", lambda quality: {"compress_level": 3}),
    "image/gif": _pillow("GIF", lambda quality: {}),
    "image/webp": _pillow("WEBP", lambda quality: {"lossless": True} if quality is None else {"quality": quality}),
    "image/jxl": _jxl,
    "image/jp2": _pillow("JPEG2000", lambda quality: {} if quality is None else _decibels(quality)),
}


def _mp4(frames: Iterator[Picture], seconds: Sequence[float], quality: int | None) -> bytes:
    """H.264 with the extra `video`; sides are made even, as the format wants them."""
    try:
        import av
    except ImportError:
        raise NotAcceptable(
            "MP4 wants the extra `video`: uv sync --extra video in a clone, else pip install av"
        ) from None
    from fractions import Fraction

    out, first, level = io.BytesIO(), _check_sides("video/mp4", next(frames)), quality or QUALITY
    name = next((each for each in _H264 if each in av.codecs_available), None)
    if name is None:
        raise NotAcceptable("the PyAV that is installed has no encoder of H.264")
    rate = Fraction(len(seconds) / sum(seconds)).limit_denominator(1000)
    with av.open(out, "w", format="mp4") as container:
        stream: Any = container.add_stream(name, rate=rate)
        if name == "libx264":
            stream.options = {"crf": str(round(50 - 0.4 * level))}
        else:  # it knows bit rates alone: from a tenth of a bit a pixel to two
            stream.bit_rate = round(first.shape[0] * first.shape[1] * float(rate) * (0.1 + 1.9 * level / 100))
        stream.height, stream.width = (side + side % 2 for side in first.shape[:2])
        name_colors(stream)
        stream.codec_context.time_base, at = Fraction(1, _MP4_TICKS), 0
        for pixels, ticks in zip(itertools.chain((first,), frames), _ticks(seconds, _MP4_TICKS), strict=True):
            color = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
            odd = [(0, side % 2) for side in color.shape[:2]]  # then the last row or column is there once more
            shown = av.VideoFrame.from_ndarray(np.pad(color, (*odd, (0, 0)), mode="edge"), format="rgb24")
            shown.pts, at = at, at + ticks
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return out.getvalue()
