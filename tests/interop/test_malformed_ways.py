"""The rows of malformed.csv by every way in: what it says of a file is what C-STORE, STOW-RS and import make of it.

Daily one file of each outcome, all of them under `slow`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Served
from interop.corpus import CorpusFile, described
from interop.ways import Answer, by_import, forget, into_directory, stow
from wire import CT_IMAGE_STORAGE, Object, Wire

from sagittal.dicom.defects import POLICY

TABLE = Path(__file__).parents[1] / "conformance" / "malformed.csv"
IN_THE_META_GROUP = "cat17_cve_libdicom_uaf/TC0901_truncated_meta_group.dcm"  # which a C-STORE doesn't send


@pytest.fixture(params=["one of each", pytest.param("all", marks=pytest.mark.slow)])
def rows(request: pytest.FixtureRequest, corpus_dir: Path) -> list[tuple[CorpusFile, str]]:
    """Files and their outcomes."""
    with TABLE.open(newline="") as table:
        found = {row["file"]: row["outcome"] for row in csv.DictReader(table)}
    if request.param != "all":
        of_each = {outcome: name for name, outcome in found.items() if name != IN_THE_META_GROUP}
        found = {name: outcome for outcome, name in of_each.items()}
    return [(described(name, corpus_dir / "malformed" / name), outcome) for name, outcome in found.items()]


def expected(outcome: str, status_of: Callable[[str], str | int]) -> str | int:
    kind, _, defect = outcome.partition(":")
    return status_of("sop-instance-uid-missing" if defect == "uid-missing" else defect) if kind == "refused" else ""


def by_c_store(served: Served, file: CorpusFile) -> str | int:
    """The data set as it lies in the file, in the transfer syntax that its meta group names."""
    sop_class_uid, uid = file.sop_class_uid or CT_IMAGE_STORAGE, file.sop_instance_uid or "1.2.3.4"
    with Wire(served.host, served.port).associate((sop_class_uid, [file.syntax_uid])) as wire:
        return wire.store(Object(uid, file.data_set, sop_class_uid))[0] or ""


def test_by_c_store(server: Served, rows: list[tuple[CorpusFile, str]]) -> None:
    for file, outcome in rows:
        if file.name != IN_THE_META_GROUP:
            forget(server, {file.study_uid} - {""})
            wanted = expected(outcome, lambda defect: POLICY[defect].dimse_status)
            assert by_c_store(server, file) == wanted, (file.name, outcome)


def test_by_stow(server: Served, rows: list[tuple[CorpusFile, str]]) -> None:
    with httpx.Client(timeout=60) as client:
        for file, outcome in rows:
            forget(server, {file.study_uid} - {""})
            wanted = expected(outcome, lambda defect: POLICY[defect].dimse_status)
            assert stow(client, server, [file])[file.name].status == wanted, (file.name, outcome)


def test_by_import(server: Served, rows: list[tuple[CorpusFile, str]], tmp_path: Path) -> None:
    """Where no server is between them the defects that are tolerated are told, too."""
    for number, (file, outcome) in enumerate(rows):
        forget(server, {file.study_uid} - {""})
        answers: list[Answer] = [
            by_import(server, [file])[file.name],
            into_directory(tmp_path / str(number), [file])[file.name],
        ]
        wanted = expected(outcome, lambda _: "failed")
        assert [answer.status for answer in answers] == [wanted] * 2, (file.name, outcome)
        kind, _, defects = outcome.partition(":")
        assert kind != "warned" or set(defects.split()) <= set(answers[1].text.split("; ")), answers[1]
