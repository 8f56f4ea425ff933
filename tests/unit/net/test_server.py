"""The listener with trivial services, over loopback sockets: operations, their order, cancelling, ending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from loopback import (
    CANCEL,
    CT,
    EXPLICIT_LE,
    FIND,
    FINDING,
    STORING,
    STUDY_GET,
    VERIFICATION,
    Endless,
    Raw,
    Store,
    echo_request,
    message,
    request,
    services,
    serving,
    store_request,
    until,
)

from sagittal.dimse.service import Handler, Matches, NoContext, Request, Response
from sagittal.errors import IdentifierMismatch, StorageUnavailable
from sagittal.ul.codec import encode
from sagittal.ul.pdu import Abort, AssociateRQ, ReleaseRP, ReleaseRQ, Role


async def test_echo_and_release() -> None:
    async with serving() as server:
        raw = await Raw.open(server.port, associate=request())
        for message_id in (1, 65535):
            raw.send(echo_request(message_id))
            answer = await raw.command()
            assert (answer["CommandField"], answer["Status"]) == (0x8030, 0)
            assert answer["MessageIDBeingRespondedTo"] == message_id
        raw.send(encode(ReleaseRQ()))
        assert await raw.answer() == ReleaseRP()
        raw.close()
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("limit", [7, 100, 16378, 131066])
async def test_store_in_fragments_of_any_size(limit: int) -> None:
    store, data = Store(), bytes(range(256)) * (4 if limit == 7 else 2000)
    async with serving(services(store)) as server:
        raw = await Raw.open(server.port, associate=STORING)
        for _ in range(2):
            raw.send(store_request(data, limit=limit))
            answer = await raw.command()
            assert (answer["CommandField"], answer["Status"]) == (0x8001, 0)
            assert answer["AffectedSOPInstanceUID"] == "1.2.3.4.5"
        assert store.kept == [data, data]
        seen = store.requests[0]
        assert (seen.association.calling_aet, seen.association.principal) == ("RAW", "somebody")
        assert seen.context.transfer_syntax == EXPLICIT_LE
        raw.close()


@pytest.mark.parametrize("where", ["open_error", "write_error", "finish_error"])
@pytest.mark.parametrize(("error", "code"), [(StorageUnavailable("full"), 0xA700), (IdentifierMismatch("x"), 0xA900),
                                             (ZeroDivisionError(), 0x0110)])  # fmt: skip
async def test_errors_of_a_sink_become_statuses_and_the_association_goes_on(
    where: str, error: Exception, code: int
) -> None:
    store = Store()
    setattr(store, where, error)
    async with serving(services(store)) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(store_request(bytes(300_000)))
        answer = await raw.command()
        assert answer["Status"] == code
        assert "ZeroDivision" not in answer["ErrorComment"]
        assert store.aborted == (where == "write_error")
        setattr(store, where, None)
        raw.send(store_request(b"good"))
        assert (await raw.command())["Status"] == 0
        raw.close()


async def test_what_is_no_storage_context_is_not_stored_to() -> None:
    async with serving() as server:
        raw = await Raw.open(server.port, associate=request())
        raw.send(store_request(b"abc"))
        assert (await raw.command())["Status"] == 0x0211
        raw.send(echo_request())
        assert (await raw.command())["Status"] == 0
        raw.close()


@pytest.mark.parametrize(("missing", "code"), [("AffectedSOPInstanceUID", 0xA900), ("AffectedSOPClassUID", 0xA900)])
async def test_a_command_without_what_it_requires(missing: str, code: int) -> None:
    command: dict[str, Any] = {"AffectedSOPClassUID": CT, "CommandField": 1, "MessageID": 1,
                               "AffectedSOPInstanceUID": "1.2"}  # fmt: skip
    del command[missing]
    async with serving() as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(message(1, command, b"data"))
        answer = await raw.command()
        assert (answer["Status"], missing in answer["ErrorComment"]) == (code, True)
        raw.close()


@pytest.mark.parametrize(("answer", "told"), [
    (Response(0xA900, comment="no level"), [("request refused", 'status=A900 reason="no level"')]),
    (Response(0xB000, None, "full", {"NumberOfFailedSuboperations": 2}),
     [("sub-operations failed", "failed=2 status=B000 reason=full")]),
    (Response(0), []),
])  # fmt: skip
async def test_what_a_handler_refuses_is_a_line_of_the_log(
    answer: Response, told: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    async def find(_: Request) -> AsyncIterator[Response]:
        yield answer

    async with serving(services(find=find)) as server:
        raw = await Raw.open(server.port, associate=FINDING)
        raw.send(message(1, FIND, b"id"))
        assert (await raw.command())["Status"] == answer.status
        raw.close()
    lines = [record.message.split(" message=C-FIND-RQ ") for record in caplog.records]
    assert [(line[0].partition(" peer=")[0], line[1]) for line in lines if line[1:]] == told


async def test_backpressure_stops_reading_until_ready() -> None:
    store = Store()
    store.gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(store_request(bytes(20_000_000)))
        await until(lambda: any(link.holds for link in server.associations))
        (link,) = server.associations
        held = link.received_bytes
        await asyncio.sleep(0)
        assert link.received_bytes == held < 20_000_000
        gate, store.gate = store.gate, None
        gate.set_result(None)
        assert (await raw.command())["Status"] == 0
        assert len(store.kept[0]) == 20_000_000
        raw.close()


async def one_by_one(request: Request) -> AsyncIterator[Response]:
    for number in range(100):
        yield Response(0xFF00, b"row %03d " % number)
    yield Response(0)


async def many_at_once(request: Request) -> AsyncIterator[Response | Matches]:
    yield Response(0xFF00, b"row 000 ")
    for start, end in ((1, 60), (60, 100)):
        yield Matches(0xFF00, [b"row %03d " % number for number in range(start, end)])


@pytest.mark.parametrize("find", [one_by_one, many_at_once])
async def test_pending_responses_in_order(find: Handler) -> None:
    async with serving(services(find=find)) as server:
        raw = await Raw.open(server.port, associate=FINDING)
        raw.send(message(1, FIND, b"keys"))
        for number in range(100):
            assert (await raw.command())["Status"] == 0xFF00
            assert (await raw.pdu())[1][6:] == b"row %03d " % number
        assert (await raw.command())["Status"] == 0
        raw.close()


@pytest.mark.parametrize("rude", [True, False])
async def test_cancel(rude: bool) -> None:
    find = Endless(rude)
    async with serving(services(find=find)) as server:
        raw = await Raw.open(server.port, associate=FINDING)
        raw.send(message(1, FIND, b"keys"))
        assert (await raw.command())["Status"] == 0xFF00
        raw.send(message(1, CANCEL))
        while (answer := await raw.command())["Status"] == 0xFF00:
            pass
        assert answer["Status"] == 0xFE00
        assert answer.get("ErrorComment") == (None if rude else "as you wish")
        assert answer.get("NumberOfRemainingSuboperations") == (4 if rude else None)
        assert find.closed and find.identifier == b"keys"
        raw.send(message(1, CANCEL))  # too late: no answer, no harm
        raw.send(encode(ReleaseRQ()))
        assert await raw.answer() == ReleaseRP()
        raw.close()


@pytest.mark.parametrize("ending", [encode(Abort(0)), b"", b"garbage!"])
async def test_an_association_that_ends_stops_its_query(ending: bytes) -> None:
    find = Endless(True)
    async with serving(services(find=find)) as server:
        raw = await Raw.open(server.port, associate=FINDING)
        raw.send(message(1, FIND, b"keys"))
        await raw.command()
        raw.send(ending)
        if not ending:
            raw.close()
        await until(lambda: find.closed)
        await until(lambda: not server.associations)
        raw.close()


@pytest.mark.parametrize("ending", [encode(Abort(0)), encode(ReleaseRQ()), b"", b"garbage!"])
async def test_an_association_that_ends_inside_a_data_set_aborts_its_sink(ending: bytes) -> None:
    store = Store()
    async with serving(services(store)) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(store_request(bytes(100_000), limit=1000)[: -50 * 1012])  # up to the end of a PDU
        await until(lambda: bool(store.requests))
        raw.send(ending)
        if not ending:
            raw.close()
        await until(lambda: store.aborted == 1)
        await until(lambda: not server.associations)
        assert store.kept == []
        raw.close()


@pytest.mark.parametrize("more", [encode(STORING), b"no PDU at all"])
async def test_what_comes_after_our_abort_is_passed_over(more: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(message(1, {"CommandField": 0x7777}))
        assert (await raw.pdu())[0] == 7
        (link,) = server._links
        before = link.received_bytes
        raw.send(more)
        assert await raw.ended()
        await until(lambda: link.received_bytes == before + len(more))
        raw.close()
        await until(lambda: not server.connections)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("behind", [encode(Abort(0, 0)), echo_request()], ids=["abort", "message"])
@pytest.mark.parametrize(
    "first", [STORING, replace(STORING, application_context="1.2.3"), None], ids=["request", "refused", "none"]
)
async def test_what_ends_an_association_may_come_in_one_read_with_what_is_ended(
    first: AssociateRQ | None, behind: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server:
        raw = await Raw.open(server.port, associate=None if first else STORING)
        raw.send((encode(first) if first else message(1, {"CommandField": 0x7777})) + behind)
        assert await raw.ended()
        raw.close()
        await until(lambda: not server.connections)
    told = [record.levelname for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["WARNING"]


async def test_a_release_during_an_operation_is_answered_after_it() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(store_request(b"abc") + encode(ReleaseRQ()))
        await until(lambda: any(link.machine.state == 8 for link in server.associations))
        store.finish_gate.set_result(None)
        assert (await raw.command())["Status"] == 0
        assert await raw.answer() == ReleaseRP()
        raw.close()


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(b"".join(store_request(b"%d" % each, each) for each in range(1, 21)))
        await until(lambda: any(link.holds for link in server.associations))
        store.finish_gate.set_result(None)
        answers = [(await raw.command())["MessageIDBeingRespondedTo"] for _ in range(20)]
        assert answers == list(range(1, 21))
        assert store.kept == [b"%d" % each for each in range(1, 21)]
        raw.close()


async def test_a_window_lets_operations_run_at_once() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    wide = request((CT, EXPLICIT_LE), asynchronous=(0, 1))
    async with serving(services(store), operations_max=3) as server:
        raw = await Raw.open(server.port)
        raw.send(encode(wide))
        assert (await raw.answer()).user.asynchronous == (3, 1)
        raw.send(b"".join(store_request(b"x", each) for each in (1, 2, 3)) + store_request(b"y", 3) * 3)
        await until(lambda: len(store.requests) == 3)
        await until(lambda: any(link.holds for link in server.associations))  # as many wait as may
        assert len(store.requests) == 3
        store.finish_gate.set_result(None)
        answers = [await raw.command() for _ in range(6)]
        assert sorted((each["MessageIDBeingRespondedTo"], each["Status"]) for each in answers) == [
            (1, 0), (2, 0), (3, 0), (3, 0x0210), (3, 0x0210), (3, 0x0210),
        ]  # fmt: skip
        raw.close()


@pytest.mark.parametrize("ahead", [1, 7])
async def test_requests_sent_ahead_do_not_keep_the_answer_to_a_sub_operation_away(ahead: int) -> None:
    """Without a window a peer may not send them; to abort both it and its retrieval is no answer."""

    async def get(request: Request) -> AsyncIterator[Response]:
        assert (await request.store(CT, "1.2.3", EXPLICIT_LE, b"data")).status == 0
        yield Response(0, extra={"NumberOfCompletedSuboperations": 1})

    contexts = (STUDY_GET, EXPLICIT_LE), (CT, EXPLICIT_LE), (VERIFICATION, EXPLICIT_LE)
    asked = request(*contexts, roles=(Role(CT, False, True),))
    async with serving(services(get=get)) as server:
        raw = await Raw.open(server.port, associate=asked)
        raw.send(message(1, FIND | {"CommandField": 0x10, "AffectedSOPClassUID": STUDY_GET}, b"keys"))
        command = await raw.command()
        while (await raw.pdu())[1][5] & 3 != 2:  # to the end of its data set
            pass
        done = {"CommandField": 0x8001, "MessageIDBeingRespondedTo": command["MessageID"], "Status": 0}
        echo = {"AffectedSOPClassUID": VERIFICATION, "CommandField": 0x0030}
        echoes = b"".join(message(5, echo | {"MessageID": 100 + each}) for each in range(ahead))
        (link,) = server.associations
        before = link.received_bytes
        raw.send(echoes)
        await until(lambda: link.received_bytes == before + len(echoes))
        raw.send(message(3, done))
        answers = [await raw.command() for _ in range(1 + ahead)]
        assert [each["CommandField"] for each in answers] == [0x8010] + ahead * [0x8030]
        raw.close()


async def test_sub_operations_on_the_same_association() -> None:
    sent = bytes(range(256)) * 3000

    async def get(request: Request) -> AsyncIterator[Response]:
        try:
            await request.store("1.2.3.4", "1.1", EXPLICIT_LE, b"")
        except NoContext:
            pieces = [sent[:100], sent[100:]]
            assert (await request.store(CT, "1.2.3", EXPLICIT_LE, pieces)).status == 0xB000
            yield Response(0, extra={"NumberOfCompletedSuboperations": 1, "NumberOfFailedSuboperations": 1})

    asked = request((STUDY_GET, EXPLICIT_LE), (CT, EXPLICIT_LE), pdu_bytes_max=1000, roles=(Role(CT, False, True),))
    async with serving(services(get=get)) as server:
        raw = await Raw.open(server.port, associate=asked)
        raw.send(message(1, FIND | {"CommandField": 0x10, "AffectedSOPClassUID": STUDY_GET}, b"keys"))
        command = await raw.command()
        assert (command["CommandField"], command["AffectedSOPInstanceUID"]) == (1, "1.2.3")
        assert "MoveOriginatorMessageID" not in command
        data, last = b"", False
        while not last:
            kind, body = await raw.pdu()
            assert kind == 4 and len(body) <= 1000 and body[4] == 3
            data, last = data + body[6:], bool(body[5] & 2)
        assert data == sent
        raw.send(
            message(3, {"CommandField": 0x8001, "MessageIDBeingRespondedTo": command["MessageID"], "Status": 0xB000})
        )
        final = await raw.command()
        assert (final["Status"], final["NumberOfCompletedSuboperations"]) == (0, 1)
        raw.close()
