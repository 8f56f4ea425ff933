"""Attributes that the configuration wants indexed (`[index] attributes`): their values, one row each, and keys on them.

A value is kept as it is compared, behind a letter for its rule, as the VR of a private attribute is known from the
object alone: names folded and group by group, numbers in one spelling. Deliberately not here: when rows are written
(`writer`, and `upkeep.attributes` for what was held before).
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from sagittal.archive.index import CURRENT
from sagittal.archive.index.keys import KEYS, Key
from sagittal.archive.index.matching import Form, joined, like
from sagittal.dicom.dictionary import tag_of, vr_of
from sagittal.dicom.matching import times
from sagittal.dicom.matching.names import fold_name
from sagittal.dicom.matching.predicate import Private, Tag, find, mark, values_of
from sagittal.dicom.matching.rules import RULES, Test, number_of, tests_of
from sagittal.errors import BadRequest, UsageError

_LETTERS = {
    "text": "t",
    "uid": "u",
    "number": "n",
    "single": "n",
    "name": "p",
    "date": "d",
    "time": "m",
    "date-time": "z",
}
_PRIVATE = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?@(.{1,64})\Z", re.DOTALL)
_VALUE_CHARACTERS_MAX = 1_024  # ST; longer values are none that somebody asks for by value
_ROWS = {
    "PATIENT": "patient.id IN (SELECT t.patient FROM attribute_value v CROSS JOIN instance i ON i.id = v.instance "
    "CROSS JOIN study t ON t.id = i.study",
    "STUDY": "study.id IN (SELECT i.study FROM attribute_value v CROSS JOIN instance i ON i.id = v.instance",
    "SERIES": "series.id IN (SELECT i.series FROM attribute_value v CROSS JOIN instance i ON i.id = v.instance",
    "IMAGE": "instance.id IN (SELECT i.id FROM attribute_value v CROSS JOIN instance i ON i.id = v.instance",
}
_CORRECTED = {
    "PATIENT": "patient.id IN (SELECT t.patient",
    "STUDY": "study.id IN (SELECT t.id",
    "SERIES": "series.study IN (SELECT t.id",
    "IMAGE": "instance.study IN (SELECT t.id",
}
_STUDIES = (
    "FROM correction c JOIN study t ON t.store = c.store AND t.study_instance_uid = c.study_instance_uid "
    "WHERE c.undone_at IS NULL AND json_type(c.attributes, '$.\"{}\"') IS NOT NULL"
)


class Attribute(NamedTuple):
    """One of them: its tag, and its name in the tables."""

    tag: Tag
    name: str


def attribute_of(text: str) -> Attribute:
    """From a setting: a keyword, "00181160", or "0029,1009@ACME" for a private one. UsageError."""
    private = _PRIVATE.match(text)
    if private:
        group, element = int(private[1], 16), int(private[2], 16)
        if not group & 1 or (element & 0xFF00 and element < 0x1000):
            raise UsageError(f"{text[:80]!r} is not a private attribute, as 0029,1009@ACME")
        tag: Tag = Private(private[3], group << 16 | element & 0xFF)
    else:
        try:
            tag = tag_of(text)
        except KeyError:
            raise UsageError(f"{text[:80]!r} is not an attribute") from None
        if RULES.get(vr_of(tag)) not in _LETTERS or vr_of(tag) == "UN":
            raise UsageError(f"{text[:80]!r} cannot be indexed: its values are not compared as a whole")
    return Attribute(tag, name_of(tag))


def name_of(tag: Tag) -> str:
    """The name of an attribute in the tables."""
    return f"{tag:08X}" if isinstance(tag, int) else f"{tag.tag:08X}@{tag.creator}"


def attribute_named(name: str) -> Attribute:
    """The inverse of `name_of`."""
    digits, mark, creator = name.partition("@")
    tag = int(digits, 16)
    return Attribute(Private(creator, tag) if mark else tag, name)


class Attributes:
    """Those of an open archive; `complete` grows while what was held before is read again."""

    def __init__(self, wanted: Iterable[Attribute] = ()) -> None:
        held = {tag for keys in KEYS.values() for tag in keys}
        self.wanted = tuple(attribute for attribute in wanted if attribute.tag not in held)
        self.complete: frozenset[str] = frozenset()

    def key(self, level: str, tag: Tag, corrected: bool = False) -> tuple[Key, str] | None:
        """A key on the values of an attribute, and what is bound first; None when not all values are there.

        When there are corrections of it, all of their studies are found, too: values are kept as objects have them.
        """
        name = name_of(tag)
        if name not in self.complete:
            return None
        kind = RULES[vr_of(tag)] if isinstance(tag, int) else "private"

        def at(level: str) -> str:
            found = f"{_ROWS[level]} WHERE v.name = ? AND i.state = {CURRENT} AND @)"
            return f"({found} OR {_CORRECTED[level]} {_STUDIES.format(name)}))" if corrected else found

        alone = "+" + at("IMAGE")  # or every row below would be looked up by every id of the list
        return Key(tag if isinstance(tag, int) else tag.tag, "instance.id", kind, "v.value", at(level), alone), name

    def form(self, key: Key, text: str) -> Form | None:
        """The form of a key's text on kept values; None: universal. BadRequest when no rule can read it."""
        forms: list[Form] = []
        for rule in _LETTERS if key.kind == "private" else (key.kind,):
            try:
                tests = tests_of(rule, text)
            except BadRequest:
                if key.kind != "private":
                    raise
                continue
            if tests is None:
                return None
            forms += [_form(_LETTERS[rule], test) for test in tests]
        return joined(forms)


