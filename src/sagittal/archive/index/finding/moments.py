"""Dates and times of the index as they are in another time zone: `dicom.matching.times.shifted` as SQL.

Deliberately not here: which offset belongs to which value.
"""

from __future__ import annotations

import re

_LETTERS = re.compile(r"(?<![%\w'])[DTOM](?!\w)")
# "D", "T" and "O" are the columns, "M" the minutes of the requestor's offset.
_DATE = "(CASE WHEN D = '' THEN '20000102' ELSE D END)"
_ISO_DATE = f"substr({_DATE}, 1, 4) || '-' || substr({_DATE}, 5, 2) || '-' || substr({_DATE}, 7, 2)"
_CLOCK = "substr(substr(T, 1, 6) || '000000', 1, 6)"
_ISO_TIME = f"substr({_CLOCK}, 1, 2) || ':' || substr({_CLOCK}, 3, 2) || ':' || substr({_CLOCK}, 5, 2)"
_IS_OFFSET = "O GLOB '[+-][0-9][0-9][0-9][0-9]'"
_OFFSET = "(substr(O, 1, 1) || '1') * (substr(O, 2, 2) * 60 + substr(O, 4, 2))"
_MOVED = f"strftime('#', {_ISO_DATE} || ' ' || {_ISO_TIME}, (M - {_OFFSET}) || ' minutes')"
_IS_TIME = (
    "(length(T) IN (2, 4, 6) OR (T GLOB '??????.?*' AND length(T) < 14 AND substr(T, 8) NOT GLOB '*[^0-9]*'))"
    " AND substr(T, 1, 6) NOT GLOB '*[^0-9]*'"
    f" AND strftime('%H%M%S', '2000-01-02 ' || {_ISO_TIME}) = {_CLOCK}"
)
# Nothing added, or SQLite gives a 30th of February back as it is.
_IS_DATE = f"{_DATE} BETWEEN '10000101' AND '99981231' AND strftime('%Y%m%d', {_ISO_DATE}, '+0 days') = {_DATE}"
_KNOWN = f"{_IS_OFFSET} AND {_IS_TIME} AND {_IS_DATE}"
_SHIFTED_DATE = f"(CASE WHEN D <> '' AND {_KNOWN} THEN {_MOVED.replace('#', '%Y%m%d')} ELSE D END)"
_SHIFTED_TIME = f"(CASE WHEN {_KNOWN} THEN {_MOVED.replace('#', '%H%M%S')} || substr(T, 7) ELSE T END)"


def shifted(date: str, time: str, offset: str, minutes: int) -> tuple[str, str]:
    """Expressions of date and time, from those of the stored ones and their offset, `minutes` from UTC."""
    columns = {"D": date, "T": time, "O": offset, "M": str(int(minutes))}
    return _filled(_SHIFTED_DATE, columns), _filled(_SHIFTED_TIME, columns)


def _filled(text: str, columns: dict[str, str]) -> str:
    """Put columns in place of the letters that stand alone."""
    return _LETTERS.sub(lambda found: columns[found[0]], text)
