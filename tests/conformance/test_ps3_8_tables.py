"""PS3.8 Tables 9-6 to 9-10: every cell, in the table and at the association machine."""

from __future__ import annotations

import pytest
from pynetdicom import fsm as peer

from sagittal.ul import pdu
from sagittal.ul.association import Aborted, Association, Released, ReleaseRequested
from sagittal.ul.codec import encode
from sagittal.ul.fsm import ACTION, STATES, TRANSITION, Event, NotPossible, step

CELLS = [(event, state) for event in Event for state in STATES]

RQ = pdu.AssociateRQ("CALLED", "CALLING", (pdu.ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),))
AC = pdu.AssociateAC("CALLED", "CALLING", (pdu.ContextResult(1, 0, "1.2.840.10008.1.2"),))
RJ = pdu.AssociateRJ(1, 1, 1)
DATA = bytes.fromhex("040000000008 00000004 0100 abcd")

# What an arriving PDU is, in bytes, by its event.
ARRIVES = {
    Event.ASSOCIATE_AC: encode(AC),
    Event.ASSOCIATE_RJ: encode(RJ),
    Event.ASSOCIATE_RQ: encode(RQ),
    Event.DATA: DATA,
    Event.RELEASE_RQ: encode(pdu.ReleaseRQ()),
    Event.RELEASE_RP: encode(pdu.ReleaseRP()),
    Event.ABORT: encode(pdu.Abort(0)),
    Event.INVALID_PDU: b"GET / HTTP/1.0\r\n",
}
CALLS = {
    Event.ASSOCIATE_REQUEST: lambda machine: machine.request(RQ, 0.0),
    Event.TRANSPORT_CONFIRMED: lambda machine: machine.connected(0.0),
    Event.TRANSPORT_INDICATED: lambda machine: machine.connected(0.0),
    Event.ASSOCIATE_ACCEPT: lambda machine: machine.accept(AC, 0.0),
    Event.ASSOCIATE_REJECT: lambda machine: machine.reject(RJ, 0.0),
    Event.DATA_REQUEST: lambda machine: machine.send_data(DATA, 0.0),
    Event.RELEASE_REQUEST: lambda machine: machine.request_release(0.0),
    Event.RELEASE_RESPONSE: lambda machine: machine.respond_release(0.0),
    Event.ARTIM_EXPIRED: lambda machine: machine.expired(0.0),
}
# What each action sends: the type of the PDU (Tables 9-6 to 9-9).
SENDS = {"AE-2": 1, "AE-7": 2, "AE-8": 3, "DT-1": 4, "AR-1": 5, "AR-4": 6, "AR-7": 4, "AR-9": 6, "AA-1": 7, "AA-7": 7,
         "AA-8": 7}  # fmt: skip
TELLS = {"AE-3": pdu.AssociateAC, "AE-4": pdu.AssociateRJ, "AE-6": pdu.AssociateRQ, "AR-2": ReleaseRequested,
         "AR-3": Released, "AR-8": ReleaseRequested, "AR-10": Released, "AA-3": Aborted, "AA-4": Aborted,
         "AA-8": Aborted}  # fmt: skip


@pytest.mark.parametrize(("event", "state"), CELLS, ids=lambda value: str(int(value)))
def test_cell_is_as_others_read_the_standard(event: Event, state: int) -> None:
    theirs = peer.TRANSITION_TABLE.get((f"Evt{event}", f"Sta{state}"))
    assert TRANSITION.get((event, state)) == (theirs and theirs.replace("_", "-"))


def test_every_action_is_used_and_has_a_row() -> None:
    assert set(TRANSITION.values()) == set(ACTION)
    assert set(ACTION) == {name.replace("_", "-") for name in peer.ACTIONS}
    assert all(state in STATES for state, _ in ACTION.values())


def machine_in(state: int, requestor: bool) -> Association:
    machine = Association(requestor=requestor, pdu_bytes_max=1 << 16, associate_bytes_max=1 << 16, artim_seconds=30.0)
    machine.state = state
    machine._request = RQ
    if state in (2, 13):
        machine.deadline = 30.0
    return machine


