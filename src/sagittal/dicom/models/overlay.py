"""Corrected attributes laid over a data set while it streams by, with the Original Attributes Sequence (0400,0561) that
says what was there before, who changed it, when and why (PS3.3 C.12.1.1.9).

The elements before the first tag above (0400,0561) are walked; from there on everything is passed on as it is, so that
no pixel is touched and `Head.rest` says where that begins. Where tags are known to be out of order, all elements are
looked at first, and then all before Pixel Data are walked, and those behind it, too, if there is one to be replaced.
Elements that are not corrected keep their bytes; group lengths are left out (they would be wrong). Corrections in
characters that the object's character set does not have bring the whole object to ISO_IR 192. Deliberately not here:
which corrections there are, and I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sagittal.dicom import charset
from sagittal.dicom.elements import SEQUENCE_END, TEXT_VRS, element_header, encode, encode_sequence
from sagittal.dicom.models.encode import data_set, element_value, is_unicode
from sagittal.dicom.models.unicode import in_unicode
from sagittal.dicom.reencode import deflated
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, SYNTAXES, TransferSyntax
from sagittal.dicom.walk import Event, Walk, inflated
from sagittal.errors import LimitExceeded
from sagittal.limits import ReaderLimits

CHARACTER_SET, ORIGINAL = 0x00080005, 0x04000561
LAST_OF_HEADER = 0x7FE00007  # the next are Float and Double Float Pixel Data, and Pixel Data
_ALL = 0xFFFFFFFF
_HELD_BYTES_MAX = 1 << 16  # of what is passed on as it is
_PREVIOUS_BYTES_MAX = 1 << 20  # a longer value is named in the Original Attributes Sequence, but not held for it
_UNICODE = (charset.UTF_8,)
_UTF_8 = {"vr": "CS", "Value": [charset.UTF_8]}
_END_BYTES = 8
_EVENTS_AT_ONCE = 64  # some 0.3 ms of a walk


@dataclass(frozen=True, slots=True)
class Correction:
    """Some attributes and what they are from now on: one item of the Original Attributes Sequence."""

    attributes: Mapping[int, Mapping[str, Any]]  # tag -> element of DICOM JSON; all tags below ORIGINAL
    at: str  # Attribute Modification DateTime (0400,0562)
    system: str  # Modifying System (0400,0563)
    reason: str  # Reason for the Attribute Modification (0400,0565): CORRECT | COERCE


Open = Callable[[], Iterable[bytes]]  # the data set from its start, as often as it is called


def needs_unicode(corrections: Sequence[Correction], charsets: Sequence[str]) -> bool:
    """Whether the corrections have characters that none of the object's character sets has."""
    if any(term in _UNICODE for term in charsets):
        return False
    return any(
        not _is_in(vr_element, tuple(charsets))
        for correction in corrections
        for vr_element in correction.attributes.values()
        if is_unicode(vr_element)
    )


def _is_in(element: Mapping[str, Any], charsets: tuple[str, ...]) -> bool:
    vr = element["vr"]
    if vr not in TEXT_VRS:
        return False
    text = element_value(vr, element).decode("utf-8")
    return charset.decode(charset.encode(text, charsets, vr), charsets, vr) == text


