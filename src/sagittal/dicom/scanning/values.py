"""Values as text: the DICOM JSON members of an element (PS3.18 F.2) and the plain text of an indexed attribute.

`members` gives what follows `"vr":"XX"`. Where PS3.18 leaves a choice: text without its padding (PS3.5 6.2), empty
values as null; DS and IS as numbers, verbatim when they are JSON numbers, and as strings when no number can be read;
FL and FD that are no numbers as "NaN", "inf", "-inf"; SV and UV beyond 2^53 as strings (a browser would round them).
Binary values are Little Endian. Bulk data and sequences are the reader's.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from json.encoder import encode_basestring
from math import isfinite
from struct import unpack

from sagittal.dicom.charset import decode_checked
from sagittal.dicom.dictionary import NAME_GROUPS
from sagittal.dicom.elements import ASCII_VRS, BINARY_VRS, NUMBERS, ONE_VALUE_VRS, TEXT_VRS, WORDS, swapped

Members = tuple[str, str]  # the JSON members with a comma before them ("" for an empty value), a defect's name or ""

STRING_VRS = TEXT_VRS | ASCII_VRS
_PADDING = " \0"

_NUMBER = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,24})?(?:[eE][+-]?[0-9]{1,2})?"
_JSON_NUMBERS = re.compile(rf"{_NUMBER}(?:\\{_NUMBER})*\Z")
_LOOSE_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_NUMBER_CHARACTERS_MAX = 64  # PS3.5 6.2 allows 16; longer digits are kept as a string


def members(vr: str, raw: bytes, charsets: tuple[str, ...] = (), little_endian: bool = True) -> Members:
    """The JSON members of a value that isn't a sequence."""
    return WRITERS[vr](vr, raw, charsets, little_endian)


def plain_text(vr: str, raw: bytes, charsets: tuple[str, ...] = (), little_endian: bool = True) -> str:
    """The value as one Unicode string: padding gone, values joined by backslashes; binary values give ""."""
    if vr in STRING_VRS:
        text = decode_checked(raw, charsets if vr in TEXT_VRS else (), vr)[0]
        if vr in ONE_VALUE_VRS:
            return text.rstrip(_PADDING)
        if "\\" not in text:
            return text.strip(_PADDING)
        return "\\".join(value.strip(_PADDING) for value in text.split("\\"))
    if vr == "AT":
        return "\\".join(_tags(raw, little_endian))
    return "\\".join(map(_decimal, _numbers(vr, raw, little_endian))) if vr in NUMBERS else ""


def _decimal(number: float) -> str:
    return (
        repr(number) if isinstance(number, int) or not number.is_integer() or abs(number) > 1e15 else str(int(number))
    )


def _numbers(vr: str, raw: bytes, little_endian: bool) -> tuple[float, ...]:
    count = len(raw) // WORDS[vr]
    return unpack(f"{'<' if little_endian else '>'}{count}{NUMBERS[vr]}", raw[: count * WORDS[vr]])


