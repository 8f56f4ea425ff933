"""A DICOM JSON object to the bytes of a data set: the inverse of what `dicom.reader` makes of one (PS3.18 F, PS3.5 7).

Text becomes ISO_IR 192 as soon as any of it is not ASCII, whatever the object says of its character set: DICOM JSON is
Unicode. Group 0002 and group lengths are left out. A number may come as JSON number or as text, which is kept digit by
digit in DS and IS. Bulk data is taken from `bulk` and goes through in the chunks that it gives; everything else is
small and is held. Deliberately not here: JSON text (any parser gives the object), and which attributes an object needs.
"""

from __future__ import annotations

import binascii
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sagittal.dicom.charset import UTF_8
from sagittal.dicom.dictionary import NAME_GROUPS, tag_text, vr_of
from sagittal.dicom.elements import (
    ASCII_VRS,
    CODES,
    ITEM,
    LENGTH_SHORT_MAX,
    LONG_VRS,
    NUMBERS,
    SEQUENCE_END,
    TEXT_VRS,
    UNDEFINED,
    element_header,
    padding,
)
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, TransferSyntax
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import ReaderLimits

_CHARACTER_SET = 0x00080005
_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_DS_CHARACTERS_MAX = 16  # PS3.5 6.2
_HELD_BYTES = 1 << 16  # small parts are given together


class Bulk(NamedTuple):
    """Bulk data: so many bytes, in chunks. Words are Little Endian."""

    length: int
    chunks: Iterable[bytes]


class Encapsulated(NamedTuple):
    """Pixel data as fragments (PS3.5 A.4), each padded to even length here."""

    fragments: Sequence[Bulk]
    offsets: bytes = b""  # the Basic Offset Table


Resolve = Callable[[str], "Bulk | Encapsulated"]
_Part = bytes | Bulk


def no_bulk_data(uri: str) -> Bulk:
    """For objects that may refer to none: BadRequest."""
    raise BadRequest("bulk data has no place here")


def data_set(
    obj: Mapping[str, Any],
    syntax: TransferSyntax,
    bulk: Resolve = no_bulk_data,
    limits: ReaderLimits = ReaderLimits(),
) -> Iterator[bytes]:
    """The data set of a DICOM JSON object in an uncompressed `syntax`, or in one that encapsulates.

    `bulk` gives what a BulkDataURI names. BadRequest when the object can't be encoded, before the first byte.
    """
    if is_unicode(obj):
        obj = {**obj, "00080005": {"vr": "CS", "Value": [UTF_8]}}
    parts, _ = _Encoder(bulk, limits).elements(obj, 0)
    explicit = SYNTAXES[EXPLICIT_LE]
    return reencode(_joined(parts), explicit, explicit if syntax.encapsulated else syntax, limits)


def element_value(vr: str, element: Mapping[str, Any]) -> bytes:
    """The value of one element without bulk data, Little Endian, text in UTF-8; not padded."""
    if "InlineBinary" in element:
        return _inline(element["InlineBinary"])
    if "sagittal:bytes" in element:  # what no character set could read, as it was
        return _inline(element["sagittal:bytes"])
    values = element.get("Value") or []
    if not isinstance(values, list):
        raise BadRequest("a Value is not an array")
    if vr == "PN":
        return _utf8("\\".join(map(_person_name, values)))
    if vr in NUMBERS:
        return _numbers(vr, values)
    if vr == "AT":
        return b"".join(map(_tag, values))
    if vr in TEXT_VRS or vr in ASCII_VRS:
        return _utf8("\\".join(_text(vr, value) for value in values))
    if values:
        raise BadRequest(f"{vr} has its value as InlineBinary or BulkDataURI")
    return b""


def is_unicode(obj: Mapping[str, Any]) -> bool:
    """Whether any text needs more than ASCII. Iterative: what is nested deeply is refused later."""
    waiting: list[Any] = [obj]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            if not found.isascii():
                return True
        elif isinstance(found, Mapping):
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
    return False


