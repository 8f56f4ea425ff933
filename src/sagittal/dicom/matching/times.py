"""Dates, times and date-times in matching: ranges (PS3.4 C.2.2.2.5) and offsets from UTC (PS3.5 6.2, VR DT).

Values are compared as text: digits in falling significance sort as time does. A bound of less precision stands for all
of its day, hour or minute. Deliberately not here: which of the values is in which time zone (`predicate`).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sagittal.errors import BadRequest

LAST = "\U0010ffff"  # sorts behind every text with the same beginning
_DATE = re.compile(r"[0-9]{8}\Z")
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9](?:[0-5][0-9]|60)?)?(?<=[0-9]{2})(?:(?<=[0-9]{6})\.[0-9]{1,6})?\Z")
_MOMENT = (
    r"(?:(?:[0-9]{14}(?:\.[0-9]{1,6})?|[0-9]{4}(?:[0-9]{2}){0,4})(?:[+-](?:0[0-9]|1[0-4])[0-5][0-9])?)"  # PS3.5 6.2
)
_DATE_TIMES = re.compile(rf"({_MOMENT})?(?:(-)({_MOMENT})?)?\Z")
_OLD_DATE = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}\Z")  # ACR-NEMA's forms (PS3.5 6.2, DA and TM)
_OLD_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?\Z")
_OFFSET = re.compile(r"([+-])([0-9]{2})([0-9]{2})\Z")
_IS_OFFSET = re.compile(r"[+-][0-9]{2}[0-5][0-9]\Z")

Range = tuple[str, str]  # from the first on, before the second


def is_offset(text: str) -> bool:
    """Whether it is an offset from UTC, +0100 (PS3.5 6.2, VR DT): from -1200 to +1400."""
    return _IS_OFFSET.match(text) is not None and -1200 <= int(text) <= 1400


def date_bounds(text: str) -> tuple[str, str, bool]:
    """First and last date of a key as asked, "" where open; whether it is a range. BadRequest."""
    return _bounds(text, "date", _DATE, ".")


def time_bounds(text: str) -> tuple[str, str, bool]:
    """As `date_bounds`, for times of day."""
    return _bounds(text, "time", _TIME, ":")


def _bounds(text: str, what: str, form: re.Pattern[str], mark: str) -> tuple[str, str, bool]:
    """`mark`: what ACR-NEMA has between the digits."""
    first, dash, last = (part.strip().replace(mark, "") for part in text.partition("-"))
    for bound in (first, last):
        if bound and not form.match(bound):
            raise BadRequest(f"not a {what} or a range of {what}s: {text[:40]!r}")
    return first, last if dash else first, bool(dash)


def regular_date(text: str) -> str:
    """A value of VR DA, of ACR-NEMA's `yyyy.mm.dd` as `yyyymmdd`; any other as it is."""
    return text.replace(".", "") if "." in text and _OLD_DATE.match(text) else text


def regular_time(text: str) -> str:
    """A value of VR TM, of ACR-NEMA's `hh:mm:ss` as `hhmmss`; any other as it is."""
    return text.replace(":", "") if ":" in text and _OLD_TIME.match(text) else text


REGULAR = {"DA": regular_date, "TM": regular_time}


def date_range(text: str) -> Range | None:
    """The dates that a key means; None: all."""
    first, last, _ = date_bounds(text)
    return (first, last + LAST) if first or last else None


def time_range(text: str) -> Range | None:
    """The times of day that a key means."""
    first, last, _ = time_bounds(text)
    return (shortest(first), last + LAST) if first or last else None


def combined_range(dates: str, times: str) -> Range | None:
    """A range of dates and one of times of day as one range, for values of date and time joined. BadRequest."""
    (first, last, _), (begin, end, _) = date_bounds(dates), time_bounds(times)
    if not first and not last:
        return None
    return first + (shortest(begin) if first else ""), (last + end if last else "") + LAST


def date_time_range(text: str, offset: int | None) -> tuple[str, str, int | None] | None:
    """The date-times that a key means, and the offset from UTC (minutes) in which they are told: the first that the key
    says, else `offset`; None when none is known. BadRequest.
    """
    found = _DATE_TIMES.match(text.strip())
    if not found:
        raise BadRequest(f"not a date-time or a range of date-times: {text[:40]!r}")
    first, dash, last = (part or "" for part in found.groups())
    last = last if dash else first
    if not first and not last:
        return None
    said = [minutes for minutes in map(_offset_of, (first, last)) if minutes is not None]
    zone = said[0] if said else offset
    return shortest(in_zone(first, offset, zone), 4), in_zone(last, offset, zone, "235959") + LAST, zone


def in_zone(text: str, offset: int | None, zone: int | None, rest: str = "") -> str:
    """A date-time in another zone than its own, which is `offset` if it says none (minutes both); as it is where one of
    them is not known or it has no hour. `rest` is what stands for the digits that its time lacks.
    """
    digits, own = plain(text), _offset_of(text)
    own = offset if own is None else own
    if own is None or zone in (None, own) or len(digits.partition(".")[0]) < 10:
        return digits
    assert zone is not None
    time = digits[8:]
    return "".join(shifted(digits[:8], time + rest[len(time) :], zone - own))


def with_offset(text: str, offset: int | None) -> str:
    """A date-time that says its offset from UTC, as far as it is known."""
    if not text or offset is None or _offset_of(text) is not None:
        return text
    return f"{text}{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"


def _offset_of(text: str) -> int | None:
    return offset_minutes(text[-5:]) if len(text) > 8 else None


def plain(text: str) -> str:
    """A date-time without its offset from UTC."""
    return re.split("[+-]", text)[0]


def has_offset(text: str) -> bool:
    """Whether a key of date-times says an offset from UTC."""
    found = _DATE_TIMES.match(text.strip())
    return found is not None and any(part and part != plain(part) for part in (found[1], found[3]))


def offset_minutes(text: str) -> int | None:
    """Minutes of an offset from UTC, as "+0100"; None when it is none."""
    found = _OFFSET.match(text.strip())
    if not found:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes


def shifted(date: str, time: str, minutes: int) -> tuple[str, str]:
    """Date and time moved by minutes; as they are when either is missing or none. Without date the time goes round."""
    if not _TIME.match(time) or (date and not (_DATE.match(date) and "10000101" <= date <= "99981231")):
        return date, time
    clock, fraction = (time[:6] + "000000"[len(time[:6]) :]), time[6:]
    try:
        moved = datetime.strptime((date or "20000102") + clock, "%Y%m%d%H%M%S") + timedelta(minutes=minutes)
    except ValueError:
        return date, time
    return f"{moved:%Y%m%d}" if date else "", f"{moved:%H%M%S}{fraction}"


def shortest(time: str, digits_min: int = 2) -> str:
    """Without trailing zeros, so that what was stored with less precision does not sort before it."""
    if "." in time:
        time = time.rstrip("0").removesuffix(".")
    while len(time) > digits_min and time.endswith("00"):
        time = time[:-2]
    return time
