"""The same corrections laid over the DICOM JSON text of an object: what its reader would say of the corrected object.

Members are taken apart up to (0400,0561) only, and the rest of the text is passed on, unless they are out of order;
`overlay` does it for bytes.
Addresses of bulk data stay those of the object as stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sagittal.dicom import charset
from sagittal.dicom.models.overlay import ORIGINAL, Correction, needs_unicode

_CHARACTER_SET, _ORIGINAL, _LAST = "00080005", f"{ORIGINAL:08X}", "FFFFFFFF"
_DECODER = json.JSONDecoder()


class Incomplete(ValueError):
    """The text ends before the member after (0400,0561)."""


def overlaid_json(text: str, corrections: Sequence[Correction], *, whole: bool = True, unordered: bool = False) -> str:
    """The text of the corrected object, that of an `unordered` one in order. Incomplete unless it is `whole` or reaches
    beyond (0400,0561).
    """
    members, rest = _members(text, whole, _LAST if unordered else _ORIGINAL)
    charsets = charset.parse(_characters(members.get(_CHARACTER_SET, "")))[0]
    if needs_unicode(corrections, charsets):
        members[_CHARACTER_SET] = _dumped({"vr": "CS", "Value": [charset.UTF_8]})
    items = _items(members.pop(_ORIGINAL, ""))
    for correction in corrections:
        before = {}
        for tag, element in sorted(correction.attributes.items()):
            key = f"{tag:08X}"
            before[key] = members.get(key) or _dumped({"vr": element["vr"]})
            members[key] = _dumped(element)
        items.append(_item(correction, before))
    members[_ORIGINAL] = f'{{"vr":"SQ","Value":[{",".join(items)}]}}'
    made = ",".join(f'"{key}":{members[key]}' for key in sorted(members))
    return "{" + made + rest


def _members(text: str, whole: bool, last: str) -> tuple[dict[str, str], str]:
    """The members up to the first above `last`, by tag and as they are written, and the text after them."""
    members: dict[str, str] = {}
    at = 1
    while text.startswith('"', at):
        key = text[at + 1 : at + 9]
        if len(key) == 8 and key > last:
            return members, "," + text[at:]
        try:
            _, end = _DECODER.raw_decode(text, at + 11)
        except (ValueError, IndexError):
            raise Incomplete from None
        members[key] = text[at + 11 : end]
        at = end + 1
    if not whole:
        raise Incomplete
    return members, "}"


def _characters(member: str) -> str:
    found = json.loads(member).get("Value", []) if member else []
    return "\\".join(value or "" for value in found)


def _items(member: str) -> list[str]:
    """The items that are there already, as they are written."""
    head = '"Value":['
    if head not in member:
        return []
    content = member[member.index(head) + len(head) : member.rindex("]")]
    return [content] if content else []


def _item(correction: Correction, before: Mapping[str, str]) -> str:
    previous = ",".join(f'"{key}":{value}' for key, value in before.items())
    told = {
        "04000562": {"vr": "DT", "Value": [correction.at]},
        "04000563": {"vr": "LO", "Value": [correction.system]},
        "04000564": {"vr": "LO"},
        "04000565": {"vr": "CS", "Value": [correction.reason]},
    }
    rest = _dumped(told)[1:]
    return f'{{"04000550":{{"vr":"SQ","Value":[{{{previous}}}]}},{rest}'


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
