"""From the tests of a key (`dicom.matching.rules`) to conditions and their parameters: PS3.4 C.2.2.2 as SQL.

A key's text becomes a *form* (its shape, and the values to bind), a shape and a column give the SQL. Only the shape
enters the statement's text, never a value, so statements are few and are cached. Wildcards become GLOB, which is
case-sensitive and knows `*` and `?` as the Standard does; person names are compared folded (`fold_name`), group by
group. A property test holds this equal to `dicom.matching.predicate`. Deliberately not here: which columns there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from sagittal.dicom.matching.names import codes
from sagittal.dicom.matching.rules import EMPTY, PLAIN, Options, Test, tests_of
from sagittal.dicom.matching.times import LAST
from sagittal.errors import LimitExceeded

# How a column is matched -> the rule of its key.
RULE_OF = {
    "uid": "uid",
    "text": "text",
    "name": "name",
    "date": "date",
    "time": "time",
    "date-time": "date-time",
    "number": "number",
    "any": "text",  # several values in one column
    "any-name": "name",  # several folded names in one column
}
_SEVERAL = ("any", "any-name")
_INTEGER_MAX = 2**63 - 1
_PATTERN_BYTES_MAX = 50_000  # of SQLite (SQLITE_LIMIT_LIKE_PATTERN_LENGTH)

Values = tuple[str | int | float | None, ...]


class Form(NamedTuple):
    """How a key matches: the shape decides the SQL, the values are bound to it in order."""

    shape: str
    values: Values


def form_of(kind: str, text: str, options: Options = PLAIN) -> Form | None:
    """The form of a key's text; None for universal matching. BadRequest when the text cannot be a key of this kind."""
    if kind == "uid" and "\\" in text and not (options.empty_value and EMPTY in text):
        uids = [uid for uid in map(str.strip, text.replace("\0", "").split("\\")) if uid]
        if len(uids) > 1:  # there may be 100,000, and the loop waits
            return Form("in", (json.dumps(uids),))
    tests = tests_of(RULE_OF[kind], text, options)
    if tests is None:
        return None
    forms = [_form(test) for test in tests]
    if kind == "text" and len(forms) > 1:  # a value with backslashes, ABD\PELVIS, lies in its column whole
        forms.append(_form(Test("like" if "*" in text or "?" in text else "equal", (text.replace("\0", "").strip(),))))
    if all(form.shape == "eq" for form in forms):
        forms = [joined(forms)]
    if kind in _SEVERAL:
        forms = [Form("empty-all" if form.shape == "empty" else f"any>{form.shape}", form.values) for form in forms]
    return joined(forms)


def joined(forms: list[Form]) -> Form:
    """One form for several, of which any may match."""
    if len(forms) == 1:
        return forms[0]
    if all(form.shape == "eq" for form in forms):
        return Form("in", (json.dumps([form.values[0] for form in forms]),))
    return Form("|".join(form.shape for form in forms), tuple(value for form in forms for value in form.values))


def _form(test: Test) -> Form:
    """The form of one test."""
    return _FORMS[test.op](*test.values)


def condition(shape: str, column: str) -> str:
    """The SQL condition of a shape on a column (an SQL expression of ours)."""
    if "|" in shape:
        return "(" + " OR ".join(condition(part, column) for part in shape.split("|")) + ")"
    if shape.startswith("any>"):
        inner = condition(shape.removeprefix("any>"), "v.value")
        return f"EXISTS (SELECT 1 FROM json_each({_LIST.replace('$', column)}) v WHERE {inner})"
    if shape in HALVES:
        return "(" + " OR ".join(half.replace("$", column) for half in HALVES[shape]) + ")"
    return _TEMPLATES[shape].replace("$", column)


