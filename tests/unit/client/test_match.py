"""Matches as a person sees them."""

from __future__ import annotations

import pytest

from sagittal.client.keys import parse_keys
from sagittal.client.match import Match, row_of

STUDY = {
    # What a server says of the answer: nobody's attribute
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080052": {"vr": "CS", "Value": ["STUDY"]},
    "00080054": {"vr": "AE", "Value": ["ARCHIVE"]},
    "00080056": {"vr": "CS", "Value": ["ONLINE"]},
    "00081190": {"vr": "UR", "Value": ["http://archive/studies/1"]},
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


def test_it_is_a_mapping_as_any_other() -> None:
    """Of what is not there it says so, and what is no keyword or tag is not there."""
    match = Match(STUDY)
    assert (match["PatientName"], match["0010,0010"], match.get("ModalitiesInStudy")) == (
        "Roe^Jane",
        "Roe^Jane",
        ["CT", "MR"],
    )
    absent: list[object] = ["StudyTime", "PatientsName", "0010", 0x00100010, (0x0010, 0x0010), None]
    for name in absent:
        assert name not in match
        assert match.get(name, "none") == "none"  # type: ignore[call-overload]
        with pytest.raises(KeyError):
            match[name]  # type: ignore[index]


def test_components_and_values_that_are_null() -> None:
    names = [{"Alphabetic": None, "Ideographic": "x"}, None, {}]
    assert row_of({"00100010": {"vr": "PN", "Value": names}}, ()) == {"PatientName": "=x\\\\"}