class Head:
    """The corrected beginning of a data set: iterate over it once, then send what follows `rest` as it is stored.

    `rest` is None when the iteration gives the whole data set (deflated, or brought to ISO_IR 192), and its end when an
    element behind Pixel Data is replaced.
    """

    def __init__(
        self,
        opened: Open,
        syntax: TransferSyntax,
        corrections: Sequence[Correction],
        limits: ReaderLimits,
        assumed: str = "",
        unordered: bool = False,
    ) -> None:
        """`assumed`: character sets of a data set that names none, or one that there is none of."""
        self.rest: int | None = None
        self._open, self._syntax, self._limits = opened, syntax, limits
        self._corrections, self._assumed = corrections, assumed
        self._unordered = unordered

    def __iter__(self) -> Iterator[bytes]:
        return filter(None, self.steps())

    def steps(self) -> Iterator[bytes]:
        """The same with empty pieces between, where others may have their turn: a long header takes milliseconds."""
        syntax, limits = self._syntax, self._limits
        if not syntax.deflated:
            return self._pieces(self._open, syntax)
        explicit = SYNTAXES[EXPLICIT_LE]
        return deflated(self._pieces(lambda: inflated(self._open(), limits), explicit, whole=True))

    def _pieces(self, opened: Open, syntax: TransferSyntax, whole: bool = False) -> Iterator[bytes]:
        charsets = self._charsets(opened, syntax)
        added = dict[int, bytes]()
        if needs_unicode(self._corrections, charsets):
            whole, charsets = True, _UNICODE
            opened = partial(in_unicode, opened, syntax, self._limits, self._assumed)
            added = {CHARACTER_SET: encode([(CHARACTER_SET, "CS", charset.UTF_8.encode())], syntax)}
        make = partial(_Writing, syntax, self._corrections, charsets, added, self._limits)
        writing = make(ORIGINAL)
        if self._unordered:
            looking = make(_ALL)
            for _ in looking.run(_Tap(iter(opened()))):
                yield b""
            writing = make(LAST_OF_HEADER, looking)
        source = iter(opened())
        tap = _Tap(source)
        cut = yield from writing.run(tap)
        if cut is None:
            self.rest = None if whole else tap.start
        elif whole:
            yield tap.before(None)
            yield from source
        else:
            self.rest = cut

    def _charsets(self, opened: Open, syntax: TransferSyntax) -> tuple[str, ...]:
        """Those of the object; found only when they matter."""
        if not any(is_unicode(element) for c in self._corrections for element in c.attributes.values()):
            return ()
        walk = Walk(opened(), syntax, self._limits)
        for event in walk.events():
            if event.tag == CHARACTER_SET and event.kind == "element" and event.length <= 1024:
                return charset.parse(walk.value().decode("ascii", "replace"))[0]
            if event.depth or event.tag > CHARACTER_SET:
                break
        return ()


