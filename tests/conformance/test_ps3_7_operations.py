"""PS3.7 9.3 and 10.3: the elements of each request and response, as the tables print them, against what is sent.

Each operation is asked by our requestor of our listener; both command sets are taken from the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from loopback import CT, EXPLICIT_LE, PRINTER, STUDY_FIND, VERIFICATION, n_service, services, serving

from sagittal.dimse import commands
from sagittal.dimse.exchange import Exchange
from sagittal.dimse.service import Request, Response, Service
from sagittal.net.client import Association, Peer, Proposal, connect

STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"

# Tables 9.3-1 to 9.3-13 and 10.3-1 to 10.3-12. After the bar: elements that are there only under a condition.
TABLES = """
C-STORE-RQ        AffectedSOPClassUID CommandField MessageID Priority CommandDataSetType AffectedSOPInstanceUID | MoveOriginatorApplicationEntityTitle MoveOriginatorMessageID
C-STORE-RSP       AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID
C-FIND-RQ         AffectedSOPClassUID CommandField MessageID Priority CommandDataSetType
C-FIND-RSP        AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status
C-MOVE-RQ         AffectedSOPClassUID CommandField MessageID Priority CommandDataSetType MoveDestination
C-MOVE-RSP        AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status | NumberOfRemainingSuboperations NumberOfCompletedSuboperations NumberOfFailedSuboperations NumberOfWarningSuboperations
C-ECHO-RQ         AffectedSOPClassUID CommandField MessageID CommandDataSetType
C-ECHO-RSP        AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status
N-EVENT-REPORT-RQ  AffectedSOPClassUID CommandField MessageID CommandDataSetType AffectedSOPInstanceUID EventTypeID
N-EVENT-REPORT-RSP AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID EventTypeID
N-GET-RQ          RequestedSOPClassUID CommandField MessageID CommandDataSetType RequestedSOPInstanceUID | AttributeIdentifierList
N-GET-RSP         AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID
N-SET-RQ          RequestedSOPClassUID CommandField MessageID CommandDataSetType RequestedSOPInstanceUID
N-SET-RSP         AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID
N-ACTION-RQ       RequestedSOPClassUID CommandField MessageID CommandDataSetType RequestedSOPInstanceUID ActionTypeID
N-ACTION-RSP      AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID ActionTypeID
N-CREATE-RQ       AffectedSOPClassUID CommandField MessageID CommandDataSetType | AffectedSOPInstanceUID
N-CREATE-RSP      AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID
N-DELETE-RQ       RequestedSOPClassUID CommandField MessageID CommandDataSetType RequestedSOPInstanceUID
N-DELETE-RSP      AffectedSOPClassUID CommandField MessageIDBeingRespondedTo CommandDataSetType Status AffectedSOPInstanceUID
"""  # noqa: E501
ROWS = {line.split()[0]: line.split()[1:] for line in TABLES.strip().splitlines()}


def elements(name: str) -> tuple[set[str], set[str]]:
    """Those that are always there, and those under a condition."""
    always, _, sometimes = " ".join(ROWS[name]).partition("|")
    return set(always.split()), set(sometimes.split())


async def _all(responses: Any) -> None:
    async for _ in responses:
        pass


ASKED: dict[str, list[Callable[[Association], Any]]] = {
    "C-STORE": [
        lambda a: a.store(CT, "1.2", EXPLICIT_LE, b"data"),
        lambda a: a.store(CT, "1.2", EXPLICIT_LE, b"data", ("MOVER", 5)),
    ],
    "C-FIND": [lambda a: _all(a.find(STUDY_FIND, b"keys"))],
    "C-MOVE": [lambda a: _all(a.move(STUDY_MOVE, b"keys", "DEST"))],
    "C-ECHO": [lambda a: a.echo()],
    "N-EVENT-REPORT": [lambda a: a.n_event_report(PRINTER, "1.2", 1, b"info")],
    "N-GET": [lambda a: a.n_get(PRINTER, "1.2"), lambda a: a.n_get(PRINTER, "1.2", [0x00100010])],
    "N-SET": [lambda a: a.n_set(PRINTER, "1.2", b"list")],
    "N-ACTION": [lambda a: a.n_action(PRINTER, "1.2", 1)],
    "N-CREATE": [lambda a: a.n_create(PRINTER, "1.2", b"list"), lambda a: a.n_create(PRINTER)],
    "N-DELETE": [lambda a: a.n_delete(PRINTER, "1.2")],
}


async def perform(request: Request) -> AsyncIterator[Response]:
    field, extra = request.command["CommandField"], dict[str, Any]()
    if field == commands.N_CREATE_RQ:
        extra["AffectedSOPInstanceUID"] = "1.2"
    if field == commands.C_MOVE_RQ:
        extra = dict.fromkeys(elements("C-MOVE-RSP")[1], 0)
    yield Response(0, extra=extra)


def on_the_wire(name: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every command set that an operation of this name makes, in order, each variant of the call once."""
    seen: list[dict[str, Any]] = []
    command = Exchange.command

    def noted(exchange: Exchange, run: Any) -> Any:
        arrived = command(exchange, run)
        if arrived is not None:
            seen.append(dict(arrived.command))
        return arrived

    monkeypatch.setattr(Exchange, "command", noted)

    async def test() -> None:
        move = Service("Move", frozenset({STUDY_MOVE}), {commands.C_MOVE_RQ: perform})
        n = n_service(dict.fromkeys((0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150), perform))
        proposals = [Proposal(uid, [EXPLICIT_LE]) for uid in (VERIFICATION, CT, STUDY_FIND, STUDY_MOVE)]
        proposals.append(Proposal(PRINTER, [EXPLICIT_LE], "scp" if name == "N-EVENT-REPORT" else "scu"))
        async with asyncio.timeout(30), serving([*services(find=perform), move, n]) as server:
            peer = Peer("SAGITTAL", "127.0.0.1", server.port)
            async with await connect(peer, "CLIENT", proposals) as association:
                for call in ASKED[name]:
                    await call(association)

    asyncio.run(test())
    return seen


@pytest.mark.parametrize("name", ASKED)
def test_the_elements_of_request_and_response(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = on_the_wire(name, monkeypatch)
    assert len(seen) == 2 * len(ASKED[name])
    for request, response in zip(seen[::2], seen[1::2], strict=True):
        for command, kind in ((request, f"{name}-RQ"), (response, f"{name}-RSP")):
            always, sometimes = elements(kind)
            assert commands.MESSAGE[command["CommandField"]].name == kind
            assert always <= set(command) <= always | sometimes
        assert response["MessageIDBeingRespondedTo"] == request["MessageID"]
    conditional = set().union(*(set(command) - elements(f"{name}-RQ")[0] for command in seen[::2]))
    assert conditional == elements(f"{name}-RQ")[1]  # each variant of the call is there
