"""Whether two elements in DICOM JSON, each of a data set of its own, hold the same, however the data sets are encoded.

Byte order is seen through, and a VR that only one of the two knows; bulk data is compared where it lies. Deliberately
not here: encapsulated pixel data, which has no place, and what a difference means.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sagittal.dicom.elements import INTEGER_VRS, NUMBERS, WORDS, encode_numbers, swapped
from sagittal.dicom.models.members import value_text
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax

BULK = re.compile(r"[0-9A-F/]+\?offset=([0-9]+)&length=([0-9]+)\Z")
# Of the encoding, not of the content: group lengths are not in the metadata, this is padding.
NO_CONTENT = {"FFFCFFFC"}
_BLOCK = 1 << 20


class Side(Protocol):
    """The data set that an element is of."""

    @property
    def read(self) -> Callable[[int, int], bytes]:
        """Bytes of it by offset and length."""

    @property
    def syntax_uid(self) -> str: ...


def is_same(one: Mapping[str, Any], other: Mapping[str, Any], new: Side, old: Side) -> bool:
    """Whether two elements, by DICOM JSON, hold the same."""
    bulk, other_bulk = one.get("BulkDataURI"), other.get("BulkDataURI")
    if bulk is None and other_bulk is None:
        if one == other:
            return True
        if one["vr"] != other["vr"]:
            return _plain(one) is not None and _plain(one) == _plain(other)
        if one["vr"] != "SQ":
            return False
        return _same_items(one.get("Value", []), other.get("Value", []), new, old)
    if bulk is None or other_bulk is None:
        return False
    ours, theirs = BULK.match(bulk), BULK.match(other_bulk)
    if ours is None or theirs is None:  # encapsulated pixel data has no range of its own
        return ours is None and theirs is None and new.syntax_uid == old.syntax_uid
    return _same_range(one["vr"], _range(ours), _range(theirs), new, old)


def _same_items(ours: list[Any], theirs: list[Any], new: Side, old: Side) -> bool:
    if len(ours) != len(theirs):
        return False
    for one, other in zip(ours, theirs, strict=True):
        one, other = one or {}, other or {}
        tags = (one.keys() | other.keys()) - NO_CONTENT
        if not all(tag in one and tag in other and is_same(one[tag], other[tag], new, old) for tag in tags):
            return False
    return True


def _plain(element: Mapping[str, Any]) -> bytes | None:
    """The Little Endian bytes of a short value, padding off: an UN here may be a known VR there."""
    vr, values = element["vr"], element.get("Value", [])
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"]).rstrip(b"\0 ")
    if vr in NUMBERS or vr == "AT":
        read = (lambda tag: int(tag, 16)) if vr == "AT" else int if vr in INTEGER_VRS else float
        return encode_numbers(vr, map(read, values), syntax(EXPLICIT_LE)).rstrip(b"\0 ")
    if vr == "PN":
        values = [value_text(name) for name in values]
    if all(isinstance(value, str) for value in values):
        return "\\".join(values).encode().rstrip(b"\0 ")
    return None


def _range(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2])


def _same_range(vr: str, ours: tuple[int, int], theirs: tuple[int, int], new: Side, old: Side) -> bool:
    differ = syntax(new.syntax_uid).little_endian != syntax(old.syntax_uid).little_endian
    word = WORDS.get(vr, 1) if differ else 1
    length = ours[1]
    if length != theirs[1]:
        return False
    for start in range(0, length, _BLOCK):
        size = min(_BLOCK, length - start)
        one, other = new.read(ours[0] + start, size), old.read(theirs[0] + start, size)
        if swapped(one, word) != other:
            return False
    return True
