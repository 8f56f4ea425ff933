"""The identifiers of Query/Retrieve (PS3.4 C.4.1.1.3, C.4.2.1.4): level, unique keys, matching keys, character set.

Without relational queries every unique key above the level is wanted with one value, and none below it may have one.
What breaks that is A900 with the key as offending element. Values are not judged here: that is for the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Keys, Private, Tag
from sagittal.dicom.elements import BINARY_VRS, TEXT_VRS, Element
from sagittal.dicom.matching.times import is_offset
from sagittal.dicom.syntaxes import syntax
from sagittal.dicom.walk import decode_identifier
from sagittal.dimse.service import Request, Response
from sagittal.errors import IdentifierMismatch, SagittalError
from sagittal.limits import ReaderLimits
from sagittal.uid import is_uid

CHARACTER_SET, LEVEL, RETRIEVE_AET, AVAILABILITY = 0x00080005, 0x00080052, 0x00080054, 0x00080056
TIMEZONE, MEDIA_ID, MEDIA_UID = 0x00080201, 0x00880130, 0x00880140
PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
UNIQUE_KEYS = {"PATIENT": PATIENT_ID, "STUDY": STUDY_UID, "SERIES": SERIES_UID, "IMAGE": INSTANCE_UID}

_CONTROL = frozenset({CHARACTER_SET, LEVEL, RETRIEVE_AET, AVAILABILITY})
# Told of an entity, never said by an object: where the level has no such key there is nothing to search.
_TOLD = frozenset({0x00080061, 0x00080062, 0x00201200, 0x00201202, 0x00201204, 0x00201206, 0x00201208, 0x00201209})
_TOLD |= {MEDIA_ID, MEDIA_UID, TIMEZONE}
_BYTES = BINARY_VRS - {"UN"}


class KeyMismatch(IdentifierMismatch):
    """An identifier without a key it needs, or with one it may not have."""

    def __init__(self, text: str, tag: int) -> None:
        super().__init__(text)
        self.tag = tag


class Asked(NamedTuple):
    """One element of an identifier: what a response has to have in its place."""

    tag: int  # as asked, the block of a private one included
    vr: str
    key: Tag | None = None  # what the engine knows it as; None: nothing that it could know
    nested: tuple[Asked, ...] = ()  # of a sequence; (): all of it
    creator: str = ""  # the value of a private creator


@dataclass(frozen=True, slots=True)
class Identifier:
    """A decoded identifier. The control elements are left out of `keys`."""

    level: str
    keys: Keys = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()
    charsets: tuple[str, ...] = ()
    timezone: str = ""  # the requestor's offset from UTC, "" if it says none
    unsupported: frozenset[int] = frozenset()  # keys with a value that nothing can match

    def value(self, tag: int) -> str:
        """The text of a key, "" if it is missing or a sequence."""
        text = self.keys.get(tag, "")
        return text if isinstance(text, str) else ""

    def uids(self, level: str) -> list[str]:
        """The values of a level's unique key."""
        return [uid for uid in self.value(UNIQUE_KEYS[level]).split("\\") if uid]


def read_identifier(
    request: Request,
    levels: Sequence[str],
    limits: ReaderLimits,
    *,
    relational: bool = False,
    charsets: tuple[str, ...] = (),
) -> Identifier:
    """Decode the identifier of a request; check its level, and the unique keys above and below that.

    `charsets` are those of a requestor that names none, or none that there is.
    """
    elements, level = decode_request(request, levels, limits)
    read = _Reader(charsets, level)
    read.into(elements, read.keys, read.asked)
    identifier = Identifier(
        level,
        read.keys,
        tuple(sorted(read.asked, key=lambda asked: asked.tag)),
        read.charsets,
        _offset(elements),
        frozenset(read.unsupported),
    )
    if not relational:
        _check_hierarchy(identifier, levels)
    return identifier


def decode_request(request: Request, levels: Sequence[str], limits: ReaderLimits) -> tuple[dict[int, Element], str]:
    """The elements of a request's identifier, and its level, which has to be one of `levels`."""
    if not request.identifier:
        raise KeyMismatch("no identifier", LEVEL)
    elements = decode_identifier(request.identifier, syntax(request.context.transfer_syntax), _of_identifier(limits))
    level = elements[LEVEL].text().upper() if LEVEL in elements else ""
    if level not in levels:
        found = f"not {level[:16]}" if level else "which is missing"
        raise KeyMismatch(f"want {', '.join(levels)} as Query/Retrieve Level, {found}", LEVEL)
    return elements, level


@cache
def _of_identifier(limits: ReaderLimits) -> ReaderLimits:
    """An object may be larger, but is read in pieces and beside the loop."""
    bytes_max, elements_max = limits.identifier_inflated_bytes_max, limits.identifier_elements_max
    return replace(limits, elements_max=elements_max, inflate_bytes_max=bytes_max)


def _check_hierarchy(identifier: Identifier, levels: Sequence[str]) -> None:
    place = levels.index(identifier.level)
    for above in levels[:place]:
        value = identifier.value(UNIQUE_KEYS[above])
        if not value or "\\" in value or "*" in value or "?" in value:
            raise KeyMismatch(f"the {above} level wants one value of its unique key", UNIQUE_KEYS[above])
    for below in levels[place + 1 :]:
        if identifier.value(UNIQUE_KEYS[below]):
            text = f"a key of the {below} level at the {identifier.level} level"
            raise KeyMismatch(text, UNIQUE_KEYS[below])


