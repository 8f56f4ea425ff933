"""Rows of the index as DICOM JSON (PS3.18 F), by a writer for each column, made once.

An attribute without value is `{"vr":…}`, but for Modalities in Study, which is left out: viewers break on an empty
one, and Timezone Offset From UTC, which is there if known (PS3.18 Table 10.6.3-3). What the archive found outside the
index is DICOM JSON already. Many rows are written in slices, between which the loop serves others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

from sagittal.dicom.dictionary import NAME_GROUPS, vr_of
from sagittal.dicom.elements import INTEGER_VRS
from sagittal.dicom.models.jsontext import encode_json
from sagittal.web.search import levels
from sagittal.web.wire.resources import addressed

if TYPE_CHECKING:
    from sagittal.archive.query import Rows
    from sagittal.web.wire import uri

Cell = str | int | None
Extra = Mapping[str, Any]
T = TypeVar("T")
SLICE, _SLICE_OF_MORE = 100, 5  # rows written without a pause, and such with more than the index has: about 2 ms

_quoted = json.encoder.encode_basestring
_NEVER_EMPTY = frozenset({0x00080061, levels.TIMEZONE})  # and Modalities in Study


class RowWriter:
    """Writes rows of `columns` (tags); `level` says which address Retrieve URL is."""

    def __init__(self, columns: Sequence[int], level: str, addresses: uri.Addresses, aet: str) -> None:
        self._writers = [_nothing if tag in levels.ADDED else _writer(tag) for tag in columns]
        self._uids = [columns.index(tag) for tag in levels.UIDS[level]]
        self._of_instances = level == "IMAGE"
        builders: dict[str, Callable[..., str]] = {
            "STUDY": addresses.study,
            "SERIES": addresses.series,
            "IMAGE": addresses.instance,
        }
        self._address = builders[level]
        self._same = (f'"00080054":{{"vr":"AE","Value":[{_quoted(aet)}]}}', '"00080056":{"vr":"CS","Value":["ONLINE"]}')

    def row(self, row: Sequence[Cell], extra: Extra | None = None) -> str:
        """One row as a JSON object, its members ordered by their names (PS3.18 F.2.2)."""
        cells = [text for write, value in zip(self._writers, row, strict=True) if (text := write(value))]
        cells += self._same
        cells.append(f'"00081190":{{"vr":"UR","Value":[{_quoted(self.address(row))}]}}')
        if extra:
            cells += [f'"{tag}":{encode_json(element).decode()}' for tag, element in self.shown(row, extra).items()]
        cells.sort()
        return "{" + ",".join(cells) + "}"

    def shown(self, row: Sequence[Cell], extra: Extra) -> Extra:
        """What was found outside the index, bulk data with its address; above instances there is none."""
        address = self.address(row) if self._of_instances else ""
        return {tag: addressed(element, address) for tag, element in extra.items()}

    def address(self, row: Sequence[Cell]) -> str:
        """Retrieve URL of a row."""
        return self._address(*(row[at] for at in self._uids))


async def slices(found: Rows) -> AsyncIterator[Sequence[tuple[Sequence[Cell], Extra | None]]]:
    """The rows with what was found outside the index, some at a time; the loop serves others in between."""
    extra: Any = found.extra or repeat(None)
    async for rows in paused(list(zip(found.rows, extra, strict=False)), bool(found.extra)):
        yield rows


async def paused(rows: Sequence[T], of_more: bool) -> AsyncIterator[Sequence[T]]:
    """Some at a time, those of which there is more than the index has (`of_more`) a few."""
    many = _SLICE_OF_MORE if of_more else SLICE
    for at in range(0, len(rows), many):
        if at:
            await asyncio.sleep(0)
        yield rows[at : at + many]


async def json_array(writer: RowWriter, found: Rows) -> bytes:
    """The rows as one JSON array."""
    texts = [",".join([writer.row(*of) for of in slice_]).encode("utf-8", "replace") async for slice_ in slices(found)]
    return b"[" + b",".join(texts) + b"]"


def _nothing(value: Cell) -> str:
    """What every row says anyway."""
    return ""


@lru_cache(maxsize=512)
def _writer(tag: int) -> Callable[[Cell], str]:
    vr = vr_of(tag)
    head = f'"{tag:08X}":{{"vr":"{vr}"'
    empty = "" if tag in _NEVER_EMPTY else head + "}"
    before = head + ',"Value":['
    value_of = _VALUES.get(vr, _texts)

    def write(value: Cell) -> str:
        if value is None or value == "":
            return empty
        return f"{before}{value_of(value)}]}}"

    return write


def _texts(value: Cell) -> str:
    text = str(value)
    if "\\" not in text:
        return _quoted(text)
    return ",".join(_quoted(part) if part else "null" for part in text.split("\\"))


def _names(value: Cell) -> str:
    return ",".join(_name(part) for part in str(value).split("\\"))


def _name(text: str) -> str:
    if not text:
        return "null"
    if "=" not in text:
        return f'{{"Alphabetic":{_quoted(text)}}}'
    groups = zip(NAME_GROUPS, text.split("="), strict=False)
    return "{" + ",".join(f'"{name}":{_quoted(group)}' for name, group in groups if group) + "}"


def _integers(value: Cell) -> str:
    if isinstance(value, int):
        return str(value)
    return ",".join(_integer(part) for part in str(value).split("\\"))


def _integer(text: str) -> str:
    """A JSON number, or the text itself where it is none (PS3.18 F.2.3.1 note)."""
    if not text:
        return "null"
    try:
        return str(int(text))
    except ValueError:
        return _quoted(text)


# Of the VRs that the index has columns of; the others are texts.
_VALUES: dict[str, Callable[[Cell], str]] = {"PN": _names, **dict.fromkeys(INTEGER_VRS, _integers)}
