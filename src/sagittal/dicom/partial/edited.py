"""A data set with some of its top-level elements set or left out, up to its pixels and after them, as events.

What is set comes as DICOM JSON members and is put in its place by tag. Elements that no longer hold of changed pixels
are left out: signatures, offset tables, trailing padding. The Frame Types of an enhanced image change where they lie in
its functional groups (PS3.3 C.8.16.1), which may be long, and those that all frames share say how it was derived, where
no frame says that of itself already (C.7.6.16.2.6). Deliberately not here: the pixels themselves, which whoever
takes the events writes where they belong, and characters beyond ASCII in what is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sagittal.dicom.frameindex import PIXEL_DATA, PIXELS
from sagittal.dicom.models.encode import data_set
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES
from sagittal.dicom.walk import Event, Walk
from sagittal.limits import ReaderLimits

LEFT_OUT = frozenset({0x7FE00001, 0x7FE00002, 0x4FFE0001, 0xFFFAFFFA, 0xFFFCFFFC})
FUNCTIONAL_GROUPS = frozenset({0x52009229, 0x52009230})
_FRAME_TYPE = 0x00089007
_SHARED_GROUPS, _DERIVATION_IMAGE = 0x52009229, 0x00089124
_OF_DERIVATION = ("00082111", "00082112", "00089215")  # description, source images, code


class Edited:
    """The events of a data set with changes. `pixels` is the event at which its pixels begin, once it was met."""

    def __init__(
        self, walk: Walk, members: Mapping[str, Any], removed: Iterable[int] = (),
        limits: ReaderLimits = ReaderLimits(), *, derived: bool = False, told: bool = False,
    ) -> None:  # fmt: skip
        """`derived`: whether each frame is a derived one from now on. `told`: whether any says already how."""
        self.pixels: Event | None = None
        self._walk, self._source, self._derived = walk, walk.events(), derived
        self._new = elements(members, limits)
        self._order = sorted(self._new, reverse=True)
        self._removed = frozenset(removed) | LEFT_OUT | self._new.keys()
        self._derivation: list[Event] = []  # to be put into the shared functional groups
        if derived and not told:
            item = {tag: members[tag] for tag in _OF_DERIVATION if tag in members}
            made = {f"{_DERIVATION_IMAGE:08X}": {"vr": "SQ", "Value": [item]}}
            self._derivation = elements(made, limits)[_DERIVATION_IMAGE]

    def before(self) -> Iterator[Event]:
        """Everything before the pixels."""
        yield from self._kept(to_pixels=True)
        yield from self._due(PIXEL_DATA)

    def after(self) -> Iterator[Event]:
        """Everything after them; their own events are passed over."""
        yield from self._kept(to_pixels=False)
        yield from self._due(1 << 32)

    def _kept(self, *, to_pixels: bool) -> Iterator[Event]:
        skipping = not to_pixels and self.pixels is not None
        in_groups = shared = False
        for event in self._source:
            if event.depth == 0 and event.kind == "run":
                yield from self._run(event)
                skipping = False
                continue
            if event.depth == 0 and event.kind in ("element", "sequence", "fragments"):
                if event.tag in PIXELS:
                    self.pixels = event
                    return
                yield from self._due(event.tag)
                skipping = event.tag in self._removed
                in_groups = event.tag in FUNCTIONAL_GROUPS
                shared = event.tag == _SHARED_GROUPS
            if shared and self._derivation and _is_beyond(event):
                yield from self._derivation
                self._derivation = []
            if not skipping:
                yield self._with_derived_frames(event) if in_groups and self._derived else event

    def _with_derived_frames(self, event: Event) -> Event:
        run = event.run
        if event.kind == "element" and event.tag == _FRAME_TYPE:
            run = [(event.tag, event.vr, self._walk.value())]
        if not any(tag == _FRAME_TYPE for tag, _, _ in run):
            return event
        told = [(tag, vr, _derived_type(value) if tag == _FRAME_TYPE else value) for tag, vr, value in run]
        return event._replace(kind="run", length=0, run=told)

    def _run(self, event: Event) -> Iterator[Event]:
        """Elements in a row, cut where something is set or left out."""
        kept: list[tuple[int, str, bytes]] = []
        for element in event.run:
            tag = element[0]
            if self._order and self._order[-1] <= tag:
                if kept:
                    yield event._replace(run=kept)
                    kept = []
                yield from self._due(tag)
            if tag not in self._removed:
                kept.append(element)
        if kept:
            yield event._replace(run=kept)

    def _due(self, tag: int) -> Iterator[Event]:
        """What is set and comes before `tag`, or is `tag`."""
        while self._order and self._order[-1] <= tag:
            yield from self._new.pop(self._order.pop())


def _is_beyond(event: Event) -> bool:
    """Whether, within the item of the shared functional groups, the Derivation Image Sequence comes before it."""
    first = event.run[0][0] if event.run else event.tag
    begins = event.depth == 1 and event.kind in ("sequence", "element", "run")
    return (begins and first > _DERIVATION_IMAGE) or (event.depth == 1 and event.kind == "end-item")


def _derived_type(frame_type: bytes) -> bytes:
    made = b"\\".join([b"DERIVED", *frame_type.rstrip(b" \0").split(b"\\")[1:]])
    return made + b" " * (len(made) & 1)


def elements(members: Mapping[str, Any], limits: ReaderLimits) -> dict[int, list[Event]]:
    """DICOM JSON members as the events of each element by tag. BadRequest for what can't be encoded."""
    encoded = data_set(members, SYNTAXES[EXPLICIT_LE], limits=limits)
    found: dict[int, list[Event]] = {}
    current: list[Event] = []
    walk = Walk(encoded, SYNTAXES[EXPLICIT_LE], limits, runs=True)
    for event in walk.events():
        if event.kind == "element":  # too long for a run
            event = event._replace(kind="run", length=0, run=[(event.tag, event.vr, walk.value())])
        if event.depth == 0 and event.kind == "run":
            for tag, vr, value in event.run:
                found[tag] = [event._replace(run=[(tag, vr, value)])]
            continue
        if event.depth == 0 and event.kind == "sequence":
            current = found[event.tag] = []
        current.append(event)
    return found
