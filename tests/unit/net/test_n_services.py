"""The N- services over loopback: every operation asked and performed, in both directions of one association."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from loopback import (
    EXPLICIT_LE,
    PRINTER,
    Raw,
    echo_request,
    message,
    n_service,
    request,
    services,
    serving,
)

from sagittal.dimse.service import NoContext, Request, Response, Service
from sagittal.errors import NotFound, PeerError
from sagittal.net.client import Association, Peer, Proposal, connect
from sagittal.net.server import DimseServer
from sagittal.ul.pdu import Role

INSTANCE = "1.2.840.10008.5.1.1.17"
FIELDS = {"N-EVENT-REPORT": 0x0100, "N-GET": 0x0110, "N-SET": 0x0120, "N-ACTION": 0x0130, "N-CREATE": 0x0140,
          "N-DELETE": 0x0150}  # fmt: skip


async def opened(server: DimseServer, role: str = "scu") -> Association:
    peer = Peer("SAGITTAL", "127.0.0.1", server.port)
    return await connect(peer, "CLIENT", [Proposal(PRINTER, [EXPLICIT_LE], role)])


class Performer:
    """Answers what it is told to, and notes what was asked."""

    def __init__(self, answer: Response | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[dict[str, Any], bytes | None]] = []

    async def __call__(self, request: Request) -> AsyncIterator[Response]:
        self.asked.append((dict(request.command), request.identifier))
        if isinstance(self.answer, Exception):
            raise self.answer
        yield self.answer


# What is called, with which arguments; the command set that arrives besides field, ID and data set type; its data set.
REQUESTED = {"RequestedSOPClassUID": PRINTER, "RequestedSOPInstanceUID": INSTANCE}
AFFECTED = {"AffectedSOPClassUID": PRINTER, "AffectedSOPInstanceUID": INSTANCE}
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], bytes | None]] = [
    ("N-GET", (), REQUESTED, None),
    ("N-GET", ([0x21100010, 0x21100020],), REQUESTED | {"AttributeIdentifierList": [0x21100010, 0x21100020]}, None),
    ("N-SET", (b"list",), REQUESTED, b"list"),
    ("N-ACTION", (3,), REQUESTED | {"ActionTypeID": 3}, None),
    ("N-ACTION", (65535, b"info"), REQUESTED | {"ActionTypeID": 65535}, b"info"),
    ("N-CREATE", (), AFFECTED, None),
    ("N-CREATE", (b"list",), AFFECTED, b"list"),
    ("N-DELETE", (), REQUESTED, None),
    ("N-EVENT-REPORT", (2, b"info"), AFFECTED | {"EventTypeID": 2}, b"info"),
    ("N-EVENT-REPORT", (1,), AFFECTED | {"EventTypeID": 1}, None),
]


async def call(association: Association, name: str, *arguments: Any) -> Response:
    response = await getattr(association, name.lower().replace("-", "_"))(PRINTER, INSTANCE, *arguments)
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(("name", "arguments", "command", "data_set"), CALLS)
@pytest.mark.parametrize("reply", [None, b"reply"])
async def test_an_operation_asked_and_performed(
    name: str, arguments: tuple[Any, ...], command: dict[str, Any], data_set: bytes | None, reply: bytes | None
) -> None:
    performer = Performer(Response(0x0107, reply, "mind", {"AttributeIdentifierList": [0x21100010]}))
    role = "scp" if name == "N-EVENT-REPORT" else "scu"
    async with serving([n_service({FIELDS[name]: performer})]) as server, await opened(server, role) as association:
        response = await call(association, name, *arguments)
    assert (response.status, response.data_set, response.comment) == (0x0107, reply, "mind")
    told = dict(response.extra)
    types = {key: value for key, value in command.items() if key in ("EventTypeID", "ActionTypeID")}
    assert told == {**AFFECTED, **types, "AttributeIdentifierList": [0x21100010]}
    ((asked, identifier),) = performer.asked
    expected = {**command, "CommandField": FIELDS[name], "MessageID": 1}
    assert asked == expected | {"CommandDataSetType": 0x0101 if data_set is None else 1}
    assert identifier == data_set


@pytest.mark.parametrize("name", FIELDS)
async def test_what_is_not_performed_and_what_fails(name: str) -> None:
    role = "scp" if name == "N-EVENT-REPORT" else "scu"
    arguments = {"N-SET": (b"",), "N-ACTION": (1,), "N-EVENT-REPORT": (1,)}.get(name, ())
    for handlers, status in (({}, 0x0211), ({FIELDS[name]: Performer(NotFound("no such printer"))}, 0x0112)):
        async with serving([n_service(handlers)]) as server, await opened(server, role) as association:
            assert (await call(association, name, *arguments)).status == status


async def test_an_instance_that_the_peer_names() -> None:
    performer = Performer(Response(0, extra={"AffectedSOPInstanceUID": "1.2.3"}))
    async with serving([n_service({0x0140: performer})]) as server, await opened(server) as association:
        response = await association.n_create(PRINTER, attributes=b"list")
    assert response.extra["AffectedSOPInstanceUID"] == "1.2.3"
    assert "AffectedSOPInstanceUID" not in performer.asked[0][0]


@pytest.mark.parametrize(
    ("field", "missing"),
    [(0x0110, "RequestedSOPClassUID"), (0x0120, "RequestedSOPInstanceUID"), (0x0130, "ActionTypeID"),
     (0x0140, "AffectedSOPClassUID"), (0x0150, "RequestedSOPInstanceUID")],
)  # fmt: skip
async def test_a_command_without_what_it_requires(field: int, missing: str) -> None:
    performer = Performer(Response(0))
    whole = {**REQUESTED, **(AFFECTED if field == 0x0140 else {}), "ActionTypeID": 1}
    command = {key: value for key, value in whole.items() if key != missing}
    async with serving([n_service({field: performer})]) as server:
        raw = await Raw.open(server.port, associate=request((PRINTER, EXPLICIT_LE)))
        raw.send(message(1, {**command, "CommandField": field, "MessageID": 4}))
        answer = await raw.command()
        assert (answer["Status"], missing in answer["ErrorComment"], performer.asked) == (0x0212, True, [])
        raw.close()


async def test_only_the_role_that_was_agreed() -> None:
    """An SCU tells no events, and an SCP asks for nothing else (PS3.7 10.1)."""
    event, get = Performer(Response(0)), Performer(Response(0))
    async with serving([n_service({0x0100: event, 0x0110: get})]) as server:
        asked = {"MessageID": 1, **AFFECTED, **REQUESTED, "EventTypeID": 1}
        for role, refused, taken in ((None, 0x0100, 0x0110), (Role(PRINTER, False, True), 0x0110, 0x0100)):
            roles = () if role is None else (role,)
            raw = await Raw.open(server.port, associate=request((PRINTER, EXPLICIT_LE), roles=roles))
            for field, status in ((refused, 0x0211), (taken, 0)):
                raw.send(message(1, asked | {"CommandField": field}))
                assert (await raw.command())["Status"] == status
            raw.close()
        assert len(event.asked) == len(get.asked) == 1
        async with await opened(server) as association:
            with pytest.raises(NoContext, match="with us as SCP"):
                await association.n_event_report(PRINTER, INSTANCE, 1)
        async with await opened(server, "scp") as association:
            with pytest.raises(NoContext):
                await association.n_get(PRINTER, INSTANCE)


class Committing:
    """An SCP that answers an N-ACTION, and tells the event before or after its answer on the same association."""

    def __init__(self, early: bool) -> None:
        self.early = early
        self.told: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._later: asyncio.Task[None] | None = None

    async def __call__(self, request: Request) -> AsyncIterator[Response]:
        if self.early:
            await self._tell(request)
        else:
            self._later = asyncio.ensure_future(self._tell(request))
        yield Response(0)

    async def _tell(self, request: Request) -> None:
        try:
            self.told.set_result(await request.report("1.2.3", 2, b"event"))
        except Exception as error:
            self.told.set_exception(error)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("answer", [Response(0, b"reply"), Response(0x0113), NotFound("nothing known of it")])
async def test_an_event_on_the_association_that_the_scu_opened(early: bool, answer: Response | Exception) -> None:
    committing, events = Committing(early), Performer(answer)
    async with serving([n_service({0x0130: committing})]) as server, await opened(server) as association:
        association.perform([Service("Events", frozenset({PRINTER}), {0x0100: events}, scp=False, scu=True)])
        assert (await association.n_action(PRINTER, INSTANCE, 1)).status == 0
        told = await committing.told
    expected = answer if isinstance(answer, Response) else Response(0x0112)
    assert (told.status, told.data_set) == (expected.status, expected.data_set)
    ((command, data_set),) = events.asked
    assert (command["AffectedSOPInstanceUID"], command["EventTypeID"], data_set) == ("1.2.3", 2, b"event")


async def test_an_event_that_nobody_listens_to() -> None:
    committing = Committing(False)
    async with serving([n_service({0x0130: committing})]) as server, await opened(server) as association:
        assert (await association.n_action(PRINTER, INSTANCE, 1)).status == 0
        assert (await committing.told).status == 0x0211


async def test_an_event_for_an_association_that_is_over() -> None:
    gone = asyncio.Event()
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def later(request: Request) -> None:
        await gone.wait()
        try:
            await request.report("1.2.3", 1)
        except Exception as error:
            failed.set_result(error)

    tasks = []

    async def act(request: Request) -> AsyncIterator[Response]:
        tasks.append(asyncio.ensure_future(later(request)))
        yield Response(0)

    async with serving([n_service({0x0130: act})]) as server:
        async with await opened(server) as association:
            await association.n_action(PRINTER, INSTANCE, 1)
        gone.set()
        assert isinstance(await failed, PeerError)


async def test_a_request_without_an_association_reports_nothing() -> None:
    from sagittal.dimse.service import AssociationInfo, Context

    lone = Request(AssociationInfo("A", "B", "", 0), Context(1, PRINTER, EXPLICIT_LE), {"MessageID": 1})
    with pytest.raises(NoContext):
        await lone.report("1.2.3", 1)


async def test_a_response_of_another_kind_ends_the_association() -> None:
    """The event is answered by an N-GET-RSP with its message ID: nothing sensible can follow."""
    committing = Committing(False)
    async with serving([n_service({0x0130: committing}), *services()]) as server:
        raw = await Raw.open(server.port, associate=request((PRINTER, EXPLICIT_LE)))
        raw.send(message(1, {**REQUESTED, "CommandField": 0x0130, "MessageID": 1, "ActionTypeID": 1}))
        seen = {(await raw.command())["CommandField"]}
        if 0x0100 not in seen:
            event = await raw.command()
            assert event["CommandField"] == 0x0100
            await raw.pdu()
        raw.send(message(1, {"CommandField": 0x8110, "MessageIDBeingRespondedTo": 1, "Status": 0}))
        assert await raw.ended()
        with pytest.raises(PeerError):
            await committing.told
        raw.send(echo_request())
        raw.close()
