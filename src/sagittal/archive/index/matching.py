"""From the text of one matching key to a condition and its parameters: PS3.4 C.2.2.2.

A key's text is parsed into a *form* (its shape, and the values to bind), a shape and a column give the SQL. Only the
shape enters the statement's text, never a value, so statements are few and are cached. Wildcards become GLOB, which is
case-sensitive and knows `*` and `?` as the Standard does; person names are compared folded (`names.fold_name`), any
component group may match.

Lenient where senders are: lists of values match any of them for every kind, wildcards in dates are taken. Deliberately
not here: which columns there are, combined date-time matching (extended negotiation), fuzzy matching.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from sagittal.archive.index.names import fold_name
from sagittal.errors import BadRequest

_LAST = "\U0010ffff"  # sorts behind every text with the same beginning
_TIME = re.compile(r"(\d{2})(\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?\Z")
_DATE = re.compile(r"\d{8}\Z")
_ZEROS = re.compile(r"(?<=\d{2})(?:00|(?<=\d{4})00(?:\.0*)?|\.0*)\Z")


class Form(NamedTuple):
    """How a key matches: the shape decides the SQL, the values are bound to it in order."""

    shape: str
    values: tuple[str | int, ...]


def form_of(kind: str, text: str) -> Form | None:
    """The form of a key's text; None for universal matching. BadRequest when the text cannot be a key of this kind."""
    text = text.strip(" \0")
    if not text.strip("*"):
        return None
    if "\\" not in text:
        return _PARSERS[kind](text)
    values = [value for value in (part.strip() for part in text.split("\\")) if value]
    forms = [form for form in map(_PARSERS[kind], values) if form is not None]
    if len(forms) < len(values) or not forms:  # one that matches all
        return None
    if all(form.shape == "eq" for form in forms):
        return Form("in", (json.dumps([form.values[0] for form in forms]),))
    if len(forms) > 100:
        raise BadRequest("more than 100 patterns in one key")
    return Form("|".join(form.shape for form in forms), tuple(value for form in forms for value in form.values))


def condition(shape: str, column: str) -> str:
    """The SQL condition of a shape on a column (an SQL expression of ours)."""
    if "|" in shape:
        return "(" + " OR ".join(condition(part, column) for part in shape.split("|")) + ")"
    if shape in HALVES:
        return "(" + " OR ".join(half.replace("$", column) for half in HALVES[shape]) + ")"
    return _TEMPLATES[shape].replace("$", column)


# "$" is the column. `instr` lets the partial index on names with several groups serve.
_GROUPS = "(instr($, '=') > 0 AND '=' || $ || '=' GLOB ?)"
# Two conditions that an index answers each; SQLite uses it only when they are asked one by one (see `select`).
# Two conditions that an index answers each; SQLite uses it only when they are asked one by one (see `select`).
HALVES = {"name": ("$ = ?", _GROUPS), "name-prefix": ("($ >= ? AND $ < ?)", _GROUPS)}
_TEMPLATES = {
    "eq": "$ = ?",
    "in": "$ IN (SELECT value FROM json_each(?))",
    "glob": "$ GLOB ?",
    "prefix": "($ >= ? AND $ < ?)",
    "ge": "$ >= ?",
    "le": "($ <= ? AND $ <> '')",
    "below": "($ < ? AND $ <> '')",
    "between": "$ BETWEEN ? AND ?",
    "within": "($ >= ? AND $ < ?)",
    "number": "($ <> '' AND CAST($ AS INTEGER) = ?)",
    "name-glob": f"($ GLOB ? OR {_GROUPS})",
    "name-groups": "($ GLOB ? OR $ GLOB ?)",
    "any": "'\\' || $ || '\\' GLOB ?",
    "any-name": "'\\' || lower($) || '\\' GLOB ?",
}


def _pattern(text: str) -> str:
    return text.replace("[", "[[]")


def _literal(text: str) -> str:
    return text.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def _is_prefix(text: str) -> bool:
    return text.endswith("*") and "*" not in text[:-1] and "?" not in text


def _text(text: str) -> Form | None:
    if not text.strip("*"):
        return None
    if _is_prefix(text):
        return Form("prefix", (text[:-1], text[:-1] + _LAST))
    if "*" in text or "?" in text:
        return Form("glob", (_pattern(text),))
    return Form("eq", (text,))


def _uid(text: str) -> Form | None:
    return Form("eq", (text,))


def _name(text: str) -> Form | None:
    folded = fold_name(text)
    if not folded.strip("*="):
        return None
    if "=" in folded:  # an empty group of the key is universal
        whole = _pattern("=".join(group or "*" for group in folded.split("=")))
        return Form("name-groups", (whole, whole + "=*"))
    in_a_group = f"*={_pattern(folded)}=*"
    if _is_prefix(folded):
        return Form("name-prefix", (folded[:-1], folded[:-1] + _LAST, in_a_group))
    if "*" in folded or "?" in folded:
        return Form("name-glob", (_pattern(folded), in_a_group))
    return Form("name", (folded, in_a_group))


def _date(text: str) -> Form | None:
    if "*" in text or "?" in text:
        return _text(text)
    first, dash, last = (part.strip().replace(".", "") for part in text.partition("-"))
    for bound in (first, last):
        if bound and not _DATE.match(bound):
            raise BadRequest(f"not a date or a range of dates: {text[:40]!r}")
    if not dash:
        return Form("eq", (first,))
    if first and last:
        return Form("between", (first, last))
    if first:
        return Form("ge", (first,))
    return Form("le", (last,)) if last else None


def _time(text: str) -> Form | None:
    """A time of less precision stands for all of its minute or hour, alone as at the end of a range."""
    if "*" in text or "?" in text:
        return _text(text)
    first, dash, last = (part.strip().replace(":", "") for part in text.partition("-"))
    for bound in (first, last):
        if bound and not _TIME.match(bound):
            raise BadRequest(f"not a time or a range of times: {text[:40]!r}")
    if not dash:
        return Form("within", (first, first + _LAST))
    if first and last:
        return Form("within", (_shortest(first), last + _LAST))
    if first:
        return Form("ge", (_shortest(first),))
    return Form("below", (last + _LAST,)) if last else None


def _shortest(time: str) -> str:
    """Without trailing zeros, so that what was stored with less precision does not sort before it."""
    while len(time) > 2 and (shorter := _ZEROS.sub("", time)) != time:
        time = shorter
    return time


def _number(text: str) -> Form | None:
    try:
        return Form("number", (int(text),))
    except ValueError:
        raise BadRequest(f"not an integer: {text[:40]!r}") from None


def _any(text: str) -> Form | None:
    return Form("any", (f"*\\{_pattern(text)}\\*",))


def _any_name(text: str) -> Form | None:
    return Form("any-name", (f"*\\{_pattern(text.lower())}\\*",))


_PARSERS: dict[str, Callable[[str], Form | None]] = {
    "uid": _uid,
    "text": _text,
    "name": _name,
    "date": _date,
    "time": _time,
    "number": _number,
    "any": _any,  # several values in one column
    "any-name": _any_name,  # several person names in one column, case folded for ASCII only
}
