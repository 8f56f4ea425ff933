"""Matching in the index says the same as the predicate on the DICOM JSON Model, for any rows and any keys."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lengths import examples

from sagittal.archive.index import schema
from sagittal.archive.index.arrival import SERIES_COLUMNS, STUDY_COLUMNS, columns_of
from sagittal.archive.index.finding import people
from sagittal.archive.index.finding.attributes import Attributes
from sagittal.archive.index.matching import condition, form_of
from sagittal.archive.index.select import query_statement
from sagittal.archive.search.asked import Query
from sagittal.archive.search.prepared import options_of, prepare
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.matching.names import fold_name
from sagittal.dicom.matching.predicate import Matcher
from sagittal.dicom.matching.rules import PLAIN, Options
from sagittal.dicom.scanning.values import members, plain_text
from sagittal.errors import BadRequest

UTF8 = ("ISO_IR 192",)
NAUGHTY = [
    "%",
    "_",
    "'",
    '"',
    "[",
    "]",
    "\\",
    "*",
    "?",
    "=",
    "^",
    "😀",
    "\u202eאב",
    "é",
    "e\u0301",
    "山",
    "ß",
    "İ",
    "\0",
]
LETTERS = st.sampled_from([*"aAbBoO01 .-", *NAUGHTY])
TEXT = st.lists(LETTERS, max_size=10).map("".join)
NAME_WORD = st.sampled_from(
    ["Gonzalez", "gonsales", "Müller", "Mueller", "Doe", "Jon", "John", "山田", "O'Neil", "a", "*"]
)
NAMES = st.lists(st.tuples(NAME_WORD, st.sampled_from(["^", "=", " ", "", "*", "-"])), max_size=4).map(
    lambda parts: "".join(word + mark for word, mark in parts)
)
DATES = st.sampled_from(["", "20240229", "20240301", "20231231", "20240101", "20230230", "2024", "2024.02.29", "x"])
CLOCKS = st.sampled_from(
    [
        "10:15",
        "10:15:30.5",
        "",
        "00",
        "0000",
        "000000",
        "10",
        "1015",
        "101530",
        "101530.5",
        "101530.500000",
        "235960",
        "2",
    ]
)
OFFSETS = st.sampled_from(["", "+0000", "+0100", "-0500", "+1400", "-1200", "0100", "+01", "bad"])
NUMBERS = st.sampled_from(
    ["", "1", "+1", "01", "-1", "1.0", "1.5", "1e0", "abc", "1a", "+-1", "99999999999", " 1", "-0", "0"]
)


def ranged(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Keys: values, ranges of them, lists, with wildcards."""
    two = st.tuples(values, st.sampled_from(["", "-", "*", "?", "\\"]), values).map("".join)
    return st.one_of(values, two, st.sampled_from(["", "*", '""', "-"]))


def element(tag: int, text: str) -> tuple[dict[str, Any], str]:
    """An element as ingest makes it: its JSON, and the text of its column."""
    vr = vr_of(tag)
    raw = text.encode("utf-8", "replace")
    members_of, _ = members(vr, raw, UTF8)
    return json.loads(f'{{"vr":"{vr}"{members_of}}}'), columns_of({tag: plain_text(vr, raw, UTF8)})[tag]


CONNECTION = sqlite3.connect(":memory:", check_same_thread=False)
CONNECTION.execute("CREATE TABLE t (c TEXT NOT NULL)")
# kind -> an attribute of it, its values, keys on them
KINDS: dict[str, tuple[int, st.SearchStrategy[str], st.SearchStrategy[str]]] = {
    "text": (0x00081030, TEXT.map(lambda text: text.replace("\\", "")), ranged(TEXT)),
    "uid": (0x0020000D, TEXT.map(lambda text: text.replace("\\", "")), ranged(TEXT)),
    "name": (0x00100010, st.one_of(NAMES, TEXT.map(lambda t: t.replace("\\", ""))), st.one_of(ranged(NAMES), TEXT)),
    "date": (0x00080020, DATES, ranged(DATES)),
    "time": (0x00080030, CLOCKS, ranged(CLOCKS)),
    "number": (0x00200011, NUMBERS.filter(lambda text: "." not in text and "e" not in text), ranged(NUMBERS)),
    "any": (0x00080061, TEXT, ranged(TEXT)),
    "any-name": (0x00081070, st.one_of(NAMES, TEXT), st.one_of(ranged(NAMES), TEXT)),
}


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_one_key(kind: str, data: st.DataObject) -> None:
    _, values, keys = KINDS[kind]
    compare(kind, data.draw(values), data.draw(keys), Options(empty_value=data.draw(st.booleans())))


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("uid", "\0 a", "a"),
        ("text", "\0 a", "a"),
        ("any", "\0 a", "a"),
        ("name", "==a=a", "a"),
        ("name", "b==a=a", "a"),
        ("name", "a=b=c=d", "d"),
    ],
)
def test_what_once_differed(kind: str, value: str, key: str) -> None:
    compare(kind, value, key, PLAIN)


