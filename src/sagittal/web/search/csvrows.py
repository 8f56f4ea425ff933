"""Rows as comma-separated values (RFC 4180), which PS3.18 does not have: one flat table for spreadsheets and scripts.

A column is named by keyword, a private or unknown attribute by its tag; one that is asked within a sequence by the
names on its way there, with the values of all items. Several values are joined by backslashes, as in DICOM. A sequence
that was not asked further is its DICOM JSON. A cell that a spreadsheet would take for a formula gets an apostrophe
before it; numbers do not.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Private, Tag
from sagittal.dicom.dictionary import name_of
from sagittal.dicom.models.jsontext import encode_json
from sagittal.dicom.models.members import value_text
from sagittal.web.search import levels
from sagittal.web.search.rows import Cell, Extra, RowWriter, paused, slices

if TYPE_CHECKING:
    from sagittal.archive.query import Rows

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four in full width
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z")
_EVERY = ("RetrieveAETitle", "InstanceAvailability", "RetrieveURL")
_Leads = tuple[tuple[str, ...], ...]  # the ways into sequences that are columns of their own


def safe(text: str) -> str:
    """The text as a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.match(text) else text


async def table(writer: RowWriter, found: Rows, include: Iterable[Tag | tuple[Tag, ...]], aet: str) -> bytes:
    """The rows with a line of names above."""
    columns = [(at, tag) for at, tag in enumerate(found.columns) if tag not in levels.ADDED]
    ways = {way: "" for path in include if (way := _way(path))}
    names = dict.fromkeys([*(name_of(f"{tag:08X}") for _, tag in columns), *_EVERY, *_told(include, ways)], "")
    flat: list[dict[str, str]] = []
    async for rows in slices(found):
        made = [_cells(writer, columns, row, extra, tuple(ways), aet) for row, extra in rows]
        names |= {name: "" for cells in made for name in cells}
        flat += made
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(names)
    async for some in paused(flat, bool(found.extra)):
        lines.writerows([safe(cells.get(name, "")) for name in names] for cells in some)
    return text.getvalue().encode("utf-8", "replace")


def _told(include: Iterable[Tag | tuple[Tag, ...]], ways: Iterable[tuple[str, ...]]) -> list[str]:
    """The columns of what was asked for, with values or without: a script finds them in every table."""
    leads = {way[0] for way in ways}
    beyond = [tag for tag in include if isinstance(tag, int) and tag not in levels.ADDED and tag not in KEYS["IMAGE"]]
    plain = {f"{tag:08X}" for tag in beyond} - leads
    return [".".join(map(name_of, way)) for way in sorted({*ways, *((tag,) for tag in plain)})]


def _way(path: Tag | tuple[Tag, ...]) -> tuple[str, ...]:
    """The tags of a path; one through private elements is not flattened, as their blocks differ."""
    if not isinstance(path, tuple) or isinstance(path, Private) or any(isinstance(tag, Private) for tag in path):
        return ()
    return tuple(f"{tag:08X}" for tag in path)


def _cells(
    writer: RowWriter,
    columns: Sequence[tuple[int, int]],
    row: Sequence[Cell],
    extra: Extra | None,
    ways: _Leads,
    aet: str,
) -> dict[str, str]:
    cells = {name_of(f"{tag:08X}"): "" if row[at] is None else str(row[at]) for at, tag in columns}
    cells |= dict(zip(_EVERY, (aet, "ONLINE", writer.address(row)), strict=True))
    for tag, element in writer.shown(row, extra or {}).items():
        leads = [way for way in ways if way[0] == tag]
        for way in leads:
            cells[".".join(map(name_of, way))] = "\\".join(_within(element, way[1:]))
        if not leads:
            cells[name_of(tag)] = "\\".join(_values(element))
    return cells


def _within(element: Mapping[str, Any], way: Sequence[str]) -> list[str]:
    if not way:
        return _values(element)
    items = [item for item in element.get("Value", ()) if isinstance(item, dict)]
    return [text for item in items if way[0] in item for text in _within(item[way[0]], way[1:])]


def _values(element: Mapping[str, Any]) -> list[str]:
    if element.get("vr") == "SQ":
        return [encode_json(element["Value"]).decode()] if element.get("Value") else []
    if "Value" not in element:
        return [str(element.get("InlineBinary") or element.get("BulkDataURI") or "")]
    return [value_text(value) for value in element["Value"]]
