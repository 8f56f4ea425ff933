"""findscu, pynetdicom and dicomweb-client ask the table of `query_cases.csv`, and get the same right answers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Served, serve
from interop.cases import Case, cases, seeds, uid_of
from interop.questions import post
from programs import need
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

pytestmark = pytest.mark.filterwarnings("ignore")

FIND = {"P": "1.2.840.10008.5.1.4.1.2.1.1", "S": "1.2.840.10008.5.1.4.1.2.2.1", "O": "1.2.840.10008.5.1.4.1.2.3.1"}
UNIQUE = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
TERMS = ("relational", "combined", "fuzzy", "timezone")
CASES = cases()
DIMSE = [(case, root) for case in CASES for root in sorted(case.of & FIND.keys())]
PLAIN = [(case, root) for case, root in DIMSE if not case.terms & set(TERMS)]  # findscu can't negotiate
QIDO = [case for case in CASES if "Q" in case.of]
FILES_AT_ONCE = 150
CASES_AT_ONCE = 25  # of a test: a thousand tests would take longer than their questions
Answers = dict[str, object]


def in_blocks(listed: list[Any]) -> Any:
    """A test for each block of cases."""
    blocks = [listed[start : start + CASES_AT_ONCE] for start in range(0, len(listed), CASES_AT_ONCE)]
    return pytest.mark.parametrize("block", blocks, ids=lambda block: f"{named(block[0])} and more")


def named(case: Case | tuple[Case, str]) -> str:
    if isinstance(case, tuple) and not isinstance(case, Case):
        return f"{case[1]} {named(case[0])}"
    keys = " ".join(f"{key}={text}" for key, text in case.keys.items())
    return f"{case.number} {case.level} {keys}"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Holds what `cases.seeds` makes."""
    served = serve(tmp_path_factory.mktemp("cases") / "data", "--durability", "off")
    try:
        post(served, seeds())
        yield served
    finally:
        served.stop()


def identifier(case: Case) -> Dataset:
    """The unique keys above, those that are asked, and the unique key of the level."""
    asked = Dataset()
    asked.SpecificCharacterSet = case.charset.split("\\")
    asked.QueryRetrieveLevel = case.level
    setattr(asked, UNIQUE[case.level], "")
    study, _, series = case.within.partition("/")
    if study:
        asked.StudyInstanceUID = uid_of(study)
    if series:
        asked.SeriesInstanceUID = uid_of(case.within)
    for key, text in case.keys.items():
        add_key(asked, key, text)
    return asked


def add_key(into: Dataset, key: str, text: str) -> None:
    if ":" in key:
        creator, _, tag = key.partition(":")
        group = int(tag[:4], 16)
        into.add_new((group, 0x0010), "LO", creator)
        into.add_new((group, 0x1000 | int(tag[6:], 16)), "LO", text)
    elif "." in key:
        sequence, _, inner = key.partition(".")
        if sequence not in into:
            setattr(into, sequence, Sequence([Dataset()]))
        add_key(into[sequence].value[0], inner, text)
    else:
        vr = dictionary_VR(key)
        number = vr in ("US", "UL") and text not in ("", '""')
        into.add_new(tag_for_keyword(key) or 0, vr, int(text) if number else text)


def test_the_table_is_large_enough() -> None:
    assert len(CASES) >= 300
    assert len(QIDO) >= 300 and len(PLAIN) >= 300
    assert {case.level for case in CASES} == UNIQUE.keys()