class _Tap:
    """Chunks on their way to a walk, held until they are taken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held, self.start = chunks, bytearray(), 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._held += chunk
            yield chunk

    @property
    def held(self) -> int:
        return len(self._held)

    def before(self, offset: int | None) -> bytes:
        """What is held up to an offset of the data set, or all of it."""
        size = len(self._held) if offset is None else max(0, offset - self.start)
        piece = bytes(self._held[:size])
        del self._held[:size]
        self.start += len(piece)
        return piece


class _Writing:
    """One pass over the beginning of one data set."""

    def __init__(
        self, syntax: TransferSyntax, corrections: Sequence[Correction], charsets: tuple[str, ...],
        added: Mapping[int, bytes], limits: ReaderLimits, last: int, looked: _Writing | None = None,
    ) -> None:  # fmt: skip
        """`last`: of the tags that are walked; `looked`: has run over all of the same data set, if its tags are out of
        order.
        """
        self._last, self._looked = last, looked
        self._syntax, self._corrections, self._charsets, self._limits = syntax, corrections, charsets, limits
        self._encoded = [
            {tag: self._element(tag, element) for tag, element in correction.attributes.items()}
            for correction in corrections
        ]
        self._new: dict[int, bytes] = dict(added)
        for elements in self._encoded:
            self._new |= elements
        self._waiting = sorted(self._new, reverse=True)
        self._previous: dict[int, bytes] = {}
        self._items, self._items_vr = b"", "SQ"
        self._lost = self._is_behind = False
        self.replaces_behind = False  # an element after Pixel Data

    def run(self, tap: _Tap) -> Generator[bytes, None, int | None]:
        """The corrected beginning; returns the offset of the first element above `last`, None when it is the whole."""
        walk = Walk(tap, self._syntax, self._limits)
        current: Event | None = None
        is_told = False
        for number, event in enumerate(walk.events()):
            if not number % _EVENTS_AT_ONCE:
                yield b""
            if event.depth == 0 and event.kind in ("element", "sequence", "fragments"):
                if current is None or not self._goes_on(current, event):
                    yield self._settled(current, tap.before(event.at))
                    yield from self._due(event.tag)
                    if event.tag > self._last and not is_told:
                        yield self._original()
                        if self._looked is None or not self._looked.replaces_behind:
                            return event.at
                        is_told = True
                current = event
                self._is_behind |= event.tag > LAST_OF_HEADER
            if current is None:
                continue
            if not self._is_kept(current):
                self._drop_long(walk, event, current, tap)
            elif event.length > _HELD_BYTES_MAX and event.kind in ("element", "fragment"):
                yield from self._passed(walk, event, tap)
            elif tap.held > _HELD_BYTES_MAX:
                yield tap.before(event.at)
        yield self._settled(current, tap.before(None))
        yield from self._due(ORIGINAL)
        yield b"" if is_told else self._original()
        return None

    def _goes_on(self, current: Event, event: Event) -> bool:
        """Whether nothing happens between two elements: they are taken together."""
        if event.tag > self._last or (self._waiting and self._waiting[-1] <= event.tag):
            return False
        return self._is_kept(current) and self._is_kept(event)

    @staticmethod
    def _passed(walk: Walk, event: Event, tap: _Tap) -> Iterator[bytes]:
        """A long value as it comes; its end is taken with what follows."""
        offset = event.at
        for piece in walk.pieces():
            offset += len(piece)
            yield tap.before(offset)

    def _drop_long(self, walk: Walk, event: Event, current: Event, tap: _Tap) -> None:
        """A value that is replaced is held, unless it is too long for that."""
        offset = event.at
        for piece in walk.pieces() if event.kind in ("element", "fragment") else (b"",):
            offset += len(piece)
            if offset - current.at > _PREVIOUS_BYTES_MAX:
                if current.tag == ORIGINAL:
                    raise LimitExceeded("the Original Attributes Sequence is too long for another item")
                self._lost = True
                tap.before(offset)

    def _is_kept(self, event: Event) -> bool:
        return event.tag not in self._new and event.tag != ORIGINAL and bool(event.tag & 0xFFFF)

    def _settled(self, event: Event | None, octets: bytes) -> bytes:
        """What goes out of an element that has ended."""
        if event is None or self._is_kept(event):
            return octets
        self.replaces_behind |= self._is_behind and bool(event.tag & 0xFFFF)
        if event.tag == ORIGINAL:
            self._keep_items(event, octets)
        elif not self._lost:
            self._previous[event.tag] = octets
        self._lost = False
        return b""

    def _keep_items(self, event: Event, octets: bytes) -> None:
        """The items that the object came with."""
        if event.kind != "sequence":
            return
        self._items_vr = event.vr
        content = octets[8 if self._syntax.implicit else 12 :]
        end = element_header(SEQUENCE_END, "", 0, True, self._syntax.little_endian)
        self._items = content[:-_END_BYTES] if event.length == 0xFFFFFFFF and content.endswith(end) else content

    def _due(self, tag: int) -> Iterator[bytes]:
        while self._waiting and self._waiting[-1] <= tag:
            yield self._new[self._waiting.pop()]

    def _original(self) -> bytes:
        """The Original Attributes Sequence."""
        # UN of undefined length holds items in Implicit VR (PS3.5 6.2.2).
        known = self._looked or self
        syntax = self._syntax if known._items_vr == "SQ" else SYNTAXES[IMPLICIT_LE]
        held = dict(known._previous)
        items = []
        for correction, encoded in zip(self._corrections, self._encoded, strict=True):
            empty = {tag: encode([(tag, correction.attributes[tag]["vr"], b"")], self._syntax) for tag in encoded}
            before = b"".join(held.get(tag) or empty[tag] for tag in sorted(encoded))
            items.append(_item(correction, before, syntax, self._charsets))
            held |= encoded
        value = known._items + encode_sequence(items, syntax)
        return encode([(ORIGINAL, known._items_vr, value)], self._syntax)

    def _element(self, tag: int, element: Mapping[str, Any]) -> bytes:
        vr = element["vr"]
        if vr in TEXT_VRS:
            text = element_value(vr, element).decode("utf-8")
            return encode([(tag, vr, charset.encode(text, self._charsets, vr))], self._syntax)
        explicit = {f"{tag:08X}": element}
        made = b"".join(data_set(explicit, self._syntax, limits=self._limits))
        if is_unicode(element):  # in a sequence: it would come with a character set of its own
            made = made[len(b"".join(data_set({"00080005": _UTF_8}, self._syntax))) :]
        return made


def _item(correction: Correction, before: bytes, syntax: TransferSyntax, charsets: tuple[str, ...]) -> bytes:
    """PS3.3 C.12.1.1.9: one item, in the order of tags."""
    system = charset.encode(correction.system, charsets, "LO")
    return encode(
        [
            (0x04000550, "SQ", encode_sequence([before], syntax)),
            (0x04000562, "DT", correction.at.encode("ascii")),
            (0x04000563, "LO", system),
            (0x04000564, "LO", b""),
            (0x04000565, "CS", correction.reason.encode("ascii")),
        ],
        syntax,
    )
