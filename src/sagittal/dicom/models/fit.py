"""Whether text is as its value representation has it (PS3.5 6.2): form, repertoire and length of one value.

For what people type, before it is written anywhere; what objects have is kept whatever it is. Numbers are not judged
here (`dicom.elements`), nor what a value means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from sagittal.dicom.elements import ONE_VALUE_VRS

_TEXT = r"[^\x00-\x1f\x7f\\]"  # without control characters; the backslash parts values
_LONG = r"[^\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]"  # with line breaks
_CLOCK = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_DATE = r"\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_FORMS = {
    "AE": rf"{_TEXT}{{1,16}}",
    "AS": r"\d{3}[DWMY]",
    "CS": r"[A-Z0-9 _]{1,16}",
    "DA": _DATE,
    "DT": rf"(?:\d{{4}}(?:0[1-9]|1[0-2])?|{_DATE}(?:{_CLOCK})?)(?:[+-](?:0\d|1[0-4])[0-5]\d)?",
    "LO": rf"{_TEXT}{{1,64}}",
    "LT": rf"{_LONG}{{1,10240}}",
    "SH": rf"{_TEXT}{{1,16}}",
    "ST": rf"{_LONG}{{1,1024}}",
    "TM": _CLOCK,
    "UI": r"(?=.{1,64}\Z)(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*",
}
_PATTERNS = {vr: re.compile(form, re.ASCII) for vr, form in _FORMS.items()}
_GROUP = re.compile(rf"{_TEXT}{{0,64}}")


def fits(vr: str, value: Any) -> bool:
    """Whether a value of DICOM JSON (of text several, with backslashes) is one of `vr`; no value and a number are."""
    if isinstance(value, Mapping):
        return vr != "PN" or all(isinstance(group, str) and _GROUP.fullmatch(group) for group in value.values())
    pattern = _PATTERNS.get(vr)
    if pattern is None or not isinstance(value, str):
        return True
    parts = [value] if vr in ONE_VALUE_VRS else value.split("\\")
    return all(not part or _fits(vr, pattern, part) for part in parts)


def _fits(vr: str, pattern: re.Pattern[str], part: str) -> bool:
    if not pattern.fullmatch(part.rstrip(" ") or part):
        return False
    if vr == "DA" or (vr == "DT" and len(part) >= 8 and part[:8].isdigit()):
        try:
            date(int(part[:4]), int(part[4:6]), int(part[6:8]))
        except ValueError:
            return False
    return True
