"""A new instance with some frames of another: its data set up to the pixels (PS3.4 Y.3.3, PS3.3 C.12.3).

The SOP class, the series and everything above stay; the instance gets its own UID, the Frame Extraction Sequence an
item, Contributing Equipment another. What goes by frames follows them: functional groups, vectors, frame times.
Private attributes, signatures, pointers to frames and overlays by frame are left out: their meaning would not survive.
Deliberately not here: the pixels (ranges of the stored ones, or `pixels.extracting`), and choosing frames (`services`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sagittal.dicom.elements import ITEM, ITEM_END, UNDEFINED, encode, encode_numbers, encode_sequence
from sagittal.dicom.frameindex import PIXELS
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.dicom.walk import PIECE_BYTES, Event, Walk

SIMPLE_LIST, CALCULATED_LIST, TIME_RANGE = 0x00081161, 0x00081162, 0x00081163
_INSTANCE_UID, _FRAMES, _EXTRACTION, _SOURCE_UID = 0x00080018, 0x00280008, 0x00081164, 0x00081167
_EQUIPMENT, _MANUFACTURER, _PURPOSE = 0x0018A001, 0x00080070, 0x0040A170
_FRAME_TIME, _FRAME_TIME_VECTOR, _INCREMENT = 0x00181063, 0x00181065, 0x00280009
_GRID_OFFSETS = 0x3004000C  # of an RT Dose, from Image Position (Patient)
_PER_FRAME, _ORGANIZATION = 0x52009230, 0x00209311
_ENDS = {"sequence": "end-sequence", "fragments": "end-sequence", "item": "end-item"}
# Values by frame: PS3.3 C.7.6.5, C.8.4.8, C.8.6.3, C.8.7.4, C.8.7.5, C.8.8.3.
_VECTORS = frozenset(
    {0x00181135, 0x00181136, 0x00181137, 0x00181520, 0x00181521}
    | {0x00182001, 0x00182002, 0x00182003, 0x00182004, 0x00182005, 0x00182006, _GRID_OFFSETS}
    | {0x00540010, 0x00540020, 0x00540030, 0x00540050, 0x00540060, 0x00540070, 0x00540080, 0x00540090, 0x00540100}
)
# Numbers of frames, masks, offset tables of the pixels, signatures.
_LEFT_OUT = frozenset(
    {0x00082142, 0x00082143, 0x00183103, 0x00183104, 0x00286010, 0x00286020, 0x00286022, 0x00286023, 0x00286040}
    | {0x00286100, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0x4FFE0001, 0xFFFAFFFA}
)
_EXTREMES = frozenset((0x00280106, 0x00280107))  # of all frames, but of one where a functional group says them
_NONE: Mapping[int, tuple[str, bytes]] = {}
_FRAME_EXTRACTING = (("109105", "DCM", "Frame Extracting Equipment"), (0x00080100, 0x00080102, 0x00080104))


@dataclass(frozen=True, slots=True)
class Extraction:
    """Which frames become which instance, and how they were asked for."""

    source_uid: str
    uid: str
    frames: Sequence[int]  # ascending, 1 is the first
    total: int  # frames of the source
    asked: tuple[int, tuple[int | float, ...]]  # one of the three keys, and its values


@dataclass(slots=True)
class Survey:
    """What must be known of a data set before frames of it can be sent."""

    frame_time: float = 0.0  # milliseconds
    increments: list[float] = field(default_factory=list)  # Frame Time Vector, milliseconds
    tiled_full: bool = False  # a frame's place follows from its number
    placed_by_first: bool = False  # the place of every frame is told from that of the first
    overlays: set[int] = field(default_factory=set)  # groups of overlays that go by frames

    def look(self, walk: Walk) -> Iterator[None]:
        """Take in all up to the pixels; a step is an event, so that a caller may pause between them."""
        for event in walk.events():
            if event.depth == 0:
                if event.tag in PIXELS:
                    return
                self.placed_by_first |= event.tag == _GRID_OFFSETS
                if event.kind == "run":
                    for tag, _, value in event.run:
                        self._see(tag, value)
                elif event.kind == "element" and event.length <= PIECE_BYTES and self._wants(event.tag):
                    self._see(event.tag, walk.value())
            yield

    @staticmethod
    def _wants(tag: int) -> bool:
        return tag in (_FRAME_TIME, _FRAME_TIME_VECTOR, _ORGANIZATION) or tag >> 24 == 0x60

    def _see(self, tag: int, value: bytes) -> None:
        if tag == _FRAME_TIME:
            self.frame_time = (_decimals(value) or [0.0])[0]
        elif tag == _FRAME_TIME_VECTOR:
            self.increments = _decimals(value)
        elif tag == _ORGANIZATION:
            self.tiled_full = value.strip(b" \0") == b"TILED_FULL"
        elif tag >> 24 == 0x60 and tag & 0xFFFF in (0x0015, 0x0051):
            self.overlays.add(tag >> 16)

    def times(self, total: int) -> list[float]:
        """Seconds from the first frame to each, [] when nothing says them."""
        if len(self.increments) == total:
            at, found = 0.0, []
            for number, increment in enumerate(self.increments):
                at += increment / 1000 if number else 0.0
                found.append(at)
            return found
        return [number * self.frame_time / 1000 for number in range(total)] if self.frame_time > 0 else []


class Header:
    """The events of the new instance's data set up to its pixels. `pixels` is the event at which they begin."""

    def __init__(
        self, walk: Walk, survey: Survey, extraction: Extraction, target: TransferSyntax,
        changed: Mapping[int, tuple[str, bytes]] = _NONE, removed: frozenset[int] = frozenset(),
    ) -> None:  # fmt: skip
        """`changed`: elements to set besides, tag → (VR, value in the target's order); `removed`: left out besides."""
        self._walk, self._survey, self._extraction, self._target = walk, survey, extraction, target
        self._chosen = frozenset(extraction.frames)
        self._removed = _LEFT_OUT | removed
        self._new = {
            **changed,
            _INSTANCE_UID: ("UI", extraction.uid.encode("ascii")),
            _FRAMES: ("IS", str(len(extraction.frames)).encode("ascii")),
            _EXTRACTION: ("SQ", b""),
            _EQUIPMENT: ("SQ", b""),
        }
        self._items = {_EXTRACTION: self._extraction_item(), _EQUIPMENT: self._equipment_item()}
        for tag, item in self._items.items():
            self._new[tag] = ("SQ", encode_sequence([encode(item, target)], target))
        self._vector_made = False
        self._sequence = -1  # the tag of that of the top level which we are in
        self._frame = 0  # the item of it, when it goes by frames
        self.pixels: Event | None = None

    def events(self) -> Iterator[Event]:
        """One pass; `written` takes them."""
        events = self._walk.events()
        for event in events:
            if event.depth == 0 and event.kind not in ("end-sequence", "end-item"):
                yield from self._before(event.tag)
                if event.tag in PIXELS:
                    self.pixels = event
                    return
            if self._is_left_out(event) or self._is_of_another_frame(event):
                yield from self._passed_over(event, events)
            elif event.depth == 0:
                yield from self._at_the_top(event)
            else:
                yield event
        yield from self._before(UNDEFINED)

    def _passed_over(self, event: Event, events: Iterator[Event]) -> Iterator[Event]:
        """Nothing of what begins with `event`, but a step for each of its events, up to its end."""
        yield self._run(event, [])
        end = _ENDS.get(event.kind)
        for inner in events if end else ():
            yield self._run(inner, [])
            if (inner.kind, inner.depth) == (end, event.depth):
                return

    def _at_the_top(self, event: Event) -> Iterator[Event]:
        """An event of the top level; a sequence that gets one more item gets it at its end."""
        if event.kind == "element":
            yield from self._element(event)
            return
        if event.kind == "sequence":
            self._sequence, self._frame = event.tag, 0
            self._new.pop(event.tag, None)
        elif event.kind == "end-sequence":
            if self._sequence in self._items:
                yield from self._appended(event, self._items[self._sequence])
            self._sequence = -1
        yield event

    def _is_of_another_frame(self, event: Event) -> bool:
        """Whether an item of the functional groups by frame, which are counted here, is that of a frame not chosen."""
        if self._sequence != _PER_FRAME or (event.kind, event.depth) != ("item", 1):
            return False
        self._frame += 1
        return self._frame not in self._chosen

    def _before(self, tag: int) -> Iterator[Event]:
        """New elements whose place is before `tag`, which itself may be one that is replaced."""
        for new in sorted(self._new):
            if new < tag:
                yield self._made(new, *self._new.pop(new))

    def _made(self, tag: int, vr: str, value: bytes) -> Event:
        return Event("run", 0, "", 0, 0, 0, self._target.little_endian, [(tag, vr, value)])

    @staticmethod
    def _run(event: Event, run: list[tuple[int, str, bytes]]) -> Event:
        return event._replace(kind="run", run=run)

    def _is_left_out(self, event: Event) -> bool:
        tag = event.tag
        if event.kind not in ("element", "sequence", "fragments"):
            return False
        if tag & 0x00010000 or tag in self._removed:
            return True
        return event.depth == 0 and (tag in _EXTREMES or (tag >> 24 == 0x60 and tag >> 16 in self._survey.overlays))

    def _element(self, event: Event) -> Iterator[Event]:
        """An element of the top level that is no sequence."""
        tag = event.tag
        if tag in self._new:
            yield self._made(tag, *self._new.pop(tag))
        elif tag == _FRAME_TIME and not self._is_contiguous():
            self._vector_made = True
            self._new[_FRAME_TIME_VECTOR] = ("DS", self._increments())
        elif tag == _FRAME_TIME_VECTOR and self._survey.times(self._extraction.total):
            yield self._made(tag, "DS", self._increments())
        elif tag == _INCREMENT and self._vector_made:
            value = self._walk.value()
            pointers = struct.unpack(f"{'<' if event.little else '>'}{len(value) // 2}H", value[: len(value) & ~1])
            tags = [high << 16 | low for high, low in zip(pointers[::2], pointers[1::2], strict=False)]
            tags = [_FRAME_TIME_VECTOR if tag == _FRAME_TIME else tag for tag in tags]
            yield self._made(tag, "AT", encode_numbers("AT", tags, self._target))
        elif tag in _VECTORS and event.length <= PIECE_BYTES:
            yield self._run(event, [(tag, event.vr, self._selected(self._walk.value(), event.vr))])
        else:
            yield event

    def _is_contiguous(self) -> bool:
        frames = self._extraction.frames
        return frames[-1] - frames[0] == len(frames) - 1

    def _increments(self) -> bytes:
        """Frame Time Vector of the chosen frames: each one's time after the one before."""
        times = self._survey.times(self._extraction.total)
        chosen = [times[frame - 1] * 1000 for frame in self._extraction.frames]
        steps = [0.0, *(after - before for before, after in pairwise(chosen))]
        return "\\".join(f"{step:.10g}" for step in steps).encode("ascii")

    def _selected(self, value: bytes, vr: str) -> bytes:
        """Those values of a vector that belong to the chosen frames."""
        frames, total = self._extraction.frames, self._extraction.total
        if vr == "US":
            words = [value[at : at + 2] for at in range(0, len(value), 2)]
            return b"".join(words[frame - 1] for frame in frames) if len(words) == total else value
        values = value.rstrip(b" \0").split(b"\\")
        return b"\\".join(values[frame - 1] for frame in frames) if len(values) == total else value

    def _appended(self, event: Event, item: list[tuple[int, str, bytes]]) -> Iterator[Event]:
        """One more item of the sequence that ends with `event`."""
        little = self._target.little_endian
        yield event._replace(kind="item", tag=ITEM, length=UNDEFINED, depth=1)
        yield Event("run", 0, "", 0, 0, 1, little, sorted(item))
        yield event._replace(kind="end-item", tag=ITEM_END, depth=1)

    def _extraction_item(self) -> list[tuple[int, str, bytes]]:
        tag, values = self._extraction.asked
        vr = "FD" if tag == TIME_RANGE else "UL"
        source = self._extraction.source_uid.encode("ascii")
        return [(tag, vr, encode_numbers(vr, values, self._target)), (_SOURCE_UID, "UI", source)]

    def _equipment_item(self) -> list[tuple[int, str, bytes]]:
        texts, tags = _FRAME_EXTRACTING
        vrs = ("SH", "SH", "LO")
        code = encode([(tag, vr, text.encode()) for tag, vr, text in zip(tags, vrs, texts, strict=True)], self._target)
        return [(_MANUFACTURER, "LO", b"Sagittal"), (_PURPOSE, "SQ", encode_sequence([code], self._target))]


def _decimals(value: bytes) -> list[float]:
    try:
        return [float(part) for part in value.decode("ascii", "replace").strip(" \0").split("\\")]
    except ValueError:
        return []


class Packer:
    """Frames that aren't whole words of `word` bytes put one behind the other (PS3.5 8.1.1), the first pixel in the
    lowest bit.
    """

    def __init__(self, frame_bits: int, word: int = 1) -> None:
        self._frame_bits, self._word = frame_bits, word
        self._held = self._bits = 0

    def add(self, data: bytes, first: int = 0) -> bytes:
        """The whole words that there are with one more frame, which begins at bit `first` of `data`."""
        self._held |= ((int.from_bytes(data, "little") >> first) & ((1 << self._frame_bits) - 1)) << self._bits
        self._bits += self._frame_bits
        whole = self._bits // (8 * self._word) * self._word
        done = (self._held & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
        self._held >>= 8 * whole
        self._bits -= 8 * whole
        return done

    def rest(self) -> bytes:
        """The last word, if it is not whole."""
        return self._held.to_bytes(self._word, "little") if self._bits else b""
