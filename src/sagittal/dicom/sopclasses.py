"""SOP classes and other well-known UIDs by PS3.6 Annex A; which are storage SOP classes (PS3.4 B.5, I.4, GG).

Nothing here says what this archive supports: that is the list of services.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from sagittal.dicom.tables.uids import UIDS

Kind = Literal["T", "C", "M", "I", "S", "O"]  # as in tables/uids.py

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_SERVICE = "1.2.840.10008.4.2"  # the service class, as requestors declare it (PS3.7 D.3.3.6)
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_STUDY_ONLY_FIND = "1.2.840.10008.5.1.4.1.2.3.1"
PATIENT_STUDY_ONLY_MOVE = "1.2.840.10008.5.1.4.1.2.3.2"
PATIENT_STUDY_ONLY_GET = "1.2.840.10008.5.1.4.1.2.3.3"
COMPOSITE_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.4.2"
COMPOSITE_ROOT_GET = "1.2.840.10008.5.1.4.1.2.4.3"
WITHOUT_BULK_GET = "1.2.840.10008.5.1.4.1.2.5.3"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"

# PS3.4 C.6.1.1.1, C.6.2.1.1, C.6.3.1.1, Y.3.1, Z.3.1: the levels of each information model, top first, by its classes.
LEVELS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE, PATIENT_ROOT_GET), ("PATIENT", "STUDY", "SERIES", "IMAGE")),
    **dict.fromkeys((STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET), ("STUDY", "SERIES", "IMAGE")),
    **dict.fromkeys((PATIENT_STUDY_ONLY_FIND, PATIENT_STUDY_ONLY_MOVE, PATIENT_STUDY_ONLY_GET), ("PATIENT", "STUDY")),
    **dict.fromkeys((COMPOSITE_ROOT_MOVE, COMPOSITE_ROOT_GET), ("IMAGE", "FRAME")),
    WITHOUT_BULK_GET: ("IMAGE",),
}


class WellKnown(NamedTuple):
    """One row: kind T storage SOP class, C other SOP class, M meta SOP class, I instance, S service class, O other."""

    kind: str
    name: str
    keyword: str
    retired: bool


def _parse(text: str) -> dict[str, WellKnown]:
    table = {}
    for line in text.splitlines():
        uid, kind, *rest = line.split("|")
        retired, name, keyword = (*rest, "", "", "")[:3]
        table[uid] = WellKnown(kind, name, keyword or name.replace(" ", ""), retired == "R")
    return table


WELL_KNOWN: dict[str, WellKnown] = _parse(UIDS)
STORAGE: frozenset[str] = frozenset(uid for uid, row in WELL_KNOWN.items() if row.kind == "T")  # retired ones too


def may_be_storage(uid: str) -> bool:
    """Whether instances of `uid` can be stored: a storage SOP class, or one not in PS3.6 (private, or newer)."""
    row = WELL_KNOWN.get(uid)
    return row is None or row.kind == "T"


def name_of(uid: str) -> str:
    """The name for a person, the UID itself if unknown."""
    row = WELL_KNOWN.get(uid)
    return row.name if row is not None and row.name else uid
