"""Matching as a predicate on the DICOM JSON Model (PS3.4 C.2.2.2, PS3.18 F.2): does this object match these keys?

`Matcher` takes the keys apart once; then objects cost a few microseconds each. `needs` are bytes without which the text
of an object cannot match, so that most objects needn't be parsed at all. An attribute that isn't there is one without
value. Deliberately not here: what a key's text means (`rules`), where objects come from.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from json import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from sagittal.dicom.dictionary import keyword_of, tag_of, tag_text, vr_of
from sagittal.dicom.matching import times
from sagittal.dicom.matching.names import codes, fold_name, words
from sagittal.dicom.matching.rules import EMPTY, PLAIN, RULES, Options, Test, all_of, number_of, tests_of
from sagittal.errors import BadRequest

Object = Mapping[str, Any]  # a data set or an item in the DICOM JSON Model
TIMEZONE_OFFSET = "00080201"


class Private(NamedTuple):
    """A private attribute: its creator, and its tag with the block's bits zeroed (0xggggxxEE as 0xgggg00EE)."""

    creator: str
    tag: int


Tag = int | Private
Keys = Mapping[Tag, "str | Keys"] | Mapping[int, str]  # a mapping's keys are invariant
_DECODE = JSONDecoder().raw_decode
_Condition = Callable[[Object, "int | None"], bool]  # the object, its offset from UTC in minutes


class Matcher:
    """Whether objects match all of `keys`. BadRequest for a key that cannot be read or whose VR cannot be matched."""

    def __init__(self, keys: Keys, options: Options = PLAIN) -> None:
        self._glances: list[tuple[str, _Condition]] = []
        self._matches, needs = _conditions(keys, options, self._glances)
        self.needs: tuple[bytes, ...] = tuple(needs)

    def __call__(self, found: Object) -> bool:
        """Whether this object matches."""
        zone = next(iter(values_of(found.get(TIMEZONE_OFFSET, {}))), "")
        return self._matches(found, times.offset_minutes(zone))

    def may_match(self, text: str) -> bool:
        """Whether the DICOM JSON text of an object is worth parsing: of each single attribute that is asked for, some
        occurrence matches, at whatever depth. Costs a tenth of parsing it.
        """
        return all(_occurs(text, name, condition) for name, condition in self._glances)


def _occurs(text: str, name: str, condition: _Condition) -> bool:
    at = text.find(name)
    while at >= 0:
        try:
            element, at = _DECODE(text, at + len(name))
        except ValueError:  # not as ingest writes it
            return True
        if condition({name[1:9]: element}, None):
            return True
        at = text.find(name, at)
    return False


def _conditions(
    keys: Keys, options: Options, glances: list[tuple[str, _Condition]] | None = None
) -> tuple[_Condition, set[bytes]]:
    conditions: list[_Condition] = []
    needs: set[bytes] = set()
    joined = dict(_joined(keys, options))
    for tag, asked in keys.items():
        if isinstance(asked, str):
            made = _combined(tag, joined[tag], options) if tag in joined else _values(tag, asked, options)
        else:
            made = _items(tag, asked, options)
        if made is None:
            continue
        condition, inner, of_nothing = made
        conditions.append(condition)
        if not of_nothing:
            needs |= inner | {mark(tag)}
        plain = isinstance(asked, str) and not of_nothing and options.timezone is None and tag not in joined
        if glances is not None and isinstance(tag, int) and plain and vr_of(tag) != "DT":
            glances.append((f'"{tag:08X}":', condition))

    def matches(found: Object, zone: int | None) -> bool:
        return all(condition(found, zone) for condition in conditions)

    return (matches if conditions else _always), needs


def _always(found: Object, zone: int | None) -> bool:
    return True


# What a key comes to: a condition, the bytes that its inside needs, and whether an absent attribute may match.
_Made = tuple[_Condition, set[bytes], bool]


def _joined(keys: Keys, options: Options) -> Iterable[tuple[Tag, tuple[str, str]]]:
    """Dates that are matched together with their times, and those times."""
    if not options.combined_datetime:
        return
    for tag, text in keys.items():
        time = time_of(tag) if isinstance(tag, int) else None
        other = keys.get(time) if time is not None else None
        if isinstance(text, str) and isinstance(other, str) and are_combined(text, other):
            yield tag, (text, other)
            assert time is not None
            yield time, ("", "")


def are_combined(dates: str, clock: str) -> bool:
    """Whether a key of a date and one of its time are one: ranges of the same form (PS3.4 C.2.2.2.5.4), no lists or
    patterns. A single date is none, and the times with it are matched for themselves.
    """
    if any(mark in dates + clock for mark in '*?\\"'):
        return False
    return "-" in dates and _form(dates) == _form(clock)


