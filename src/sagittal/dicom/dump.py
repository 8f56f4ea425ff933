"""A file as text, one line an element, in the manner of dcmdump: for people.

Shows whatever can be shown: a damaged file comes out up to its defect, which is then raised with its reason. Nothing in
a value reaches the terminal unescaped. Names of private elements come from pydicom's private dictionary, loaded at the
first one. For machines there is `metadata`, the DICOM JSON object that the reader makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from sagittal.dicom import charset
from sagittal.dicom.dictionary import keyword_of, private_name, vr_of
from sagittal.dicom.elements import ASCII_VRS, NUMBERS, ONE_VALUE_VRS, TEXT_VRS, UNDEFINED, WORDS, Element
from sagittal.dicom.part10 import Part10Head, head_of
from sagittal.dicom.sopclasses import WELL_KNOWN
from sagittal.dicom.syntaxes import SYNTAXES, syntax
from sagittal.dicom.walk import Event, Walk
from sagittal.limits import ReaderLimits

VALUE_CHARACTERS = 64  # shown of a value unless all is asked for
_SPECIFIC_CHARACTER_SET = 0x00080005
_OPENING = {"sequence": "Sequence", "item": "Item", "fragments": "Pixel Sequence"}
_CLOSING = {"end-item": 0xFFFEE00D, "end-sequence": 0xFFFEE0DD}


def lines(chunks: Iterable[bytes], limits: ReaderLimits = ReaderLimits(), *, full: bool = False) -> Iterator[str]:
    """The lines of a file given in pieces. `full`: whole values (64 KiB of each at the most), not their beginning.

    Raises Malformed or LimitExceeded after the last line that could be made.
    """
    head, pieces = _begun(chunks, limits)
    width = 1 << 17 if full else VALUE_CHARACTERS
    yield "# Dicom-Meta-Information-Header"
    for tag, value in sorted(head.elements.items()):
        text, count = _shown(vr_of(tag), value, len(value), True, (), width)
        yield _line(0, tag, vr_of(tag), text, len(value), count, keyword_of(tag))
    for defect in head.defects:
        yield f"# tolerated: {defect}"
    row = syntax(head.syntax_uid)
    yield f"# Dicom-Data-Set, {row.name} ({row.uid})"
    walk = Walk(pieces, row, limits)
    scopes = [_Scope(())]
    for event in walk.events():
        if event.kind == "item":
            scopes.append(_Scope(scopes[-1].charsets))
        elif event.kind == "end-item":
            scopes.pop()
        value = next(walk.pieces(), b"") if event.kind in ("element", "fragment") else b""
        yield _event_line(event, value, scopes[-1], width)


def metadata(chunks: Iterable[bytes], limits: ReaderLimits = ReaderLimits()) -> Iterator[str]:
    """The DICOM JSON object of a file (PS3.18 F) in pieces of text, without its meta group."""
    from sagittal.dicom.reader import Reader

    head, pieces = _begun(chunks, limits)
    made: list[str] = []
    reader = Reader(syntax(head.syntax_uid), wanted=frozenset(), limits=limits, metadata=made.append)
    for piece in pieces:
        reader.feed(piece)
        yield from made
        made.clear()
    reader.finish()
    yield from made


def _begun(chunks: Iterable[bytes], limits: ReaderLimits) -> tuple[Part10Head, Iterator[bytes]]:
    """The head of a file, and its data set in pieces."""
    pieces = iter(chunks)
    head = head_of(pieces, limits)
    return head, chain((head.rest,), pieces)


class _Scope:
    """What holds inside one data set or item: its character sets and who reserved its private blocks."""

    def __init__(self, charsets: tuple[str, ...]) -> None:
        self.charsets = charsets
        self.creators: dict[tuple[int, int], str] = {}

    def note(self, tag: int, vr: str, value: bytes) -> None:
        if tag == _SPECIFIC_CHARACTER_SET:
            self.charsets = charset.parse(value.decode("ascii", "replace"))[0]
        elif tag & 0x00010000 and 0x10 <= tag & 0xFFFF <= 0xFF and vr in ("LO", "UN"):
            self.creators[tag >> 16, tag & 0xFF] = value.decode("ascii", "replace").strip(" \0")

    def name(self, tag: int) -> str:
        if not tag & 0xFFFF:
            return "GroupLength"
        if not tag & 0x00010000:
            return keyword_of(tag) or "UnknownTag"
        if tag & 0xFF00 == 0:
            return "PrivateCreator"
        creator = self.creators.get((tag >> 16, (tag >> 8) & 0xFF))
        return (private_name(tag, creator) if creator else "") or "PrivateTag"


def _event_line(event: Event, value: bytes, scope: _Scope, width: int) -> str:
    kind, tag, length = event.kind, event.tag, event.length
    if kind in ("end-item", "end-sequence"):
        name = "ItemDelimitationItem" if kind == "end-item" else "SequenceDelimitationItem"
        return _line(2 * event.depth - (kind == "end-item"), _CLOSING[kind], "na", f"({name})", 0, 0, name)
    if kind in _OPENING:
        text = f"({_OPENING[kind]} with {'undefined' if length == UNDEFINED else 'explicit'} length)"
        name = "Item" if kind == "item" else scope.name(tag)
        indent = 2 * event.depth - (kind == "item")
        return _line(indent, tag, event.vr or "na", text, length, 1, name)
    if kind == "fragment":
        text, _ = _shown("OB", value, length, True, (), width)
        return _line(2 * event.depth - 1, tag, "pi", text, length, 1, "Item")
    scope.note(tag, event.vr, value)
    meant, little = (vr_of(tag), True) if event.vr == "UN" else (event.vr, event.little)  # PS3.5 6.2.2
    text, count = _shown(meant, value, length, little, scope.charsets, width)
    return _line(2 * event.depth, tag, event.vr, text, length, count, scope.name(tag))


def _line(indent: int, tag: int, vr: str, text: str, length: int, count: int, name: str) -> str:
    shown = "u/l" if length == UNDEFINED else str(length)
    return f"{'  ' * indent}({tag >> 16:04x},{tag & 0xFFFF:04x}) {vr} {text:<40} # {shown:>3}, {count} {name}"


def _shown(vr: str, value: bytes, length: int, little: bool, charsets: tuple[str, ...], width: int) -> tuple[str, int]:
    """A value as text, and how many values it holds."""
    if not length:
        return "(no value available)", 0
    if vr == "UI":
        uid = value.decode("ascii", "replace").strip(" \0")
        row = SYNTAXES.get(uid) or WELL_KNOWN.get(uid)
        return f"={row.keyword}" if row is not None and row.keyword else _clipped(uid, width), uid.count("\\") + 1
    if vr in TEXT_VRS or vr in ASCII_VRS:
        text = charset.decode(value, charsets, vr) if vr in TEXT_VRS else value.decode("ascii", "replace")
        single = vr in ONE_VALUE_VRS
        return _clipped(text.rstrip(" \0"), width), 1 if single else text.count("\\") + 1
    if vr == "AT":
        tags = map(int, Element(0, vr, value, little).numbers())
        return _joined([f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in tags], width), max(length // 4, 1)
    if vr in NUMBERS:
        texts = [f"{number:.9g}" if vr == "FL" else str(number) for number in Element(0, vr, value, little).numbers()]
        return _joined(texts, width), length // WORDS[vr]
    size = 2 if vr == "OW" else 1
    words = [value[start : start + size] for start in range(0, min(len(value), width * size), size)]
    return _joined([(word[::-1] if little else word).hex() for word in words], width), 1


def _clipped(text: str, width: int) -> str:
    """Text in brackets; what a terminal would act on is escaped."""
    cut = text[:width]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return f"[{safe}{'...' if len(cut) < len(text) else ''}]"


def _joined(parts: list[str], width: int) -> str:
    text = "\\".join(parts[:width])
    return text if len(text) <= width else text[:width] + "..."
