"""What a response of C-FIND holds: what is told of an entity, what metadata says, in which character set and zone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from builders import MR, build, uid
from conftest import Served, serve
from conftest import sagittal_here as sagittal
from interop.cases import seeds, uid_of
from interop.questions import post
from interop.test_query_cases import FIND, add_key
from pydicom import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

pytestmark = pytest.mark.filterwarnings("ignore")

CYRILLIC = "Люксембург^Иван"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("returned") / "data", "--durability", "off")
    try:
        zoned = {"StudyTime": "233000", "TimezoneOffsetFromUTC": "-0500"}
        post(served, [*seeds(), build(1, study="zoned", patient_id="ZONED", study_date="20200229", extra=zoned)])
        yield served
    finally:
        served.stop()


def ask(archive: Served, asked: Dataset, root: str = "S", terms: bytes = b"", aet: str = "ASKER") -> list[Any]:
    """Every status, and the data sets of the Pending ones."""
    ae = AE(aet)
    ae.add_requested_context(FIND[root])
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = FIND[root], terms or b"\0"
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet, ext_neg=[item])
    assert association.is_established
    responses = [(status.Status, row) for status, row in association.send_c_find(asked, FIND[root])]
    association.release()
    return responses


def identifier(level: str, charset: str = "ISO_IR 192", **keys: Any) -> Dataset:
    asked = Dataset()
    if charset:
        asked.SpecificCharacterSet = charset
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def only(responses: list[Any], status: int = 0xFF00) -> Dataset:
    assert [code for code, _ in responses] == [status, 0x0000]
    found: Dataset = responses[0][1]
    return found


def test_what_is_told_of_a_study(archive: Served) -> None:
    keys = ["ModalitiesInStudy", "SOPClassesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"]
    keys += ["InstanceAvailability", "RetrieveAETitle", "StorageMediaFileSetID", "NumberOfPatientRelatedStudies"]
    asked = identifier("STUDY", StudyInstanceUID=uid_of("A"), **dict.fromkeys(keys, None))
    found = only(ask(archive, asked))
    assert set(found.ModalitiesInStudy) == {"CT", "SR"}
    assert set(found.SOPClassesInStudy) == {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"}
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (3, 5)
    assert (found.InstanceAvailability, found.RetrieveAETitle) == ("ONLINE", archive.aet)
    assert found["StorageMediaFileSetID"].is_empty and found.NumberOfPatientRelatedStudies == 2


def test_what_is_told_of_a_patient_and_of_a_series(archive: Served) -> None:
    keys = ["NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances"]
    found = only(ask(archive, identifier("PATIENT", PatientID="PID-2", **dict.fromkeys(keys)), "P"))
    assert [found[key].value for key in keys] == [1, 1, 4]
    asked = identifier("SERIES", StudyInstanceUID=uid_of("B"), SeriesInstanceUID="", NumberOfSeriesRelatedInstances="")
    asked.Modality = None
    found = only(ask(archive, asked))
    assert (found.NumberOfSeriesRelatedInstances, found.Modality) == (4, "MR")


def test_what_the_index_does_not_hold_comes_from_metadata(archive: Served) -> None:
    asked = identifier("STUDY", StudyInstanceUID=uid_of("A"), EthnicGroup="", PatientComments="", PatientWeight="")
    item = Dataset()
    item.CodeValue = item.CodingSchemeDesignator = ""
    asked.ProcedureCodeSequence = Sequence([item])
    asked.ReferencedStudySequence = Sequence()
    asked.Occupation = ""
    add_key(asked, "ACME:00090001", "")
    add_key(asked, "NOBODY:00110001", "")
    found = only(ask(archive, asked))
    assert (found.EthnicGroup, found.PatientComments, found.PatientWeight) == ("north", "Größe unklar", 72.5)
    (code,) = found.ProcedureCodeSequence
    assert (code.CodeValue, code["CodingSchemeDesignator"].is_empty, "CodeMeaning" in code) == ("T-1", True, False)
    assert found[0x0009, 0x0010].value == "ACME" and found[0x0011, 0x0010].value == "NOBODY"
    assert bytes(found[0x0009, 0x1001].value).strip() == b"blue"
    assert found[0x0011, 0x1001].is_empty and found["Occupation"].is_empty
    assert list(found.ReferencedStudySequence) == []


def test_keys_that_nothing_can_match_are_told(archive: Served) -> None:
    """PS3.4 Table C.4-1: FF01. A private key without its creator, bytes, and what is only told."""
    for tag, vr, value in ((0x00091001, "LO", "blue"), (0x00282000, "OB", b"\1\2"), (0x00880130, "SH", "x")):
        asked = identifier("STUDY", StudyInstanceUID=uid_of("A"))
        asked.add_new(tag, vr, value)
        found = only(ask(archive, asked), 0xFF01)
        assert found[tag].is_empty


@pytest.mark.parametrize(
    ("study", "requested", "answered"),
    [
        ("B", "ISO_IR 144", "ISO_IR 144"),
        ("B", "ISO_IR 100", "ISO_IR 192"),
        ("B", "ISO_IR 192", "ISO_IR 192"),
        ("A", "ISO_IR 100", "ISO_IR 100"),
        ("A", "ISO_IR 144", "ISO_IR 192"),
        ("A", "", "ISO_IR 100"),
        ("C", "ISO_IR 126", "ISO_IR 126"),
        ("D", ["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
        ("E", ["", "ISO 2022 IR 149"], ["", "ISO 2022 IR 149"]),
        ("F", "GB18030", "GB18030"),
        ("G", "ISO_IR 127", "ISO_IR 127"),
        ("H", "ISO_IR 166", "ISO_IR 166"),
        ("H", "", "ISO_IR 192"),
        ("J", "ISO_IR 138", "ISO_IR 138"),
    ],
)
def test_the_character_set_of_a_response(archive: Served, study: str, requested: Any, answered: Any) -> None:
    from interop.cases import STUDIES

    found = only(ask(archive, identifier("STUDY", requested, StudyInstanceUID=uid_of(study), PatientName="")))
    assert found.SpecificCharacterSet == answered
    assert str(found.PatientName) == STUDIES[study][1]["PatientName"]


def test_a_node_may_have_a_character_set_of_its_own(archive: Served) -> None:
    """For identifiers that name none, or one that there isn't."""
    added = sagittal("nodes", "add", "OLD@127.0.0.1:104", "--character-set", "ISO_IR 144", "--data", archive.data)
    assert added.returncode == 0, added.stderr
    for named in ("", "NO SUCH SET"):
        asked = identifier("STUDY", named, StudyInstanceUID="")
        asked.add_new(0x00100010, "PN", CYRILLIC.encode("iso8859_5"))
        assert ask(archive, asked, aet="ASKER")[0][0] == 0x0000
        found = only(ask(archive, asked, aet="OLD"))
        assert found.StudyInstanceUID == uid_of("B")
        assert found.SpecificCharacterSet == "ISO_IR 144"


