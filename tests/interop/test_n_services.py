"""The N- services against pynetdicom in both roles, with trivial services on our side."""

from __future__ import annotations

import asyncio
import queue
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import wire
from loopback import EXPLICIT_LE, PRINTER, n_service, serving
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.dsutils import decode, encode

from sagittal.dimse.service import Request, Response
from sagittal.net.client import Peer, Proposal, connect

INSTANCE = "1.2.840.10008.5.1.1.17"
NAMES = {0x0100: "EVENT-REPORT", 0x0110: "GET", 0x0120: "SET", 0x0130: "ACTION", 0x0140: "CREATE", 0x0150: "DELETE"}


def attributes(text: str) -> Dataset:
    found = Dataset()
    found.PrinterName = text
    return found


def encoded(text: str) -> bytes:
    data = encode(attributes(text), False, True)
    assert data is not None
    return data


def asked_by_them(port: int) -> list[tuple[int, str]]:
    """Each operation asked by pynetdicom: the status, and what came back."""
    ae = AE("PYNETDICOM")
    ae.add_requested_context(PRINTER, EXPLICIT_LE)
    answers = []
    for role in ("scu", "scp"):
        roles = [build_role(PRINTER, scu_role=role == "scu", scp_role=role == "scp")]
        association = ae.associate("127.0.0.1", port, ae_title="SAGITTAL", ext_neg=roles)
        assert association.is_established
        if role == "scu":
            answers += [
                association.send_n_get([0x21100030], PRINTER, INSTANCE),
                association.send_n_set(attributes("SET"), PRINTER, INSTANCE),
                association.send_n_action(attributes("ACTION"), 7, PRINTER, INSTANCE),
                association.send_n_create(attributes("CREATE"), PRINTER),
                (association.send_n_delete(PRINTER, INSTANCE), None),
            ]
        else:
            answers.append(association.send_n_event_report(attributes("EVENT"), 5, PRINTER, INSTANCE))
        association.release()
        assert association.is_released
    return [(status.Status, str(found.PrinterName) if found else "") for status, found in answers]


async def test_pynetdicom_asks() -> None:
    asked: list[tuple[str, str, Any]] = []

    async def perform(request: Request) -> AsyncIterator[Response]:
        command, name = request.command, NAMES[request.command["CommandField"]]
        sent = request.identifier and decode(_stream(request.identifier), False, True).PrinterName
        number = command.get("ActionTypeID", command.get("EventTypeID", command.get("AttributeIdentifierList")))
        asked.append((name, str(sent or ""), number))
        extra = {"AffectedSOPInstanceUID": "1.2.3"} if name == "CREATE" else {}
        yield Response(0, None if name == "DELETE" else encoded(f"RE {name}"), extra=extra)

    async with asyncio.timeout(60), serving([n_service(dict.fromkeys(NAMES, perform))]) as server:
        answers = await asyncio.to_thread(asked_by_them, server.port)
    assert answers == [
        (0, "RE GET"), (0, "RE SET"), (0, "RE ACTION"), (0, "RE CREATE"), (0, ""), (0, "RE EVENT-REPORT"),
    ]  # fmt: skip
    assert asked == [
        ("GET", "", [0x21100030]), ("SET", "SET", None), ("ACTION", "ACTION", 7), ("CREATE", "CREATE", None),
        ("DELETE", "", None), ("EVENT-REPORT", "EVENT", 5),
    ]  # fmt: skip


def _stream(data: bytes) -> Any:
    from io import BytesIO

    return BytesIO(data)


NUMBERS = {0x0100: {0x1002: 5}, 0x0110: {}, 0x0120: {}, 0x0130: {0x1008: 7}, 0x0140: {}, 0x0150: {}}


