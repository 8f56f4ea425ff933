"""`sagittal echo|store|find|move|get|receive` with DCMTK and pynetdicom as peers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Served
from conftest import sagittal_here as sagittal
from interop.corpus import data_set_of, read
from interop.peers import free_port, listening
from programs import need
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from sagittal.dicom.elements import encode
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax

FOLDER = "dicomdir/pydicom-dicomdirtests/98892001"


def build(*elements: tuple[int, str, str]) -> bytes:
    return encode([(tag, vr, text.encode()) for tag, vr, text in elements], syntax(EXPLICIT_LE))


def rows(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """DCMTK's storescp, which writes what it gets bit by bit."""
    folder = tmp_path / "storescp"
    folder.mkdir()
    port = free_port()
    with listening([need("storescp"), "+B", "+xa", "-od", folder, str(port)], port):
        yield f"STORESCP@127.0.0.1:{port}", folder


def test_echo(storescp):
    done = sagittal("echo", storescp[0], "--json")
    assert done.returncode == 0
    assert rows(done)[0]["status"] == "0000"


def test_a_peer_that_is_not_there_is_exit_status_3():
    assert sagittal("echo", "X@127.0.0.1:1").returncode == 3


@pytest.mark.parametrize("peer", ["127.0.0.1:104", "X@127.0.0.1", "X@127.0.0.1:0", "@h:1", "X@:1", f"{'x' * 17}@h:1"])
def test_what_is_no_peer_is_exit_status_2(peer):
    assert sagittal("echo", peer).returncode == 2


def test_store_to_storescp_arrives_as_it_lay_in_the_files(corpus_dir, storescp):
    peer, folder = storescp
    names = ["CT/dcm4che__CT-JPEGLosslessSV1.dcm", "US/dtf__OBXXXX1A_expb_2frame.dcm"]
    paths = [*sorted((corpus_dir / FOLDER).rglob("*[0-9]")), *(corpus_dir / name for name in names)]
    files = [path for path in paths if path.is_file()]
    done = sagittal("store", peer, *files, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in rows(done)} == {"0000"}
    received = {str(read(path).SOPInstanceUID): path for path in folder.iterdir()}
    for path in files:
        there = received.pop(str(read(path).SOPInstanceUID))
        assert data_set_of(there.read_bytes()) == data_set_of(path.read_bytes())
    assert not received


