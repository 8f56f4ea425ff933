"""What workers do to put a file right: `inputs[0]` into the file of `inputs[1]`, or only tell what is wrong.

A file that nothing is wrong with is not written anew. One that is gets a meta group of ours, and sequences of undefined
length. Deliberately not here: what a repair is (`repairs`), and where files go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from sagittal.convert.files import head_in
from sagittal.convert.fixing.repairs import REPAIRS, Sets, findings
from sagittal.convert.fixing.survey import SOP_CLASS, SOP_INSTANCE, Survey, look, right_vr
from sagittal.dicom.elements import element_header
from sagittal.dicom.frameindex import BITS, COLUMNS, PIXEL_DATA, ROWS, SAMPLES
from sagittal.dicom.part10 import Part10Head, meta_group
from sagittal.dicom.reencode import deflated, written
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, SYNTAXES, TransferSyntax, syntax
from sagittal.dicom.walk import Event, Walk
from sagittal.errors import Malformed, SagittalError
from sagittal.limits import ReaderLimits
from sagittal.workers.message import write_whole
from sagittal.workers.worker import Input

_CHUNK_BYTES = 1 << 20
_WORDS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def file(inputs: Sequence[Input], only: Sequence[str] = (), copy: bool = False) -> dict[str, Any]:
    """Tells `repairs` (name → what was found) and `kept`: nothing was written. `copy`: write what is right as well."""
    limits = ReaderLimits()
    head, data_set = head_in(inputs[0], limits)
    found = look(_chunks(data_set), data_set.length, syntax(head.syntax_uid), limits)
    found.head_defects = head.defects
    found.meta_uids = head.sop_class_uid or "", head.sop_instance_uid or ""
    wanted = findings(found, frozenset(only))
    if len(inputs) > 1 and (wanted or copy):
        pieces = _put_right(head, data_set, found, wanted, limits) if wanted else _chunks(inputs[0])
        for piece in pieces:
            write_whole(inputs[1].fd, piece)
    return {"repairs": wanted, "kept": not wanted and not copy}


def _chunks(source: Input) -> Iterator[bytes]:
    for at in range(0, source.length, _CHUNK_BYTES):
        yield source.read(at, _CHUNK_BYTES)


def _put_right(
    head: Part10Head, data_set: Input, found: Survey, wanted: dict[str, str], limits: ReaderLimits
) -> Iterator[bytes]:
    sop_class = found.texts.get(SOP_CLASS) or head.sop_class_uid or ""
    instance = found.texts.get(SOP_INSTANCE) or head.sop_instance_uid or ""
    if not sop_class or not instance:
        raise Malformed("uid-missing", "no SOP Class UID or SOP Instance UID")
    if "uids" in findings(found) and "uids" not in wanted:
        sop_class, instance = head.sop_class_uid or sop_class, head.sop_instance_uid or instance
    yield meta_group(sop_class, instance, head.syntax_uid)
    stored = found.syntax
    plain = SYNTAXES[EXPLICIT_LE] if stored.encapsulated or stored.deflated else stored
    pieces = _Rewriting(Walk(_chunks(data_set), stored, limits), found, frozenset(wanted), limits).pieces(plain)
    yield from deflated(pieces) if stored.deflated else pieces


class _Rewriting:
    """One pass over a data set, the chosen repairs made."""

    def __init__(self, walk: Walk, found: Survey, chosen: frozenset[str], limits: ReaderLimits) -> None:
        self._walk, self._found, self._chosen, self._limits = walk, found, chosen, limits
        self._sets: Sets = {}
        for name in chosen:
            self._sets |= REPAIRS[name].sets(found)
        self._source = walk.events()
        native = found.pixels is not None and found.pixels.kind == "element"
        self._by_plane = native and REPAIRS["planar-configuration"].look(found) == "by plane"
        self._by_plane &= "planar-configuration" in chosen
        self._pixels: Event | None = None

    def pieces(self, plain: TransferSyntax) -> Iterator[bytes]:
        yield from written(self._walk, self._events(), plain)
        if self._pixels is not None:
            length = self._pixels.length + (self._pixels.length & 1)
            yield element_header(PIXEL_DATA, self._vr(self._pixels), length, plain.implicit, plain.little_endian)
            yield from self._in_order(self._walk.pieces())
            yield b"\0" * (self._pixels.length & 1)
            yield from written(self._walk, self._events(), plain)

    def _events(self) -> Iterator[Event]:
        for event in self._source:
            if event.depth == 0 and event.kind in ("element", "sequence", "fragments"):
                yield from self._due(event)
                if event.tag == PIXEL_DATA and self._by_plane:
                    self._pixels, self._by_plane = event, False
                    return
                if event.tag in self._sets:
                    yield self._set(event.tag, event)
                    continue
            if event.kind == "element" and event.vr == "UN" and self._vr(event) == "SQ":
                yield from self._sequence(event)
            elif event.kind == "fragments" and "wrong-vr" in self._chosen:
                yield event._replace(vr="OB")
            else:
                yield event._replace(vr=self._vr(event)) if event.kind == "element" else event

    def _vr(self, event: Event) -> str:
        name = "unknown-vr" if event.vr == "UN" else "wrong-vr"
        right = right_vr(event, self._found.signed, self._found.numbers.get(BITS, 0))
        return right if name in self._chosen else event.vr

    def _due(self, event: Event) -> Iterator[Event]:
        for tag in sorted(self._sets):
            if tag < event.tag:
                yield self._set(tag, event)

    def _set(self, tag: int, like: Event) -> Event:
        vr, value = self._sets.pop(tag)
        order: Literal["little", "big"] = "little" if like.little else "big"
        encoded = value.encode("ascii") if isinstance(value, str) else value.to_bytes(2, order)
        return like._replace(kind="run", tag=0, vr="", length=0, run=[(tag, vr, encoded)])

    def _sequence(self, event: Event) -> Iterator[Event]:
        """A sequence in UN: its items are in Implicit VR Little Endian (PS3.5 6.2.2); as it is when they are not."""
        value = self._walk.value()
        whole = element_header(event.tag, "", len(value), True, True) + value
        held: list[Event] = []
        try:
            inner = Walk([whole], SYNTAXES[IMPLICIT_LE], self._limits)
            for one in inner.events():
                one = one._replace(depth=one.depth + event.depth, little=event.little)
                taken = [(one.tag, one.vr, inner.value())] if one.kind == "element" else []
                held.append(one._replace(kind="run", length=0, run=taken) if taken else one)
        except SagittalError:
            held = [event._replace(kind="run", tag=0, length=0, run=[(event.tag, "UN", value)])]
        yield from held

    def _in_order(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Native pixels by pixel that lie by plane."""
        numbers = self._found.numbers
        samples, size = numbers[SAMPLES], numbers[BITS] // 8
        pixels, kind = numbers[ROWS] * numbers[COLUMNS], _WORDS[size]
        held, frame_bytes = bytearray(), pixels * samples * size
        for piece in pieces:
            held += piece
            while len(held) >= frame_bytes:
                planes, made = array(kind, bytes(held[:frame_bytes])), array(kind, bytes(frame_bytes))
                for sample in range(samples):
                    made[sample::samples] = planes[sample * pixels : (sample + 1) * pixels]
                yield made.tobytes()
                del held[:frame_bytes]
        yield bytes(held)
