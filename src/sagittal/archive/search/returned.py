"""What a query returns beyond the index: attributes of the metadata of one instance of each row.

Which attributes belong to a level's entity `dicom.models.entities` tells. Deliberately not here: which rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sagittal.archive.search.asked import Path, Private
from sagittal.dicom.matching.predicate import tag_in
from sagittal.dicom.models import entities

PER_FRAME_GROUPS = "52009230"  # Per-Frame Functional Groups Sequence: as long as there are frames
_BULK_GROUPS = ("7FE0", "FFFA", "FFFC")
_OF_LEVEL = {
    "PATIENT": frozenset(tag for tag in entities.STUDY if tag[:4] in ("0010", "0012")),
    "STUDY": entities.STUDY,
    "SERIES": entities.STUDY | entities.SERIES,
}


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
