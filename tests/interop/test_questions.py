"""findscu, pynetdicom and dicomweb-client ask the table of `questions.py`, and get the same right answers.

Then what C-FIND answers to an identifier that breaks PS3.4 C.4.1, to a key it doesn't match, and to C-CANCEL.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Served, serve
from interop.questions import QUESTIONS, UTF_8, Question, store_seeds, uid_of
from programs import need
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pynetdicom import AE
from pynetdicom.association import Association

pytestmark = pytest.mark.filterwarnings("ignore")

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
DIMSE = [question for question in QUESTIONS if question.of in ("both", "dimse")]
QIDO = [question for question in QUESTIONS if question.of in ("both", "qido")]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Holds what `questions.seeds` makes."""
    served = serve(tmp_path_factory.mktemp("questions") / "data", "--durability", "off")
    try:
        store_seeds(served)
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def association(archive: Served) -> Iterator[Association]:
    """One association of pynetdicom for all questions."""
    ae = AE("ASKER")
    ae.add_requested_context(STUDY_ROOT_FIND)
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet)
    assert association.is_established
    yield association
    association.release()


@pytest.fixture(scope="module")
def web(archive: Served) -> Any:
    from dicomweb_client.api import DICOMwebClient

    return DICOMwebClient(f"{archive.http}/dicom-web")


def keys_of(question: Question) -> dict[str, str]:
    """The identifier: the unique keys above, those that are asked, and the unique key of the level."""
    study, _, series = question.within.partition("/")
    keys = {"SpecificCharacterSet": UTF_8, "QueryRetrieveLevel": question.level}
    if study:
        keys["StudyInstanceUID"] = uid_of(study)
    if series:
        keys["SeriesInstanceUID"] = uid_of(question.within)
    return {**keys, UNIQUE[question.level]: "", **question.keys}


def test_the_table_is_large_enough() -> None:
    assert len(DIMSE) >= 60 and len(QIDO) >= 60
    assert {question.level for question in QUESTIONS} == UNIQUE.keys()


@pytest.mark.parametrize("question", DIMSE, ids=lambda question: question.text)
def test_findscu(question: Question, archive: Served, tmp_path: Path) -> None:
    command = [need("findscu"), "-S", "-X", "-od", str(tmp_path), "-aec", archive.aet]
    for name, value in keys_of(question).items():
        command += ["-k", f"{name}={value}"]
    done = subprocess.run([*command, archive.host, str(archive.port)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    found = [dcmread(path, force=True) for path in tmp_path.iterdir()]
    assert sorted(str(row[UNIQUE[question.level]].value) for row in found) == question.uids
    assert {row.QueryRetrieveLevel for row in found} <= {question.level}


@pytest.mark.parametrize("question", DIMSE, ids=lambda question: question.text)
def test_pynetdicom(question: Question, association: Association) -> None:
    rows = ask(association, identifier(keys_of(question)))
    assert [status for status, _ in rows] == [0xFF00] * len(question.uids) + [0x0000]
    assert sorted(str(row[UNIQUE[question.level]].value) for _, row in rows if row is not None) == question.uids


@pytest.mark.parametrize("question", QIDO, ids=lambda question: question.text)
def test_dicomweb_client(question: Question, web: Any) -> None:
    study, _, series = question.within.partition("/")
    filters = {name: value.replace("\\", ",") for name, value in question.keys.items()}
    search: dict[str, Callable[..., Any]] = {
        "STUDY": web.search_for_studies,
        "SERIES": web.search_for_series,
        "IMAGE": web.search_for_instances,
    }
    places = [uid_of(study)] if study else []
    places += [uid_of(question.within)] if series else []
    rows = [Dataset.from_json(row) for row in search[question.level](*places, search_filters=filters)]
    assert sorted(str(row[UNIQUE[question.level]].value) for row in rows) == question.uids


def identifier(keys: dict[str, str]) -> Dataset:
    data_set = Dataset()
    for name, value in keys.items():
        setattr(data_set, name, int(value) if value and dictionary_VR(name) == "US" else value)
    return data_set


def ask(association: Association, asked: Dataset) -> list[tuple[int, Dataset | None]]:
    return [(status.Status, row) for status, row in association.send_c_find(asked, STUDY_ROOT_FIND)]


@pytest.mark.parametrize(
    "keys",
    [
        {"QueryRetrieveLevel": "PATIENT", "PatientID": ""},
        {"PatientID": ""},
        {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": ""},
        {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2.3", "SOPInstanceUID": ""},
        {"QueryRetrieveLevel": "STUDY", "SeriesInstanceUID": "1.2.3"},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.3\\1.2.4"},
    ],
    ids=lambda keys: " ".join(f"{name}={value}" for name, value in keys.items()),
)
def test_identifiers_against_the_hierarchy_are_refused(keys: dict[str, str], association: Association) -> None:
    assert ask(association, identifier(keys)) == [(0xA900, None)]


def test_a_key_that_is_not_matched_is_told(association: Association) -> None:
    """PS3.4 Table C.4-1: FF01, one or more optional keys were not supported."""
    rows = ask(
        association, identifier({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "StorageMediaFileSetID": "x"})
    )
    assert [status for status, _ in rows] == [0xFF01] * 7 + [0x0000]


def test_a_cancel_ends_a_query_and_nothing_else(association: Association) -> None:
    """The cancel races with seven responses: some queries end with FE00, all end, the association lives on."""
    asked = identifier({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""})
    ends = []
    for number in range(40):
        responses = association.send_c_find(asked, STUDY_ROOT_FIND, msg_id=number + 1)
        association.send_c_cancel(number + 1, query_model=STUDY_ROOT_FIND)
        ends.append([status.Status for status, _ in responses][-1])
        if 0xFE00 in ends:
            break
    assert set(ends) <= {0xFE00, 0x0000}
    assert 0xFE00 in ends
    assert len(ask(association, asked)) == 8