# The transport is confirmed to requestors and indicated to acceptors.
ONLY = {Event.TRANSPORT_CONFIRMED: True, Event.TRANSPORT_INDICATED: False}
BOTH_ROLES = [(*cell, role) for cell in CELLS for role in (True, False) if ONLY.get(cell[0], role) == role]


@pytest.mark.parametrize(("event", "state", "requestor"), BOTH_ROLES, ids=lambda value: str(int(value)))
def test_cell_at_the_machine(event: Event, state: int, requestor: bool) -> None:
    machine = machine_in(state, requestor)
    if (event, state) not in TRANSITION:
        _check_blank_cell(machine, event)
        return
    next_state, action, effects = step(state, event, requestor=requestor)
    told = _fire(machine, event)
    assert machine.state == next_state
    output = machine.take_output()
    assert output[:1] == (bytes([SENDS[action]]) if action in SENDS else b"")
    if action in ("AA-1", "AA-8", "AA-7"):
        assert output[8] == (0 if action == "AA-1" else 2)  # service user, service provider
    if action in TELLS:
        assert [type(each) for each in told] == [TELLS[action]]
    elif action in ("DT-2", "AR-6"):
        assert b"".join(bytes(part) for run in told for part in run.fragments) == b"\xab\xcd"
    else:
        assert not told
    assert machine.closing == ("close" in effects)
    if "start" in effects:
        assert machine.deadline == 30.0
    elif "stop" in effects or "close" in effects:
        assert machine.deadline is None


def _fire(machine: Association, event: Event) -> list:
    if event in ARRIVES:
        return machine.receive(memoryview(ARRIVES[event]), 0.0)
    if event is Event.TRANSPORT_CLOSED:
        return machine.closed(0.0)
    if event is Event.ABORT_REQUEST:
        machine.abort(0.0)
        return []
    return CALLS[event](machine) or []


def _check_blank_cell(machine: Association, event: Event) -> None:
    """Nothing may move the machine: primitives raise; what cannot come from outside in this state isn't tried."""
    before = machine.state
    if event in CALLS:
        with pytest.raises(NotPossible):
            CALLS[event](machine)
    elif event is Event.TRANSPORT_CLOSED:
        assert machine.closed(0.0) == []
    elif event is Event.ABORT_REQUEST and before != 2:  # in Sta2 the owner may close: as AA-2
        machine.abort(0.0)
    assert machine.state == before
    assert machine.take_output() == b""


def test_the_provider_rejects_another_protocol_version() -> None:
    machine = machine_in(2, False)
    other = pdu.AssociateRQ("CALLED", "CALLING", RQ.contexts, protocol_version=2)
    assert machine.receive(memoryview(encode(other)), 5.0) == []
    assert machine.take_output() == encode(pdu.AssociateRJ(1, 2, 2))
    assert (machine.state, machine.deadline) == (13, 35.0)


def test_artim_covers_the_whole_negotiation() -> None:
    machine = Association(requestor=False, pdu_bytes_max=1 << 16, associate_bytes_max=1 << 16, artim_seconds=30.0)
    machine.connected(100.0)
    for number, byte in enumerate(encode(RQ)[:-1]):
        machine.receive(memoryview(bytes([byte])), 100.0 + number)
        assert machine.deadline == 130.0
    machine.expired(130.0)
    assert machine.closing


def test_release_collision_walks_as_figure_and_table_say() -> None:
    a, b = machine_in(6, True), machine_in(6, False)
    a.request_release(0.0)
    b.request_release(0.0)
    ours, theirs = a.take_output(), b.take_output()
    assert a.receive(memoryview(theirs), 0.0) == [ReleaseRequested()]
    assert b.receive(memoryview(ours), 0.0) == [ReleaseRequested()]
    assert (a.state, b.state) == (9, 10)
    a.respond_release(0.0)
    assert b.receive(memoryview(a.take_output()), 0.0) == [Released()]
    assert (a.state, b.state) == (11, 12)
    b.respond_release(0.0)
    assert a.receive(memoryview(b.take_output()), 0.0) == [Released()]
    assert (a.state, a.closing, b.state) == (1, True, 13)