def _form(text: str) -> tuple[bool, ...]:
    return tuple(bool(part.strip()) for part in text.split("-"))


def _combined(tag: Tag, texts: tuple[str, str], options: Options) -> _Made | None:
    bounds = times.combined_range(*texts) if texts[0] else None
    if bounds is None:
        return None
    assert isinstance(tag, int)
    test = Test("between", bounds)

    def matches(found: Object, zone: int | None) -> bool:
        date, time = _moment(found, tag, time_of(tag), zone, options.timezone)
        return bool(date) and passes(test, date + time)

    return matches, set(), False


def _values(tag: Tag, text: str, options: Options) -> _Made | None:
    if not text.strip(" \0").strip("*"):
        return None
    if isinstance(tag, int) and len(texts := all_of(tag, text, options)) > 1:
        return _all([made for text in texts if (made := _values(tag, text, options))])
    vr = vr_of(tag) if isinstance(tag, int) else ""
    if vr == "SQ":
        if options.empty_value and text == EMPTY:
            return _items(tag, {}, options)
        raise _unmatched(tag)
    if vr and vr not in RULES:
        raise _unmatched(tag)

    @cache
    def tests(vr: str) -> tuple[Test, ...] | None:
        if vr not in RULES:
            return ()
        return tests_of(RULES[vr], text, options)

    if tests(vr or "UN") is None:  # it says as well what is wrong with the key now, and not at the first object
        return None
    zoned = options.timezone is not None or (vr in ("DT", "") and times.has_offset(text))
    partner = time_of(tag) or date_of(tag) if options.timezone is not None and isinstance(tag, int) else None

    def matches(found: Object, zone: int | None) -> bool:
        element = find(found, tag) or {}
        try:
            asked = tests(str(element.get("vr") or vr or "LO"))
        except BadRequest:  # the object has this attribute with another VR
            return False
        if asked is None:
            return True
        if partner is not None and isinstance(tag, int):
            values = [_shifted_value(found, tag, partner, zone, options.timezone)]
        else:
            values = values_of(element, zone, zoned)
        return any(any_passes(test, values or [""]) for test in asked)

    of_nothing = options.empty_value and EMPTY in text.split("\\")
    return matches, set(), of_nothing


def _all(made: list[_Made]) -> _Made | None:
    if not made:
        return None
    return (
        lambda found, zone: all(condition(found, zone) for condition, _, _ in made),
        set().union(*(needs for _, needs, _ in made)),
        all(of_nothing for _, _, of_nothing in made),
    )


def _unmatched(tag: Tag) -> BadRequest:
    shown = tag_text(tag) if isinstance(tag, int) else tag.creator
    return BadRequest(f"{shown} cannot be matched by a value")


def _items(tag: Tag, asked: Keys, options: Options) -> _Made | None:
    """Sequence matching: one item matches all of it (PS3.4 C.2.2.2.6). Without keys: for empty sequences."""
    if not asked:
        if not options.empty_value:
            return None
        return lambda found, zone: not (find(found, tag) or {}).get("Value"), set(), True
    inside, needs = _conditions(asked, options)
    if inside is _always:
        return None

    def matches(found: Object, zone: int | None) -> bool:
        items = (find(found, tag) or {}).get("Value")
        return isinstance(items, list) and any(isinstance(item, dict) and inside(item, zone) for item in items)

    return matches, needs, False


def mark(tag: Tag) -> bytes:
    """Bytes that the text of an object has when it has this attribute."""
    return b'"%08X"' % tag if isinstance(tag, int) else encode_basestring(tag.creator).encode()


# Values


def find(found: Object, tag: Tag) -> Mapping[str, Any] | None:
    """An attribute of an object: by tag, or by creator and element in whatever block (PS3.5 7.8.1)."""
    if isinstance(tag, int):
        element = found.get(f"{tag:08X}")
        return element if isinstance(element, dict) else None
    name = tag_in(found, tag)
    return None if name is None else found.get(name)


def tag_in(found: Object, private: Private) -> str | None:
    """Where a private attribute is in an object; None when it isn't there."""
    group = f"{private.tag >> 16:04X}"
    for name, element in found.items():
        if name.startswith(group) and name[4:6] == "00" and values_of(element)[:1] == [private.creator]:
            place = f"{group}{name[6:]}{private.tag & 0xFF:02X}"
            if place in found:
                return place
    return None


