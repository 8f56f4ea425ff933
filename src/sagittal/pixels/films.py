"""Instances into a video and out of one: MPEG-2, H.264 and HEVC (PS3.5 8.2.5 to 8.2.11), whose frames are one stream.

A video is made of 8-bit frames at the rate that the instance says, as one fragment; what it looks like is what is
stored: palettes are applied, MONOCHROME1 is inverted, windows are not. Out of a video come RGB frames in any syntax.
With the extra `video`. Deliberately not here: codings (`codecs.video`), and sound, which is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sagittal.dicom.models.members import element
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import codec, video
from sagittal.pixels.codecs.interface import Array, Options
from sagittal.pixels.description import MONOCHROME, Description
from sagittal.pixels.frames import Table
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Open, Transcoding, check_meaning
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.render import Frame
from sagittal.pixels.transcode import Changes, Plan, plan

_LOSSY = "00282110"
_FRAME_INCREMENT_POINTER, _FRAME_TIME, _FRAME_TIME_VECTOR = 0x00280009, 0x00181063, 0x00181065
# What says how grey values or indices become what is seen, and means nothing in a video.
_OF_GREY = frozenset(
    f"{tag:08X}" for tag in (
        0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281054, 0x00281055, 0x00281056, 0x00283000, 0x00283010,
        0x00280106, 0x00280107, 0x00280120, 0x00280121, 0x20500010, 0x20500020, 0x00281101, 0x00281102, 0x00281103,
        0x00281199, 0x00281201, 0x00281202, 0x00281203, 0x00281221, 0x00281222, 0x00281223,
    )
)  # fmt: skip


def transcoding(
    image: Image, opened: Open, to_syntax: str, options: Options = Options(), instance_uid: str = ""
) -> Transcoding:
    """What brings an instance to a syntax: frame by frame, into a video, or out of one. NotAcceptable at once."""
    if image.syntax_uid != to_syntax and syntax(to_syntax).video:
        return IntoVideo(image, opened, to_syntax, instance_uid)
    if image.syntax_uid != to_syntax and image.is_video:
        return OutOfVideo(image, opened, to_syntax, options, instance_uid)
    return Transcoding(image, opened, to_syntax, options, instance_uid)


def seconds_each(held: Attributes, frames: Sequence[int]) -> list[float]:
    """How long each of these frames (1 is the first) is seen, in seconds; a tenth when nothing says it (C.7.6.5)."""
    steps, milliseconds = held.numbers(_FRAME_TIME_VECTOR), held.number(_FRAME_TIME)
    if len(steps) > 1 and (milliseconds is None or "00181065" in held.texts(_FRAME_INCREMENT_POINTER)):
        # each the time since the frame before; nobody says it of the last one
        return [_bounded(steps[min(number, len(steps) - 1)] / 1000) for number in frames]
    rate = held.number(0x00180040) or held.number(0x00082144)
    return [_bounded(milliseconds / 1000 if milliseconds else 1 / rate if rate else 0.1)] * len(frames)


def _bounded(seconds: float) -> float:
    return min(max(0.004, seconds), 5.0)  # in this order NaN is no number of seconds


class IntoVideo(Transcoding):
    """All frames as one bit stream. NotAcceptable at once when they can't be."""

    def __init__(self, image: Image, opened: Open, to_syntax: str, instance_uid: str) -> None:
        if image.is_video:
            raise NotAcceptable("a video is passed through, or taken apart")
        if not image.count:
            raise NotAcceptable("an object without frames that can be told apart is no video")
        if not instance_uid:
            raise NotAcceptable(f"{syntax(to_syntax).name} would lose information; it has to be asked for")
        self._start(image, opened, to_syntax, instance_uid)
        check_meaning(image)
        source = image.description
        source.check(image.limits)
        self._seen = _seen(codec(image.syntax_uid).decoded(source))
        target = video.encoded(self._seen, to_syntax)
        self.plan = Plan("values", source, target, image.syntax_uid, to_syntax, Options(), True)

    def frames(self) -> Iterator[bytes]:
        """The bit stream: to the data set it is one frame."""
        seconds = seconds_each(self._image.attributes, self._numbers)  # a stream has one rate (PS3.5 8.2.5)
        yield video.encode(self._pictures(), self._seen, self._target.uid, len(seconds) / sum(seconds))

    def worst_error(self, encoded: Iterable[bytes]) -> float:
        assert self.plan is not None
        (stream,) = encoded
        found, worst = video.decode(stream, self.plan.target), 0
        for before, after in zip(self._pictures(), found, strict=True):
            plain = before if before.ndim == 3 else before[..., None]
            worst = max(worst, int(abs(plain.astype("int16") - after).max()))
        return float(worst)

    def _pictures(self) -> Iterator[Array]:
        return map(_picture, self._image.frames(self._numbers))

    def _table(self, lengths: Sequence[int]) -> Table:
        return Table(b"", b"", b"")

    def _changes(self, made: Plan, lengths: Sequence[int]) -> Changes:
        found = super()._changes(made, lengths)
        return replace(found, removed=found.removed | (_OF_GREY & self._image.members.keys()))


def _seen(described: Description) -> Description:
    """What pictures of such frames are like: colours that are made of others have 8 bits."""
    if described.photometric in MONOCHROME:
        return replace(described, photometric="MONOCHROME2")
    if described.photometric == "RGB":
        return described
    return replace(described, samples=3, photometric="RGB", bits_allocated=8, bits_stored=8, high_bit=7, signed=False)


def _picture(frame: Frame) -> Array:
    described, stored = frame.description, frame.stored
    if described.photometric in ("RGB", *MONOCHROME):
        octets = stored.astype("uint8", copy=False)  # cells may be wider
        return ~octets if described.photometric == "MONOCHROME1" else octets
    from sagittal.pixels.rendering.color import rgb_of

    return rgb_of(frame.instance, stored, described.photometric, described.bits_stored)


class OutOfVideo(Transcoding):
    """Every frame of a video as a frame of its own. NotAcceptable at once when they can't be."""

    def __init__(self, image: Image, opened: Open, to_syntax: str, options: Options, instance_uid: str) -> None:
        self._start(image, opened, to_syntax, instance_uid)
        self._decoded = video.decoded(image.description)
        self.plan = plan(self._decoded, EXPLICIT_LE, to_syntax, options, image.limits)
        self._check(self.plan)

    def frames(self) -> Iterator[bytes]:
        assert self.plan is not None
        yield from map(self.plan.frame, self._native_frames())

    def worst_error(self, encoded: Iterable[bytes]) -> float:
        assert self.plan is not None
        pairs = zip(self._native_frames(), encoded, strict=True)
        return max(self.plan.error(before, after) for before, after in pairs)

    def _native_frames(self) -> Iterator[bytes]:
        native = codec(EXPLICIT_LE)
        for frame in self._image.frames(self._numbers):
            yield native.encode(frame.stored, self._decoded, Options())

    def _changes(self, made: Plan, lengths: Sequence[int]) -> Changes:
        found = super()._changes(made, lengths)
        lossy = {_LOSSY: element("CS", "01")}  # once lossy, for ever
        return replace(found, members=lossy | found.members)

    def _overlays(self) -> dict[str, Any]:
        return {}  # whatever is said of them, a video has no unused bits
