"""Well-known UIDs and which of them are storage SOP classes."""

from __future__ import annotations

import re

import pytest

from sagittal.dicom import sopclasses
from sagittal.dicom.sopclasses import (
    NON_PATIENT,
    STORAGE,
    WELL_KNOWN,
    WITHOUT_PIXELS,
    is_report,
    is_waveform,
    may_be_storage,
    name_of,
)


def test_all_of_pydicom() -> None:
    from pydicom._uid_dict import UID_dictionary

    for uid, (name, kind, _, retired, keyword) in UID_dictionary.items():
        if kind in ("Transfer Syntax", "LDAP OID"):
            assert uid not in WELL_KNOWN
            continue
        row = WELL_KNOWN[uid]
        assert (row.name, row.keyword, row.retired) == (name, keyword, retired == "Retired"), uid


def test_storage_contexts_of_pynetdicom_are_storage() -> None:
    from pynetdicom import AllStoragePresentationContexts

    theirs = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    assert theirs <= STORAGE


def test_what_belongs_to_no_patient_is_as_pynetdicom_has_it() -> None:
    """And each in the resource that is called as it is."""
    from pynetdicom.sop_class import _NON_PATIENT_OBJECT_CLASSES

    assert sorted(uid for classes in NON_PATIENT.values() for uid in classes) == sorted(
        _NON_PATIENT_OBJECT_CLASSES.values()
    )
    for resource, classes in NON_PATIENT.items():
        for uid in classes:
            assert all(word[:8].rstrip("s") in name_of(uid).lower() for word in resource.split("-")), (resource, uid)


# What PS3.6 calls the classes whose objects are of one kind; the first that fits.
CALLED = {
    "report": re.compile("SR Storage|Procedure Log|Key Object|Report"),
    "waveform": re.compile("Waveform Storage"),
    "over images": re.compile("(?<!XRF )(Grayscale|Color) Softcopy|Structure Set"),
    "document": re.compile("Encapsulated [A-Z]{3} "),
    "image": re.compile("Image|Map Storage|(?<!Surface )Segmentation|RT Dose|B-scan|US Volume"),
}
OF_NO_PATIENT = {uid for classes in NON_PATIENT.values() for uid in classes}
INDUSTRIAL = re.compile(r".*\.1\.1\.[56]01\.")  # DICOS, DICONDE


def test_what_objects_hold_is_as_their_classes_are_called() -> None:
    for uid in (uid for uid in STORAGE - OF_NO_PATIENT if not WELL_KNOWN[uid].retired and not INDUSTRIAL.match(uid)):
        called = next((kind for kind, pattern in CALLED.items() if pattern.search(name_of(uid))), "")
        told = is_report(uid), is_waveform(uid), uid in WITHOUT_PIXELS
        assert told == (called == "report", called == "waveform", called == ""), name_of(uid)


@pytest.mark.parametrize(
    ("uid", "known", "may"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True, True),
        ("1.2.840.10008.5.1.4.1.1.66.7", True, True),
        ("1.2.840.10008.5.1.4.38.1", True, True),
        ("1.2.840.10008.1.20.1", False, False),
        ("1.2.840.10008.1.3.10", False, False),
        ("1.2.840.10008.5.1.4.1.1.201.5", False, False),
        ("1.2.840.10008.1.1", False, False),
        ("1.2.840.10008.5.1.4.1.2.2.1", False, False),
        ("1.2.826.0.1.3680043.2.1", False, True),
    ],
)
def test_is_storage(uid: str, known: bool, may: bool) -> None:
    assert (uid in STORAGE, may_be_storage(uid)) == (known, may)


def test_constants_and_names() -> None:
    for name, value in vars(sopclasses).items():
        if name.isupper() and isinstance(value, str) and name != "UIDS" and not name.startswith("_"):
            assert value in WELL_KNOWN, name
    assert name_of("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert name_of("1.2.3") == "1.2.3"
    assert sopclasses.LEVELS[sopclasses.STUDY_ROOT_GET] == ("STUDY", "SERIES", "IMAGE")
