"""findscu and pynetdicom ask a served archive: a table of questions, whose right answers come from pydicom."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator

import pydicom
import pytest
from conftest import Served, serve
from interop.held import Held, associated, identifier, store_all
from programs import corpus_folder, need
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def held() -> Held:
    return Held(corpus_folder())


@pytest.fixture(scope="module")
def archive(held: Held, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("query") / "data")
    store_all(served, held)
    yield served
    served.stop()


def patient_name(data_set: pydicom.Dataset) -> str:
    return str(data_set.get("PatientName") or "")


# (level, keys for findscu, the unique key, which instances match)
Question = tuple[str, list[str], str, Callable[[pydicom.Dataset], bool]]
QUESTIONS: dict[str, Question] = {
    "all studies": ("STUDY", [], "StudyInstanceUID", lambda d: True),
    "patient id": ("STUDY", ["PatientID=98890234"], "StudyInstanceUID", lambda d: d.PatientID == "98890234"),
    "no such patient": ("STUDY", ["PatientID=none"], "StudyInstanceUID", lambda d: False),
    "name wildcard": ("STUDY", ["PatientName=Doe*"], "StudyInstanceUID", lambda d: patient_name(d).startswith("Doe")),
    "name in lower case": (
        "STUDY",
        ["PatientName=doe^pet*"],
        "StudyInstanceUID",
        lambda d: patient_name(d) == "Doe^Peter",
    ),
    "one letter": ("STUDY", ["PatientName=Doe^?eter"], "StudyInstanceUID", lambda d: patient_name(d) == "Doe^Peter"),
    "a date": ("STUDY", ["StudyDate=20010101"], "StudyInstanceUID", lambda d: d.StudyDate == "20010101"),
    "from a date": ("STUDY", ["StudyDate=20030505-"], "StudyInstanceUID", lambda d: str(d.StudyDate) >= "20030505"),
    "to a date": ("STUDY", ["StudyDate=-20010101"], "StudyInstanceUID", lambda d: str(d.StudyDate) <= "20010101"),
    "a range": (
        "STUDY",
        ["StudyDate=20010101-20030504"],
        "StudyInstanceUID",
        lambda d: "20010101" <= str(d.StudyDate) <= "20030504",
    ),
    "modality": ("STUDY", ["ModalitiesInStudy=MR"], "StudyInstanceUID", lambda d: d.Modality == "MR"),
    "two keys": (
        "STUDY",
        ["PatientName=Doe*", "ModalitiesInStudy=CT"],
        "StudyInstanceUID",
        lambda d: patient_name(d).startswith("Doe") and d.Modality == "CT",
    ),
    "a name in another script": (
        "STUDY",
        ["SpecificCharacterSet=ISO_IR 192", "PatientName=やまだ*"],
        "StudyInstanceUID",
        lambda d: "やまだ" in patient_name(d),
    ),
}


def findscu(archive: Served, level: str, keys: list[str]) -> list[str]:
    """The text of every response."""
    command = [need("findscu"), "-S", "-aec", archive.aet, "-k", f"QueryRetrieveLevel={level}"]
    for key in keys:
        command += ["-k", key]
    done = subprocess.run([*command, archive.host, str(archive.port)], capture_output=True, timeout=60, check=True)
    return done.stderr.decode("utf-8", "replace").split("Find Response: ")[1:]


def value_in(response: str, keyword: str) -> str:
    found = re.search(rf"\[([^\]]*)\] *#[^\n]* {keyword}\n", response)
    return found[1].strip(" \0") if found else ""


@pytest.mark.parametrize("name", QUESTIONS)
def test_findscu_gets_right_answers(name, held, archive):
    level, keys, unique, matches = QUESTIONS[name]
    found = [value_in(response, unique) for response in findscu(archive, level, [*keys, unique])]
    assert sorted(found) == sorted(held.values(unique, matches))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_findscu_below_a_study(size, held, archive):
    study = held.study(size)
    of_study = {uid: data_set for uid, (_, data_set) in held.files.items() if study == data_set.StudyInstanceUID}
    series = findscu(archive, "SERIES", [f"StudyInstanceUID={study}", "SeriesInstanceUID", "Modality"])
    assert {(value_in(r, "SeriesInstanceUID"), value_in(r, "Modality")) for r in series} == {
        (d.SeriesInstanceUID, d.Modality) for d in of_study.values()
    }
    found = set()
    for uid in {str(d.SeriesInstanceUID) for d in of_study.values()}:
        keys = [f"StudyInstanceUID={study}", f"SeriesInstanceUID={uid}", "SOPInstanceUID", "InstanceNumber"]
        for response in findscu(archive, "IMAGE", keys):
            found.add((value_in(response, "SOPInstanceUID"), value_in(response, "InstanceNumber")))
    assert found == {(uid, str(d.get("InstanceNumber", ""))) for uid, d in of_study.items()}


def test_a_list_of_uids(held, archive):
    studies = sorted(held.values("StudyInstanceUID"))[:2]
    found = findscu(archive, "STUDY", ["StudyInstanceUID=" + "\\".join(studies)])
    assert sorted(value_in(response, "StudyInstanceUID") for response in found) == studies


def test_counts_of_a_study(held, archive):
    study = held.study(3)
    keys = [f"StudyInstanceUID={study}", "NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries"]
    (response,) = findscu(archive, "STUDY", keys)
    assert value_in(response, "NumberOfStudyRelatedInstances") == "3"
    series = held.values("SeriesInstanceUID", lambda d: study == d.StudyInstanceUID)
    assert value_in(response, "NumberOfStudyRelatedSeries") == str(len(series))


def test_pynetdicom_finds(held, archive):
    ae = AE()
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = associated(archive, ae)
    asked = identifier("STUDY", StudyInstanceUID="", PatientName="", StudyDate="", NumberOfStudyRelatedInstances="")
    responses = list(association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind))
    association.release()
    assert [status.Status for status, _ in responses] == [0xFF00] * (len(responses) - 1) + [0x0000]
    found = {found.StudyInstanceUID: found for _, found in responses if found is not None}
    assert found.keys() == held.values("StudyInstanceUID")
    for uid, row in found.items():
        first = next(data_set for _, data_set in held.files.values() if data_set.StudyInstanceUID == uid)
        assert row.PatientName == first.get("PatientName", "")
        assert row.StudyDate == first.get("StudyDate", "")
        assert row.RetrieveAETitle == archive.aet
        assert row.NumberOfStudyRelatedInstances == len(held.instances(uid))
