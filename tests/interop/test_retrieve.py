"""movescu, getscu and pynetdicom retrieve from a served archive: who gets what, counts, lists of failed ones."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from conftest import Served, sagittal, serve
from interop.corpus import data_set_of, read
from interop.held import Held, associated, identifier, store_all
from interop.peers import listening, send_cancel
from programs import corpus_folder, need
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ComputedRadiographyImageStorage,
    CTImageStorage,
    MRImageStorage,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

EXPLICIT_LE = "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def held() -> Held:
    return Held(corpus_folder())


@pytest.fixture(scope="module")
def archive(held: Held, destination_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    nodes = ["--node", f"DEST@127.0.0.1:{destination_port}", "--node", "NOWHERE@127.0.0.1:1"]
    served = serve(tmp_path_factory.mktemp("retrieve") / "data", *nodes)
    store_all(served, held)
    yield served
    served.stop()


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
    with listening(command, destination_port):
        yield folder


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


@pytest.mark.parametrize("model", ["-P", "-O"])
@pytest.mark.parametrize("level", ["PATIENT", "STUDY"])
def test_scus_retrieve_by_patient(model, level, held, archive, storescp, tmp_path):
    """movescu and getscu, by Patient Root and Patient/Study Only."""
    study = held.study(3)
    patient = next(iter(held.values("PatientID", lambda d: study == d.StudyInstanceUID)))
    keys = [f"QueryRetrieveLevel={level}", f"PatientID={patient}", *[f"StudyInstanceUID={study}"] * (level == "STUDY")]
    expected = held.instances(study)
    if level == "PATIENT":
        expected = held.values("SOPInstanceUID", lambda d: patient == d.get("PatientID"))
    command = ["-aec", archive.aet, *(part for key in keys for part in ("-k", key)), archive.host, str(archive.port)]
    options = {"capture_output": True, "timeout": 60, "check": True}
    subprocess.run([need("movescu"), model, "-aem", "DEST", *command], **options)
    same(storescp, held, expected)
    got = tmp_path / "got"
    got.mkdir()
    subprocess.run([need("getscu"), "-B", model, "-od", str(got), *command], **options)
    same(got, held, expected)


def test_pynetdicom_gets_relationally(held, archive):
    """A series without its study, where that was negotiated; else it is refused."""
    series = sorted(held.values("SeriesInstanceUID", lambda d: d.SOPClassUID == CTImageStorage))[0]
    expected = held.values("SOPInstanceUID", lambda d: series == d.SeriesInstanceUID)
    model = PatientRootQueryRetrieveInformationModelGet
    received: list[str] = []
    for asked, granted in ((b"\0\0", b"\0\0"), (b"\1\1", b"\1\0")):
        ae = AE()
        ae.add_requested_context(model)
        ae.add_requested_context(CTImageStorage)
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, asked
        handlers = [(evt.EVT_C_STORE, lambda event: received.append(event.request.AffectedSOPInstanceUID) or 0x0000)]
        roles = build_role(CTImageStorage, scp_role=True)
        association = associated(archive, ae, ext_neg=[roles, item], evt_handlers=handlers)
        assert association.acceptor.sop_class_extended == {model: granted}
        status, _ = list(association.send_c_get(identifier("SERIES", SeriesInstanceUID=series), model))[-1]
        association.release()
        assert (status.Status, set(received)) == ((0x0000, expected) if granted[0] else (0xA900, set()))


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
            cancelled.wait(20)
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
                send_cancel(association, 77, StudyRootQueryRetrieveInformationModelMove)
                # An echo on another association comes back after the cancel was read.
                assert sagittal("echo", archive.peer).returncode == 0
                cancelled.set()
        association.release()
    final = responses[-1]
    assert final.Status == 0xFE00
    assert final.NumberOfRemainingSuboperations > 0
    total = final.NumberOfRemainingSuboperations + final.NumberOfCompletedSuboperations
    assert total == len(held.values("SOPInstanceUID", lambda d: d.Modality in ("CT", "MR")))
