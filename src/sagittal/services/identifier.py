"""The identifiers of Query/Retrieve (PS3.4 C.4.1.1.3, C.4.2.1.4): level, unique keys, matching keys.

Hierarchical rules only: relational queries are not negotiated, so every unique key above the level is wanted with one
value and none below it may have a value. What breaks them is A900 with the key as offending element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sagittal.dicom.elements import Element, charsets_of, decode_identifier
from sagittal.dicom.syntaxes import syntax
from sagittal.dimse.service import Request, Response
from sagittal.errors import IdentifierMismatch, SagittalError
from sagittal.limits import ReaderLimits
from sagittal.uid import is_uid

CHARACTER_SET, LEVEL, RETRIEVE_AET, AVAILABILITY = 0x00080005, 0x00080052, 0x00080054, 0x00080056
PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
UNIQUE_KEYS = {"PATIENT": PATIENT_ID, "STUDY": STUDY_UID, "SERIES": SERIES_UID, "IMAGE": INSTANCE_UID}
STUDY_ROOT = ("STUDY", "SERIES", "IMAGE")


class KeyMismatch(IdentifierMismatch):
    """An identifier without a key it needs, or with one it may not have."""

    def __init__(self, text: str, tag: int) -> None:
        super().__init__(text)
        self.tag = tag


@dataclass(frozen=True, slots=True)
class Identifier:
    """A decoded identifier; sequences and the control elements are left out of `keys`."""

    level: str
    keys: dict[int, str]  # as text, values joined by a backslash
    vrs: dict[int, str]
    charsets: tuple[str, ...]

    def uids(self, level: str) -> list[str]:
        """The values of a level's unique key."""
        return [uid for uid in self.keys.get(UNIQUE_KEYS[level], "").split("\\") if uid]


def read_identifier(request: Request, levels: Sequence[str], limits: ReaderLimits) -> Identifier:
    """Decode the identifier of a request; check its level, and the unique keys above and below that."""
    if not request.identifier:
        raise KeyMismatch("no identifier", LEVEL)
    elements = decode_identifier(request.identifier, syntax(request.context.transfer_syntax), limits)
    level = elements[LEVEL].text().upper() if LEVEL in elements else ""
    if level not in levels:
        raise KeyMismatch(f"Query/Retrieve Level is {level or 'missing'}, not one of {' '.join(levels)}", LEVEL)
    charsets = charsets_of(elements)
    keys = _keys(elements, charsets)
    place = levels.index(level)
    for above in levels[:place]:
        _one_value(keys, UNIQUE_KEYS[above], above)
    for below in levels[place + 1 :]:
        if keys.get(UNIQUE_KEYS[below]):
            raise KeyMismatch(f"a key of the {below} level at the {level} level", UNIQUE_KEYS[below])
    return Identifier(level, keys, {tag: elements[tag].vr for tag in keys}, charsets)


def check_retrieve(identifier: Identifier) -> None:
    """C-MOVE and C-GET need UIDs at their level (PS3.4 C.4.2.1.4.1)."""
    tag = UNIQUE_KEYS[identifier.level]
    uids = identifier.uids(identifier.level)
    if not uids:
        raise KeyMismatch(f"no UID at the {identifier.level} level", tag)
    if not all(is_uid(uid) for uid in uids):
        raise KeyMismatch(f"not a UID at the {identifier.level} level", tag)


def failure(error: SagittalError) -> Response:
    """The final response for an error: its status, comment and offending element."""
    extra = {"OffendingElement": [error.tag]} if isinstance(error, KeyMismatch) else {}
    return Response(error.dimse_status, comment=error.text[:64], extra=extra)


def _keys(elements: dict[int, Element], charsets: Sequence[str]) -> dict[int, str]:
    control = (CHARACTER_SET, LEVEL, RETRIEVE_AET, AVAILABILITY)
    return {
        tag: element.text(charsets)
        for tag, element in elements.items()
        if element.vr != "SQ" and tag not in control and tag & 0xFFFF
    }


def _one_value(keys: dict[int, str], tag: int, level: str) -> None:
    value = keys.get(tag, "")
    if not value or "\\" in value or "*" in value or "?" in value:
        raise KeyMismatch(f"the {level} level wants one value of its unique key", tag)
