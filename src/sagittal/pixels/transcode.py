"""Pixel data from one transfer syntax to another: frame by frame, and what the data set has to say afterwards.

`plan` decides once for all frames, needs no pixels, and refuses before anything is decoded. There are four ways:

- `same`: the frames as they are, of the same syntax, or native ones whose bytes only lie otherwise in the data set;
- `jpeg`: JPEG ⇄ JPEG XL JPEG Recompression, code stream to code stream; the JPEG comes back byte for byte;
- `cells`: whole cells, bits outside Bits Stored (overlays of old) included, between syntaxes that keep them;
- `values`: decoded and encoded; overlays in unused bits are lost unless the caller takes them out (`overlay_bits`).

`Plan.changes` is PS3.3 C.7.6.1.1.5 (lossy compression), C.7.6.1.1.3 (derivation) and PS3.5 8.2 (attributes that must
agree with the code stream). Pure functions: the UID of a new instance is the caller's to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from sagittal.dicom.frameindex import PIXEL_DATA
from sagittal.dicom.models.members import Members, code, element, reference, values
from sagittal.dicom.reencode import can_reencode
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import NotAcceptable
from sagittal.limits import PixelLimits
from sagittal.pixels.codecs import codec
from sagittal.pixels.codecs.interface import Array, Options
from sagittal.pixels.description import BITS_OF_OVERLAYS, Description

RECOMPRESSED = "1.2.840.10008.1.2.4.111"
# The processes (low bytes of SOF markers) that a syntax's JPEG may have; PS3.5 A.4.1.
JPEGS: Mapping[str, frozenset[int]] = {
    "1.2.840.10008.1.2.4.50": frozenset((0xC0,)),
    "1.2.840.10008.1.2.4.51": frozenset((0xC0, 0xC1)),
    "1.2.840.10008.1.2.4.53": frozenset((0xC2,)),
    "1.2.840.10008.1.2.4.55": frozenset((0xC2,)),
}
_LOSSY, _RATIO, _METHOD = "00282110", "00282112", "00282114"
_IMAGE_TYPE, _INSTANCE = "00080008", "00080018"
_DERIVATION, _DERIVATION_CODE, _SOURCE = "00082111", "00089215", "00082112"
_LOSSY_BEFORE = ("121330", "Lossy compressed predecessor")
_NEVER_LOSSY = ("121320", "Uncompressed predecessor")
_TEXT_MAX = 1024
_OFFSET_TABLES = ("7FE00001", "7FE00002")
_EXTREMES = ("00280106", "00280107")  # Smallest and Largest Image Pixel Value
_CELL_BITS_MAX = 64

Way = Literal["same", "jpeg", "cells", "values"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a data set becomes: DICOM JSON members to set, and members to take out."""

    members: dict[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    derived: bool = False  # whether each frame is a derived one afterwards, as its Frame Type says then


@dataclass(frozen=True, slots=True)
class Plan:
    """How frames get from one syntax to another, and what they are afterwards."""

    way: Way
    source: Description
    target: Description  # what the data set says of the frames written
    from_syntax: str
    to_syntax: str
    options: Options
    loses: bool  # whether this step loses information

    def frame(self, data: bytes) -> bytes:
        """One frame in the target syntax."""
        if self.way == "same":
            return data
        if self.way == "jpeg":
            return self._jpeg(data)
        before, read = codec(self.from_syntax), self.source.cells() if self.way == "cells" else self.source
        return self.encoded(before.decode(data, read), before.decoded(read))

    def encoded(self, array: Array, described: Description) -> bytes:
        """A frame so described in the target syntax, in no larger numbers than are allocated there."""
        if self.target.bits_allocated < described.bits_allocated:
            array = array.astype(self.target.dtype)
        return codec(self.to_syntax).encode(array, described, self.options)

    def _jpeg(self, data: bytes) -> bytes:
        from sagittal.pixels.codecs import jpeg_xl, streams

        if self.to_syntax == RECOMPRESSED:
            return jpeg_xl.from_jpeg(data)
        done = jpeg_xl.to_jpeg(data)
        process = streams.jpeg(done).process  # an object may be labelled with another; what is made of it may not
        if process not in JPEGS[self.to_syntax]:
            fit = [uid for uid, processes in JPEGS.items() if process in processes]
            others = " or ".join(f"{syntax(uid).name} ({uid})" for uid in fit) or "another process"
            raise NotAcceptable(f"the JPEG that was recompressed is not of {syntax(self.to_syntax).name}, but {others}")
        return done

    def error(self, before: bytes, after: bytes) -> float:
        """The largest difference between the values of a frame and of what `frame` made of it."""
        one, other = codec(self.from_syntax), codec(self.to_syntax)
        told, said = one.decoded(self.source), other.decoded(self.target)
        return difference(one.decode(before, self.source), told, other.decode(after, self.target), said)

    @property
    def vr(self) -> str:
        """The VR that Pixel Data has afterwards (PS3.5 A.1 to A.4)."""
        after = syntax(self.to_syntax)
        if self.target.kind != "integer":
            return "OF" if self.target.kind == "float" else "OD"
        if after.encapsulated:
            return "OB"
        return "OB" if self.target.bits_allocated <= 8 and not after.implicit else "OW"

    def changes(self, members: Mapping[str, Any], ratio: float = 0.0, instance_uid: str = "") -> Changes:
        """What the data set with `members` says afterwards. `ratio`: native bytes to those written, of all frames.

        `instance_uid`: the SOP Instance UID of the derived image, wanted when the step loses information.
        """
        found = {tag: value for tag, value in self.target.members().items() if members.get(tag) != value}
        if self.target.samples == 1:
            found.pop("00280006", None)
        if self.target.kind == "integer":
            found[f"{PIXEL_DATA:08X}"] = {"vr": self.vr}
        if self.loses:
            found |= self._lost(members, ratio, instance_uid)
        elif syntax(self.from_syntax).lossless is False and values(members, _LOSSY) != ["01"]:
            found[_LOSSY] = element("CS", "01")  # once lossy, for ever
        stale = (*_OFFSET_TABLES, *_EXTREMES) if self.loses else _OFFSET_TABLES
        return Changes(found, frozenset(tag for tag in stale if tag in members), self.loses)

    def _lost(self, members: Mapping[str, Any], ratio: float, instance_uid: str) -> dict[str, Any]:
        name, method = _called(self.to_syntax)
        again, lossy = values(members, _LOSSY) == ["01"], syntax(self.from_syntax).lossless is False
        ratios, methods = _steps(members, _called(self.from_syntax)[1] if lossy else None) if again else ([], [])
        found = {
            _LOSSY: element("CS", "01"),
            _RATIO: element("DS", *ratios, round(ratio, 2)),
            _METHOD: element("CS", *methods, method),
            **derived(members, f"Lossy compression, {name}, ratio {ratio:.2f}", ("113040", "Lossy Compression")),
        }
        before = _LOSSY_BEFORE if again or lossy else _NEVER_LOSSY
        return found | (from_source(members, instance_uid, before) if instance_uid else {})


def derived(members: Mapping[str, Any], told: str, coded: tuple[str, str]) -> Members:
    """What an image says that is derived from the one with `members`: how, in words and as a code (C.7.6.1.1.3)."""
    types = [value or "" for value in (members.get(_IMAGE_TYPE) or {}).get("Value", [])]
    history = "; ".join([*(str(value) for value in values(members, _DERIVATION) if value), told])
    return {
        _IMAGE_TYPE: element("CS", "DERIVED", *(types[1:] or ["PRIMARY"])),
        _DERIVATION: element("ST", history[:_TEXT_MAX]),
        _DERIVATION_CODE: element("SQ", *values(members, _DERIVATION_CODE), code(*coded)),
    }


def from_source(members: Mapping[str, Any], instance_uid: str, purpose: tuple[str, str]) -> Members:
    """What a new instance says of the one with `members`, which it is made from; `purpose` of CID 7202 (PS3.16)."""
    source = reference(members) | {"0040A170": element("SQ", code(*purpose))}
    return {_INSTANCE: element("UI", instance_uid), _SOURCE: element("SQ", *values(members, _SOURCE), source)}


def became_rgb(told: Description, said: Description) -> bool:
    """Whether colours of 8 bits were YBR_FULL and are RGB, as decoders give them that undo a lossy codec's own form."""
    return (told.photometric, said.photometric, told.bits_stored) == ("YBR_FULL", "RGB", 8)


def difference(first: Array, told: Description, second: Array, said: Description) -> float:
    """The largest difference between the values of two frames so described; as RGB where YBR_FULL became that."""
    import numpy

    if became_rgb(told, said):
        from sagittal.pixels.rendering.color import rgb_of_ybr

        first = rgb_of_ybr(first)
    if numpy.array_equal(first, second, equal_nan=told.kind != "integer"):
        return 0.0
    if told.kind == "integer" and first.dtype.itemsize < 8:
        first, second = first.astype("int64"), second.astype("int64")
    between = numpy.maximum(first, second) - numpy.minimum(first, second)
    worst = numpy.max(between, initial=0, where=between == between)
    return float(worst) or float("inf")  # what is no number is somewhere else


def _called(uid: str) -> tuple[str, str]:
    """What a lossy compression is called, and its Lossy Image Compression Method."""
    if syntax(uid).video:
        from sagittal.pixels.codecs.video import CODINGS

        return syntax(uid).name, CODINGS[uid].method
    return codec(uid).name, codec(uid).method


def _steps(members: Mapping[str, Any], last: str | None) -> tuple[list[Any], list[Any]]:
    """Ratio and method of each compression so far, with empty values where one is missing: they belong together by
    their places (C.7.6.1.1.5.2). Old images have ratios alone: `last` is the method of the syntax that the image is in,
    if any.
    """
    ratios, methods = (list((members.get(tag) or {}).get("Value") or []) for tag in (_RATIO, _METHOD))
    missing = len(ratios) - len(methods)
    if missing > 0:
        return ratios, [*methods, *[None] * (missing - 1), last]
    return [*ratios, *[None] * -missing], methods


@lru_cache(maxsize=16)  # the images of a series have the same
def plan(source: Description, from_syntax: str, to_syntax: str, options: Options = Options(),
         limits: PixelLimits = PixelLimits()) -> Plan:  # fmt: skip
    """How frames described by `source` get into another syntax. NotAcceptable or PixelsUndecodable when they can't."""
    source.check(limits)
    if from_syntax == to_syntax:
        return Plan("same", source, source, from_syntax, to_syntax, options, False)
    if recompresses(from_syntax, to_syntax):
        return Plan("jpeg", source, source, from_syntax, to_syntax, options, False)
    if not syntax(to_syntax).written:
        raise NotAcceptable(f"nothing is put into {syntax(to_syntax).name}")
    before, after = codec(from_syntax), codec(to_syntax)
    if can_reencode(syntax(from_syntax), syntax(to_syntax)):
        return Plan("same", source, source, from_syntax, to_syntax, options, False)
    decoded = before.decoded(source)
    way: Way = "cells" if before.cells and after.cells else "values"
    target = after.encoded(decoded, options)
    return Plan(way, source, target, from_syntax, to_syntax, options, after.loses(options))


def recompresses(from_syntax: str, to_syntax: str) -> bool:
    """Whether one is JPEG and the other what it is recompressed to."""
    return (from_syntax == RECOMPRESSED and to_syntax in JPEGS) or (from_syntax in JPEGS and to_syntax == RECOMPRESSED)


def changes(members: Mapping[str, Any], made: Plan, written_bytes: int, instance_uid: str = "") -> Changes:
    """What the data set says of frames that came to `written_bytes` together.

    The ratio is to the frames as they were encoded: what was compressed with fewer columns of chrominance has all of
    them again once it is decoded.
    """
    source = made.source
    bits = source.frame_bits if syntax(made.from_syntax).native else source.values * source.bits_allocated
    return made.changes(members, bits * source.frames / 8 / max(written_bytes, 1), instance_uid)


def embedded_overlays(members: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(group, bit) of each overlay that lies in unused bits of Pixel Data (PS3.3 C.9.2 before 2004, retired)."""
    found = []
    for tag in BITS_OF_OVERLAYS:
        group = int(tag[:4], 16)
        if tag not in members or f"{group:04X}3000" in members:
            continue
        said = [values(members, name)[:1] for name in (tag, f"{group:04X}0102")]
        allocated, bit = (held[0] if held and isinstance(held[0], int) else -1 for held in said)
        if allocated > 1 and bit in range(_CELL_BITS_MAX):
            found.append((group, bit))
    return found


def overlay_bits(data: bytes, description: Description, uid: str, bit: int) -> bytes:
    """One frame's overlay plane, a byte for each pixel, 0 or 1: of native and RLE frames, and lossless streams of
    cells.
    """
    cells = description.cells()
    array = codec(uid).decode(data, cells)
    plane: bytes = ((array >> bit) & 1).astype("uint8").tobytes()
    return plane


def overlay_members(group: int, planes: Sequence[bytes]) -> dict[str, Any]:
    """The members that make an overlay taken out by `overlay_bits` one of its own (PS3.3 C.9.2), of each frame that it
    was in (C.9.3).
    """
    from base64 import b64encode

    import numpy

    single = numpy.frombuffer(b"".join(planes), "u1")
    packed = numpy.packbits(single, bitorder="little").tobytes()
    by_frame = {f"{group:04X}0015": element("IS", len(planes)), f"{group:04X}0051": element("US", 1)}
    return (by_frame if len(planes) > 1 else {}) | {
        f"{group:04X}0100": element("US", 1),
        f"{group:04X}0102": element("US", 0),
        f"{group:04X}3000": {"vr": "OW", "InlineBinary": b64encode(packed).decode()},
    }
