"""C-CANCEL (PS3.7 9.3.2.3, 9.3.3.3, 9.3.4.3) of every retrieval model, by pynetdicom: no further sub-operation follows.

Cancelled queries are in `test_questions`.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from builders import CT, build
from conftest import Served, sagittal
from interop.peers import send_cancel
from interop.questions import post
from pydicom import Dataset
from pynetdicom import AE, build_role, evt

from sagittal.dicom.syntaxes import EXPLICIT_LE

pytestmark = pytest.mark.filterwarnings("ignore")

HELD = [build(number, study="cancelled") for number in range(1, 6)]
STUDY = HELD[0].study_uid
INSTANCES = "\\".join(built.sop_instance_uid for built in HELD)
_P = "1.2.840.10008.5.1.4.1.2"
BY_PATIENT = {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}
BY_STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": STUDY}
OF_PATIENT = {"QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": STUDY}
BY_INSTANCE = {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": INSTANCES}
GETS = {
    "patient root": (f"{_P}.1.3", BY_PATIENT),
    "study root": (f"{_P}.2.3", BY_STUDY),
    "patient/study only": (f"{_P}.3.3", OF_PATIENT),
    "composite instance root": (f"{_P}.4.3", BY_INSTANCE),
    "without bulk data": (f"{_P}.5.3", BY_INSTANCE),
}
MOVES = {
    "patient root": (f"{_P}.1.2", BY_PATIENT),
    "study root": (f"{_P}.2.2", BY_STUDY),
    "patient/study only": (f"{_P}.3.2", OF_PATIENT),
    "composite instance root": (f"{_P}.4.2", BY_INSTANCE),
}


@pytest.fixture(scope="module")
def archive(moving: Served) -> Served:
    post(moving, HELD)
    return moving


def identifier(keys: dict[str, str]) -> Dataset:
    asked = Dataset()
    for name, value in keys.items():
        setattr(asked, name, value.split("\\") if "\\" in value else value)
    return asked


@pytest.mark.parametrize("name", GETS)
def test_a_get_is_cancelled(archive: Served, name: str) -> None:
    """The cancel goes out before the answer to the first sub-operation, so no second one may follow."""
    model, keys = GETS[name]
    received: list[str] = []

    def cancel(event: Any) -> int:
        received.append(event.request.AffectedSOPInstanceUID)
        event.assoc.send_c_cancel(7, query_model=model)
        return 0x0000

    ae = AE("GETTER")
    ae.add_requested_context(model)
    ae.add_requested_context(CT, [EXPLICIT_LE])
    association = ae.associate(
        archive.host, archive.port, ae_title=archive.aet,
        ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, cancel)],
    )  # fmt: skip
    assert association.is_established
    *_, final = [status for status, _ in association.send_c_get(identifier(keys), model, msg_id=7)]
    assert final.Status == 0xFE00
    assert len(received) == 1
    assert (final.NumberOfCompletedSuboperations, final.NumberOfRemainingSuboperations) == (1, len(HELD) - 1)
    # The association goes on: the same again, whole.
    association.bind(evt.EVT_C_STORE, lambda event: 0x0000)
    association.unbind(evt.EVT_C_STORE, cancel)
    *_, final = [status for status, _ in association.send_c_get(identifier(keys), model, msg_id=9)]
    association.release()
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0x0000, len(HELD))


@pytest.mark.parametrize("name", MOVES)
def test_a_move_is_cancelled(archive: Served, destination_port: int, name: str) -> None:
    """The destination lets the second instance wait until the cancel has been read."""
    model, keys = MOVES[name]
    cancelled = threading.Event()
    seen: list[str] = []

    def take(event: Any) -> int:
        seen.append(event.request.AffectedSOPInstanceUID)
        if len(seen) > 1:
            cancelled.wait(20)
        return 0x0000

    destination = AE("DEST")
    destination.add_supported_context(CT, [EXPLICIT_LE])
    server = destination.start_server(
        ("127.0.0.1", destination_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    try:
        ae = AE("MOVER")
        ae.add_requested_context(model)
        association = ae.associate(archive.host, archive.port, ae_title=archive.aet)
        assert association.is_established
        responses = []
        for status, _ in association.send_c_move(identifier(keys), "DEST", model, 77):
            responses.append(status)
            if len(responses) == 1:
                send_cancel(association, 77, model)
                # An echo on another association comes back after the cancel was read.
                assert sagittal("echo", archive.peer).returncode == 0
                cancelled.set()
        association.release()
    finally:
        server.shutdown()
    final = responses[-1]
    assert final.Status == 0xFE00
    assert final.NumberOfRemainingSuboperations >= len(HELD) - 2
    assert final.NumberOfRemainingSuboperations + final.NumberOfCompletedSuboperations == len(HELD)
    assert len(seen) == final.NumberOfCompletedSuboperations