def answers(kind: str, text: str) -> bool:
    """Whether kept values can answer this text of a key."""
    if kind in ("name", "private") and "=" in text:
        return False
    return kind not in ("date-time", "private") or not times.has_offset(text)


def _form(letter: str, test: Test) -> Form:
    op, values = test
    if op == "between":
        return Form("within", (letter + str(values[0]), letter + str(values[1])))
    if op == "number":
        return Form("eq", (letter + _number(values[0]),))
    text = letter + str(values[0])
    return like(text) if "*" in text or "?" in text else Form("eq", (text,))


def _number(value: Any) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def values_in(found: dict[str, Any], wanted: Iterable[Attribute]) -> Iterator[tuple[str, str]]:
    """Name and value of each of the wanted attributes that an object has."""
    for tag, name in wanted:
        element = find(found, tag)
        rule = RULES.get(str(element.get("vr"))) if element else None
        letter = _LETTERS.get(rule or "")
        if element is None or letter is None:
            continue
        for value in values_of(element):
            if 0 < len(value) <= _VALUE_CHARACTERS_MAX:
                yield from ((name, letter + text) for text in _kept(rule, value))


def values_of_parts(parts: Iterable[bytes], wanted: tuple[Attribute, ...]) -> list[tuple[str, str]]:
    """As `values_in`, of an object's metadata as they are kept: compressed, in parts."""
    text = b"".join(map(zlib.decompress, parts))
    if not any(mark(tag) in text for tag, _ in wanted):
        return []
    return list(values_in(orjson.loads(text), wanted))


def _kept(rule: str | None, value: str) -> list[str]:
    if rule == "name":
        return [group for group in fold_name(value).split("=") if group]
    if rule in ("number", "single"):
        number = number_of(value)
        return [] if number is None else [_number(number)]
    return [value]


def keep(connection: sqlite3.Connection, instance: int, values: Iterable[tuple[str, str]]) -> None:
    """Write the values of an instance; those that are there already stay."""
    connection.executemany(
        "INSERT OR IGNORE INTO attribute_value (name, value, instance) VALUES (?, ?, ?)",
        ((name, value, instance) for name, value in values),
    )
