"""The commands and the Python face against Orthanc: the same questions over DIMSE and DICOMweb, the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import sagittal_here as sagittal
from interop.corpus import read
from interop.orthanc import USER, Running, orthanc
from programs import corpus_folder
from pydicom.data import get_charset_files

from sagittal.client import Access, Archive

FOLDER = "dicomdir/pydicom-dicomdirtests/98892001"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It holds one study, sent over DIMSE, and one object, sent over HTTP."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        stored = sagittal("store", running.peer, corpus_folder() / FOLDER, "--json")
        assert stored.returncode == 0, stored.stderr
        one = get_charset_files("chrFren.dcm")[0]
        stowed = sagittal("stow", running.url, one, "--user", USER, "--json")
        assert stowed.returncode == 0, stowed.stderr + stowed.stdout
        yield running


def lines(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def values(matches: list[dict], tag: str) -> set[str]:
    return {match[tag]["Value"][0] for match in matches}


@pytest.mark.parametrize("level", ["study", "series", "image"])
def test_both_faces_of_an_archive_answer_the_same(peer, level):
    (study,) = lines(
        sagittal("find", peer.peer, "-k", "PatientID=98890234", "-k", "StudyDate=20010101", "-n", "1", "--json")
    )[:1]
    uid, tag = study["0020000D"]["Value"][0], {"study": "0020000D", "series": "0020000E", "image": "00080018"}[level]
    keys = ["-L", level, "-k", f"StudyInstanceUID={uid}"]
    if level == "image":
        series = lines(sagittal("find", peer.peer, "-L", "series", *keys[2:], "--json"))[0]["0020000E"]["Value"][0]
        keys += ["-k", f"SeriesInstanceUID={series}"]
    dimse = lines(sagittal("find", peer.peer, *keys, "--json"))
    web = lines(sagittal("find", peer.url, *keys, "--user", USER, "--json"))
    assert values(dimse, tag) == values(web, tag) != set()


def test_get_over_both_is_what_was_sent(peer, tmp_path):
    sent = {str(read(path).SOPInstanceUID): path for path in (corpus_folder() / FOLDER).rglob("*") if path.is_file()}
    for name, place in (("dimse", [peer.peer]), ("web", [peer.url, "--user", USER])):
        done = sagittal("get", *place, "-k", "PatientID=98890234", "-o", tmp_path / name, "--json")
        assert done.returncode == 0, done.stderr
        got = {path.stem: path for path in (tmp_path / name).iterdir()}
        assert got.keys() == sent.keys()
        for uid, path in sent.items():
            assert read(got[uid]) == read(path)  # Orthanc writes sequences anew


def test_who_may_not_is_exit_status_3(peer):
    done = sagittal("find", peer.url)
    assert done.returncode == 3
    assert "401" in done.stderr


def test_qido_and_wado(peer, tmp_path):
    (match,) = lines(sagittal("qido", peer.url, "studies", "-k", "PatientName=Buc*", "--user", USER, "--json"))
    uid = match["0020000D"]["Value"][0]
    (instance,) = lines(sagittal("qido", peer.url, f"studies/{uid}/instances", "--user", USER, "--json"))
    path = f"studies/{uid}/series/{instance['0020000E']['Value'][0]}/instances/{instance['00080018']['Value'][0]}"
    (row,) = lines(sagittal("wado", peer.url, f"{path}/metadata", "--user", USER, "--json"))
    assert row["00080018"] == instance["00080018"]
    done = sagittal("wado", peer.url, f"{path}/rendered", "--accept", "image/jpeg", "--user", USER, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert next(tmp_path.glob("*.jpg")).read_bytes().startswith(b"\xff\xd8")


def test_the_python_face(peer, tmp_path):
    for place in (peer.peer, peer.url):
        with Archive(place, Access(user=USER)) as archive:
            (study,) = archive.find("study", PatientName="Buc*", include=["AccessionNumber"])
            assert study["PatientName"] == "Buc^Jérôme"
            assert study.data_set().PatientName == "Buc^Jérôme"
            (file,) = archive.get(tmp_path / "got", PatientName="Buc*")
            assert file.stem == str(read(file).SOPInstanceUID)


def test_attributes_change_on_the_way(peer, tmp_path):
    files = sorted(path for path in (corpus_folder() / FOLDER / "CT5N").iterdir() if path.is_file())
    for place in (peer.peer, peer.url):
        with Archive(place, Access(user=USER)) as archive:
            patient = f"CHANGED-{place[0]}"
            answers = archive.store(
                *files, set={"PatientID": patient, "PatientName": "Ñandú^A"}, remove=["PatientBirthDate"], new_uids=True
            )
            assert [answer.status for answer in answers] == ["0000"] * len(files)
            (study,) = archive.find("study", PatientID=patient, include=["PatientBirthDate"])
            assert (study["PatientName"], study.get("PatientBirthDate")) == ("Ñandú^A", None)
            got = archive.get(tmp_path / patient, StudyInstanceUID=study["StudyInstanceUID"])
        before, after = [read(path) for path in files], [read(path) for path in got]
        assert {d.SOPInstanceUID for d in before}.isdisjoint(d.SOPInstanceUID for d in after)
        assert len({d.SeriesInstanceUID for d in after}) == len({d.SeriesInstanceUID for d in before})
        assert sorted(d.PixelData for d in before) == sorted(d.PixelData for d in after)
