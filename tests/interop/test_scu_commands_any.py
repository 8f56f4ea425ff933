"""find, get and store on our own archive by every way in, and how `store` proposes, changes, fails and goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import Served
from conftest import sagittal_here as sagittal
from interop.corpus import data_set_of, read
from programs import corpus_folder
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from sagittal.client import Archive
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE

FOLDER = "dicomdir/pydicom-dicomdirtests/98892001"


def rows(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def held(shared_server: Served) -> Served:
    done = sagittal("store", shared_server.http, corpus_folder() / FOLDER, "--associations", "3")
    assert done.returncode == 0, done.stderr
    return shared_server


def places(held: Served) -> dict[str, str]:
    return {"dimse": held.peer, "web": held.http, "directory": str(held.data)}


@pytest.mark.parametrize("way", ["dimse", "web", "directory"])
def test_every_way_finds_and_gets_the_same(held: Served, way: str, tmp_path: Path) -> None:
    place = places(held)[way]
    series = rows(sagittal("find", place, "-L", "study", "-k", "PatientID=98890234", "--json"))
    assert [match["00100010"]["Value"][0]["Alphabetic"] for match in series] == ["Doe^Peter"]
    done = sagittal("get", place, "-k", "PatientID=98890234", "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    sent = {str(read(path).SOPInstanceUID): path for path in (corpus_folder() / FOLDER).rglob("*") if path.is_file()}
    assert {path.stem for path in tmp_path.iterdir()} == sent.keys()
    for uid, path in sent.items():
        assert data_set_of((tmp_path / f"{uid}.dcm").read_bytes()) == data_set_of(path.read_bytes())


def test_a_directory_nobody_holds_is_asked_in_place(tmp_path: Path, start_server) -> None:
    server = start_server()
    assert sagittal("store", server.peer, corpus_folder() / FOLDER).returncode == 0
    server.stop()
    with Archive(server.data) as archive:
        assert [study["PatientID"] for study in archive.find("study")] == ["98890234"]
        assert len(archive.get(tmp_path / "got", PatientID="98890234")) == 7
        (answer,) = archive.store(corpus_folder() / "CR/pydicom__chrJapMulti.dcm")
        assert answer.outcome == "success"
        assert len(archive.find("study")) == 2


def test_a_window_is_kept_full(held: Served, tmp_path: Path) -> None:
    done = sagittal("store", held.peer, corpus_folder() / FOLDER, "--window", "4", "--associations", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in rows(done)] == ["0000"] * 7


def test_relational_queries_are_asked_for(held: Served) -> None:
    (match, *_) = rows(sagittal("find", held.peer, "-L", "image", "-k", "SOPInstanceUID", "--relational", "--json"))
    uid = match["00080018"]["Value"][0]
    for command in ("find", "get", "move"):
        more = ("--to", "ELSEWHERE") if command == "move" else ()
        short = sagittal(command, held.peer, "-L", "image", "-k", f"SOPInstanceUID={uid}", *more)
        assert short.returncode == 1 and "A900" in short.stderr, short.stderr
        assert (
            "name one StudyInstanceUID and one SeriesInstanceUID, or ask for relational queries (--relational"
            in short.stderr
        )
    asked = ("-L", "image", "-k", f"SOPInstanceUID={uid}", "--relational")
    unknown = sagittal("move", held.peer, *asked, "--to", "ELSEWHERE")
    assert unknown.returncode == 3 and "A801" in unknown.stderr, unknown.stderr
    assert rows(sagittal("find", held.peer, *asked, "--json"))


class Choosy:
    """A peer that takes CT in the syntaxes given, and refuses some instances."""

    def __init__(self, *syntaxes: str, refused: tuple[str, ...] = ()) -> None:
        self.syntaxes: list[str] = []
        self.refused = list(refused)
        ae = AE()
        ae.add_supported_context(CTImageStorage, list(syntaxes))
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.peer = f"CHOOSY@127.0.0.1:{self._server.server_address[1]}"

    def _store(self, event) -> int:
        self.syntaxes.append(str(event.context.transfer_syntax))
        return 0xA700 if event.request.AffectedSOPInstanceUID in self.refused else 0x0000

    def __enter__(self) -> Choosy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


def test_what_is_proposed() -> None:
    files = corpus_folder() / FOLDER / "CT5N"
    with Choosy(EXPLICIT_LE, IMPLICIT_LE) as peer:
        assert sagittal("store", peer.peer, files, "--syntax", "ImplicitVRLittleEndian").returncode == 0
        assert set(peer.syntaxes) == {IMPLICIT_LE}
        peer.syntaxes.clear()
        assert sagittal("store", peer.peer, files, "--propose", f"CTImageStorage={EXPLICIT_LE}").returncode == 0
        assert set(peer.syntaxes) == {EXPLICIT_LE}
        assert sagittal("store", peer.peer, files, "--propose", "CTImageStorage").returncode == 2
        assert sagittal("store", peer.peer, files, "--syntax", "Nothing").returncode == 2


def test_what_failed_is_listed_and_sent_again(tmp_path: Path) -> None:
    files = sorted(path for path in (corpus_folder() / FOLDER / "CT5N").iterdir() if path.is_file())
    uids = [str(read(path).SOPInstanceUID) for path in files]
    with Choosy(EXPLICIT_LE, IMPLICIT_LE, refused=(uids[1], uids[3])) as peer:
        done = sagittal("store", peer.peer, *files, "--failed", tmp_path / "failed")
        assert done.returncode == 1
        assert (tmp_path / "failed").read_text().splitlines() == [str(files[1]), str(files[3])]
        halted = sagittal("store", peer.peer, *files, "--halt", "--json")
        assert [row["status"] for row in rows(halted)] == ["0000", "A700"]
        peer.refused.clear()
        again = sagittal("store", peer.peer, "--from", tmp_path / "failed", "--json")
        assert again.returncode == 0
        assert [row["file"] for row in rows(again)] == [str(files[1]), str(files[3])]


def test_who_may_not_by_http(start_server) -> None:
    server = start_server()
    assert sagittal("config", "token", "add", "reader", "--verb", "find", "--data", server.data).returncode == 0
    assert sagittal("find", server.http).returncode == 3
    assert sagittal("find", server.http, "--token", "nonsense").returncode == 3
    token = sagittal("config", "token", "add", "reader", "--verb", "find", "--data", server.data).stdout.strip()
    assert sagittal("find", server.http, "--token", token).returncode == 0
    refused = sagittal("stow", server.http, corpus_folder() / "CR/pydicom__chrJapMulti.dcm", "--token", token)
    assert refused.returncode == 3
    assert "403" in refused.stderr