class Findscu:
    """What findscu says to the queries of one root, many to a process."""

    def __init__(self, archive: Served, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._found: dict[tuple[int, str], list[str]] = {}

    def found(self, case: Case, root: str) -> list[str]:
        if not self._found:
            for each in sorted(FIND):
                asked = [case for case, wanted in PLAIN if wanted == each]
                for start in range(0, len(asked), FILES_AT_ONCE):
                    self._ask(asked[start : start + FILES_AT_ONCE], each)
        return sorted(self._found[case.number, root])

    def _ask(self, asked: list[Case], root: str) -> None:
        files = []
        for case in asked:
            files.append(self._folder / f"{root}{case.number}.dcm")
            identifier(case).save_as(files[-1], implicit_vr=False, little_endian=True)
        command = [need("findscu"), f"-{root}", "-v", "-aec", self._archive.aet, self._archive.host]
        done = subprocess.run(
            [*command, str(self._archive.port), *map(str, files)], capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        *answers, _ = re.split(rb"Received Final Find Response \(Success\)", done.stdout + done.stderr)
        assert len(answers) == len(asked)
        for case, answer in zip(asked, answers, strict=True):
            responses = re.split(rb"Find Response: \d+ \(Pending\)", answer)[1:]
            self._found[case.number, root] = [_unique(response, case.level) for response in responses]


def _unique(response: bytes, level: str) -> str:
    tag = tag_for_keyword(UNIQUE[level]) or 0
    found = re.search(rb"\(%04x,%04x\) \w\w \[([^\]]*)\]" % (tag >> 16, tag & 0xFFFF), response)
    return found[1].decode().strip("\0 ") if found else ""


@pytest.fixture(scope="module")
def findscu(archive: Served, tmp_path_factory: pytest.TempPathFactory) -> Findscu:
    return Findscu(archive, tmp_path_factory.mktemp("findscu"))


@in_blocks(PLAIN)
def test_findscu(block: list[tuple[Case, str]], findscu: Findscu) -> None:
    found = {named((case, root)): findscu.found(case, root) for case, root in block}
    assert found == {named((case, root)): case.uids for case, root in block}


@pytest.fixture(scope="module")
def associations(archive: Served) -> Iterator[Callable[[frozenset[str]], Association]]:
    """An association of pynetdicom for each combination of terms."""
    opened: dict[bytes, Association] = {}

    def associated(terms: frozenset[str]) -> Association:
        proposed = bytes(term in terms for term in TERMS)
        if proposed not in opened:
            opened[proposed] = _associate(archive, proposed)
        return opened[proposed]

    yield associated
    for association in opened.values():
        association.release()


def _associate(archive: Served, proposed: bytes) -> Association:
    """With an extended negotiation that wants enhanced multi-frame conversion too, which is declined."""
    ae, items = AE("ASKER"), []
    for sop_class in FIND.values():
        ae.add_requested_context(sop_class)
        if any(proposed):
            items.append(SOPClassExtendedNegotiation())
            items[-1].sop_class_uid = sop_class
            items[-1].service_class_application_information = proposed + b"\1"
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet, ext_neg=items)
    assert association.is_established
    granted = association.acceptor.sop_class_extended
    assert granted == (dict.fromkeys(FIND.values(), proposed + b"\0") if any(proposed) else {})
    return association


@in_blocks(DIMSE)
def test_pynetdicom(block: list[tuple[Case, str]], associations: Callable[[frozenset[str]], Association]) -> None:
    found, expected = Answers(), Answers()
    for case, root in block:
        association, name = associations(case.terms & set(TERMS)), named((case, root))
        rows = [(status.Status, row) for status, row in association.send_c_find(identifier(case), FIND[root])]
        uids = sorted(str(row[UNIQUE[case.level]].value) for _, row in rows if row is not None)
        found[name] = [status for status, _ in rows], uids
        expected[name] = [0xFF00] * len(case.found) + [0x0000], case.uids
    assert found == expected


@pytest.fixture(scope="module")
def web(archive: Served) -> Any:
    from dicomweb_client.api import DICOMwebClient

    return DICOMwebClient(f"{archive.http}/dicom-web")


@in_blocks(QIDO)
def test_dicomweb_client(block: list[Case], web: Any) -> None:
    assert {named(case): searched(case, web) for case in block} == {named(case): case.uids for case in block}


def searched(case: Case, web: Any) -> list[str]:
    """The UIDs that QIDO-RS finds."""
    filters: dict[str, str] = {}
    for key, text in case.keys.items():
        creator, colon, tag = key.rpartition(":")
        if colon:
            filters |= {f"{tag[:4]}0010": creator, f"{tag[:4]}10{tag[6:]}": text}
        else:
            filters[key] = text.replace("\\", ",") if "UID" in key or "SOPClasses" in key else text
    if "empty" in case.terms:
        filters["emptyvaluematching"] = "true"
    search = {"STUDY": web.search_for_studies, "SERIES": web.search_for_series, "IMAGE": web.search_for_instances}
    study, _, series = case.within.partition("/")
    places = [uid_of(study)] if study else []
    places += [uid_of(case.within)] if series else []
    fuzzy = True if "fuzzy" in case.terms else None
    rows = [Dataset.from_json(row) for row in search[case.level](*places, fuzzymatching=fuzzy, search_filters=filters)]
    return sorted(str(row[UNIQUE[case.level]].value) for row in rows)
