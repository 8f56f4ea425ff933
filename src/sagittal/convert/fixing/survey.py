"""One look at a data set for what repairs ask: lengths, VRs, and what its pixels say of themselves.

Values are only taken where they are short and wanted. Deliberately not here: what is done about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sagittal.dicom.dictionary import VR_TEXTS, base_tag, vr_of
from sagittal.dicom.elements import ASCII_VRS, LONG_VRS, TEXT_VRS, UNDEFINED, WORDS
from sagittal.dicom.frameindex import BITS, COLUMNS, FRAMES, MARKS, PHOTOMETRIC, PIXEL_DATA, ROWS, SAMPLES
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.dicom.walk import Event, Walk
from sagittal.limits import ReaderLimits

CHARACTER_SET, SOP_CLASS, SOP_INSTANCE = 0x00080005, 0x00080016, 0x00080018
PLANAR, REPRESENTATION = 0x00280006, 0x00280103
_TEXTS = frozenset({CHARACTER_SET, SOP_CLASS, SOP_INSTANCE, FRAMES, PHOTOMETRIC})
_NUMBERS = frozenset({SAMPLES, ROWS, COLUMNS, BITS, PLANAR, REPRESENTATION})
_VALUE_BYTES_MAX = 1024
# Values of pixels: signed as these are (PS3.3 C.7.6.3.1.5 and others). In items other rules may hold.
_AS_PIXELS = frozenset(range(0x00280106, 0x00280112)) | {0x00280120, 0x00280121}
_TEXTUAL = TEXT_VRS | ASCII_VRS
_INTEGERS = ({"US", "SS"}, {"UL", "SL"}, {"UV", "SV"})
SEQUENCE_BYTES_MAX = 1 << 24  # of a sequence in UN that is read as one: it is held


@dataclass(slots=True)
class Survey:
    """What a file is like."""

    syntax: TransferSyntax
    head_defects: tuple[str, ...] = ()
    meta_uids: tuple[str, str] = ("", "")  # SOP class and instance of the meta group
    texts: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    odd: int = 0
    unknown: int = 0  # elements in UN whose tag is known
    wrong: int = 0  # elements in another VR than theirs
    group_lengths: int = 0  # that are not the length of their group
    pixels: Event | None = None
    fragments: int = -1  # of the pixels; -1 before the offset table was met, which comes first
    streams: int = 0  # fragments that begin a code stream

    @property
    def signed(self) -> bool:
        return self.numbers.get(REPRESENTATION) == 1

    @property
    def native_length(self) -> int:
        """Bytes of native Pixel Data; 0 when there is none."""
        native = self.pixels is not None and self.pixels.kind == "element" and self.pixels.tag == PIXEL_DATA
        return self.pixels.length if native and self.pixels is not None else 0

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame with all its samples; 0 when the data set does not say."""
        given = [self.numbers.get(tag, 0) for tag in (ROWS, COLUMNS, BITS)]
        return given[0] * given[1] * given[2] * (self.numbers.get(SAMPLES) or 1)

    @property
    def frames(self) -> int:
        text = self.texts.get(FRAMES, "")
        return int(text) if text.removeprefix("+").isdecimal() and len(text) <= 12 else 1


def look(chunks: Iterable[bytes], size: int, stored: TransferSyntax, limits: ReaderLimits) -> Survey:
    """The survey of a data set of `size` bytes. Malformed and LimitExceeded where no reading is possible."""
    found, walk = Survey(stored), Walk(chunks, stored, limits)
    group, promised, began = -1, -1, 0  # of the group length that was met last
    for event in walk.events():
        if event.depth == 0 and event.kind in ("element", "sequence", "fragments"):
            if promised >= 0 and event.tag >> 16 != group:
                found.group_lengths += event.at - began != promised
                promised = -1
            if not event.tag & 0xFFFF and event.length == 4:
                value = walk.value()
                group, promised = event.tag >> 16, int.from_bytes(value, "little" if event.little else "big")
                began = event.at + 8 + len(value)
                continue
        _see(event, walk, found)
    if promised >= 0 and not stored.deflated:
        found.group_lengths += size - began != promised
    return found


def _see(event: Event, walk: Walk, found: Survey) -> None:
    if event.kind == "fragment":
        if event.depth == 1:
            _fragment(event, walk, found)
        return
    if event.kind not in ("element", "sequence", "fragments"):
        return
    if event.kind == "element":
        found.odd += event.length & 1
        right = right_vr(event, found.signed, found.numbers.get(BITS, 0))
        found.unknown += right != event.vr and event.vr == "UN"
        found.wrong += right != event.vr and event.vr != "UN"
    elif event.kind == "fragments":
        found.wrong += event.vr != "OB"
    if event.depth:
        return
    if event.tag in (0x7FE00008, 0x7FE00009, PIXEL_DATA):
        found.pixels = event
    elif event.kind == "element" and event.length <= _VALUE_BYTES_MAX:
        if event.tag in _TEXTS:
            found.texts[event.tag] = walk.value().decode("latin-1").strip(" \0")
        elif event.tag in _NUMBERS and event.length == 2:
            found.numbers[event.tag] = int.from_bytes(walk.value(), "little" if event.little else "big")


def _fragment(event: Event, walk: Walk, found: Survey) -> None:
    found.fragments += 1
    if found.fragments:
        found.streams += next(walk.pieces(), b"").startswith(MARKS)


def right_vr(event: Event, signed: bool, allocated: int) -> str:
    """The VR that an element should have, where its bytes are the same in that; else the one it has."""
    tag, vr = event.tag, event.vr
    if tag & 0x00010000 or not tag & 0xFFFF or tag >> 16 == 0xFFFE:
        return vr
    if tag == PIXEL_DATA and event.depth == 0:
        if not event.little:
            return vr  # OB and OW of the same bytes are other values in Big Endian (PS3.5 A.3)
        return "OW" if vr in ("OB", "UN") and allocated > 8 else "OB" if vr == "UN" else vr
    if tag in _AS_PIXELS and event.depth == 0 and vr in ("US", "SS", "UN"):
        return "SS" if signed else "US"
    printed = VR_TEXTS.get(base_tag(tag))
    if printed is None or vr in printed.split(" or "):
        return vr
    right = vr_of(tag, signed)
    if vr == "UN":
        return right if event.little and _fits(event.length, right) else vr
    if (vr in _TEXTUAL and right in _TEXTUAL) or any({vr, right} <= pair for pair in _INTEGERS):
        return right if event.length < 0xFFFF or right in LONG_VRS else vr
    return vr


def _fits(length: int, vr: str) -> bool:
    if vr == "SQ":
        return 0 <= length <= SEQUENCE_BYTES_MAX
    return length != UNDEFINED and length % WORDS.get(vr, 1) == 0 and (length < 0xFFFF or vr in LONG_VRS)
