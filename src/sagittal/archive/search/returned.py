"""What a query returns beyond the index: attributes of the metadata of one instance of each row.

Which attributes belong to a level's entity is told by a list of those of patients, studies and series (PS3.3 C.7.1 to
C.7.5); all others are the instance's. Deliberately not here: which rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sagittal.archive.search.asked import Path, Private
from sagittal.dicom.matching.predicate import tag_in

PER_FRAME_GROUPS = "52009230"  # Per-Frame Functional Groups Sequence: as long as there are frames
_BULK_GROUPS = ("7FE0", "FFFA", "FFFC")
# PS3.3 C.7.1.1 to C.7.1.5 (patient, clinical trial subject), C.7.2.1 to C.7.2.3 (study, patient study).
_STUDY_TAGS = (
    "00080005 00080020 00080030 00080050 00080051 00080090 00080096 0008009C 0008009D 00080201 00081030 00081032 "
    "00081048 00081049 00081060 00081062 00081080 00081084 00081110 00081120 00100010 00100020 00100021 00100022 "
    "00100024 00100026 00100027 00100028 00100030 00100032 00100033 00100034 00100035 00100040 00100101 00100200 "
    "00100212 00100213 00100214 00100215 00100216 00100217 00100218 00100219 00100221 00100222 00100223 00100229 "
    "00101000 00101001 00101002 00101005 00101010 00101020 00101021 00101022 00101023 00101024 00101030 00101040 "
    "00101060 00101080 00101081 00101090 00101100 00102000 00102110 00102150 00102152 00102154 00102160 00102180 "
    "001021A0 001021B0 001021C0 001021D0 001021F0 00102201 00102202 00102203 00102292 00102293 00102294 00102295 "
    "00102296 00102297 00102298 00102299 00104000 00120010 00120020 00120021 00120022 00120023 00120030 00120031 "
    "00120040 00120042 00120050 00120051 00120052 00120053 00120062 00120063 00120064 00120081 00120082 00120083 "
    "00120086 0020000D 00200010 00321033 00321034 00380010 00380014 00380060 00380062 00380064 00380500 00401012 "
)
# PS3.3 C.7.3 (series, clinical trial series), C.7.4.1 (frame of reference), C.7.5.1 (equipment).
_SERIES_TAGS = (
    "00080021 00080031 00080060 00080068 00080070 00080080 00080081 0008103E 0008103F 00081010 00081040 00081041 "
    "00081050 00081052 00081070 00081072 00081090 00081111 00081250 0016004D 00120060 00120071 00120072 00180010 "
    "00180015 0018100B 00181000 00181002 00181008 00181009 0018100A 00181020 00181030 00181200 00181201 00181202 "
    "00185100 0020000E 00200011 00200052 00200060 00201040 0040A170 00280108 00280109 00280120 00400241 00400242 "
    "00400243 00400244 00400245 00400250 00400251 00400253 00400254 00400255 00400260 00400275 00400280 00082218 "
    "00540220 "
)
_STUDY = frozenset(_STUDY_TAGS.split())
_OF_LEVEL = {"PATIENT": frozenset(n for n in _STUDY if n[:4] in ("0010", "0012")), "STUDY": _STUDY}
_OF_LEVEL["SERIES"] = _STUDY | frozenset(_SERIES_TAGS.split())


def members(
    found: Mapping[str, Any], level: str, paths: Iterable[Path], include_all: bool, columns: frozenset[str]
) -> dict[str, Any]:
    """The members of an object that are returned for a row of a level; `columns` are returned by the index."""
    taken: dict[str, Any] = {}
    if include_all:
        taken = {name: element for name, element in found.items() if _is_of(level, name)}
    for path in paths:
        _take(taken, found, path)
    return {name: taken[name] for name in sorted(taken) if name not in columns}


def _is_of(level: str, name: str) -> bool:
    if name == PER_FRAME_GROUPS or name[:4] in _BULK_GROUPS:
        return False
    return level == "IMAGE" or name in _OF_LEVEL[level]


def _take(taken: dict[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """Add one attribute; on a way through sequences only what is named of their items."""
    tag, *rest = path
    name = tag_in(found, tag) if isinstance(tag, Private) else f"{tag:08X}"
    if name is None or name not in found:
        return
    if isinstance(tag, Private):
        creator = name[:4] + "00" + name[4:6]  # PS3.5 7.8.1: without it nobody could tell whose it is
        taken[creator] = found[creator]
    element = found[name]
    items = element.get("Value")
    if not rest or element.get("vr") != "SQ" or not isinstance(items, list):
        taken[name] = element
        return
    held = taken.get(name)
    if held is element:
        return  # asked for as a whole, too
    pruned = held["Value"] if held is not None else [{} for _ in items]
    for into, item in zip(pruned, items, strict=True):
        if isinstance(item, dict):
            _take(into, item, tuple(rest))
    taken[name] = {"vr": "SQ", "Value": pruned}
