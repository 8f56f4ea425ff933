"""Elements and small data sets to bytes, and what a decoded element says: identifiers, query responses (PS3.5 6, 7, A).

For data sets of at most a few hundred kilobytes held in memory, in the uncompressed transfer syntaxes. They are decoded
by `dicom.walk`; objects are read by `dicom.reader` and rewritten by `dicom.reencode`. Values are not judged here.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sagittal.dicom.syntaxes import TransferSyntax

UNDEFINED = 0xFFFFFFFF
LENGTH_SHORT_MAX = 0xFFFE  # the longest even value of a VR with 16-bit length
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
STRAY_GROUPS = (0x0000, 0x0002)  # command sets and meta groups; they have no place in a data set

# PS3.5 6.2 and 7.1.2: every VR, whether its explicit length has 32 bits, and the byte that pads an odd value.
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SHORT_VRS = frozenset({
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
})  # fmt: skip
TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # Specific Character Set applies (PS3.5 6.1.2.2)
ASCII_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
ONE_VALUE_VRS = frozenset({"LT", "ST", "UR", "UT"})  # a backslash parts nothing (PS3.5 6.2)
BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
INTEGER_VRS = frozenset(NUMBERS) - {"FL", "FD"} | {"IS"}
WORDS = {"AT": 2, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "SL": 4, "SS": 2, "SV": 8, "UL": 4}
WORDS |= {"US": 2, "UV": 8}  # bytes that change places with the byte order

LONG_CODES, SHORT_CODES = ({vr.encode("ascii"): vr for vr in of} for of in (LONG_VRS, SHORT_VRS))
VRS_BY_CODE = LONG_CODES | SHORT_CODES
CODES = {vr: code for code, vr in VRS_BY_CODE.items()}
PADDED_WITH_BLANK = TEXT_VRS | ASCII_VRS - {"UI"}
_ARRAY_CODES = {2: "H", 4: "I", 8: "Q"}
_IMPLICIT_LE = struct.Struct("<HHI").pack
_LENGTHS = {True: struct.Struct("<I"), False: struct.Struct(">I")}
_TAGS = {True: struct.Struct("<HH"), False: struct.Struct(">HH")}
_SHORT_HEADERS = {True: struct.Struct("<HH2sH").pack, False: struct.Struct(">HH2sH").pack}
_LONG_HEADERS = {True: struct.Struct("<HH2s2xI").pack, False: struct.Struct(">HH2s2xI").pack}


def _decode_text(value: bytes, charsets: Sequence[str], vr: str) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    from sagittal.dicom import charset  # its tables are not needed for ASCII

    return charset.decode(value, tuple(charsets), vr)


def padding(vr: str, length: int) -> bytes:
    """What makes a value of this length even (PS3.5 6.2)."""
    return b"" if not length & 1 else b" " if vr in PADDED_WITH_BLANK else b"\0"


def element_header(tag: int, vr: str, length: int, implicit: bool, little: bool) -> bytes:
    """Tag, VR and length of an element. A VR with 16-bit length becomes UN when the length needs 32 (PS3.5 6.2.2)."""
    if implicit:
        return _TAGS[little].pack(tag >> 16, tag & 0xFFFF) + _LENGTHS[little].pack(length)
    if vr in LONG_VRS:
        return _LONG_HEADERS[little](tag >> 16, tag & 0xFFFF, CODES[vr], length)
    if length > LENGTH_SHORT_MAX:
        return _LONG_HEADERS[little](tag >> 16, tag & 0xFFFF, b"UN", length)
    return _SHORT_HEADERS[little](tag >> 16, tag & 0xFFFF, CODES[vr], length)


def element_encoder(tag: int, vr: str, syntax: TransferSyntax) -> Callable[[bytes], bytes]:
    """A function from a value to the bytes of this one element (not deflated), for many values of the same."""
    implicit, little = syntax.implicit, syntax.little_endian
    width = 2 if not implicit and vr not in LONG_VRS else 4
    head = element_header(tag, vr, 0, implicit, little)[:-width]
    order = "<" if little else ">"
    pack, length_max = struct.Struct(f"{order}{'H' if width == 2 else 'I'}").pack, (1 << 8 * width) - 2
    pad = b" " if vr in PADDED_WITH_BLANK else b"\0"

    def encoded(value: bytes) -> bytes:
        length = len(value)
        if length & 1:
            value += pad
            length += 1
        if length > length_max:
            return element_header(tag, vr, length, implicit, little) + value
        return head + pack(length) + value

    return encoded


class Element(NamedTuple):
    """One decoded element: its value as it lay in the data set (padding included), or the items of a sequence."""

    tag: int
    vr: str
    value: bytes | list[dict[int, Element]]
    little_endian: bool = True

    @property
    def items(self) -> list[dict[int, Element]]:
        """The items of a sequence; none for anything else."""
        return self.value if isinstance(self.value, list) else []

    def text(self, charsets: Sequence[str] = ()) -> str:
        """The value as text, padding trimmed, values joined by a backslash, numbers in decimal; "" for a sequence."""
        value = self.value
        if isinstance(value, list):
            return ""
        if self.vr in NUMBERS or self.vr == "AT":
            return "\\".join(f"{n:08X}" if self.vr == "AT" else str(n) for n in self.numbers())
        text = _decode_text(value, charsets, self.vr) if self.vr in TEXT_VRS else value.decode("ascii", "replace")
        if self.vr in ONE_VALUE_VRS:
            return text.rstrip(" \0")
        return "\\".join(part.strip(" \0") for part in text.split("\\")) if "\\" in text else text.strip(" \0")

    def numbers(self) -> list[int | float]:
        """The values of a binary number VR (tags as 32-bit numbers for AT); a rest too short for one is left out."""
        if isinstance(self.value, list):
            return []
        order = "<" if self.little_endian else ">"
        code, size = ("H", 2) if self.vr == "AT" else (NUMBERS[self.vr], WORDS[self.vr])
        count = len(self.value) // size
        found = struct.unpack_from(f"{order}{count}{code}", self.value)
        if self.vr == "AT":
            return [found[i] << 16 | found[i + 1] for i in range(0, count - 1, 2)]
        return list(found)


def swapped(octets: bytes, word: int) -> bytes:
    """Words of 2, 4 or 8 octets in the other byte order (PS3.5 7.3), an incomplete last one as it is; of 1, all."""
    if word == 1:
        return octets
    whole = len(octets) // word * word
    words = array(_ARRAY_CODES[word])
    words.frombytes(octets[:whole])
    words.byteswap()
    return words.tobytes() + octets[whole:]


def encode(elements: Iterable[tuple[int, str, bytes]], syntax: TransferSyntax, *, as_given: bool = False) -> bytes:
    """A data set from (tag, VR, value) in any order (`as_given`: in that one).

    Values are in the byte order of `syntax`; odd ones are padded. The value of a sequence
    comes from `encode_sequence` with the same syntax.
    """
    parts: list[bytes] = []
    little = syntax.little_endian
    implicit, pack_short, pack_long = syntax.implicit, _SHORT_HEADERS[little], _LONG_HEADERS[little]
    for tag, vr, value in elements if as_given else sorted(elements):
        length = len(value)
        if length & 1:
            value += b" " if vr in PADDED_WITH_BLANK else b"\0"
            length += 1
        if implicit:
            parts.append(_IMPLICIT_LE(tag >> 16, tag & 0xFFFF, length))
        elif vr in LONG_VRS:
            parts.append(pack_long(tag >> 16, tag & 0xFFFF, CODES[vr], length))
        elif length > LENGTH_SHORT_MAX:  # PS3.5 6.2.2: a value too long for its VR's 16-bit length goes as UN
            parts.append(pack_long(tag >> 16, tag & 0xFFFF, b"UN", length))
        else:
            parts.append(pack_short(tag >> 16, tag & 0xFFFF, CODES[vr], length))
        parts.append(value)
    encoded = b"".join(parts)
    return deflate(encoded) if syntax.deflated else encoded


def encode_sequence(items: Iterable[bytes], syntax: TransferSyntax) -> bytes:
    """The value of a sequence whose items are data sets from `encode` (not deflated), with defined lengths."""
    tag, length = _TAGS[syntax.little_endian].pack(0xFFFE, 0xE000), _LENGTHS[syntax.little_endian]
    return b"".join(part for item in items for part in (tag, length.pack(len(item)), item))


def encode_text(vr: str, text: str, charsets: Sequence[str] = ()) -> bytes:
    """The bytes of a text value. What a character set can't hold becomes "?"."""
    if text.isascii():
        return text.encode("ascii")
    if vr in TEXT_VRS:
        from sagittal.dicom import charset

        return charset.encode(text, tuple(charsets), vr)
    return text.encode("ascii", "replace")


def encode_numbers(vr: str, values: Iterable[int | float], syntax: TransferSyntax) -> bytes:
    """The bytes of a binary number VR; for AT, tags as 32-bit numbers."""
    order = "<" if syntax.little_endian else ">"
    if vr == "AT":
        halves = [half for tag in values for half in (int(tag) >> 16, int(tag) & 0xFFFF)]
        return struct.pack(f"{order}{len(halves)}H", *halves)
    found = list(values)
    return struct.pack(f"{order}{len(found)}{NUMBERS[vr]}", *found)


def deflate(data: bytes) -> bytes:
    """Raw deflate, padded to even length (PS3.5 A.5)."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" if len(packed) & 1 else packed
