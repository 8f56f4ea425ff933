"""A data set without its bulk data: PS3.4 Z.1.3, Table Z.1-1. Everything else stays as it is.

What is left out is left out at the top level, and Waveform Data within the Waveform Sequence; an icon keeps its pixels.
Sequences come out with undefined length, as wherever a data set is written while it streams by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sagittal.dicom.frameindex import PIXELS
from sagittal.dicom.walk import Event

_BULK = PIXELS | {0x00287FE0, 0x56000020}
_WAVEFORM_SEQUENCE, _WAVEFORM_DATA = 0x54000100, 0x54001010


def is_bulk(tag: int) -> bool:
    """Whether an attribute of the top level is left out: pixels, spectra, overlays, curves, sounds."""
    if tag in _BULK:
        return True
    family, element = tag >> 24, tag & 0xFFFF
    if family not in (0x50, 0x60) or tag & 0x00010000:
        return False
    return element == 0x3000 or (element == 0x200C and family == 0x50)


def without_bulk(events: Iterable[Event]) -> Iterator[Event]:
    """The events of a walk but those of bulk data."""
    inside_waveforms = skipping = False
    for event in events:
        if skipping:  # the fragments of what is left out
            skipping = event.kind != "end-sequence"
            continue
        if event.depth == 0:
            if event.kind == "run":
                event = event._replace(run=[each for each in event.run if not is_bulk(each[0])])
            elif event.kind in ("element", "fragments") and is_bulk(event.tag):
                skipping = event.kind == "fragments"
                continue
            elif event.kind in ("sequence", "end-sequence"):
                inside_waveforms = event.kind == "sequence" and event.tag == _WAVEFORM_SEQUENCE
        elif inside_waveforms and event.depth == 1 and event.kind == "element" and event.tag == _WAVEFORM_DATA:
            continue
        yield event


def holds_fragments(events: Iterable[Event]) -> Iterator[bool]:
    """Whether anything below the top level is encapsulated, as an icon may be: False for each event until True.

    Such a data set can't go in a syntax without encapsulation, even without its own pixels. A step is one event, so
    that a caller may pause between them.
    """
    for event in events:
        if event.depth == 0 and event.kind in ("element", "fragments") and event.tag >= 0x7FE00008:
            return
        yield event.kind == "fragments" and event.depth > 0
