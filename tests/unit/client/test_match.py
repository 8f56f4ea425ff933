"""Matches as a person sees them."""

from __future__ import annotations

from sagittal.client.keys import parse_keys
from sagittal.client.match import row_of

STUDY = {
    "00080052": {"vr": "CS", "Value": ["STUDY"]},
    "00080020": {"vr": "DA", "Value": ["20200101"]},
    "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Jane"}]},
}


def test_a_column_is_the_same_attribute_in_each_row() -> None:
    """What was asked for comes in its order, also where a server leaves out what has no value."""
    wanted = parse_keys(["PatientName", "StudyDescription", "StudyDate=2020-"])
    assert list(row_of(STUDY, wanted).items()) == [
        ("PatientName", "Roe^Jane"),
        ("StudyDescription", ""),
        ("StudyDate", "20200101"),
        ("ModalitiesInStudy", "CT\\MR"),
    ]