# "$" is the column. JSON text of it has each backslash between values doubled.
_LIST = """'[' || replace(json_quote($), '\\\\', '","') || ']'"""
_FIRST = "substr($, 1, instr($ || '=', '=') - 1)"
_REST = "substr($ || '==', instr($ || '=', '=') + 1)"
_SECOND = f"substr({_REST}, 1, instr({_REST}, '=') - 1)"
_THIRD = f"rtrim(substr({_REST}, instr({_REST}, '=') + 1), '=')"
# `instr` lets the partial index on names with several groups serve.
_OTHER_GROUPS = f"(instr($, '=') > 0 AND ({_FIRST} GLOB ? OR {_SECOND} GLOB ? OR {_THIRD} GLOB ?))"
_PLAIN_NAME = "(instr($, '=') = 0 AND $ GLOB ?)"
# Two conditions that an index answers each; SQLite uses it only when they are asked one by one (see `select`).
HALVES = {"name": ("$ = ?", _OTHER_GROUPS), "name-prefix": ("($ >= ? AND $ < ? AND instr($, '=') = 0)", _OTHER_GROUPS)}
_IS_INTEGER = "(length($) BETWEEN 1 AND 19 AND $ NOT GLOB '*[^0-9+-]*' AND $ NOT GLOB '?*[+-]*' AND $ GLOB '*[0-9]')"
_TEMPLATES = {
    "eq": "$ = ?",
    "in": "$ IN (SELECT value FROM json_each(?))",
    "glob": "$ GLOB ?",
    "prefix": "($ >= ? AND $ < ?)",
    "within": "($ >= ? AND $ < ? AND $ <> '')",
    "number": f"({_IS_INTEGER} AND CAST($ AS INTEGER) = ?)",
    "name-glob": f"({_PLAIN_NAME} OR {_OTHER_GROUPS})",
    "name-groups": f"({_FIRST} GLOB ? AND {_SECOND} GLOB ? AND {_THIRD} GLOB ?)",
    "empty": "trim(ifnull($, '')) = ''",
    "empty-all": "trim($, ' \\') = ''",
}


def like(text: str) -> Form:
    """The form of a text with wildcards."""
    if _is_prefix(text):
        return Form("prefix", (text[:-1], text[:-1] + LAST))
    return Form("glob", (_pattern(text),))


def _name(folded: str) -> Form:
    group = _pattern(folded)
    if _is_prefix(folded):
        return Form("name-prefix", (folded[:-1], folded[:-1] + LAST, group, group, group))
    if "*" in folded or "?" in folded:
        return Form("name-glob", (group,) * 4)
    return Form("name", (folded, group, group, group))


def _number(number: float) -> Form:
    whole = number == int(number) and abs(number) <= _INTEGER_MAX
    return Form("number", (int(number) if whole else None,))


def _fuzzy(*words: str) -> Form:
    """Words of a name are rows of their own (`people`), and a wildcard is compared with each word there is."""
    shapes: list[str] = []
    values: list[str] = []
    for word in words:
        if _is_prefix(word):
            shapes.append("begin")
            values += (word[:-1], word[:-1] + LAST)
        elif "*" in word or "?" in word:
            shapes.append("word")
            values.append(_pattern(word))
        else:
            shapes.append("sound")
            values.append(json.dumps(sorted(codes(word))))
    return Form("&".join(shapes), tuple(values))


_FORMS: dict[str, Callable[..., Form]] = {
    "equal": lambda text: Form("eq", (text,)),
    "like": like,
    "between": lambda first, last: Form("within", (first, last)),
    "number": _number,
    "name": _name,
    "groups": lambda *groups: Form("name-groups", tuple(map(_pattern, groups))),
    "fuzzy": _fuzzy,
    "empty": lambda: Form("empty", ()),
}


def _pattern(text: str) -> str:
    """LimitExceeded: a letter may fold to eighteen."""
    made = text.replace("[", "[[]")
    if len(made) * 4 > _PATTERN_BYTES_MAX and len(made.encode("utf-8", "surrogatepass")) > _PATTERN_BYTES_MAX:
        raise LimitExceeded(f"a name or pattern of more than {_PATTERN_BYTES_MAX} bytes")
    return made


def _is_prefix(text: str) -> bool:
    return text.endswith("*") and "*" not in text[:-1] and "?" not in text
