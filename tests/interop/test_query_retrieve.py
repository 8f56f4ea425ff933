"""findscu, movescu, getscu and pynetdicom ask a served archive: a table of questions, and who gets which instances.

The right answers come from the files by pydicom.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from conftest import Served, sagittal, serve
from interop.corpus import data_set_of, read
from programs import corpus_folder, need
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ComputedRadiographyImageStorage,
    CTImageStorage,
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

FOLDER = "dicomdir/pydicom-dicomdirtests"
CHARSETS = ["CR/pydicom__chrJapMulti.dcm", "CR/pydicom__chrKoreanMulti.dcm"]
EXPLICIT_LE = "1.2.840.10008.1.2.1"


class Held:
    """What the archive of these tests holds, by pydicom."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(path for path in (folder / FOLDER).rglob("*") if path.is_file() and "DICOMDIR" not in path.name)
        read_ones = [(path, read(path)) for path in [*paths, *(folder / name for name in CHARSETS)]]
        self.files: dict[str, tuple[Path, pydicom.Dataset]] = {}
        for path, data_set in read_ones:
            if data_set.get("StudyInstanceUID"):
                self.files.setdefault(data_set.SOPInstanceUID, (path, data_set))

    def values(self, keyword: str, where: Callable[[pydicom.Dataset], bool] = lambda _: True) -> set[str]:
        return {str(data_set.get(keyword)) for _, data_set in self.files.values() if where(data_set)}

    def study(self, size: int) -> str:
        """A study with exactly `size` instances."""
        for uid in sorted(self.values("StudyInstanceUID")):
            if len(self.values("SOPInstanceUID", lambda d, uid=uid: uid == d.StudyInstanceUID)) == size:  # type: ignore[misc]
                return uid
        raise AssertionError(f"no study with {size} instances")

    def instances(self, study: str) -> set[str]:
        return self.values("SOPInstanceUID", lambda d: study == d.StudyInstanceUID)


@pytest.fixture(scope="module")
def held() -> Held:
    return Held(corpus_folder())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def destination_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def archive(held: Held, destination_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    nodes = ["--node", f"DEST@127.0.0.1:{destination_port}", "--node", "NOWHERE@127.0.0.1:1"]
    served = serve(tmp_path_factory.mktemp("query") / "data", *nodes)
    done = sagittal("store", served.peer, "-q", *(path for path, _ in held.files.values()))
    assert done.returncode == 0, done.stderr
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


# Retrieving


def same(folder: Path, held: Held, uids: set[str]) -> None:
    """The files of a folder are these instances, with the data sets that were stored."""
    found = {read(path).SOPInstanceUID: path for path in folder.iterdir()}
    assert found.keys() == uids
    for uid, path in found.items():
        assert data_set_of(path.read_bytes()) == data_set_of(held.files[uid][0].read_bytes())


@pytest.fixture
def storescp(destination_port: int, tmp_path: Path) -> Iterator[Path]:
    """DCMTK's storescp as the move destination; where it writes."""
    folder = tmp_path / "moved"
    folder.mkdir()
    command = [need("storescp"), "+B", "+xa", "-aet", "DEST", "-od", str(folder), str(destination_port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", destination_port)) == 0:
                break
    yield folder
    process.terminate()
    process.wait(10)


def movescu(archive: Served, destination: str, *keys: str) -> subprocess.CompletedProcess[str]:
    command = [need("movescu"), "-d", "-S", "-aec", archive.aet, "-aem", destination]
    for key in keys:
        command += ["-k", key]
    return subprocess.run(
        [*command, archive.host, str(archive.port)], capture_output=True, text=True, timeout=60, check=False
    )


def test_movescu_to_storescp(held, archive, storescp):
    study = held.study(3)
    done = movescu(archive, "DEST", "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
    assert done.returncode == 0, done.stderr
    same(storescp, held, held.instances(study))


def test_movescu_of_one_instance(held, archive, storescp):
    uid = sorted(held.instances(held.study(3)))[0]
    data_set = held.files[uid][1]
    keys = [f"StudyInstanceUID={data_set.StudyInstanceUID}", f"SeriesInstanceUID={data_set.SeriesInstanceUID}"]
    done = movescu(archive, "DEST", "QueryRetrieveLevel=IMAGE", *keys, f"SOPInstanceUID={uid}")
    assert done.returncode == 0, done.stderr
    same(storescp, held, {uid})


def test_movescu_to_nobody(held, archive):
    done = movescu(archive, "ELSEWHERE", "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={held.study(1)}")
    assert "MoveDestinationUnknown" in done.stderr or "0xa801" in done.stderr.lower()


def test_getscu(held, archive, tmp_path):
    study = held.study(3)
    command = [need("getscu"), "-B", "-S", "-aec", archive.aet, "-od", str(tmp_path), "-k", "QueryRetrieveLevel=STUDY"]
    command += ["-k", f"StudyInstanceUID={study}", archive.host, str(archive.port)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    same(tmp_path, held, held.instances(study))


def identifier(level: str, **keys: str) -> pydicom.Dataset:
    data_set = pydicom.Dataset()
    data_set.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(data_set, keyword, value)
    return data_set


def associated(archive: Served, ae: AE, **options: object):
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet, **options)
    assert association.is_established
    return association


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


def test_pynetdicom_gets_with_counts(held, archive):
    """MR is not proposed: its instances are failed sub-operations, and listed."""
    received = []
    ae = AE()
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    ae.add_requested_context(CTImageStorage)
    handlers = [(evt.EVT_C_STORE, lambda event: received.append(event.request.AffectedSOPInstanceUID) or 0x0000)]
    association = associated(archive, ae, ext_neg=[build_role(CTImageStorage, scp_role=True)], evt_handlers=handlers)
    studies = sorted(held.values("StudyInstanceUID", lambda d: d.Modality in ("CT", "MR")))
    asked = identifier("STUDY", StudyInstanceUID="\\".join(studies))
    responses = list(association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet))
    association.release()
    matching = held.values("SOPInstanceUID", lambda d: d.StudyInstanceUID in studies)
    ct = held.values("SOPInstanceUID", lambda d: d.StudyInstanceUID in studies and d.SOPClassUID == CTImageStorage)
    final, failed = responses[-1]
    assert final.Status == 0xB000
    assert set(received) == ct
    assert final.NumberOfCompletedSuboperations == len(ct)
    assert final.NumberOfFailedSuboperations == len(matching - ct)
    assert set(failed.FailedSOPInstanceUIDList) == matching - ct
    for status, _ in responses[:-1]:
        assert status.Status == 0xFF00
        done = status.NumberOfCompletedSuboperations + status.NumberOfFailedSuboperations
        assert done + status.NumberOfRemainingSuboperations == len(matching)


class Destination:
    """pynetdicom as a move destination; answers with what `status` says."""

    def __init__(self, port: int, status: Callable[[object], int], syntaxes: list[str]) -> None:
        self.received: list[object] = []
        ae = AE("DEST")
        for sop_class in (ComputedRadiographyImageStorage, CTImageStorage, MRImageStorage):
            ae.add_supported_context(sop_class, syntaxes)

        def stored(event):
            self.received.append(event.request)
            return status(event)

        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)])

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


