"""SOP classes and other well-known UIDs by PS3.6 Annex A; which are storage SOP classes (PS3.4 B.5, I.4, GG), and what
their objects hold instead of pixels (PS3.3 A).

Nothing here says what this archive supports: that is the list of services.
"""

from __future__ import annotations

from typing import NamedTuple

from sagittal.dicom.tables.uids import UIDS

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

# PS3.18 12.1.1: the storage SOP classes of what belongs to no patient (PS3.4 GG), by the names of their resources.
NON_PATIENT: dict[str, tuple[str, ...]] = {
    "color-palettes": ("1.2.840.10008.5.1.4.39.1",),
    "defined-procedure-protocols": ("1.2.840.10008.5.1.4.1.1.200.1", "1.2.840.10008.5.1.4.1.1.200.7"),
    "hanging-protocols": ("1.2.840.10008.5.1.4.38.1",),
    "implant-templates": ("1.2.840.10008.5.1.4.43.1", "1.2.840.10008.5.1.4.44.1", "1.2.840.10008.5.1.4.45.1"),
    "inventories": ("1.2.840.10008.5.1.4.1.1.201.1",),
    "protocol-approvals": ("1.2.840.10008.5.1.4.1.1.200.3",),
}

_P, _RADIOTHERAPY = "1.2.840.10008.5.1.4.1.1.", "plans, guides or records radiotherapy"
# Storage SOP classes whose objects have neither pixels nor waveforms and are no documents either, and what they do.
WITHOUT_PIXELS: dict[str, str] = {
    _P + tail: what
    for what, tails in {
        "blends two series": "11.4",
        "subtracts a mask (XA/XRF)": "11.5",
        "shows planes of a volume": "11.6 11.7",
        "blends several series": "11.8",
        "shows a volume": "11.9",
        "shows segments of a volume": "11.10",
        "shows several volumes": "11.11",
        "has a modality LUT a part of the image": "11.12",
        "shows waveforms": "9.100.1 9.100.2",
        "holds spectra": "4.2",
        "holds raw data": "66",
        "registers images": "66.1",
        "marks points in space": "66.2",
        "deforms images": "66.3",
        "holds surfaces": "66.5 68.1 68.2",
        "holds tracks of fibers": "66.6",
        "gives values their units": "67",
        "pairs images": "77.1.5.3",
        "measures eyes": "78.1 78.2 78.3 78.4 78.5 78.7 78.8 80.1",
        "assesses a report": "90.1",
        "annotates images in bulk": "91.1",
        "says how images are laid out": "131",
        "says how images were acquired": "200.2 200.8",
        _RADIOTHERAPY: "481.4 481.5 481.6 481.7 481.8 481.9 481.10 481.11 481.12 481.13 "
        "481.14 481.15 481.16 481.17 481.18 481.19 481.20 481.21 481.22 481.25",
    }.items()
    for tail in tails.split()
} | dict.fromkeys(("1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10"), _RADIOTHERAPY)
_REPORTS_APART = frozenset((_P + "78.6", _P + "79.1"))  # Spectacle Prescription, Macular Grid Thickness and Volume


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


def is_report(uid: str) -> bool:
    """Whether instances of `uid` are SR documents (PS3.3 A.35)."""
    return uid.startswith(_P + "88.") or uid in _REPORTS_APART


def is_waveform(uid: str) -> bool:
    """Whether instances of `uid` hold waveforms (PS3.3 A.34)."""
    return uid.startswith(_P + "9.") and uid not in WITHOUT_PIXELS


def name_of(uid: str) -> str:
    """The name for a person, the UID itself if unknown."""
    row = WELL_KNOWN.get(uid)
    return row.name if row is not None and row.name else uid
