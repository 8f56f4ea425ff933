"""The query parameters of a search (PS3.18 8.3.4), and what of the engine they ask for.

Beyond PS3.18, as dcm4chee has them: `orderby=-StudyDate,PatientName`. `after` is where the page before ended, out of
its Link header. A key that is given twice means either value, as a list does; commas in a list of UIDs, or of codes as
in OHIF's `ModalitiesInStudy=CT,MR`, become backslashes. What is not an attribute or no value of a parameter is a bad
request: leaving it out would answer more than was asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from sagittal.archive.index.keys import KEYS
from sagittal.archive.query import Query, Tag
from sagittal.archive.search.asked import check_patterns
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.matching.predicate import passes
from sagittal.dicom.matching.rules import tests_of
from sagittal.dicom.matching.times import is_offset
from sagittal.errors import BadRequest
from sagittal.web.search import levels
from sagittal.web.search.attributes import Path, block, is_creator, is_private, named, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagittal.limits import Limits

Parameters = list[tuple[str, str]]
_NEVER_MATCHED = frozenset({(levels.TIMEZONE,), (0x00080005,)})  # they are about the request (PS3.4 C.2.2.2)
_UNENCODED_PLUS = re.compile(r"(?:^|(?<=\d)) (?=\d{4}(?!\d))")  # `TimezoneOffsetFromUTC=+0100`, as people type it
_WITHOUT_COMMA = ("UI", "CS")  # PS3.5 6.2: no value has one, so it stands between values
_FLAGS = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
CONTROLS = ("includefield", "limit", "offset", *_FLAGS, "accept", "charset", "orderby", "after")  # what is no key


def parameters(query_string: bytes, count_max: int) -> Parameters:
    """Names and values of an address; BadRequest when they are not UTF-8, percent-encoded."""
    try:
        text = query_string.decode()  # percent-encoded or not: our listener takes only that, others may not
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=count_max)
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8, percent-encoded") from None
    except ValueError:
        raise BadRequest(f"more than {count_max} query parameters (limits.query_parameters_max)") from None


def next_page(given: Parameters, cursor: str) -> str:
    """The same query for the rows behind `cursor`."""
    return urlencode([*((name, value) for name, value in given if name not in ("offset", "after")), ("after", cursor)])


class Asked:
    """One search at `level`: `take` every parameter, `hold` what the address says, then `query`."""

    def __init__(self, level: str, limits: Limits) -> None:
        self.level, self._limits = level, limits
        self.limit, self.offset = limits.web.results_default, 0
        self.accept: list[str] = []
        self.whole = False
        self._after = ""
        self._flags = dict.fromkeys(_FLAGS, False)
        self._values: dict[Path, list[str]] = {}
        self._include: list[Path] = []
        self._order: list[tuple[int, bool]] = []

    def take(self, name: str, value: str) -> None:
        """One query parameter."""
        match name:
            case "includefield":
                self._included(value)
            case "limit":
                self.limit = number(name, value)
            case "offset":
                self.offset = number(name, value)
            case "after":
                self._after = value
            case "accept":
                self.accept.append(value)
            case "charset":
                return  # PS3.18 8.3.3.2; all is answered in UTF-8
            case "orderby":
                self._ordered(value)
            case _ if name in self._flags:
                self._flags[name] = truth(name, value)
            case _:
                self._values.setdefault(self._path(name), []).append(value)

    def hold(self, tag: int, uid: str) -> None:
        """A UID of the address; BadRequest when the parameters want another."""
        wanted = "\\".join(filter(None, self._values.get((tag,), []))).replace(",", "\\").split("\\")
        if wanted not in ([""], ["*"]) and uid not in wanted:
            raise BadRequest(f"{tag:08X} contradicts the address")
        self._values[tag,] = [uid]

    def suits(self, same: Mapping[int, str]) -> bool:
        """Whether the keys on what every row says alike (`same`) match that; BadRequest for others of that kind,
        LimitExceeded.
        """
        for tag in levels.ADDED:
            text = "\\".join(self._values.get((tag,), [])).strip("\\")
            if text and tag not in same:
                raise BadRequest(f"{tag:08X} can't be matched")
            check_patterns({tag: text}, self._limits.archive.query_pattern_characters_max)
            tests = tests_of("text", text)
            if tests is not None and not any(passes(test, same[tag]) for test in tests):
                return False
        return True

    def query(self) -> Query:
        """What the engine is asked."""
        self.limit = min(self.limit, self._limits.web.results_max)
        if self.whole:
            self.limit = min(self.limit, self._limits.web.results_whole_max)
        creators = {path: values[0] for path, values in self._values.items() if is_creator(path[-1])}
        meant = {*self._include, *self._values}
        blocks = {block(path[:at], tag) for path in meant for at, tag in enumerate(path) if _is_owned(tag)}
        timezone = _UNENCODED_PLUS.sub("+", self._values.get((levels.TIMEZONE,), [""])[0])
        if timezone and not is_offset(timezone):
            raise BadRequest("TimezoneOffsetFromUTC is an offset such as +0100")
        keys: dict[Tag, Any] = {}
        for path, values in self._values.items():
            if path not in blocks and path not in _NEVER_MATCHED and path[0] not in levels.ADDED:
                _put(keys, path, named(path, creators), values)
        return Query(
            self.level,
            keys,
            self._includes(keys, creators),
            include_all=self.whole,
            fuzzy=self._flags["fuzzymatching"],
            combined_datetime=True,
            timezone=timezone,
            empty_value=self._flags["emptyvaluematching"],
            multiple_value=self._flags["multiplevaluematching"],
            order=tuple(self._order),
            after=self._after,
            limit=self.limit,
            offset=self.offset,
        )

    def _includes(self, keys: Mapping[Tag, Any], creators: Mapping[Path, str]) -> frozenset[Tag | tuple[Tag, ...]]:
        """An attribute of the levels below is none of this level's, and is left out: OHIF asks studies for Modality."""
        include: set[Tag | tuple[Tag, ...]] = set(levels.answered(self.level, keys))
        own, known = KEYS[self.level], KEYS["IMAGE"]
        for path in self._include:
            meant = named(path, creators)
            if len(path) > 1:
                include.add(meant)
            elif path[0] not in levels.ADDED and (path[0] in own or path[0] not in known):
                include.add(meant[0])
        return frozenset(include)

    def _included(self, value: str) -> None:
        for name in filter(None, (part.strip() for part in value.split(","))):
            if name == "all":
                self.whole = True
            else:
                self._include.append(self._path(name))

    def _ordered(self, value: str) -> None:
        for name in filter(None, (part.strip() for part in value.split(","))):
            path = self._path(name.removeprefix("-"))
            if len(path) > 1 or path[0] not in KEYS[self.level]:
                raise BadRequest(f"rows of this level can't be ordered by {name[:64]!r}")
            if path[0] not in (tag for tag, _ in self._order):  # again, it would order nothing
                self._order.append((path[0], name.startswith("-")))

    def _path(self, name: str) -> Path:
        return path_of(name, self._limits.reader.depth_max)


def _is_owned(tag: int) -> bool:
    return is_private(tag) and not is_creator(tag)


def _put(keys: dict[Tag, Any], raw: Path, path: tuple[Tag, ...], values: list[str]) -> None:
    """A key into the mapping of mappings that the sequences make."""
    for tag in path[:-1]:
        if not isinstance(keys.get(tag), dict):
            keys[tag] = {}
        keys = keys[tag]
    text = "\\".join(filter(None, values))
    vr = "UN" if is_private(raw[-1]) else vr_of(raw[-1])
    if vr == "SQ" and text:
        raise BadRequest(f"{raw[-1]:08X} is a sequence: ask for an attribute in it, as {raw[-1]:08X}.00080100=…")
    if vr in _WITHOUT_COMMA:
        text = text.replace(",", "\\")
    elif vr == "DT":
        text = _UNENCODED_PLUS.sub("+", text)
    if not isinstance(keys.get(path[-1]), dict):
        keys[path[-1]] = text


def number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise BadRequest(f"{name} is a number from 0")
    return int(value)


def truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadRequest(f"{name} is true or false")
    return value.lower() == "true"
