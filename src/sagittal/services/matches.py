"""From rows of the engine to the data sets of Pending responses (PS3.4 C.4.1.1.3.2).

A response has what was asked, in its place: from the index, from the metadata of an instance (DICOM JSON), or without a
value when neither has it; only an offset from UTC that is not known is left out. Beside it the level, where to retrieve
from and that it is online. In the character set of the requestor if that can hold the text.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sagittal.archive.query import Private, Row
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.elements import (
    NUMBERS,
    TEXT_VRS,
    WORDS,
    deflate,
    element_encoder,
    encode,
    encode_numbers,
    encode_sequence,
    encode_text,
    swapped,
)
from sagittal.dicom.syntaxes import EXPLICIT_LE, TransferSyntax, syntax
from sagittal.errors import SagittalError
from sagittal.services.identifier import AVAILABILITY, CHARACTER_SET, LEVEL, RETRIEVE_AET, TIMEZONE, Asked, Identifier

_MEMO_VALUES_MAX = 256  # of a column
Json = Mapping[str, Any]
Encode = Callable[[Row, Json], bytes]


def row_encoder(columns: Sequence[int], identifier: Identifier, aet: str, to: TransferSyntax) -> Encode:
    """A function from a row and its DICOM JSON members to the data set of one Pending response."""
    plain = syntax(EXPLICIT_LE) if to.deflated else to
    beside = [asked for asked in identifier.asked if asked.key is None or asked.key not in columns]
    constants = {
        LEVEL: encode([(LEVEL, "CS", identifier.level.encode("ascii"))], plain),
        RETRIEVE_AET: encode([(RETRIEVE_AET, "AE", aet.encode("ascii", "replace"))], plain),
        AVAILABILITY: encode([(AVAILABILITY, "CS", b"ONLINE")], plain),
        **{asked.tag: _without_value(asked, plain) for asked in beside},
    }

    between = _places(columns, constants)

    @cache
    def encoders(charsets: tuple[str, ...]) -> list[_Column]:
        return [_Column(tag, charsets, plain) for tag in columns]

    def encoded(row: Row, more: Json) -> bytes:
        first = b""
        charsets: tuple[str, ...] = ()
        try:
            parts = [column[value] for column, value in zip(ascii_only, row, strict=True)]
            beyond = bool(more) and not all(text.isascii() for text in _texts(more))
        except UnicodeEncodeError:
            beyond = True
        if beyond:
            text = "".join([*(value for value in row if isinstance(value, str)), *_texts(more)])
            charsets = charsets_for(text, identifier.charsets)
            first = encode([(CHARACTER_SET, "CS", "\\".join(charsets).encode("ascii"))], plain)
            parts = [column[value] for column, value in zip(encoders(charsets), row, strict=True)]
        if more:
            found = {**constants, **_found(beside, more, charsets, plain)}
            data_set = first + b"".join(part for _, part in sorted([*zip(columns, parts, strict=True), *found.items()]))
        else:
            for place, constant in between:
                parts.insert(place, constant)
            data_set = first + b"".join(parts)
        return deflate(data_set) if to.deflated else data_set

    ascii_only = encoders(())
    return encoded


def _places(columns: Sequence[int], constants: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    """Before which column which constants go, the last first."""
    places: dict[int, bytes] = {}
    for tag in sorted(constants):
        place = bisect(columns, tag)
        places[place] = places.get(place, b"") + constants[tag]
    return sorted(places.items(), reverse=True)


class _Column(dict[str | int | None, bytes]):
    """The elements of one column by value: much repeats in an answer (dates, modalities, nothing).

    Without character sets, a value beyond ASCII is a UnicodeEncodeError.
    """

    def __init__(self, tag: int, charsets: tuple[str, ...], to: TransferSyntax) -> None:
        super().__init__()
        self._tag, self._vr, self._charsets, self._to = tag, vr_of(tag), charsets, to
        self._encode = element_encoder(tag, self._vr, to)

    def __missing__(self, value: str | int | None) -> bytes:
        text = "" if value is None else str(value)
        element = self._encode(self._value(text)) if text or self._tag != TIMEZONE else b""
        if len(self) < _MEMO_VALUES_MAX:
            self[value] = element
        return element

    def _value(self, text: str) -> bytes:
        if self._vr not in NUMBERS:
            return encode_text(self._vr, text, self._charsets) if self._charsets else text.encode("ascii")
        kind = float if self._vr in ("FL", "FD") else int
        return encode_numbers(self._vr, [kind(number) for number in text.split("\\")] if text else [], self._to)


def _without_value(asked: Asked, to: TransferSyntax) -> bytes:
    """A key that nothing is known of comes back with zero length; a private creator is said again.

    Timezone Offset From UTC must not be sent with zero length (PS3.4 C.4.1.1.3.2).
    """
    if asked.tag == TIMEZONE:
        return b""
    if asked.creator:
        return encode([(asked.tag, "LO", encode_text("LO", asked.creator))], to)
    return encode([(asked.tag, _vr(asked), b"")], to)


def _vr(asked: Asked) -> str:
    known = vr_of(asked.tag)
    return asked.vr if known == "UN" else known


def _found(beside: Iterable[Asked], more: Json, charsets: tuple[str, ...], to: TransferSyntax) -> dict[int, bytes]:
    """The elements that DICOM JSON has of what was asked."""
    found = {}
    for asked in beside:
        member = _member(asked, more)
        if member is not None:
            found[asked.tag] = _element(asked.tag, member, asked.nested, charsets, to)
    return found


def _member(asked: Asked, obj: Json) -> Json | None:
    key = asked.key
    if not isinstance(key, Private):
        return None if key is None else obj.get(f"{key:08X}")
    for name, member in obj.items():  # the block that this object gave the creator
        tag = int(name, 16)
        if tag >> 16 == key.tag >> 16 and 0x10 <= tag & 0xFFFF <= 0xFF and member.get("Value") == [key.creator]:
            found: Json | None = obj.get(f"{key.tag & 0xFFFF0000 | (tag & 0xFF) << 8 | key.tag & 0xFF:08X}")
            if found is not None:
                return found
    return None


def _element(tag: int, member: Json, nested: Sequence[Asked], charsets: tuple[str, ...], to: TransferSyntax) -> bytes:
    vr = member.get("vr", "UN")
    try:
        if vr == "SQ":
            items = [_item(item or {}, nested, charsets, to) for item in member.get("Value") or ()]
            return encode([(tag, vr, encode_sequence(items, to))], to)
        return encode([(tag, vr, _value(vr, member, charsets, to))], to)
    except (SagittalError, ValueError):  # a value that its VR can't have: as if there were none
        return encode([(tag, vr, b"")], to)


def _item(item: Json, nested: Sequence[Asked], charsets: tuple[str, ...], to: TransferSyntax) -> bytes:
    """What was asked of an item; all of it if nothing in particular was."""
    if not nested:
        return b"".join(_element(int(name, 16), item[name], (), charsets, to) for name in sorted(item))
    found = {asked.tag: _without_value(asked, to) for asked in nested} | _found(nested, item, charsets, to)
    return b"".join(found[tag] for tag in sorted(found))


def _value(vr: str, member: Json, charsets: tuple[str, ...], to: TransferSyntax) -> bytes:
    if "BulkDataURI" in member:
        return b""  # retrieved, not queried
    from sagittal.dicom.models.encode import element_value  # not needed by queries of the index alone

    value = element_value(vr, member)
    if vr in TEXT_VRS and "Value" in member:
        return encode_text(vr, value.decode("utf-8", "replace"), charsets)
    return value if to.little_endian else swapped(value, WORDS.get(vr, 1))


def _texts(obj: Any) -> Iterator[str]:
    """Every text in a DICOM JSON value."""
    if isinstance(obj, str):
        yield obj
    elif obj:
        for inner in obj.values() if isinstance(obj, Mapping) else obj if isinstance(obj, list) else ():
            yield from _texts(inner)


def charsets_for(text: str, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Specific Character Set of a response: as requested if that can hold `text`, else ISO_IR 192.

    Who requests none gets Latin-1 if that does: more of those who say nothing read it.
    """
    if text.isascii():
        return ()
    if requested:
        return requested if _holds(text, requested) else ("ISO_IR 192",)
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return ("ISO_IR 192",)
    return ("ISO_IR 100",)


def _holds(text: str, charsets: tuple[str, ...]) -> bool:
    from sagittal.dicom import charset  # its tables are not needed for ASCII

    return charset.decode(charset.encode(text, charsets, "LT"), charsets, "LT") == text
