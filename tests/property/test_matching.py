"""Matching in the index says the same as matching written down plainly, for any key and any value."""

from __future__ import annotations

import contextlib
import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from sagittal.archive.index.matching import condition, form_of
from sagittal.archive.index.names import fold_name
from sagittal.errors import BadRequest

TEXT = st.text(alphabet="aAbB*?[]%_^-'\"\\= .é山", max_size=12)
CONNECTION = sqlite3.connect(":memory:", check_same_thread=False)
CONNECTION.execute("CREATE TABLE t (c)")


def in_sql(kind: str, key: str, stored: str) -> bool:
    form = form_of(kind, key)
    if form is None:
        return True
    CONNECTION.execute("DELETE FROM t")
    CONNECTION.execute("INSERT INTO t VALUES (?)", (stored,))
    statement = f"SELECT count(*) FROM t WHERE {condition(form.shape, 'c')}"
    return bool(CONNECTION.execute(statement, form.values).fetchone()[0])


def plainly(pattern: str, text: str) -> bool:
    """PS3.4 C.2.2.2.4: "*" any characters, none too; "?" any one."""
    reached = {0}
    for symbol in pattern:
        if symbol == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(text) and symbol in ("?", text[at])}
    return len(text) in reached


@given(TEXT, TEXT.map(str.strip))
def test_text(key: str, stored: str) -> None:
    keys = [part.strip() for part in key.strip(" \0").split("\\")]
    keys = [part for part in keys if part]
    assert in_sql("text", key, stored) == (not keys or any(plainly(part, stored) for part in keys))


@given(TEXT.filter(lambda text: "\\" not in text), TEXT.filter(lambda text: "=" not in text and "\\" not in text))
def test_names_of_one_group(key: str, stored: str) -> None:
    folded = fold_name(key)
    if "=" in folded:
        return
    expected = not folded.strip("*") or plainly(folded, fold_name(stored))
    assert in_sql("name", key, fold_name(stored)) == expected


@given(st.sampled_from(["uid", "text", "name", "date", "time", "number", "any", "any-name"]), st.text(max_size=30))
def test_any_key_is_a_form_or_refused(kind: str, key: str) -> None:
    with contextlib.suppress(BadRequest):
        assert in_sql(kind, key, "20200101") in (True, False)