def compare(kind: str, value: str, key: str, options: Options) -> None:
    """The predicate and the index say the same of one value."""
    tag = KINDS[kind][0]
    found, stored = element(tag, value)
    try:
        expected = Matcher({tag: key}, options)({f"{tag:08X}": found})
    except BadRequest:
        with pytest.raises(BadRequest):
            form_of(kind, key, options)
        return
    form = form_of(kind, key, options)
    if form is None:
        assert expected
        return
    CONNECTION.execute("DELETE FROM t")
    CONNECTION.execute("INSERT INTO t VALUES (?)", (fold_name(stored) if "name" in kind else stored,))
    statement = f"SELECT count(*) FROM t WHERE {condition(form.shape, 'c')}"
    assert bool(CONNECTION.execute(statement, form.values).fetchone()[0]) == expected, (key, stored, form)


INDEX = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
schema.create(INDEX)
COLUMNS = {**STUDY_COLUMNS, **SERIES_COLUMNS}
STUDY_VALUES: dict[int, st.SearchStrategy[str]] = {
    0x00100010: NAMES,
    0x00080090: NAMES,
    0x00080020: DATES,
    0x00080030: CLOCKS,
    0x00080201: OFFSETS,
    0x00081030: KINDS["text"][1],
    0x00080060: st.sampled_from(["CT", "MR", ""]),
    0x00080021: DATES,
    0x00080031: CLOCKS,
}
STUDY_KEYS = {tag: ranged(values) for tag, values in STUDY_VALUES.items() if tag != 0x00080201}


def hold(values: Mapping[int, str]) -> None:
    """One study with one series and one instance in the index."""
    for table in ("name_use", "name_code", "name_word", "instance", "series", "study", "patient"):
        INDEX.execute(f"DELETE FROM {table}")
    INDEX.execute("INSERT INTO patient (id, store, created_at) VALUES (1, 1, 0)")
    INDEX.execute(
        "INSERT INTO study (id, store, patient, study_instance_uid, number_of_instances, created_at, changed_at) "
        "VALUES (1, 1, 1, '1.2', 1, 0, 0)"
    )
    INDEX.execute(
        "INSERT INTO series (id, store, study, series_instance_uid, number_of_instances, created_at, changed_at) "
        "VALUES (1, 1, 1, '1.3', 1, 0, 0)"
    )
    for tag, text in values.items():
        table, column = ("study", STUDY_COLUMNS[tag]) if tag in STUDY_COLUMNS else ("series", SERIES_COLUMNS[tag])
        INDEX.execute(f"UPDATE {table} SET {column} = ?", (text,))
        if tag in people.TAGS:
            INDEX.execute(f"UPDATE {table} SET {column}_search = ?", (fold_name(text),))
            people.record(INDEX, 1, 1, [(tag, text)])


def in_index(query: Query) -> bool:
    prepared = prepare(query, Attributes(), 1)
    assert prepared.matcher is None
    statement = query_statement(1, prepared.level, prepared.shape, prepared.columns)
    return bool(INDEX.execute(statement, (*prepared.values, 10, 0)).fetchall())


@settings(max_examples=examples(200))
@given(
    st.fixed_dictionaries(STUDY_VALUES),
    st.fixed_dictionaries({}, optional=STUDY_KEYS),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "+0000", "+0200", "-0930", "+1300"]),
)
@example(
    {0x00080020: "20240229", 0x00080030: "2330", 0x00080201: "+0000"},
    {0x00080020: "20240301", 0x00080030: "0000-0100"}, False, True, False, "+0100",
)  # fmt: skip
@example(
    {0x00080020: "20240102", 0x00080030: "00", 0x00080201: "+1400"},
    {0x00080020: "20231231"},
    False,
    False,
    False,
    "-1200",
)
@example({0x00100010: "Gonsales^Juan"}, {0x00100010: "gonzalez"}, True, False, False, "")
@example(
    {0x00080020: "20230230", 0x00080030: "00", 0x00080201: "+0100"}, {0x00080030: "00"}, False, False, False, "+0000"
)
def test_whole_queries(
    texts: dict[int, str], keys: dict[int, str], fuzzy: bool, combined: bool, empty: bool, zone: str
) -> None:
    made = {tag: element(tag, text) for tag, text in texts.items()}
    query = Query("SERIES", keys, fuzzy=fuzzy, combined_datetime=combined, empty_value=empty, timezone=zone)
    try:
        expected = Matcher(keys, options_of(query))({f"{tag:08X}": found for tag, (found, _) in made.items()})
    except BadRequest:
        with pytest.raises(BadRequest):
            prepare(query, Attributes(), 1)
        return
    hold({tag: stored for tag, (_, stored) in made.items()})
    assert in_index(query) == expected


@given(st.sampled_from(["uid", "text", "name", "date", "time", "number", "any", "any-name"]), st.text(max_size=30))
def test_any_key_is_a_form_or_refused(kind: str, key: str) -> None:
    with contextlib.suppress(BadRequest):
        form = form_of(kind, key, PLAIN)
        if form is not None:
            CONNECTION.execute(f"SELECT 1 FROM t WHERE {condition(form.shape, 'c')}", form.values).fetchall()


def plainly(pattern: str, text: str) -> bool:
    """PS3.4 C.2.2.2.4: "*" any characters, none too; "?" any one."""
    reached = {0}
    for symbol in pattern:
        if symbol == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(text) and symbol in ("?", text[at])}
    return len(text) in reached


@given(TEXT, TEXT)
def test_wildcards_written_down_plainly(key: str, value: str) -> None:
    key, value = key.replace("\\", "").replace("\0", "").strip(), value.replace("\0", "").strip()
    found = {"00081030": {"vr": "LO", "Value": [value]}}
    assert Matcher({0x00081030: key})(found) == (not key.strip("*") or plainly(key, value))
