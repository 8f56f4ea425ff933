"""How bytes are read at a place of a data set: VR encoding, byte order, character set (PS3.5 7.1, Annex A).

An item can change the character set and the signedness of its pixel values, an element of VR UN and undefined length the VR
encoding (PS3.5 6.2.2); `Coding` is immutable, so that leaving the item is taking the old one again. Reads the head of one element
and tolerates a VR that nobody knows and a missing one.
"""

from __future__ import annotations

from struct import Struct

from sagittal.dicom.dictionary import VR_TEXTS, base_tag, vr_of
from sagittal.dicom.memo import Memo, Table
from sagittal.dicom.values import BINARY_VRS, STRING_VRS

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))  # PS3.5 7.1.2
SHORT_VRS = frozenset("AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_FORMS: dict[bytes, tuple[str, int]] = {
    **{vr.encode(): (vr, 12) for vr in LONG_VRS},
    **{vr.encode(): (vr, 8) for vr in SHORT_VRS},
}

# tag, VR ("" for items and delimiters), value length, bytes of the head (more than are there: ask again), defect or ""
Head = tuple[int, str, int, int, str]


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

    def head(self, data: bytes, pos: int) -> Head:
        """The head of the element at `pos`, of which at least 8 bytes are there."""
        if self.implicit:
            group, element, length = self._implicit.unpack_from(data, pos)
            tag = group << 16 | element
            return tag, "" if group == 0xFFFE else vr_of(tag, self.signed), length, 8, ""
        group, element, code, length = self._explicit.unpack_from(data, pos)
        tag = group << 16 | element
        form = _FORMS.get(code)
        if form is not None:
            vr, size = form
            if size == 8:
                return tag, vr, length, 8, ""
            return self._long(data, pos, tag, vr, "")
        if group == 0xFFFE:
            return tag, "", self._length.unpack_from(data, pos + 4)[0], 8, ""
        if code.isalpha() and code.isupper():  # VRs to come have the long form (PS3.5 6.2 note, 7.1.2)
            return self._long(data, pos, tag, "UN", "vr-unknown")
        return tag, vr_of(tag, self.signed), self._length.unpack_from(data, pos + 4)[0], 8, "vr-missing"

    def _long(self, data: bytes, pos: int, tag: int, vr: str, defect: str) -> Head:
        length = self._length.unpack_from(data, pos + 8)[0] if len(data) >= pos + 12 else 0
        return tag, vr, length, 12, defect

    def item(self, data: bytes, pos: int) -> tuple[int, int]:
        """Tag and length of an item or a delimiter, of which 8 bytes are there (PS3.5 7.5)."""
        group, element, length = self._implicit.unpack_from(data, pos)
        return group << 16 | element, length

    def long_length(self, data: bytes, pos: int) -> int:
        """The length after the first 8 bytes of a head of 12."""
        return int.from_bytes(data[pos + 8 : pos + 12], "little" if self.little_endian else "big")


_STRUCTS = {
    True: (Struct("<HH2sH"), Struct("<HHI"), Struct("<I")),
    False: (Struct(">HH2sH"), Struct(">HHI"), Struct(">I")),
}


def meant_vr(tag: int, vr: str, signed: bool) -> str:
    """The VR to interpret a value of VR UN by: the dictionary's, if that is text or numbers."""
    known = vr_of(tag, signed)
    return vr if known == "SQ" or known in BINARY_VRS else known


def is_mismatch(tag: int, vr: str) -> bool:
    """Whether a public element has another VR than PS3.6 gives it. UN fits all; so do the VRs of text among each other's sizes."""
    if vr == "UN" or tag & 0x00010000:
        return False
    printed = VR_TEXTS.get(tag) or VR_TEXTS.get(base_tag(tag))
    if printed is None or vr in printed:
        return False
    return not (vr in _WIDENED.get(printed, ()))


# Elements whose VR was widened in later editions of PS3.6: the old one is no defect.
_WIDENED = {"UC": STRING_VRS, "UT": frozenset(("LT", "ST", "LO")), "UR": frozenset(("UT", "ST", "LO")), "LT": frozenset(("ST", "LO")), "LO": frozenset(("SH",))}  # fmt: skip