class _Encoder:
    """One object on its way to parts, in Explicit VR Little Endian."""

    def __init__(self, bulk: Resolve, limits: ReaderLimits) -> None:
        self._bulk, self._limits = bulk, limits
        self._utf_8 = False

    def elements(self, obj: Mapping[str, Any], depth: int) -> tuple[list[_Part], int]:
        """The parts of a data set or item and their length together."""
        if not isinstance(obj, Mapping):
            raise BadRequest("an item is not an object")
        if depth > self._limits.depth_max:
            raise LimitExceeded(f"sequences are nested deeper than {self._limits.depth_max} (depth_max)")
        parts: list[_Part] = []
        total = 0
        numbered = {_tag_number(key): element for key, element in obj.items()}
        if len(numbered) < len(obj):
            raise BadRequest("a tag comes twice, in upper and lower case")
        for tag, element in sorted(numbered.items()):
            if tag >> 16 in (0, 2) or not tag & 0xFFFF:
                continue
            if tag >> 16 == 0xFFFE:
                raise BadRequest(f"(FFFE,{tag & 0xFFFF:04X}) is an item or a delimiter, and no element (PS3.5 7.5)")
            if tag == _CHARACTER_SET:
                element = self._character_set(element, depth)
            try:
                made, length = self._element(tag, element, depth)
            except (BadRequest, LimitExceeded) as error:
                raise type(error)(f"{tag_text(tag)}: {error}") from None
            parts += made
            total += length
        return parts, total

    def _character_set(self, element: Any, depth: int) -> Any:
        """Within UTF-8 every item is UTF-8."""
        if depth == 0 and isinstance(element, Mapping):
            self._utf_8 = element.get("Value") == [UTF_8]
        return {"vr": "CS", "Value": [UTF_8]} if self._utf_8 else element

    def _element(self, tag: int, element: Any, depth: int) -> tuple[list[_Part], int]:
        if not isinstance(element, Mapping):
            raise BadRequest("not an element of DICOM JSON")
        vr = element.get("vr") or vr_of(tag)
        if not isinstance(vr, str) or vr not in CODES:
            raise BadRequest(f"there is no VR {str(vr)[:8]!r}")
        if "BulkDataURI" in element:
            return self._bulk_data(tag, vr, element["BulkDataURI"])
        if vr == "SQ":
            return self._sequence(tag, element.get("Value") or [], depth)
        value = element_value(vr, element)
        value += padding(vr, len(value))
        encoded = element_header(tag, vr, len(value), False, True) + value
        return [encoded], len(encoded)

    def _sequence(self, tag: int, items: Any, depth: int) -> tuple[list[_Part], int]:
        if not isinstance(items, list):
            raise BadRequest("the Value of a sequence is not an array")
        parts: list[_Part] = [b""]
        total = 0
        for item in items:
            made, length = self.elements(item or {}, depth + 1)
            parts += (element_header(ITEM, "", length, True, True), *made)
            total += 8 + length
        if total >= UNDEFINED:
            raise LimitExceeded("a sequence of more than 4 GiB")
        parts[0] = element_header(tag, "SQ", total, False, True)
        return parts, total + len(parts[0])

    def _bulk_data(self, tag: int, vr: str, uri: Any) -> tuple[list[_Part], int]:
        if not isinstance(uri, str) or vr == "SQ":
            raise BadRequest("a BulkDataURI is a text, and no sequence has one")
        found = self._bulk(uri)
        if isinstance(found, Encapsulated):
            return _encapsulated(tag, found)
        if found.length > LENGTH_SHORT_MAX and vr not in LONG_VRS:
            raise BadRequest(f"a value of {found.length} bytes does not fit {vr}")
        pad = padding(vr, found.length)
        length = found.length + len(pad)
        if length >= UNDEFINED:
            raise LimitExceeded("a value of more than 4 GiB")
        head = element_header(tag, vr, length, False, True)
        return [head, found, pad], len(head) + length


def _encapsulated(tag: int, found: Encapsulated) -> tuple[list[_Part], int]:
    parts: list[_Part] = [
        element_header(tag, "OB", UNDEFINED, False, True),
        element_header(ITEM, "", len(found.offsets), True, True) + found.offsets,
    ]
    total = len(parts[0]) + 8 + len(found.offsets)
    for fragment in found.fragments:
        pad = b"\0" * (fragment.length & 1)
        length = fragment.length + len(pad)
        if length >= UNDEFINED:
            raise LimitExceeded("a fragment of more than 4 GiB")
        parts += (element_header(ITEM, "", length, True, True), fragment, pad)
        total += 8 + length
    parts.append(element_header(SEQUENCE_END, "", 0, True, True))
    return parts, total + 8


def _joined(parts: Iterable[_Part]) -> Iterator[bytes]:
    """Small parts together, bulk data as it comes; a chunk that is missing or too many is an error of its giver."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        chunks: Iterable[bytes] = (part,) if isinstance(part, bytes) else part.chunks
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= _HELD_BYTES:
                yield b"".join(held)
                held, size = [], 0
    if held:
        yield b"".join(held)


def _tag_number(key: Any) -> int:
    if isinstance(key, str) and _TAG.match(key):
        return int(key, 16)
    raise BadRequest(f"{str(key)[:40]!r} is not a tag of eight hexadecimal digits")


def _inline(text: Any) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise BadRequest("InlineBinary is not base64") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadRequest("half of a surrogate pair is no character (RFC 8259 8.2)") from None


def _person_name(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(value.get(group, ""), str) for group in NAME_GROUPS):
        raise BadRequest("a person name is an object of Alphabetic, Ideographic and Phonetic")
    if unknown := [name for name in value if name not in NAME_GROUPS]:  # passed over, it would leave the name empty
        raise BadRequest(f"{unknown[0][:64]!r} is no group of a person name: Alphabetic, Ideographic and Phonetic are")
    return "=".join(value.get(group, "") for group in NAME_GROUPS).rstrip("=")


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or vr not in ("DS", "IS"):
        raise BadRequest(f"a value of {vr} is a text")
    text = str(int(value) if vr == "IS" and value == value // 1 else value)
    for digits in range(_DS_CHARACTERS_MAX, 0, -1):
        if len(text) <= _DS_CHARACTERS_MAX or isinstance(value, int):
            break
        text = f"{value:.{digits}g}"
    return text


def _numbers(vr: str, values: list[Any]) -> bytes:
    kind = float if vr in ("FL", "FD") else _whole
    try:
        return struct.pack(f"<{len(values)}{NUMBERS[vr]}", *(kind(value) for value in values))
    except (struct.error, TypeError, ValueError, OverflowError):
        raise BadRequest(f"not a number of {vr}") from None


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise ValueError
    return number


def _tag(value: Any) -> bytes:
    number = _tag_number(value)
    return struct.pack("<HH", number >> 16, number & 0xFFFF)