@pytest.mark.parametrize(
    ("terms", "date", "found"),
    [
        (b"\0\0\0\0", "20200229", True),
        (b"\0\0\0\0", "20200301", False),
        (b"\0\0\0\1", "20200301", True),  # half past four in the morning, UTC
        (b"\0\0\0\1", "20200229", False),
    ],
)
def test_a_requestor_in_another_time_zone(archive: Served, terms: bytes, date: str, found: bool) -> None:
    asked = identifier("STUDY", PatientID="ZONED", StudyInstanceUID="", StudyDate=date, StudyTime="")
    asked.TimezoneOffsetFromUTC = "+0000"
    responses = ask(archive, asked, terms=terms)
    assert [code for code, _ in responses] == ([0xFF00, 0x0000] if found else [0x0000])
    asked = identifier("STUDY", PatientID="ZONED", StudyInstanceUID="", TimezoneOffsetFromUTC="")
    row = only(ask(archive, asked))
    assert (row.TimezoneOffsetFromUTC, row.StudyInstanceUID) == ("-0500", uid("study", "zoned"))


def test_only_the_first_item_of_a_sequence_is_matched(archive: Served) -> None:
    asked = identifier("STUDY", PatientID="ZONED", StudyInstanceUID="")
    for items, status in (([""], 0xFF00), (["", "X"], 0xFF01)):
        asked.ProcedureCodeSequence = Sequence([identifier("", "") for _ in items])
        for item, value in zip(asked.ProcedureCodeSequence, items, strict=True):
            del item.QueryRetrieveLevel
            item.CodeValue = value
        only(ask(archive, asked), status)


@pytest.mark.parametrize("terms", [b"\0\0\0\0", b"\0\0\0\1"])
def test_the_offset_of_what_is_answered_is_said(archive: Served, terms: bytes) -> None:
    """The dates of a response are as received: without their offset a requestor would take them for its own."""
    asked = identifier("STUDY", PatientID="ZONED", StudyInstanceUID="", StudyTime="", TimezoneOffsetFromUTC="+0000")
    row = only(ask(archive, asked, terms=terms))
    assert (row.StudyTime, row.TimezoneOffsetFromUTC) == ("233000", "-0500")


@pytest.mark.parametrize("offset", ["", "+0000"])
def test_an_offset_that_is_not_known_is_left_out(archive: Served, offset: str) -> None:
    asked = identifier("STUDY", PatientID="", StudyInstanceUID="", PatientName="", TimezoneOffsetFromUTC=offset)
    offsets = {row.get("TimezoneOffsetFromUTC", "absent") for _, row in ask(archive, asked) if row is not None}
    assert offsets == {"-0500", "absent"}
    asked = identifier("PATIENT", PatientID="ZONED", TimezoneOffsetFromUTC=offset)
    assert "TimezoneOffsetFromUTC" not in only(ask(archive, asked, "P"))


def test_a_level_below_is_asked_of_a_study(archive: Served) -> None:
    rows = ask(archive, identifier("STUDY", StudyInstanceUID="", SOPClassesInStudy=MR))
    assert {row.StudyInstanceUID for _, row in rows if row is not None} == {uid_of("B"), uid_of("I")}