def asked_in_bytes(port: int) -> None:
    """Each operation by a peer that shares no code with us; it answers the event that an action causes."""
    numbers = {"US": struct.Struct("<H").unpack}
    with wire.Wire("127.0.0.1", port).associate((PRINTER, [EXPLICIT_LE])) as peer:
        for field in (0x0110, 0x0120, 0x0130, 0x0140, 0x0150):
            asked: dict[int, int | str] = {0x0003: PRINTER, 0x1001: INSTANCE}
            if field == 0x0140:
                asked = {0x0002: PRINTER, 0x1000: INSTANCE}
            peer.send(
                wire.p_data(1, 3, wire.command({**asked, **NUMBERS[field], 0x0100: field, 0x0110: 9, 0x0800: 0x0101}))
            )
            if field == 0x0130:
                event = peer.response()
                found = {number: numbers["US"](event[number])[0] for number in (0x0100, 0x0800, 0x1002)}
                assert found == {0x0100: 0x0100, 0x0800: 0x0101, 0x1002: 2}
                assert event[0x1000] == b"1.2.3\0"
                told = {0x0002: PRINTER, 0x0100: 0x8100, 0x0120: numbers["US"](event[0x0110])[0], 0x0800: 0x0101}
                peer.send(wire.p_data(1, 3, wire.command({**told, 0x0900: 0x0113, 0x1000: "1.2.3"})))
            answer = peer.response()
            assert numbers["US"](answer[0x0100])[0] == field | 0x8000
            assert (numbers["US"](answer[0x0120])[0], numbers["US"](answer[0x0900])[0]) == (9, 0)
            assert answer[0x0002].rstrip(b"\0").decode() == PRINTER
            assert answer[0x1000].rstrip(b"\0").decode() == INSTANCE
        peer.release()


async def test_bytes_that_share_no_code_with_us() -> None:
    events: list[int] = []

    async def perform(request: Request) -> AsyncIterator[Response]:
        if request.command["CommandField"] == 0x0130:
            events.append((await request.report("1.2.3", 2)).status)
        yield Response(0)

    async with asyncio.timeout(60), serving([n_service(dict.fromkeys(NAMES, perform))]) as server:
        await asyncio.to_thread(asked_in_bytes, server.port)
    assert events == [0x0113]


def performer(asked: list[str], told: queue.Queue[int]) -> Callable[[evt.Event], Any]:
    """pynetdicom's side: it answers everything, and tells an event after an action."""

    def perform(event: evt.Event) -> Any:
        name = event.event.name
        asked.append(name)
        if name == "EVT_N_DELETE":
            return 0
        if name == "EVT_N_ACTION":
            tell = lambda: told.put(event.assoc.send_n_event_report(attributes("E"), 2, PRINTER, "1.9")[0].Status)  # noqa: E731
            if event.action_type == 1:
                tell()
            return 0, attributes("RE ACTION")
        return 0, attributes(f"RE {name}")

    return perform


def test_pynetdicom_performs() -> None:
    asked: list[str] = []
    told: queue.Queue[int] = queue.Queue()
    ae = AE("PEER")
    ae.add_supported_context(PRINTER, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    events = (evt.EVT_N_GET, evt.EVT_N_SET, evt.EVT_N_ACTION, evt.EVT_N_CREATE, evt.EVT_N_DELETE,
              evt.EVT_N_EVENT_REPORT)  # fmt: skip
    perform = performer(asked, told)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(event, perform) for event in events])
    assert server is not None
    try:
        asyncio.run(_ask(Peer("PEER", "127.0.0.1", server.server_address[1])))
    finally:
        server.shutdown()
    assert asked == ["EVT_N_GET", "EVT_N_SET", "EVT_N_ACTION", "EVT_N_CREATE", "EVT_N_DELETE", "EVT_N_EVENT_REPORT"]
    assert told.get(timeout=10) == 0x0113


async def _ask(peer: Peer) -> None:
    events: list[Request] = []

    async def refuse(request: Request) -> AsyncIterator[Response]:
        events.append(request)
        yield Response(0x0113)

    async with asyncio.timeout(60):
        listening = n_service({0x0100: refuse})
        async with await connect(peer, "US", [(PRINTER, [EXPLICIT_LE])], services=[listening]) as association:
            text = encoded("X")
            answers = [
                await association.n_get(PRINTER, INSTANCE, [0x21100030]),
                await association.n_set(PRINTER, INSTANCE, text),
                await association.n_action(PRINTER, INSTANCE, 1, text),
                await association.n_create(PRINTER, INSTANCE, text),
            ]
            assert [answer.status for answer in answers] == [0, 0, 0, 0]
            names = [decode(_stream(answer.data_set or b""), False, True).PrinterName for answer in answers]
            assert names == ["RE EVT_N_GET", "RE EVT_N_SET", "RE ACTION", "RE EVT_N_CREATE"]
            assert (await association.n_delete(PRINTER, INSTANCE)).status == 0
        assert [request.command["EventTypeID"] for request in events] == [2]
        async with await connect(peer, "US", [Proposal(PRINTER, [EXPLICIT_LE], "scp")]) as association:
            answer = await association.n_event_report(PRINTER, INSTANCE, 5, text)
            assert answer.status == 0 and answer.data_set
