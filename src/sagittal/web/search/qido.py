"""QIDO-RS: search for studies, series and instances on the attributes of the index (PS3.18 10.6).

An unknown attribute, or one that the index can't match, is a bad request: leaving a key out would answer more than was
asked. No match is 200 with `[]` (PS3.18 8.3.4.4.1 as corrected by CP-2473; a 204 breaks clients that parse every
answer). `fuzzymatching` is answered literally, with the warning of PS3.18 8.3.4.2.

Rows become DICOM JSON (PS3.18 F) by a writer for each column, made once. An attribute without value is `{"vr":…}`,
but for Modalities in Study, which is left out: viewers break on an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Query
from sagittal.dicom.dictionary import lookup, tag_of, vr_of
from sagittal.errors import BadRequest, NotAcceptable
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, accepted, accepts

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.web.house import House

STUDY_UID, SERIES_UID, INSTANCE_UID = 0x0020000D, 0x0020000E, 0x00080018

# PS3.18 Tables 10.6.3-3 to 10.6.3-5; Study and Series Description besides, which every list shows. Retrieve URL and
# Instance Availability are added to each row.
DEFAULTS: dict[str, frozenset[int]] = {
    "STUDY": frozenset(
        {
            *(0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00080090, 0x00080201, 0x00081030, 0x00100010),
            *(0x00100020, 0x00100030, 0x00100040, STUDY_UID, 0x00200010, 0x00201206, 0x00201208),
        }
    ),
    "SERIES": frozenset({0x00080060, 0x0008103E, SERIES_UID, 0x00200011, 0x00201209, 0x00400244, 0x00400245}),
    "IMAGE": frozenset(
        {0x00080016, INSTANCE_UID, 0x00200013, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00083002}
    ),
}
_ABOVE = {"STUDY": (), "SERIES": ("STUDY",), "IMAGE": ("STUDY", "SERIES")}
_UIDS = {"STUDY": (STUDY_UID,), "SERIES": (STUDY_UID, SERIES_UID), "IMAGE": (STUDY_UID, SERIES_UID, INSTANCE_UID)}
_FUZZY = '299 sagittal "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
_MORE = '299 sagittal "There are additional results that can be requested."'

Cell = str | int | None
_quoted = json.encoder.encode_basestring
_MODALITIES_IN_STUDY = 0x00080061
_ONE_TEXT = frozenset({"LT", "ST", "UT", "UR"})
_INTEGERS = frozenset({"IS", "US", "UL", "SS", "SL", "UV", "SV"})
_DECIMALS = frozenset({"DS", "FL", "FD"})
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_ONLINE = '"00080056":{"vr":"CS","Value":["ONLINE"]}'


class Qido:
    """GET of studies, series and instances with matching keys."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        self._limits = house.settings.limits.web

    async def studies(self, request: Request) -> Response:
        return await self._search(request, "STUDY")

    async def series(self, request: Request) -> Response:
        return await self._search(request, "SERIES")

    async def instances(self, request: Request) -> Response:
        return await self._search(request, "IMAGE")

    async def _search(self, request: Request, level: str) -> Response:
        asked = Asked(level, self._limits.results_default, self._limits.results_max)
        parameters = _parameters(request, self._limits.query_parameters_max)
        for name, value in parameters:
            asked.take(name, value)
        for name, tag in (("study", STUDY_UID), ("series", SERIES_UID)):
            if name in request.path_params:
                asked.keys[tag] = uri.uid(request.path_params[name], "UID")
        types = accepted(request.headers.getlist("accept"), asked.accept, self._limits.accept_ranges_max)
        type_ = accepts(types, DICOM_JSON, "application/json")
        if type_ is None:
            raise NotAcceptable(f"searches are answered as {DICOM_JSON}")
        rows = await self._archive.find(request.scope["principal"], asked.query())
        writer = RowWriter(rows.columns, level, uri.addresses(request, self._house.settings))
        found = rows.rows[: asked.limit]
        answer = Response(writer.array(found), media_type=type_)
        if len(rows.rows) > len(found):
            answer.headers.append("warning", _MORE)
        if asked.fuzzy:
            answer.headers.append("warning", _FUZZY)
        return answer


def _parameters(request: Request, count_max: int) -> list[tuple[str, str]]:
    query = request.scope["query_string"].decode("latin-1")
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=count_max)
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8, percent-encoded") from None
    except ValueError:
        raise BadRequest(f"more than {count_max} query parameters (limits.web.query_parameters_max)") from None