def check_retrieve(identifier: Identifier) -> None:
    """C-MOVE and C-GET need UIDs at their level, one Patient ID at PATIENT (PS3.4 C.4.2.1.4.1)."""
    level, values = identifier.level, identifier.uids(identifier.level)
    if level != "PATIENT":
        check_uids(values, level)
    elif len(values) != 1:
        raise KeyMismatch("the PATIENT level wants one Patient ID", PATIENT_ID)


def check_uids(uids: Sequence[str], level: str) -> None:
    """Some, and each one a UID."""
    tag = UNIQUE_KEYS[level]
    if not uids:
        raise KeyMismatch(f"no UID at the {level} level", tag)
    if not all(is_uid(uid) for uid in uids):
        raise KeyMismatch(f"not a UID at the {level} level", tag)


def failure(error: SagittalError) -> Response:
    """The final response for an error: its status, comment and offending element."""
    extra = {"OffendingElement": [error.tag]} if isinstance(error, KeyMismatch) else {}
    return Response(error.dimse_status, comment=error.text, extra=extra)


class _Reader:
    """From elements to keys."""

    def __init__(self, charsets: tuple[str, ...], level: str) -> None:
        self._otherwise, self._level = charsets, level
        self.charsets: tuple[str, ...] = charsets
        self.keys: dict[Tag, str | Keys] = {}
        self.asked: list[Asked] = []
        self.unsupported: set[int] = set()

    def into(self, elements: dict[int, Element], keys: dict[Tag, str | Keys], asked: list[Asked]) -> None:
        """The keys of a data set or item; `depth_max` of the limits bounds the recursion."""
        outer = self.charsets
        if CHARACTER_SET in elements or asked is self.asked:
            self.charsets = self._charsets_of(elements)
        inside = self.charsets
        for tag, element in elements.items():
            if tag >> 16 > 7 and tag & 0xFFFF and tag not in _CONTROL:
                self._element(tag, element, elements, keys, asked)
            self.charsets = inside
        if asked is not self.asked:
            self.charsets = outer

    def _charsets_of(self, elements: dict[int, Element]) -> tuple[str, ...]:
        """As named; as usual for this requestor if none is named, or one that there isn't."""
        text = elements[CHARACTER_SET].text() if CHARACTER_SET in elements else ""
        if not text:
            return self._otherwise
        from sagittal.dicom import charset  # its tables are not needed for ASCII

        terms, defects = charset.parse(text)
        return self._otherwise if "charset-unknown" in defects and self._otherwise else terms

    def _element(
        self,
        tag: int,
        element: Element,
        around: dict[int, Element],
        keys: dict[Tag, str | Keys],
        asked: list[Asked],
    ) -> None:
        text = self._text(element)
        if tag & 0x00010000 and 0x10 <= tag & 0xFFFF <= 0xFF:
            asked.append(Asked(tag, "LO", creator=text))
            return
        key = self._key(tag, around)
        nested: list[Asked] = []
        if element.vr == "SQ":
            inner: dict[Tag, str | Keys] = {}
            if element.items:
                self.into(element.items[0], inner, nested)
            if len(element.items) > 1:  # only one is allowed, and the others are not matched (PS3.4 C.2.2.2.6)
                self.unsupported.add(tag)
            value: str | Keys = inner if _has_value(inner) else ""
        else:
            value = "" if element.vr in _BYTES else text
        if key is None or (element.vr in _BYTES and element.value):
            if value or element.vr in _BYTES:
                self.unsupported.add(tag)
            key = None
        elif asked is self.asked and not isinstance(key, Private) and key in _TOLD and key not in KEYS[self._level]:
            if value and key != TIMEZONE:
                self.unsupported.add(tag)
            key = None
        else:
            keys[key] = "" if key == TIMEZONE else value  # what it says is of the request, and matches nothing
        asked.append(Asked(tag, element.vr, key, tuple(sorted(nested, key=lambda one: one.tag))))

    @staticmethod
    def _key(tag: int, around: dict[int, Element]) -> Tag | None:
        """A private element is known by its creator, wherever its block is (PS3.5 7.8.1)."""
        if not tag & 0x00010000:
            return tag
        creator = around.get(tag & 0xFFFF0000 | (tag & 0xFF00) >> 8)
        name = creator.text() if creator is not None else ""
        return Private(name, tag & 0xFFFF00FF) if name else None

    def _text(self, element: Element) -> str:
        text = element.text(self.charsets)
        if "\ufffd" in text and element.vr in TEXT_VRS and self._otherwise not in ((), self.charsets):
            again = element.text(self._otherwise)
            return text if "\ufffd" in again else again
        return text


def _has_value(keys: Keys) -> bool:
    return any(_has_value(value) if not isinstance(value, str) else value for value in keys.values())


def _offset(elements: dict[int, Element]) -> str:
    text = elements[TIMEZONE].text() if TIMEZONE in elements else ""
    return text if is_offset(text) else ""
