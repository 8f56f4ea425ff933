"""How bytes are read at a place of a data set: VR encoding, byte order, character set (PS3.5 7.1, Annex A).

An item can change the character set and the signedness of its pixel values, an element of VR UN and undefined length
the VR encoding (PS3.5 6.2.2); `Coding` is immutable, so that leaving the item is taking the old one again. It reads the
head of an element, tolerating a VR that nobody knows and a missing one, and values that are no sequences.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sagittal.dicom.dictionary import VR_TEXTS, VRS, base_tag, vr_of
from sagittal.dicom.elements import BINARY_VRS, LONG_CODES, SHORT_CODES
from sagittal.dicom.scanning.memo import Entry, Extra, Memo, Table
from sagittal.dicom.scanning.values import STRING_VRS, WRITERS, plain_text

_STRUCTS = {
    True: (Struct("<HH2sH"), Struct("<HHI"), Struct("<I")),
    False: (Struct(">HH2sH"), Struct(">HHI"), Struct(">I")),
}


class Element(NamedTuple):
    """The head of an element at `at` (offset in the data set), and the place of its value in the block.

    `vr` is "" for items and delimiters. With fewer than `head` bytes there, `length` isn't known yet.
    """

    at: int
    tag: int
    vr: str
    length: int
    head: int  # bytes of the head
    value: int
    defect: str = ""


class Coding:
    """VR encoding, byte order, character sets, signedness of pixel values, and the memo table for all of them."""

    __slots__ = (
        "_explicit",
        "_implicit",
        "_length",
        "_memo_key",
        "charsets",
        "implicit",
        "little_endian",
        "memo",
        "signed",
        "table",
    )

    def __init__(
        self,
        memo: Memo,
        memo_key: object,
        implicit: bool,
        little_endian: bool = True,
        charsets: tuple[str, ...] = (),
        signed: bool = False,
    ) -> None:
        self.implicit, self.little_endian, self.charsets, self.signed = implicit, little_endian, charsets, signed
        self.memo, self._memo_key = memo, memo_key
        self.table: Table = memo.table((implicit, little_endian, charsets, signed, memo_key))
        self._explicit, self._implicit, self._length = _STRUCTS[little_endian]

    def with_charsets(self, charsets: tuple[str, ...]) -> Coding:
        return Coding(self.memo, self._memo_key, self.implicit, self.little_endian, charsets, self.signed)

    def with_signed(self, signed: bool) -> Coding:
        return Coding(self.memo, self._memo_key, self.implicit, self.little_endian, self.charsets, signed)

    def as_implicit(self) -> Coding:
        """PS3.5 6.2.2: the inside of UN with undefined length is Implicit VR Little Endian."""
        return Coding(self.memo, self._memo_key, True, True, self.charsets, self.signed)

    def element(self, data: bytes, pos: int, at: int) -> Element:
        """The head of the element at `pos`, of which at least 8 bytes are there."""
        if self.implicit:
            group, number, length = self._implicit.unpack_from(data, pos)
            tag = group << 16 | number
            return Element(at, tag, "" if group == 0xFFFE else vr_of(tag, self.signed), length, 8, pos + 8)
        group, number, code, length = self._explicit.unpack_from(data, pos)
        tag = group << 16 | number
        if group == 0xFFFE:  # has no VR, whatever its length looks like
            return Element(at, tag, "", self._length.unpack_from(data, pos + 4)[0], 8, pos + 8)
        vr = SHORT_CODES.get(code)
        if vr is not None:
            return Element(at, tag, vr, length, 8, pos + 8)
        vr = LONG_CODES.get(code)
        if vr is not None:
            return Element(at, tag, vr, self.long_length(data, pos), 12, pos + 12)
        if code.isalpha() and code.isupper():  # VRs to come have the long form (PS3.5 7.1.2)
            return Element(at, tag, "UN", self.long_length(data, pos), 12, pos + 12, "vr-unknown")
        vr, length = vr_of(tag, self.signed), self._length.unpack_from(data, pos + 4)[0]
        return Element(at, tag, vr, length, 8, pos + 8, "vr-missing")

    def item(self, data: bytes, pos: int) -> tuple[int, int]:
        """Tag and length of an item or a delimiter, of which 8 bytes are there (PS3.5 7.5)."""
        group, number, length = self._implicit.unpack_from(data, pos)
        return group << 16 | number, length

    def long_length(self, data: bytes, pos: int) -> int:
        """The length after the first 8 bytes of a head of 12."""
        return int.from_bytes(data[pos + 8 : pos + 12], "little" if self.little_endian else "big")

    def plain(self, data: bytes, pos: int) -> tuple[int, str, int]:
        """Tag, VR and length of the element at `pos` if its head is of 8 bytes and its value plain; else VR ""."""
        if self.implicit:
            group, number, length = self._implicit.unpack_from(data, pos)
            tag = group << 16 | number
            vr = vr_of(tag, True) if self.signed else VRS.get(tag, "")
            return tag, vr if vr != "SQ" and number and 2 < group < 0xFFFE else "", length
        group, number, code, length = self._explicit.unpack_from(data, pos)
        return group << 16 | number, SHORT_CODES.get(code, "") if number and 2 < group < 0xFFFE else "", length

    def read(self, tag: int, vr: str, raw: bytes, head: int, wanted: bool, build: bool, defect: str = "") -> Entry:
        """The entry of an element `raw` that is no sequence. `wanted`: with its text; `build`: with its JSON."""
        little, value = self.little_endian, raw[head:]
        defects = [defect] if defect else []
        if len(value) & 1:
            defects.append("odd-length")
        if VR_TEXTS.get(tag) != vr and _is_mismatch(tag, vr):
            defects.append("vr-mismatch")
        if vr == "UN" and (known := vr_of(tag, self.signed)) != "SQ" and known not in BINARY_VRS:
            vr, little = known, True  # PS3.5 6.2.2: the value is as in Implicit VR Little Endian
        json = ""
        if build:
            inside, found = WRITERS[vr](vr, value, self.charsets, little)
            json = f',"{tag:08X}":{{"vr":"{vr}"{inside}}}'
            if found:
                defects.append(found)
        if vr in BINARY_VRS and wanted:
            vr = vr_of(tag, self.signed)  # a name sent as OB is still to be found
        text = plain_text(vr, value, self.charsets, little) if wanted else None
        return tag, json, Extra(text, tuple(defects), 0, 0) if defects or wanted else None


def _is_mismatch(tag: int, vr: str) -> bool:
    """Whether a public element has another VR than PS3.6 gives it, or gave it in an earlier edition. UN fits all."""
    printed = VR_TEXTS.get(tag)
    if printed is None:
        if vr == "UN" or tag & 0x00010000:
            return False
        printed = VR_TEXTS.get(base_tag(tag), vr)
    return vr not in printed and vr != "UN" and vr not in _EARLIER.get(printed, ())


_EARLIER = {
    "UC": STRING_VRS,
    "UT": frozenset(("LT", "ST", "LO")),
    "UR": frozenset(("UT", "ST", "LO")),
    "LT": frozenset(("ST", "LO")),
    "LO": frozenset(("SH",)),
}
