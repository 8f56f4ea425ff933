"""The data dictionary: PS3.6 Table 6-1 (with 7-1, 8-1 and the command elements of PS3.7 E), repeating groups included.

Value representations are parsed at import (3 ms); names, keywords and VMs when first asked for (10 ms). Private
elements have no VR here but UN and LO (PS3.5 7.8.1); their names, for people, come from pydicom's private dictionary,
which is imported only by `private_name`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sagittal.dicom.tables.attributes import TAGS_BY_VR

# Where PS3.6 leaves a choice: what Implicit VR Little Endian carries (PS3.5 A.1), unsigned unless told otherwise.
_CHOSEN = {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}


class Entry(NamedTuple):
    """One row of the dictionary. `vr` is as printed ("US or SS"); `name` and `keyword` are "" where PS3.6 has none."""

    vr: str
    vm: str
    keyword: str
    name: str
    retired: bool


VR_TEXTS: dict[int, str] = {int(tag, 16): vr for vr, tags in TAGS_BY_VR.items() for tag in tags.split()}
VRS: dict[int, str] = {tag: _CHOSEN.get(vr, vr) for tag, vr in VR_TEXTS.items()}  # for hot loops: exact tags only
NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")  # the component groups of a person name in DICOM JSON and XML


def base_tag(tag: int) -> int:
    """The row that `tag` belongs to: itself or, with free digits 0, that of a repeating group; 0xFFFFFFFF if none."""
    if tag in VR_TEXTS:
        return tag
    high = tag >> 24
    if high in (0x50, 0x60, 0x7F) and not tag & 0x00010000:  # PS3.5 7.6; Variable Pixel Data, retired
        base = tag & 0xFF00FFFF
    elif tag & 0xFFFFFF00 == 0x00203100:  # Source Image IDs, retired
        base = 0x00203100
    elif tag >> 16 == 0x0028 and tag & 0xFF00 in (0x0400, 0x0800):
        # (0028,04x0)… and (0028,08x0)…, retired: the dictionary has them with x = 1 and x = 0.
        base = (tag & 0xFFFFFF0F) | (0x10 if tag & 0xFF00 == 0x0400 else 0)
    elif tag >> 16 == 0x1000:
        base = 0x10000010 | (tag & 0xF)  # (1000,xxx0)…, retired
    elif tag >> 16 == 0x1010:
        base = 0x10100004  # (1010,xxxx), retired
    else:
        return 0xFFFFFFFF
    return base if base in VR_TEXTS else 0xFFFFFFFF


def vr_of(tag: int, signed: bool = False) -> str:
    """The VR of `tag` in Implicit VR. `signed`: Pixel Representation (0028,0103) is 1. Unknown tags are UN."""
    vr = VRS.get(tag)
    if vr is None:
        if not tag & 0xFFFF:
            return "UL"  # group length (PS3.5 7.2)
        if tag & 0x00010000:
            return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"  # private creator (PS3.5 7.8.1)
        vr = VRS.get(base_tag(tag), "UN")
    if signed and vr == "US" and VR_TEXTS.get(tag) == "US or SS":
        return "SS"
    return vr


@cache
def _names() -> dict[int, tuple[str, str, str, bool]]:
    from sagittal.dicom.tables.attribute_names import NAMES

    table = {}
    for line in NAMES.splitlines():
        tag, vm, retired, name, *rest = line.split("|")
        keyword = (rest[0] if rest[0] != "-" else "") if rest else name.replace(" ", "")
        table[int(tag, 16)] = (vm, keyword, name, retired == "R")
    return table


@cache
def _tags() -> dict[str, int]:
    return {row[1]: tag for tag, row in _names().items() if row[1]}


def lookup(tag: int) -> Entry | None:
    """The dictionary's row for `tag`, or None: unknown, private or a group length."""
    base = base_tag(tag)
    row = _names().get(base)
    return None if row is None else Entry(VR_TEXTS[base], *row)


def keyword_of(tag: int) -> str:
    """The keyword, "" if there is none. Repeating groups give the keyword of their first group's element."""
    row = _names().get(base_tag(tag))
    return "" if row is None else row[1]


def name_of(tag: str) -> str:
    """The keyword of a member of DICOM JSON, its tag where there is none."""
    return keyword_of(int(tag, 16)) or tag


def tag_of(text: str) -> int:
    """The tag of a keyword or of 8 hexadecimal digits ("00100010", "0010,0010", "(0010,0010)"); else KeyError."""
    tag = _tags().get(text)
    if tag is not None:
        return tag
    digits = text.strip("()").replace(",", "")
    if len(digits) != 8:
        raise KeyError(text)
    try:
        return int(digits, 16)
    except ValueError:
        raise KeyError(text) from None


def member_of(tag: int | str) -> str:
    """The member of DICOM JSON (PS3.18 F.2.2) of a tag, or of a keyword."""
    return f"{tag_of(tag) if isinstance(tag, str) else tag:08X}"


def tag_text(tag: int) -> str:
    """`tag` as the Standard writes it: "(0010,0010)"."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def private_name(tag: int, creator: str) -> str:
    """The name of a private element by pydicom's private dictionary, "" if unknown. Imports pydicom."""
    from pydicom.datadict import private_dictionary_description

    try:
        return str(private_dictionary_description(tag, creator))
    except KeyError:
        return ""
