"""Well-known UIDs and which of them are storage SOP classes."""

from __future__ import annotations

import pytest

from sagittal.dicom import sopclasses
from sagittal.dicom.sopclasses import STORAGE, WELL_KNOWN, may_be_storage, name_of


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
        if name.isupper() and isinstance(value, str) and name != "UIDS":
            assert value in WELL_KNOWN, name
    assert name_of("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert name_of("1.2.3") == "1.2.3"
    assert sopclasses.LEVELS[sopclasses.STUDY_ROOT_GET] == ("STUDY", "SERIES", "IMAGE")