class Asked:
    """The parameters of one search: PS3.18 8.3.4."""

    def __init__(self, level: str, limit_default: int, limit_max: int) -> None:
        self.level, self._limit_max = level, limit_max
        self.keys: dict[int, str] = {}
        self.include: set[int] = set()
        self.limit, self.offset = min(limit_default, limit_max), 0
        self.fuzzy = False
        self.accept: list[str] = []

    def take(self, name: str, value: str) -> None:
        """One query parameter."""
        if name == "includefield":
            self._include(value)
        elif name == "limit":
            self.limit = min(_number(name, value), self._limit_max)
        elif name == "offset":
            self.offset = _number(name, value)
        elif name == "fuzzymatching":
            self.fuzzy = _truth(name, value)
        elif name in ("emptyvaluematching", "multiplevaluematching"):
            if _truth(name, value):
                raise BadRequest(f"{name} is not supported")
        elif name == "accept":
            self.accept.append(value)
        else:
            self._key(name, value)

    def _key(self, name: str, value: str) -> None:
        tag = attribute(name)
        key = KEYS[self.level].get(tag)
        if key is None or not key.kind:
            raise BadRequest(f"{name} can't be matched at this level")
        if key.kind == "uid":
            value = value.replace(",", "\\")
        held = self.keys.get(tag)
        self.keys[tag] = value if not held else f"{held}\\{value}" if value else held

    def _include(self, value: str) -> None:
        for name in value.split(","):
            if name.strip() == "all":
                self.include.update(KEYS[self.level])
            elif name.strip():
                self.include.add(attribute(name.strip()))

    def query(self) -> Query:
        include = self.include | DEFAULTS[self.level] | set(_UIDS[self.level])
        for above in _ABOVE[self.level]:
            # Asked across studies or series, each row tells which one it is of (PS3.18 10.6.3.3).
            if _UIDS[above][-1] not in self.keys:
                include |= DEFAULTS[above]
        known = KEYS[self.level].keys()
        return Query(self.level, self.keys, frozenset(include & known), limit=self.limit + 1, offset=self.offset)


def attribute(name: str) -> int:
    """The tag that a keyword or eight hexadecimal digits name; of a path into a sequence, its first."""
    parts = [_tag(part) for part in name.split(".")]
    return parts[0]


def _tag(name: str) -> int:
    try:
        tag = tag_of(name)
    except KeyError:
        raise BadRequest(f"{name[:64]!r} is not an attribute") from None
    if lookup(tag) is None and not tag >> 16 & 1:
        raise BadRequest(f"{name[:64]!r} is not an attribute")
    return tag


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise BadRequest(f"{name} is a number from 0")
    return int(value)


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadRequest(f"{name} is true or false")
    return value.lower() == "true"


class RowWriter:
    """Writes rows of `columns` (tags); `level` says which address Retrieve URL is."""

    def __init__(self, columns: Sequence[int], level: str, addresses: uri.Addresses) -> None:
        self._writers = [_writer(tag) for tag in columns]
        self._uids = [columns.index(tag) for tag in _UIDS[level]]
        builders: dict[str, Callable[..., str]] = {
            "STUDY": addresses.study,
            "SERIES": addresses.series,
            "IMAGE": addresses.instance,
        }
        self._address = builders[level]

    def array(self, rows: Iterable[Sequence[Cell]]) -> bytes:
        """The rows as one JSON array."""
        return ("[" + ",".join(map(self._row, rows)) + "]").encode("utf-8", "replace")

    def _row(self, row: Sequence[Cell]) -> str:
        cells = [text for write, value in zip(self._writers, row, strict=True) if (text := write(value))]
        address = self._address(*(row[at] for at in self._uids))
        cells.append(_ONLINE)
        cells.append(f'"00081190":{{"vr":"UR","Value":[{_quoted(address)}]}}')
        return "{" + ",".join(cells) + "}"


@lru_cache(maxsize=512)
def _writer(tag: int) -> Callable[[Cell], str]:
    vr = vr_of(tag)
    head = f'"{tag:08X}":{{"vr":"{vr}"'
    empty = "" if tag == _MODALITIES_IN_STUDY else head + "}"
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
    groups = zip(_GROUPS, text.split("="), strict=False)
    return "{" + ",".join(f'"{name}":{_quoted(group)}' for name, group in groups if group) + "}"


def _integers(value: Cell) -> str:
    if isinstance(value, int):
        return str(value)
    return ",".join(_numeric(part, int) for part in str(value).split("\\"))


def _decimals(value: Cell) -> str:
    return ",".join(_numeric(part, float) for part in str(value).split("\\"))


def _numeric(text: str, kind: Callable[[str], Any]) -> str:
    """A JSON number, or the text itself where it is none (PS3.18 F.2.3.1 note)."""
    if not text:
        return "null"
    try:
        return json.dumps(kind(text), allow_nan=False)
    except ValueError:
        return _quoted(text)


_VALUES: dict[str, Callable[[Cell], str]] = {
    "PN": _names,
    **dict.fromkeys(_ONE_TEXT, lambda value: _quoted(str(value))),
    **dict.fromkeys(_INTEGERS, _integers),
    **dict.fromkeys(_DECIMALS, _decimals),
}