def test_store_tells_what_a_peer_refuses(corpus_dir, tmp_path):
    """A peer that takes CT only, and refuses one of them."""
    folder = corpus_dir / FOLDER
    ct = sorted(path for path in folder.rglob("*") if path.is_file())
    refused = str(read(ct[0]).SOPInstanceUID)
    other = corpus_dir / "CR/pydicom__chrKoreanMulti.dcm"
    (tmp_path / "notes.txt").write_text("not DICOM")
    ae = AE()
    ae.add_supported_context(CTImageStorage, [EXPLICIT_LE, IMPLICIT_LE])
    handlers = [(evt.EVT_C_STORE, lambda e: 0xA700 if e.request.AffectedSOPInstanceUID == refused else 0x0000)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        peer = f"CT@127.0.0.1:{server.server_address[1]}"
        done = sagittal("store", peer, folder, other, tmp_path, "--json")
    finally:
        server.shutdown()
    assert done.returncode == 1
    told = {row["file"]: row for row in rows(done)}
    assert len(told) == len(ct) + 1  # what isn't DICOM is passed over in folders
    assert told[str(ct[0])]["status"] == "A700"
    assert "accepts" in told[str(other)]["comment"]
    assert sum(row["status"] == "0000" for row in told.values()) == len(ct) - 1


def test_a_named_file_that_is_not_dicom_is_a_failure(server, tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    done = sagittal("store", server.peer, tmp_path / "notes.txt")
    assert done.returncode == 1
    assert "not a DICOM file" in done.stderr


def many_classes(folder: Path, count: int) -> None:
    """Objects of private SOP classes, each of its own."""
    for number in range(count):
        sop_class, uid = f"1.2.826.0.1.3680043.9.9999.{number + 1}", f"1.2.3.{number + 1}"
        data_set = build(
            (0x00080016, "UI", sop_class),
            (0x00080018, "UI", uid),
            (0x00100020, "LO", "MANY"),
            (0x0020000D, "UI", "1.2.3"),
            (0x0020000E, "UI", "1.2.3.0"),
        )
        (folder / f"{number}.dcm").write_bytes(meta_group(sop_class, uid, EXPLICIT_LE) + data_set)


def test_past_128_contexts_there_are_further_associations(start_server, tmp_path):
    """150 private SOP classes: into the archive by `store`, from there to another by C-MOVE."""
    (tmp_path / "files").mkdir()
    many_classes(tmp_path / "files", 150)
    other = start_server("--aet", "OTHER")
    server = start_server("--node", other.peer)
    done = sagittal("store", server.peer, tmp_path / "files", "--json")
    assert done.returncode == 0, done.stderr
    moved = sagittal("move", server.peer, "--to", "OTHER", "-k", "StudyInstanceUID=1.2.3", "--json")
    assert rows(moved)[0]["completed"] == 150, moved.stderr
    found = sagittal("find", other.peer, "-k", "NumberOfStudyRelatedInstances", "--json")
    assert [row["00201208"]["Value"] for row in rows(found)] == [[150]]
    assert len(re.findall("association accepted", other.log.read_text())) == 4  # three for the move, one for the find


def test_find_shows_dicom_json_and_text(corpus_dir, server):
    assert sagittal("store", server.peer, corpus_dir / "CR/pydicom__chrJapMulti.dcm").returncode == 0
    (row,) = rows(sagittal("find", server.peer, "-k", "PatientName=やまだ*", "-k", "StudyInstanceUID", "--json"))
    assert row["00100010"]["Value"][0]["Alphabetic"] == "やまだ^たろう"
    text = sagittal("find", server.peer, "-k", "PatientID=2008-4", "-k", "PatientName").stdout
    assert "やまだ^たろう" in text
    assert sagittal("find", server.peer, "-k", "NoSuchKeyword=1").returncode == 2
    assert sagittal("find", server.peer, "-L", "series").returncode == 1  # A900: no study is named


def test_find_with_a_limit_cancels(corpus_dir, server):
    assert (
        sagittal("store", server.peer, corpus_dir / FOLDER, corpus_dir / "CR/pydicom__chrJapMulti.dcm").returncode == 0
    )
    assert len(rows(sagittal("find", server.peer, "--json"))) > 1
    assert len(rows(sagittal("find", server.peer, "-n", "1", "--json"))) == 1
    assert "aborted" not in server.log.read_text()


def test_move_to_receive(corpus_dir, server, tmp_path):
    assert sagittal("store", server.peer, corpus_dir / FOLDER).returncode == 0
    with receiving(tmp_path / "in") as (peer, process):
        assert sagittal("nodes", "add", peer, "--data", server.data).returncode == 0
        (study, *_) = rows(sagittal("find", server.peer, "-k", "StudyInstanceUID", "--json"))
        uid = study["0020000D"]["Value"][0]
        done = sagittal("move", server.peer, "--to", "RECEIVER", "-k", f"StudyInstanceUID={uid}", "--json")
        assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    count = rows(done)[0]["completed"]
    assert count and len(list((tmp_path / "in").iterdir())) == count


def test_move_what_other_keys_match(corpus_dir, server, tmp_path):
    """Looked up first: unique keys alone select what is moved (PS3.4 C.4.2.2.1), and there are peers that pass over
    the others and send all they have.
    """
    assert sagittal("store", server.peer, corpus_dir / FOLDER, corpus_dir / "CT").returncode in (0, 1)
    studies = rows(sagittal("find", server.peer, "-k", "PatientID", "-k", "NumberOfStudyRelatedInstances", "--json"))
    patient = next(study["00100020"]["Value"][0] for study in studies if study["00100020"].get("Value"))
    of_patient = [study for study in studies if study["00100020"].get("Value") == [patient]]
    with receiving(tmp_path / "in") as (peer, process):
        assert sagittal("nodes", "add", peer, "--data", server.data).returncode == 0
        done = sagittal("move", server.peer, "--to", "RECEIVER", "-k", f"PatientID={patient}", "--json")
        nothing = sagittal("move", server.peer, "--to", "RECEIVER", "-k", "PatientID=NOBODY", "--json")
        assert (done.returncode, nothing.returncode) == (0, 0), done.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    count = sum(study["00201208"]["Value"][0] for study in of_patient)
    assert len(of_patient) < len(studies)
    assert rows(done)[0]["completed"] == len(list((tmp_path / "in").iterdir())) == count
    assert rows(nothing)[0]["completed"] == 0


@pytest.mark.parametrize("how", [("-L", "patient"), ("--patient-root",), ("--patient-study-only", "-L", "patient")])
def test_move_a_whole_patient(corpus_dir, server, tmp_path, how):
    assert sagittal("store", server.peer, corpus_dir / FOLDER).returncode == 0
    with receiving(tmp_path / "in") as (peer, process):
        assert sagittal("nodes", "add", peer, "--data", server.data).returncode == 0
        shown = ("-k", "PatientID", "-k", "NumberOfPatientRelatedInstances", "--json")
        found = rows(sagittal("find", server.peer, "-L", "patient", *shown))
        patient = next(row for row in found if row["00100020"].get("Value"))
        key = f"PatientID={patient['00100020']['Value'][0]}"
        done = sagittal("move", server.peer, "--to", "RECEIVER", *how, "-k", key, "--json")
        assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    count = patient["00201204"]["Value"][0]
    assert rows(done)[0]["completed"] == len(list((tmp_path / "in").iterdir())) == count


@pytest.mark.parametrize("how", ["--patient-root", "--patient-study-only"])
def test_get_a_whole_patient(corpus_dir, server, tmp_path, how):
    assert (
        sagittal("store", server.peer, corpus_dir / FOLDER, corpus_dir / "CT/deid-data__ctbrain2.dcm").returncode == 0
    )
    shown = ("-k", "PatientID", "-k", "NumberOfPatientRelatedInstances", "--json")
    patient, *others = rows(sagittal("find", server.peer, "-L", "patient", *shown))
    key = f"PatientID={patient['00100020']['Value'][0]}"
    done = sagittal("get", server.peer, how, "-k", key, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert others and len(list((tmp_path / "out").iterdir())) == patient["00201204"]["Value"][0]


RECEIVE = """
from sagittal.cli import main
from sagittal.cli.peer import receive

receive._RELEASE_SECONDS = 60.0  # senders may be slow here
main()
"""


class receiving:
    """`sagittal receive` on a free port."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-c", RECEIVE, "receive", "--json", "--aet", "RECEIVER", "--port", "0", *options]
        self.process = subprocess.Popen(
            [*command, "-o", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> tuple[str, subprocess.Popen[str]]:
        assert self.process.stdout is not None
        return f"RECEIVER@{json.loads(self.process.stdout.readline())['dimse']}", self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_receive_writes_only_where_it_may(tmp_path):
    """A SOP Instance UID that climbs out of the folder names no file."""
    folder = tmp_path / "in"
    with receiving(folder) as (peer, process):
        _, _, address = peer.partition("@")
        host, _, port = address.rpartition(":")
        ae = AE()
        ae.add_requested_context(CTImageStorage, [EXPLICIT_LE])
        ae.add_requested_context(Verification)
        association = ae.associate(host, int(port))
        assert association.send_c_echo().Status == 0
        association.release()
        evil = tmp_path / "evil.dcm"
        uid = "../../evil"
        data_set = build((0x00080016, "UI", str(CTImageStorage)), (0x00080018, "UI", uid))
        evil.write_bytes(meta_group(str(CTImageStorage), uid, EXPLICIT_LE) + data_set)
        assert sagittal("store", peer, evil).returncode == 0
        process.terminate()
        assert process.wait(20) == 0
    (written,) = folder.iterdir()
    assert re.fullmatch(r"2\.25\.[0-9]+\.dcm", written.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.dcm", "in"]


def test_whoever_sent_the_last_one_releases(tmp_path: Path) -> None:
    """`receive -n` aborted the association on which the last instance had come; a further one is refused."""
    ae = AE()
    ae.add_requested_context(CTImageStorage, [EXPLICIT_LE])
    path = tmp_path / "one.dcm"
    body = build((0x00080016, "UI", str(CTImageStorage)), (0x00080018, "UI", "1.2.3"))
    path.write_bytes(meta_group(str(CTImageStorage), "1.2.3", EXPLICIT_LE) + body)
    with receiving(tmp_path / "in", "-n", "1") as (peer, process):
        host, _, port = peer.partition("@")[2].rpartition(":")
        association = ae.associate(host, int(port))
        assert [association.send_c_store(read(path)).Status for _ in range(2)] == [0x0000, 0xA700]
        association.release()
        assert association.is_released
        assert process.wait(20) == 0


def test_get_from_our_own(corpus_dir, server: Served, tmp_path):
    assert sagittal("store", server.peer, corpus_dir / FOLDER).returncode == 0
    (study, *_) = rows(sagittal("find", server.peer, "-k", "StudyInstanceUID", "--json"))
    uid = study["0020000D"]["Value"][0]
    done = sagittal("get", server.peer, "-k", f"StudyInstanceUID={uid}", "-o", tmp_path / "got", "--json")
    assert done.returncode == 0, done.stderr
    *files, last = rows(done)
    assert last["completed"] == len(files) == len(list((tmp_path / "got").iterdir()))
    assert sagittal("get", server.peer, "-o", tmp_path / "got").returncode == 2


def test_a_peer_that_vanishes_under_way(tmp_path: Path) -> None:
    """What was not sent is in the list of what failed, so that it can be sent later."""
    paths = []
    for number in (1, 2, 3):
        body = build((0x00080016, "UI", CTImageStorage), (0x00080018, "UI", f"1.2.3.{number}"))
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(meta_group(CTImageStorage, f"1.2.3.{number}", EXPLICIT_LE) + body)
    ae = AE("PEER")
    ae.add_supported_context(CTImageStorage)

    def vanish(event: evt.Event) -> int:
        listener.socket.close()
        event.assoc.abort()
        return 0

    listener = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, vanish)])
    peer = f"PEER@127.0.0.1:{listener.socket.getsockname()[1]}"
    try:
        done = sagittal("store", peer, *paths, "--failed", tmp_path / "failed", "--timeout", "2")
    finally:
        listener.shutdown()  # its thread would go on, and collect garbage all the time
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "failed").read_text().splitlines() == [str(path) for path in paths]
    assert "0 sent" in done.stderr and "3 failed" in done.stderr


@pytest.mark.parametrize(("final", "status"), [(0xB000, 0), (0x0001, 0), (0xA700, 3), (0xC000, 1), (0x1234, 1)])
def test_how_a_query_ends(final: int, status: int) -> None:
    """A warning is no failure, though PS3.4 has none for queries; what the Standard calls refused was refused."""
    ae = AE("PEER")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
    listener = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, lambda event: iter([(final, None)]))]
    )
    try:
        done = sagittal("find", f"PEER@127.0.0.1:{listener.socket.getsockname()[1]}", "--json")
    finally:
        listener.shutdown()
    assert done.returncode == status, done.stderr
    assert not status or f"{final:04X}: {'Refused: out of' if status == 3 else 'Un'}" in done.stderr
