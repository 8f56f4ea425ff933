"""Every valid file of the corpus and of pydicom, in by each way and out by each way, with a byte-identical data set.

Daily one file of each transfer syntax and SOP class, all of them under `slow`. Files that share a SOP Instance UID go
in one after the other, the study of the one before deleted. What must be refused is in `refused.py`, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from conftest import Served, serve
from interop.corpus import CorpusFile, Taken, corpus_files, layers, pydicom_files
from interop.refused import NON_PATIENT, REFUSED, valid
from interop.ways import Answer, by_get, by_import, by_store, by_stow, by_stow_alone, by_wado, forget, into_directory

Way = Callable[[Served, Sequence[CorpusFile]], Mapping[str, Answer]]
WAYS: dict[str, Way] = {"store": by_store, "stow": by_stow, "import": by_import}


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def archive(way: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An archive for each way; what it makes durable is tested elsewhere."""
    served = serve(tmp_path_factory.mktemp(way) / "data", "--durability", "off")
    yield served
    served.stop()


def everything(folder: Path) -> tuple[CorpusFile, ...]:
    return corpus_files(folder) + pydicom_files(folder)


def test_the_table_of_refusals_has_no_idle_row(corpus_dir: Path) -> None:
    assert REFUSED.keys() <= {file.name for file in everything(corpus_dir)}
    assert len(valid(corpus_files(corpus_dir))) == 274


def test_every_valid_file_comes_back_as_it_went_in(
    way: str, archive: Served, taken: Taken, corpus_dir: Path, tmp_path: Path
) -> None:
    held: dict[str, str] = {}  # SOP Instance UID → study
    for number, files in enumerate(layers(taken(valid(everything(corpus_dir))))):
        forget(archive, {held[file.sop_instance_uid] for file in files if file.sop_instance_uid in held})
        refused = {name: answer for name, answer in WAYS[way](archive, files).items() if answer.status != ""}
        assert not refused
        held |= {file.sop_instance_uid: file.study_uid for file in files}
        of_patients = [file for file in files if file.sop_class_uid not in NON_PATIENT]
        assert all(file.study_uid for file in of_patients)
        check(of_patients, by_wado(archive, of_patients))
        check(of_patients, by_get(archive, of_patients, tmp_path / str(number)))


def check(files: Sequence[CorpusFile], came_back: Mapping[str, bytes]) -> None:
    assert [file.name for file in files if came_back[file.name] != file.data_set] == []


def test_objects_without_a_patient_lie_there_as_they_came(way: str, archive: Served, corpus_dir: Path) -> None:
    """No service retrieves them yet: their files are looked up by what these have to be (the name is the digest)."""
    palettes = [file for file in valid(everything(corpus_dir)) if file.sop_class_uid in NON_PATIENT]
    assert len(palettes) == 8
    assert {answer.status for answer in WAYS[way](archive, palettes).values()} == {""}
    stored = {path.name: path for path in (archive.data / "objects").rglob("*") if path.is_file()}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in stored.items())
    contents = [path.read_bytes() for path in stored.values() if path.stat().st_size < 10_000]
    assert [file.name for file in palettes if not any(content.endswith(file.data_set) for content in contents)] == []


def test_a_directory_that_is_not_served_takes_them_too(taken: Taken, corpus_dir: Path, tmp_path: Path) -> None:
    files = everything(corpus_dir)
    first = layers(taken(valid(files)))[0]
    listed = [file for file in files if file.name in REFUSED]
    answers = into_directory(tmp_path / "data", [*first, *listed])
    assert {file.name: answers[file.name] for file in first if answers[file.name].status != ""} == {}
    for file in listed:
        assert answers[file.name].status == REFUSED[file.name].imported, (file.name, answers[file.name])
        assert REFUSED[file.name].text in answers[file.name].text, (file.name, answers[file.name])
    served = serve(tmp_path / "data", "--durability", "off")
    try:
        of_patients = [file for file in first if file.sop_class_uid not in NON_PATIENT]
        check(of_patients, by_wado(served, of_patients))
    finally:
        served.stop()


def test_what_is_refused_is_in_the_table(way: str, archive: Served, corpus_dir: Path) -> None:
    files = [file for file in everything(corpus_dir) if file.name in REFUSED]
    answers = (by_stow_alone if way == "stow" else WAYS[way])(archive, files)
    field = {"store": "store", "stow": "stow", "import": "imported"}[way]
    for file in files:
        row, answer = REFUSED[file.name], answers[file.name]
        assert answer.status == (getattr(row, field) or "-"), (file.name, answer)
        assert (way == "store" and not row.store) or row.text in answer.text, (file.name, answer)