def moved(archive: Served, study: str, destination: str = "DEST", cancel_after: int = 0) -> list:
    ae = AE("MOVER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    association = associated(archive, ae)
    asked = identifier("STUDY", StudyInstanceUID=study)
    responses = []
    for response in association.send_c_move(asked, destination, StudyRootQueryRetrieveInformationModelMove, msg_id=77):
        responses.append(response)
        if len(responses) == cancel_after:
            association.send_c_cancel(77, None, StudyRootQueryRetrieveInformationModelMove)
    association.release()
    return responses


def test_pynetdicom_moves(held, archive, destination_port):
    study = held.study(3)
    with Destination(destination_port, lambda event: 0x0000, [EXPLICIT_LE]) as destination:
        final, _ = moved(archive, study)[-1]
    assert final.Status == 0x0000
    assert final.NumberOfCompletedSuboperations == 3
    assert {request.AffectedSOPInstanceUID for request in destination.received} == held.instances(study)
    assert {request.MoveOriginatorApplicationEntityTitle for request in destination.received} == {"MOVER"}
    assert {request.MoveOriginatorMessageID for request in destination.received} == {77}


def test_refused_sub_operations_are_listed(held, archive, destination_port):
    study = held.study(3)
    refused = sorted(held.instances(study))[1]

    def status(event) -> int:
        return 0xA700 if event.request.AffectedSOPInstanceUID == refused else 0x0000

    with Destination(destination_port, status, [EXPLICIT_LE]):
        final, failed = moved(archive, study)[-1]
    assert (final.Status, final.NumberOfCompletedSuboperations, final.NumberOfFailedSuboperations) == (0xB000, 2, 1)
    assert failed.FailedSOPInstanceUIDList == refused


def test_what_the_destination_does_not_take_is_reencoded(held, archive, destination_port):
    study = held.study(3)
    with Destination(destination_port, lambda event: 0x0000, ["1.2.840.10008.1.2"]) as destination:
        final, _ = moved(archive, study)[-1]
    assert final.Status == 0x0000
    for request in destination.received:
        sent = pydicom.dcmread(request.DataSet, force=True)
        stored = pydicom.dcmread(held.files[request.AffectedSOPInstanceUID][0])
        for data_set in (sent, stored):  # Implicit VR knows no VR of private elements
            data_set.remove_private_tags()
        lengths = [element.tag for element in stored if element.tag.element == 0]
        for tag in lengths:
            del stored[tag]
        assert list(sent) == list(stored)


def test_a_destination_that_is_not_there(held, archive):
    study = held.study(3)
    final, failed = moved(archive, study, "NOWHERE")[-1]
    assert (final.Status, final.NumberOfFailedSuboperations) == (0xA702, 3)
    assert set(failed.FailedSOPInstanceUIDList) == held.instances(study)


def test_a_move_is_cancelled(held, archive, destination_port):
    """The destination lets an instance wait until the cancel is sent."""
    studies = "\\".join(sorted(held.values("StudyInstanceUID", lambda d: d.Modality in ("CT", "MR"))))
    cancelled = threading.Event()
    seen = []

    def status(event) -> int:
        seen.append(event)
        if len(seen) > 1:
            cancelled.wait(10)
        return 0x0000

    with Destination(destination_port, status, [EXPLICIT_LE]):
        ae = AE("MOVER")
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
        association = associated(archive, ae)
        responses = []
        asked = identifier("STUDY", StudyInstanceUID=studies)
        for status_set, _ in association.send_c_move(asked, "DEST", StudyRootQueryRetrieveInformationModelMove, 77):
            responses.append(status_set)
            if len(responses) == 1:
                association.send_c_cancel(77, None, StudyRootQueryRetrieveInformationModelMove)
                # An echo on another association comes back after the cancel was read, or soon enough.
                assert sagittal("echo", archive.peer).returncode == 0
                cancelled.set()
        association.release()
    final = responses[-1]
    assert final.Status == 0xFE00
    assert final.NumberOfRemainingSuboperations > 0
    total = final.NumberOfRemainingSuboperations + final.NumberOfCompletedSuboperations
    assert total == len(held.values("SOPInstanceUID", lambda d: d.Modality in ("CT", "MR")))
