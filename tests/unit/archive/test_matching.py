"""Matching of one key: every form against SQLite itself."""

from __future__ import annotations

import sqlite3

import pytest
from counted import calls_of

from sagittal.archive.index.matching import Form, condition, form_of
from sagittal.dicom.matching.names import fold_name
from sagittal.dicom.matching.rules import Options
from sagittal.errors import BadRequest


def matches(kind: str, key: str, stored: str | int) -> bool:
    form = form_of(kind, key)
    if form is None:
        return True
    if kind in ("name", "any-name"):
        stored = fold_name(str(stored))
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (c)")
    connection.execute("INSERT INTO t VALUES (?)", (stored,))
    return bool(connection.execute(f"SELECT 1 FROM t WHERE {condition(form.shape, 'c')}", form.values).fetchall())


YES = [
    ("text", "", "x"),
    ("text", "*", ""),
    ("text", "ab", "ab"),
    ("text", "a*", "a"),
    ("text", "a*", "abc"),
    ("text", "*b*", "abc"),
    ("text", "a?c", "abc"),
    ("text", "[x]*?", "[x]y"),
    ("text", "50%_", "50%_"),
    ("text", "CT\\MR", "MR"),
    ("text", "A\\B*", "Bee"),
    ("text", "ABD\\PELVIS", "ABD\\PELVIS"),
    ("text", "ABD\\PEL*", "ABD\\PELVIS"),
    ("uid", "1.2\\1.3", "1.3"),
    ("uid", "1.2", "1.2"),
    ("name", "doe^john", "Doe^John^^^"),
    ("name", "DOE^J*", "Doe^John"),
    ("name", "*JOHN*", "Doe^John"),
    ("name", "Yamada^Tarou", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("name", "山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("name", "やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("name", "=山田^*", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("name", "Yam*=山*", "Yamada^Tarou=山田^太郎"),
    ("name", "muller^jorg", "Müller^Jörg"),
    ("name", "Müller*", "MULLER^Jorg"),
    ("date", "20200101", "20200101"),
    ("date", "20200101-20201231", "20200615"),
    ("date", "20200101-", "20200101"),
    ("date", "-20200101", "20200101"),
    ("date", "2020.01.01", "20200101"),
    ("date", "2020*", "20200101"),
    ("time", "1000-1200", "100000.000"),
    ("time", "1000-1200", "120059.9"),
    ("time", "100000.000-12", "10"),
    ("time", "10:00:00-", "1000"),
    ("time", "-1200", "1159"),
    ("time", "101530", "101530.000000"),
    ("number", "1", "01"),
    ("number", "512", 512),
    ("any", "B*", "A\\Bee\\C"),
    ("any", "B\\Z", "A\\B\\C"),
    ("any-name", "doe^j*", "Roe^R\\Doe^John"),
]
NO = [
    ("text", "ab", "AB"),
    ("text", "a*", "Abc"),
    ("text", "a?c", "ac"),
    ("text", "[ab]*", "abc"),
    ("text", "50%_", "50xy"),
    ("text", "CT\\MR", "US"),
    ("uid", "1.2", "1.2.3"),
    ("name", "doe", "Doe^John"),
    ("name", "John*", "Doe^John"),
    ("name", "=山田^*", "Yamada^Tarou"),
    ("date", "20200101-20201231", ""),
    ("date", "-20200101", ""),
    ("date", "-20200101", "20200102"),
    ("time", "1000-1200", "0959"),
    ("time", "1000-1200", "1201"),
    ("time", "-1200", ""),
    ("number", "1", ""),
    ("number", "0", ""),
    ("any", "B", "A\\Bee"),
]


@pytest.mark.parametrize(("kind", "key", "stored"), YES)
def test_matches(kind: str, key: str, stored: str | int) -> None:
    assert matches(kind, key, stored)


@pytest.mark.parametrize(("kind", "key", "stored"), NO)
def test_does_not_match(kind: str, key: str, stored: str | int) -> None:
    assert not matches(kind, key, stored)


@pytest.mark.parametrize(
    ("kind", "key"), [("date", "yesterday"), ("date", "2020-01-01"), ("time", "25h"), ("number", "x")]
)
def test_a_key_that_cannot_be_is_refused(kind: str, key: str) -> None:
    with pytest.raises(BadRequest):
        form_of(kind, key)


@pytest.mark.parametrize("kind", ["text", "any", "date", "any-name"])
@pytest.mark.parametrize(("most", "value"), [(10_000, "20200101"), (100, "20200101*")])
def test_so_many_values_has_a_key(kind: str, most: int, value: str) -> None:
    most = 100 if kind == "any-name" else most
    for count in (most - 1, most):
        assert form_of(kind, "\\".join([value] * count)) is not None
    with pytest.raises(BadRequest, match="more than"):
        form_of(kind, "\\".join([value] * (most + 1)))


def test_values_never_enter_the_statement() -> None:
    for kind in ("text", "uid", "name", "any", "any-name"):
        for hostile in ("' OR 1=1 --", "x'; DROP TABLE study; --*", "a\\b'*"):
            form = form_of(kind, hostile)
            assert form is not None
            assert "DROP" not in condition(form.shape, "c")
            assert "1=1" not in condition(form.shape, "c")


@pytest.mark.parametrize("kind", ["any", "text", "uid"])
def test_a_list_may_be_longer_than_an_expression_is_deep(kind: str) -> None:
    """SQLite takes a thousand of which any may hold."""
    assert matches(kind, "\\".join(f"1.{number}" for number in range(2_000)), "1.1999")


def test_a_long_list_of_uids_costs_little() -> None:
    """An identifier has room for 100,000, and is taken apart on the loop."""
    uids = [f"1.2.{number}" for number in range(1_000)]
    assert calls_of(lambda: form_of("uid", "\\".join(uids))) < 2 * len(uids)
    assert form_of("uid", " 1.2\\1.3 \0") == form_of("uid", "1.2\\1.3")
    assert form_of("uid", '""\\1.2', Options(empty_value=True)) == Form("empty|eq", ("1.2",))
