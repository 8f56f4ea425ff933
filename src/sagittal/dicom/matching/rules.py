"""What the text of a matching key means: THE TABLE of value representations and their rules (PS3.4 C.2.2.2.1 to .8).

`tests_of` parses a key into tests, one of which some value of the attribute has to pass; None is universal matching.
The predicate (`predicate`) and the index (`archive.index.matching`) both carry out these tests. Lenient where senders
are: a list of values matches any of them for every representation, wildcards in dates are taken, numbers are compared
by value ("+7" is 7; left open by PS3.4 C.2.2.2.1.5). Deliberately not here: sequences, and where attributes are found.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack
from typing import NamedTuple

from sagittal.dicom.dictionary import lookup, vr_of
from sagittal.dicom.matching import names, times
from sagittal.errors import BadRequest

_PATTERNS_MAX = 100
_VALUES_MAX = 10_000  # of a key that is no UID: 30 ms, while the loop waits
_NUMBER_CHARACTERS_MAX = 64
_SINGLE_MAX = 3.4028234e38

# VR -> rule. Not here: SQ (its items are matched), and binary values, which cannot be.
RULES: dict[str, str] = {
    **dict.fromkeys(("AE", "AS", "CS", "LO", "SH", "UC", "AT", "UN"), "text"),
    **dict.fromkeys(("LT", "ST", "UT"), "long"),  # one value, which may hold backslashes
    **dict.fromkeys(("UI", "UR"), "uid"),
    **dict.fromkeys(("IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FD"), "number"),
    "FL": "single",
    "PN": "name",
    "DA": "date",
    "TM": "time",
    "DT": "date-time",
}
EMPTY = '""'  # PS3.4 C.2.2.2.7
_SEVERAL = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})  # PS3.4 C.2.2.2.8


class Test(NamedTuple):
    """One test of one value: `op` is equal, like, between, moment, number, name, groups, fuzzy or empty."""

    op: str
    values: tuple[str | int | float, ...] = ()


class Options(NamedTuple):
    """How a query is matched, as `archive.query.Query` says."""

    fuzzy: bool = False
    combined_datetime: bool = False
    timezone: int | None = None  # the requestor's offset from UTC in minutes
    empty_value: bool = False
    multiple_value: bool = False


PLAIN = Options()


def all_of(tag: int, text: str, options: Options) -> list[str]:
    """The keys that are all to match: each value of one where Multiple Value Matching is asked for and may be, of an
    attribute that can have several (PS3.4 C.2.2.2.8); else the key itself. BadRequest for too many.
    """
    if not options.multiple_value or "\\" not in text or vr_of(tag) not in _SEVERAL:
        return [text]
    entry, texts = lookup(tag), text.split("\\")
    if entry is None or entry.vm == "1":
        return [text]
    if len(texts) > _PATTERNS_MAX:
        raise BadRequest(f"more than {_PATTERNS_MAX} values that are all to match")
    return texts


def tests_of(rule: str, text: str, options: Options = PLAIN) -> tuple[Test, ...] | None:
    """The tests of a key's text; None for universal matching. BadRequest when it cannot be a key of this rule."""
    text = text.replace("\0", "").strip()
    if not text.strip("*"):
        return None
    if rule == "long" or "\\" not in text:
        parts = [text]
    elif rule != "uid" and text.count("\\") >= _VALUES_MAX:
        raise BadRequest(f"more than {_VALUES_MAX} values in one key")
    else:
        parts = [part for part in (part.strip() for part in text.split("\\")) if part]
    if not parts:
        return None
    parse = _PARSERS["fuzzy" if rule == "name" and options.fuzzy else rule]
    tests = []
    for part in parts:
        test = Test("empty") if options.empty_value and part == EMPTY else parse(part, options)
        if test is None:
            return None  # one that matches all
        tests.append(test)
    if len(tests) > _PATTERNS_MAX and any(test.op != "equal" for test in tests):
        raise BadRequest(f"more than {_PATTERNS_MAX} patterns in one key")
    return tuple(tests)


def _text(text: str, options: Options) -> Test | None:
    if not text.strip("*"):
        return None
    return Test("like" if "*" in text or "?" in text else "equal", (text,))


def _equal(text: str, options: Options) -> Test | None:
    return Test("equal", (text,))


def _name(text: str, options: Options) -> Test | None:
    folded = names.fold_name(text)
    if not folded.strip("*="):
        return None
    if "=" in folded:  # an empty group of the key is universal
        first, second, third, *_ = (*folded.split("="), "", "")
        return Test("groups", (first or "*", second or "*", third or "*"))
    return Test("name", (folded,))


def _fuzzy(text: str, options: Options) -> Test | None:
    words = names.key_words(text)
    if len(words) > _PATTERNS_MAX:
        raise BadRequest(f"more than {_PATTERNS_MAX} words in one key")
    return Test("fuzzy", words) if words else None


def _date(text: str, options: Options) -> Test | None:
    if "*" in text or "?" in text:
        return _text(text, options)
    if times.date_bounds(text)[2] is False:
        return Test("equal", (times.date_bounds(text)[0],))
    return _between(times.date_range(text))


def _time(text: str, options: Options) -> Test | None:
    if "*" in text or "?" in text:
        return _text(text, options)
    return _between(times.time_range(text))


def _date_time(text: str, options: Options) -> Test | None:
    if "*" in text or "?" in text:
        return _text(text, options)
    found = times.date_time_range(text, options.timezone)
    if found is None:
        return None
    first, last, zone = found
    return Test("between", (first, last)) if zone is None else Test("moment", (first, last, zone))


def _between(bounds: times.Range | None) -> Test | None:
    return None if bounds is None else Test("between", bounds)


def _number(text: str, options: Options) -> Test | None:
    number = number_of(text)
    if number is None:
        raise BadRequest(f"not a number: {text[:40]!r}")
    return Test("number", (number,))


def _single(text: str, options: Options) -> Test | None:
    """A value of FL is the number of single precision next to what was written: "0.1" is not the 0.1 of FD."""
    number = number_of(text)
    if number is None or not abs(number) <= _SINGLE_MAX:
        return _number(text, options)
    return Test("number", unpack("f", pack("f", number)))


def number_of(text: str) -> int | float | None:
    """The number that a text is; None when it is none."""
    if len(text) > _NUMBER_CHARACTERS_MAX or not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
        if text.strip().lstrip("+-").isdecimal():
            return int(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


_PARSERS: dict[str, Callable[[str, Options], Test | None]] = {
    "text": _text,
    "long": _text,
    "uid": _equal,
    "name": _name,
    "fuzzy": _fuzzy,
    "date": _date,
    "time": _time,
    "date-time": _date_time,
    "number": _number,
    "single": _single,
}
