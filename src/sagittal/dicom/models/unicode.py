"""A data set brought to ISO_IR 192 while it streams by, in its own transfer syntax (PS3.5 6.1, PS3.3 C.12.1.1.2).

Items that declare a character set of their own keep it, and bytes that were no text in theirs stay. Deliberately not
here: writing (0008,0005) of the data set, which is its caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sagittal.dicom import charset
from sagittal.dicom.elements import TEXT_VRS
from sagittal.dicom.reencode import written
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.dicom.walk import Event, Walk
from sagittal.limits import ReaderLimits

_CHARACTER_SET = 0x00080005
_TEXT_BYTES_MAX = 1 << 20  # a longer text is passed on as it is


def in_unicode(
    opened: Callable[[], Iterable[bytes]], syntax: TransferSyntax, limits: ReaderLimits, assumed: str
) -> Iterator[bytes]:
    """The data set that `opened` gives, in a syntax that is not deflated; `assumed` are the terms where it names none
    that there is.
    """
    walk = Walk(opened(), syntax, limits)
    return written(walk, _events(walk, charset.parse(assumed)[0] if assumed else ()), syntax)


def _events(walk: Walk, assumed: tuple[str, ...]) -> Iterator[Event]:
    # Character sets at each depth, and whether an item declared its own.
    levels: list[tuple[tuple[str, ...], bool]] = [(assumed, False)]
    for event in walk.events():
        depth = event.depth
        if event.kind == "item":
            del levels[depth:]
            levels.append(levels[-1])
        if event.kind != "element" or event.length > _TEXT_BYTES_MAX:
            yield event
        elif event.tag == _CHARACTER_SET:
            value = walk.value()
            terms, defects = charset.parse(value.decode("ascii", "replace"))
            unknown = not value.strip(b" \0") or "charset-unknown" in defects
            levels[depth] = assumed if unknown and assumed else terms, bool(depth)
            yield _element(event, value)
        elif event.vr in TEXT_VRS and not levels[depth][1]:
            value = walk.value()
            text, good = charset.decode_checked(value, levels[depth][0], event.vr)
            yield _element(event, text.encode("utf-8") if good else value)
        else:
            yield event


def _element(event: Event, value: bytes) -> Event:
    """The element with another value, which needs no walk any more."""
    return event._replace(kind="run", tag=0, vr="", length=0, run=[(event.tag, event.vr, value)])
