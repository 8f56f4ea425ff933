"""MPEG-2, H.264 and HEVC: PS3.5 8.2.5 to 8.2.11. All frames are one bit stream, so they come and go one after
another.

By PyAV, the extra `video` (its wheel bundles GPL encoders, so it is never installed unasked); without it video is
passed through as it is. Frames come out as RGB. Only the containers that PS3.5 allows are opened, so that no stream
can have FFmpeg read anything else. What is made is MP4, which browsers play; of MPEG-2 a transport stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from itertools import islice
from typing import IO, Any, NamedTuple

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs.interface import Array, complaints, refusals
from sagittal.pixels.description import MONOCHROME, Description

# Demuxers by FFmpeg's names: playlists and the like, which name other files, are not among them.
_CONTAINERS = "mpeg,mpegts,mpegvideo,mov,mp4,m4v,h264,hevc"
_BARE = ("h264", "hevc")  # elementary streams, which say no times
_SOUNDS = ("aac", "mp3")  # those of PS3.5 8.2 that browsers play
_ENTRIES_BYTES, _HEADS_BYTES = 48, 1 << 14  # of the tables of MP4 (ISO 14496-12 8.6): of each packet, of all else
_P = "1.2.840.10008.1.2.4."


class Coding(NamedTuple):
    """How a syntax's streams are made, and what (0028,2114) calls it."""

    codec: str
    method: str
    options: dict[str, str]
    rows_max: int
    columns_max: int


_MPEG2, _H264, _HEVC = "ISO_13818_2", "ISO_14496_10", "ISO_23008_2"
# Quantised by 3, in FFmpeg's units; else detail is blurred to fit into 200 kbit/s.
_QUANTISED = {"flags": "+qscale", "global_quality": str(3 * 118)}
# x265 takes the decoding times of a stream that is shorter than its reordering from memory that it never wrote.
_REORDERED_MIN, _IN_ORDER = 3, {"bf": "0"}
_PACKET_BYTES, _PACKETS_MIN = 188, 16  # of a transport stream: FFmpeg takes one of fewer for something else
_NULL_PACKET = b"\x47\x1f\xff\x10".ljust(_PACKET_BYTES, b"\xff")  # ISO 13818-1 2.4.1
CODINGS: dict[str, Coding] = {
    _P + "100": Coding("mpeg2video", _MPEG2, {"profile": "main", "level": "main"} | _QUANTISED, 576, 720),
    _P + "101": Coding("mpeg2video", _MPEG2, {"profile": "main", "level": "high"} | _QUANTISED, 1152, 1920),
    _P + "102": Coding("libx264", _H264, {"profile": "high", "level": "4.1", "crf": "18"}, 1088, 1920),
    _P + "104": Coding("libx264", _H264, {"profile": "high", "level": "4.2", "crf": "18"}, 1088, 1920),
    _P + "107": Coding("libx265", _HEVC, {"profile": "main", "crf": "20", "x265-params": "log-level=none"}, 2304, 4096),
}
_COLORS = 6, 1, 1, 13  # matrix of BT.601, black 16 to white 235, primaries of BT.709, curve of sRGB: ISO 23091-2
# ISO 13818-2 Table 6-4.
_MPEG2_RATES = [Fraction(25), Fraction(50), *(Fraction(1000 * n, over) for n in (24, 30, 60) for over in (1000, 1001))]


def decode(stream: bytes, description: Description, first: int = 1, last: int | None = None) -> Iterator[Array]:
    """Frames `first` to `last` (1 being the first of the stream) of joined fragments, as RGB; see `decoded`."""
    with _opened(stream) as (container, track):
        _same_size(track, description)
        form = "rgb24" if description.bits_stored <= 8 else "rgb48le"
        for frame in islice(container.decode(track), first - 1, last):
            _same_size(frame, description)
            pixels = frame.to_ndarray(format=form)
            yield pixels if form == "rgb24" else pixels >> (16 - description.bits_stored)


@contextmanager
def _opened(stream: bytes) -> Iterator[tuple[Any, Any]]:
    """The container that a stream is, and its first video."""
    av = _library()
    whole = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    # Before 19 PyAV raises for titles and the like that are no UTF-8; since then it has no such argument.
    titles = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    known = "mpegts" if stream[: _PACKET_BYTES + 1 : _PACKET_BYTES] == b"GG" else None  # its packets begin with that
    with complaints("video"), av.open(BytesIO(stream), format=known, options=whole, **titles) as container:
        if not container.streams.video:
            raise PixelsUndecodable("the stream holds no video")
        yield container, container.streams.video[0]


def into_mp4(stream: bytes, out: IO[bytes], rate: float) -> None:
    """Write the H.264 or HEVC of a stream, and its sound if browsers play that, as MP4 into `out`: nothing is decoded,
    and what tells where frames lie comes first, so that players begin at once. `rate` is of frames a second, where the
    stream says no times.
    """
    av = _library()
    with _opened(stream) as (container, _):
        room = _HEADS_BYTES + _ENTRIES_BYTES * sum(1 for _ in container.demux())
    with _opened(stream) as (container, track), av.open(out, "w", "mp4", options={"moov_size": str(room)}) as made:
        sounds = [each for each in container.streams.audio if each.codec_context.codec.canonical_name in _SOUNDS]
        tracks = {each.index: made.add_stream_from_template(each) for each in (track, *sounds)}
        if track.codec_context.codec.canonical_name == "hevc":
            tracks[track.index].codec_context.codec_tag = "hvc1"
        bare = container.format.name in _BARE
        for packet in _ordered(container, track, rate) if bare else _begun(container, track, *sounds):
            packet.stream = tracks[packet.stream.index]
            made.mux(packet)


