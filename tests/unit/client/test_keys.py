"""Matching keys as people write them, as identifiers and as parameters of a search."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, time
from typing import Any

import pydicom
import pytest
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, PersonName

from sagittal.client.keys import Question, advice, identifier, keys_of, level_of, parameters, parse_keys
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE
from sagittal.errors import UsageError

NESTED = {0x00400275: {0x00400009: "S1", 0x00400007: ""}, 0x00100010: "DOE*"}


def decoded(question: Question, syntax: str) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(pydicom_head(syntax) + identifier(question, syntax)), force=True)


def pydicom_head(syntax: str) -> bytes:
    from sagittal.dicom.part10 import meta_group

    return meta_group("1.2.3", "1.2.4", syntax)


def test_dots_lead_into_sequences() -> None:
    asked = ["RequestAttributesSequence.ScheduledProcedureStepID=S1", "0040,0275.00400007", "PatientName=DOE*"]
    assert parse_keys(asked) == NESTED
    named = {"RequestAttributesSequence": {"ScheduledProcedureStepID": "S1", "00400007": None}, "PatientName": "DOE*"}
    assert keys_of(named) == NESTED


def test_a_value_in_a_sequence_is_written_as_its_own_attribute_wants() -> None:
    key = "RequestAttributesSequence.ScheduledProcedureStepStartDate"
    assert keys_of({key: date(2020, 1, 2)}) == {0x00400275: {0x00400002: "20200102"}}


def test_a_comma_stands_between_values_that_have_none() -> None:
    given = {"StudyInstanceUID": "1.2,1.3", "ModalitiesInStudy": "CT,MR", "PatientName": "Doe, Jane"}
    expected = {0x0020000D: "1.2\\1.3", 0x00080061: "CT\\MR", 0x00100010: "Doe, Jane"}
    assert keys_of(given) == parse_keys(f"{name}={value}" for name, value in given.items()) == expected


def test_a_key_given_twice_is_a_list() -> None:
    assert parse_keys(["StudyInstanceUID=1.2", "StudyInstanceUID=1.3", "StudyInstanceUID"]) == {0x0020000D: "1.2\\1.3"}
    assert keys_of({"StudyInstanceUID": ["1.2", "1.3"], "StudyDate": 20200101}) == {
        0x0020000D: "1.2\\1.3",
        0x00080020: "20200101",
    }


@pytest.mark.parametrize("nothing", [[], (), set(), iter(())])
def test_a_list_of_nothing_does_not_ask_for_all(nothing: Any) -> None:
    with pytest.raises(UsageError, match="StudyInstanceUID: a list without values"):
        keys_of({"PatientID": "1", "StudyInstanceUID": nothing})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (MultiValue(str, ["1.2", "1.3"]), "1.2\\1.3"),
        ((uid for uid in ("1.2", "1.3")), "1.2\\1.3"),
        ({"1.2": 1, "1.3": 2}.keys(), "1.2\\1.3"),
        (PersonName("Roe^Jane"), "Roe^Jane"),
        (DA("20200102"), "20200102"),
        ([date(2020, 1, 2), None, 7], "20200102\\\\7"),
        (datetime(2020, 1, 2, 3, 4, 5, 6), "20200102030405.000006"),
        (datetime(2020, 1, 2, tzinfo=UTC), "20200102000000.000000+0000"),
        (time(3, 4), "030400.000000"),
    ],
)
def test_values_as_programs_have_them(value: Any, written: str) -> None:
    assert keys_of({"StudyDescription": value}) == {0x00081030: written}


def test_what_has_date_and_time_is_cut_to_what_the_attribute_takes() -> None:
    """As pandas has both in a column of dates."""
    at = datetime(2020, 1, 2, 3, 4, 5)
    assert keys_of({"StudyDate": at, "StudyTime": at}) == {0x00080020: "20200102", 0x00080030: "030405.000000"}
    assert keys_of({"AcquisitionDateTime": at}) == {0x0008002A: "20200102030405.000000"}


@pytest.mark.parametrize("value", [b"P1", ["P0", b"P1"]])
def test_bytes_are_no_text(value: object) -> None:
    """They would be asked for as "b'P1'", and nothing would be found."""
    with pytest.raises(UsageError, match="is no text"):
        keys_of({"PatientID": value})


@pytest.mark.parametrize("key", ["Nobody=1", "0010=1", "RequestAttributesSequence=1", "PatientName=A.B=C=", "Rows=ten"])
def test_what_is_no_key(key: str) -> None:
    if key.startswith("PatientName"):  # only the name is split
        assert parse_keys([key]) == {0x00100010: "A.B=C="}
        return
    with pytest.raises(UsageError):
        identifier(Question("study", parse_keys([key])), EXPLICIT_LE)


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE])
def test_the_identifier_is_what_was_asked(syntax: str) -> None:
    found = decoded(Question("series", NESTED | {0x00280010: "512", 0x00090010: "ACME"}, timezone="+0100"), syntax)
    assert (found.QueryRetrieveLevel, found.PatientName, found.Rows) == ("SERIES", "DOE*", 512)
    assert found.TimezoneOffsetFromUTC == "+0100"
    (item,) = found.RequestAttributesSequence
    assert (item.ScheduledProcedureStepID, item.ScheduledProcedureStepDescription) == ("S1", "")
    assert found[0x00090010].value == "ACME"
    assert "SpecificCharacterSet" not in found


def test_beyond_ascii_it_is_utf_8_also_inside_sequences() -> None:
    found = decoded(Question("series", {0x00400275: {0x00400007: "Schädel"}}), EXPLICIT_LE)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.RequestAttributesSequence[0].ScheduledProcedureStepDescription == "Schädel"


def test_parameters_of_a_search() -> None:
    question = Question(
        "study", NESTED | {0x0020000D: "1.2\\1.3"}, fuzzy=True, limit=3, offset=6, order=("-StudyDate",)
    )
    assert parameters(question) == [
        ("00400275.00400009", "S1"),
        ("includefield", "00400275.00400007"),
        ("00100010", "DOE*"),
        ("0020000D", "1.2,1.3"),
        ("fuzzymatching", "true"),
        ("orderby", "-StudyDate"),
        ("limit", "3"),
        ("offset", "6"),
    ]
    assert ("0020000D", "1.2,1.3") not in parameters(question, without=[0x0020000D])


def test_the_level_is_the_lowest_with_a_uid() -> None:
    assert [
        level_of(parse_keys(keys)) for keys in (["PatientID=1"], ["SeriesInstanceUID=1"], ["SOPInstanceUID=1"])
    ] == [
        "study",
        "series",
        "image",
    ]


def test_a_patient_is_meant_where_the_model_begins_with_patients() -> None:
    patient, study = parse_keys(["PatientID=1"]), parse_keys(["PatientID=1", "StudyInstanceUID=1"])
    assert [level_of(patient, model) for model in ("patient", "patient-study", "study", None)] == [
        "patient",
        "patient",
        "study",
        "study",
    ]
    assert level_of(study, "patient") == "study"


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_lets_nothing_through_is_refused(limit: int) -> None:
    """Else a peer would be asked for all, and a URL for nothing."""
    with pytest.raises(UsageError, match="at least 1"):
        Question("study", limit=limit)


@pytest.mark.parametrize("timezone", ["0100", "+1", "CET", "+1500"])
def test_an_offset_that_is_none_is_refused(timezone: str) -> None:
    """A peer would pass over it, and answer what was not asked."""
    with pytest.raises(UsageError, match="is not an offset from UTC"):
        Question("study", timezone=timezone)


@pytest.mark.parametrize(
    ("level", "keys", "model", "missing"),
    [
        ("image", "SOPInstanceUID=1", "study", "one StudyInstanceUID and one SeriesInstanceUID"),
        ("image", "StudyInstanceUID=1", "patient", "one PatientID and one SeriesInstanceUID"),
        ("series", "StudyInstanceUID=1", "study", ""),
        ("series", "StudyInstanceUID=1,2", "study", "one StudyInstanceUID"),
        ("study", "PatientName=A", "study", ""),
        ("study", "StudyInstanceUID=1", "patient-study", "one PatientID"),
    ],
)
def test_what_is_missing_is_named(level: str, keys: str, model: str, missing: str) -> None:
    asked = Question(level, parse_keys([keys]), model)
    assert advice(asked) == (
        f"name {missing}, or ask for relational queries (--relational, relational=True)" if missing else ""
    )
    assert not advice(Question(level, parse_keys([keys]), model, relational=True))