def _tags(raw: bytes, little_endian: bool) -> list[str]:
    halves = unpack(f"{'<' if little_endian else '>'}{len(raw) // 4 * 2}H", raw[: len(raw) // 4 * 4])
    return [f"{halves[at]:04X}{halves[at + 1]:04X}" for at in range(0, len(halves), 2)]


def _write_text(vr: str, raw: bytes, charsets: tuple[str, ...], little_endian: bool) -> Members:
    """SH LO UC, ST LT UT, and with the default repertoire AE AS CS DA DT TM UI UR."""
    good = raw.isascii() and b"\x1b" not in raw
    if good:
        text = raw.decode("ascii").rstrip(_PADDING)
    else:
        text, good = decode_checked(raw, charsets if vr in TEXT_VRS else (), vr)
        text = text.rstrip(_PADDING)
    if not text:
        return "", ""
    if vr in ONE_VALUE_VRS:
        value = encode_basestring(text)
    elif "\\" in text:
        value = ",".join([_quoted(part.strip(_PADDING)) for part in text.split("\\")])
    else:
        value = encode_basestring(text.lstrip(_PADDING))
    return (f',"Value":[{value}]', "") if good else _undecodable(value, raw)


def _quoted(text: str) -> str:
    return encode_basestring(text) if text else "null"


def _undecodable(value: str, raw: bytes) -> Members:
    return f',"Value":[{value}],"sagittal:bytes":"{b64encode(raw).decode()}"', "text-undecodable"


def _write_person_names(vr: str, raw: bytes, charsets: tuple[str, ...], little_endian: bool) -> Members:
    text, good = decode_checked(raw, charsets, "PN")
    text = text.strip(_PADDING)
    if not text:
        return "", ""
    if "\\" in text or "=" in text:
        value = ",".join(map(_person_name, text.split("\\")))
    else:
        value = f'{{"Alphabetic":{encode_basestring(text)}}}'
    return (f',"Value":[{value}]', "") if good else _undecodable(value, raw)


def _person_name(text: str) -> str:
    groups = zip(NAME_GROUPS, text.split("="), strict=False)
    parts = [
        f'"{name}":{encode_basestring(group)}' for name, group in ((n, g.strip(_PADDING)) for n, g in groups) if group
    ]
    return "{" + ",".join(parts) + "}" if parts else "null"


def _write_decimals(vr: str, raw: bytes, charsets: tuple[str, ...], little_endian: bool) -> Members:
    """DS and IS."""
    text, good = decode_checked(raw, (), vr)
    text = text.strip(_PADDING)
    if not text:
        return "", ""
    if _JSON_NUMBERS.match(text):
        return f',"Value":[{text.replace(chr(92), ",")}]', ""
    value = ",".join([_number_or_text(vr, part.strip(_PADDING)) for part in text.split("\\")])
    if not good:
        return _undecodable(value, raw)
    return f',"Value":[{value}]', "number-invalid" if '"' in value else ""


def _number_or_text(vr: str, text: str) -> str:
    if not text:
        return "null"
    if len(text) > _NUMBER_CHARACTERS_MAX or not _LOOSE_NUMBER.match(text):
        return encode_basestring(text)
    if _JSON_NUMBERS.match(text):
        return text
    digits = text.lstrip("+")
    if digits.lstrip("-").isdecimal():
        return str(int(digits))
    number = float(digits)
    if not isfinite(number):
        return encode_basestring(text)
    return str(int(number)) if vr == "IS" and number.is_integer() and abs(number) < 1e15 else repr(number)


def _write_numbers(vr: str, raw: bytes, charsets: tuple[str, ...], little_endian: bool) -> Members:
    if not raw:
        return "", ""
    numbers = _numbers(vr, raw, little_endian)
    defect = "value-length-uneven" if len(raw) % WORDS[vr] else ""
    if len(numbers) == 1:
        value = _number(numbers[0])
    elif vr in ("FL", "FD", "SV", "UV"):
        value = ",".join(map(_number, numbers))
    else:
        value = ",".join(map(str, numbers))
    return (f',"Value":[{value}]' if value else ""), defect


def _number(number: float) -> str:
    if isinstance(number, int):
        return str(number) if -(1 << 53) <= number <= 1 << 53 else f'"{number}"'
    return repr(number) if isfinite(number) else '"NaN"' if number != number else f'"{number}"'


def _write_tags(vr: str, raw: bytes, charsets: tuple[str, ...], little_endian: bool) -> Members:
    tags = _tags(raw, little_endian)
    value = ",".join(f'"{tag}"' for tag in tags)
    return (f',"Value":[{value}]' if value else ""), "value-length-uneven" if len(raw) % 4 else ""


def _write_binary(vr: str, raw: bytes, charsets: tuple[str, ...], little_endian: bool) -> Members:
    if not raw:
        return "", ""
    if not little_endian:
        raw = swapped(raw, WORDS.get(vr, 1))
    return f',"InlineBinary":"{b64encode(raw).decode()}"', ""


_Writer = Callable[[str, bytes, tuple[str, ...], bool], Members]
WRITERS: dict[str, _Writer] = {
    **dict.fromkeys(STRING_VRS, _write_text),
    **dict.fromkeys(NUMBERS, _write_numbers),
    **dict.fromkeys(BINARY_VRS, _write_binary),
    "PN": _write_person_names,
    "DS": _write_decimals,
    "IS": _write_decimals,
    "AT": _write_tags,
}