def _begun(container: Any, *tracks: Any) -> Iterator[Any]:
    """The packets of tracks, the first to be seen or heard at time 0."""
    start = Fraction(container.start_time or 0, 1_000_000)  # microseconds
    for packet in container.demux(*tracks):
        if packet.size:
            if packet.pts is None or packet.dts is None:
                raise PixelsUndecodable("the video does not say when each of its frames is seen")
            late = round(start / packet.time_base)
            packet.pts, packet.dts = packet.pts - late, packet.dts - late
            yield packet


def _ordered(container: Any, track: Any, rate: float) -> Iterator[Any]:
    """The packets of an elementary stream with times, by the order that their frames are seen in, from 0 on."""
    from av.bitstream import BitStreamFilterContext

    ordering, ticks = BitStreamFilterContext("dts2pts", track), round(1 / (rate * track.time_base))
    late: Any = None
    for number, packet in enumerate(container.demux(track)):
        if packet.size:
            packet.dts, packet.duration = number * ticks, ticks
        for ordered in ordering.filter(packet if packet.size else None):
            late = ordered.pts if late is None else late
            ordered.stream, ordered.pts, ordered.dts = track, ordered.pts - late, ordered.dts - late
            yield ordered


def decoded(description: Description) -> Description:
    """What `decode` gives."""
    return replace(description, photometric="RGB", planar=0, samples=3)


def _same_size(found: Any, description: Description) -> None:
    if (found.height, found.width) != (description.rows, description.columns):
        told = f"{found.height} x {found.width}"
        raise PixelsUndecodable(f"the video is {told}, the data set says {description.rows} x {description.columns}")


def encoded(description: Description, uid: str) -> Description:
    """What the data set says of a video that `encode` makes. NotAcceptable when it can't."""
    coding = CODINGS.get(uid)
    if coding is None:
        raise NotAcceptable(f"{syntax(uid).name} is passed through, not made")
    if description.rows % 2 or description.columns % 2:
        raise NotAcceptable("video has an even number of rows and columns")
    if description.rows > coding.rows_max or description.columns > coding.columns_max:
        raise NotAcceptable(f"{syntax(uid).name} has {coding.rows_max} x {coding.columns_max} pixels at the most")
    grey = description.samples == 1 and description.photometric in MONOCHROME
    if description.kind != "integer" or description.bits_stored != 8 or description.signed or not (
        grey or description.photometric == "RGB"
    ):  # fmt: skip
        raise NotAcceptable("video is made of unsigned 8-bit grey or RGB frames")
    return replace(
        description, samples=3, photometric="YBR_PARTIAL_420", planar=0, bits_allocated=8, high_bit=7, vr="OB"
    )


def encode(frames: Iterable[Array], description: Description, uid: str, rate: float = 25.0) -> bytes:
    """A stream of frames that `description` describes, `rate` a second (MPEG-2: the nearest rate it has)."""
    import numpy

    encoded(description, uid)
    av, coding = _library(), CODINGS[uid]
    a_second = Fraction(rate).limit_denominator(1001)
    if coding.codec == "mpeg2video":
        a_second = min(_MPEG2_RATES, key=lambda each: abs(each - a_second))
    held = BytesIO()
    form = "mpegts" if coding.codec == "mpeg2video" else "mp4"
    with refusals(syntax(uid).name):
        with av.open(held, "w", format=form) as container:
            few = _IN_ORDER if description.frames < _REORDERED_MIN else {}
            track = container.add_stream(coding.codec, rate=a_second, options=coding.options | few)
            track.width, track.height = description.columns, description.rows
            name_colors(track)
            if coding.method == _HEVC:
                track.codec_context.codec_tag = "hvc1"  # all parameters are in the head; Safari plays no other
            colors = "gray" if description.samples == 1 else "rgb24"
            for array in frames:
                container.mux(track.encode(av.VideoFrame.from_ndarray(numpy.ascontiguousarray(array), format=colors)))
            container.mux(track.encode(None))
        made = held.getvalue()
        return made + _NULL_PACKET * (_PACKETS_MIN - len(made) // _PACKET_BYTES) if form == "mpegts" else made


def name_colors(track: Any) -> None:
    """Have a stream of 4:2:0 say that it is sRGB by the matrix of BT.601, which FFmpeg makes of RGB (and
    YBR_PARTIAL_420 is): players guess BT.709 where anything is left open and there are 720 rows or more.
    """
    track.pix_fmt, context = "yuv420p", track.codec_context
    context.colorspace, context.color_range, context.color_primaries, context.color_trc = _COLORS


def _library() -> Any:
    try:
        import av
    except ImportError:
        told = "frames of video need the extra `video`: uv sync --extra video in a clone, else pip install av"
        raise PixelsUndecodable(told) from None
    return av