def values_of(element: Mapping[str, Any], zone: int | None = None, zoned: bool = False) -> list[str]:
    """The values of an element that isn't a sequence, as text; [] without value. Date-times without their offset from
    UTC, or all with it (`zoned`); dates and times of ACR-NEMA in the form of DICOM.
    """
    values, vr = element.get("Value"), element.get("vr")
    if values is None:
        return _of_bytes(element) if vr == "UN" and "InlineBinary" in element else []
    if vr == "PN":
        return [_name(value) for value in values]
    if vr == "DT":
        read = (lambda value: times.with_offset(value, zone)) if zoned else times.plain
        return [read(value) if isinstance(value, str) else "" for value in values]
    texts = ["" if value is None else str(value).replace("\0", "") for value in values]
    return list(map(times.REGULAR[vr], texts)) if vr in times.REGULAR else texts


def _of_bytes(element: Mapping[str, Any]) -> list[str]:
    """A value of unknown representation, read as text: what Implicit VR leaves of private attributes."""
    raw = b64decode(element["InlineBinary"])
    return [value.strip(" \0") for value in raw.decode("utf-8", "replace").split("\\")]


def _name(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    groups = (value.get("Alphabetic", ""), value.get("Ideographic", ""), value.get("Phonetic", ""))
    return "=".join(map(str, groups)).rstrip("=").replace("\0", "")


def any_passes(test: Test, values: list[str]) -> bool:
    """Whether some value passes a test; without value is what has none at all."""
    each = (passes(test, value) for value in values)
    return all(each) if test.op == "empty" else any(each)


def passes(test: Test, value: str) -> bool:
    """Whether one value passes one test."""
    op, values = test
    if op == "equal":
        return value == values[0]
    if op == "like":
        return pattern(str(values[0])).match(value) is not None
    if op == "between":
        return value != "" and str(values[0]) <= value < str(values[1])
    if op == "moment":
        first, last, zone = values
        return value != "" and str(first) <= times.in_zone(value, None, int(zone)) < str(last)
    if op == "number":
        return number_of(value) == values[0]
    if op == "name":
        like = pattern(str(values[0]))
        return any(like.match(group) for group in fold_name(value).split("="))
    if op == "groups":
        groups = (*fold_name(value).split("="), "", "")
        return all(pattern(str(asked)).match(group) for asked, group in zip(values, groups, strict=False))
    if op == "fuzzy":
        return sounds_like(tuple(map(str, values)), value)
    return not value.strip(" ")  # empty


def sounds_like(asked: tuple[str, ...], name: str) -> bool:
    """Fuzzy matching: each word of the key is like some word of the name; with wildcards, literally."""
    held = words(name)
    return all(any(_is_like(word, other) for other in held) for word in asked)


def _is_like(word: str, other: str) -> bool:
    if "*" in word or "?" in word:
        return pattern(word).match(other) is not None
    return not codes(word).isdisjoint(codes(other))


@lru_cache(maxsize=512)
def pattern(text: str) -> re.Pattern[str]:
    """PS3.4 C.2.2.2.4: "*" any characters, none too; "?" any one.

    Each part between asterisks is taken at its first place and never tried again, so that none takes long.
    """
    first, *rest = (re.sub(r"\\\?", ".", re.escape(part)) for part in re.split(r"\*+", text))
    if not rest:
        return re.compile(first + r"\Z", re.DOTALL)
    between = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(rf"{first}{between}.*{rest[-1]}\Z", re.DOTALL)


# Dates and their times


@cache
def time_of(tag: int) -> int | None:
    """The time that belongs to a date: Study Time for Study Date; None when there is none."""
    return _partner(tag, "DA", "Date", "Time", "TM")


@cache
def date_of(tag: int) -> int | None:
    """The date that belongs to a time."""
    return _partner(tag, "TM", "Time", "Date", "DA")


def _partner(tag: int, vr: str, word: str, other: str, other_vr: str) -> int | None:
    if vr_of(tag) != vr or tag >> 16 == 0x0010:  # a birth date is no moment
        return None
    keyword = keyword_of(tag)
    try:
        partner = tag_of(keyword.replace(word, other)) if word in keyword else None
    except KeyError:
        return None
    return partner if partner is not None and vr_of(partner) == other_vr else None


def _moment(found: Object, date: int, time: int | None, zone: int | None, to: int | None) -> tuple[str, str]:
    """Date and time of an object, in the requestor's time zone when both zones are known."""
    texts = [next(iter(values_of(found.get(f"{tag:08X}", {}))), "") if tag else "" for tag in (date, time)]
    if zone is None or to is None:
        return texts[0], texts[1]
    return times.shifted(texts[0], texts[1], to - zone)


def _shifted_value(found: Object, tag: int, partner: int, zone: int | None, to: int | None) -> str:
    is_date = vr_of(tag) == "DA"
    date, time = (tag, partner) if is_date else (partner, tag)
    moment = _moment(found, date, time, zone, to)
    return moment[0] if is_date else moment[1]
