"""The asynchronous operations window (PS3.7 D.3.3.3): several operations outstanding on one association, both roles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from loopback import (
    CT,
    EXPLICIT_LE,
    FIND,
    STUDY_FIND,
    STUDY_GET,
    VERIFICATION,
    Endless,
    Raw,
    Store,
    message,
    notice,
    request,
    services,
    serving,
    store_request,
    until,
)

from sagittal.dimse.service import Request, Response
from sagittal.errors import PeerError, UsageError
from sagittal.net.client import Association, Peer, Proposal, connect
from sagittal.net.server import DimseServer
from sagittal.ul.codec import encode
from sagittal.ul.pdu import ReleaseRP, ReleaseRQ

ALL = [(VERIFICATION, [EXPLICIT_LE]), (CT, [EXPLICIT_LE]), (STUDY_FIND, [EXPLICIT_LE])]
WIDE = request((CT, EXPLICIT_LE), (STUDY_FIND, EXPLICIT_LE), asynchronous=(0, 1))


async def opened(server: DimseServer, window: int) -> Association:
    return await connect(Peer("SAGITTAL", "127.0.0.1", server.port), "CLIENT", ALL, window=window)


async def storing(association: Association, number: int, size: int = 4) -> Response:
    return await association.store(CT, f"1.2.{number}", EXPLICIT_LE, bytes([number]) * size)


@pytest.mark.parametrize(("proposed", "operations_max", "agreed"), [
    (None, 3, None), ((0, 0), 3, (3, 1)), ((2, 5), 3, (2, 1)), ((3, 1), 3, (3, 1)), ((4, 1), 3, (3, 1)),
    ((1, 1), 3, (1, 1)),
])  # fmt: skip
async def test_what_is_agreed(
    proposed: tuple[int, int] | None, operations_max: int, agreed: tuple[int, int] | None
) -> None:
    async with serving(operations_max=operations_max) as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request(asynchronous=proposed)))
        assert (await raw.answer()).user.asynchronous == agreed
        raw.close()


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
async def test_operations_max(count: int) -> None:
    """As many as the limit run at once, as many more wait; then nothing is read."""
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store), operations_max=3) as server:
        raw = await Raw.open(server.port, associate=WIDE)
        raw.send(b"".join(store_request(b"%d" % each, each) for each in range(1, count + 1)))
        await until(lambda: len(store.requests) == count)
        (link,) = server.associations
        await until(lambda: bool(link.holds) == (count == 6))
        await until(lambda: store.finishing == min(count, 3))
        store.finish_gate.set_result(None)
        answers = [await raw.command() for _ in range(count)]
        assert [each["MessageIDBeingRespondedTo"] for each in answers] == list(range(1, count + 1))
        assert sorted(store.kept) == [b"%d" % each for each in range(1, count + 1)]
        await until(lambda: not link.holds)
        raw.close()


async def test_the_scu_keeps_the_window_full_and_no_more() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store), operations_max=4) as server, await opened(server, 16) as association:
        assert association.window == 4
        tasks = [asyncio.ensure_future(storing(association, number)) for number in range(1, 10)]
        await until(lambda: store.finishing == 4)
        assert len(store.requests) == 4
        store.finish_gate.set_result(None)
        assert [(await task).status for task in tasks] == [0] * 9
    assert sorted(store.kept) == [bytes([number]) * 4 for number in range(1, 10)]


@pytest.mark.parametrize(("window", "operations_max"), [(1, 8), (8, 1)])
async def test_without_a_window_one_follows_the_other(window: int, operations_max: int) -> None:
    store = Store()
    async with (
        serving(services(store), operations_max=operations_max) as server,
        await opened(server, window) as association,
    ):
        assert association.window == 1
        answers = await asyncio.gather(*(storing(association, number, 300_000) for number in range(1, 6)))
        assert [each.status for each in answers] == [0] * 5
    assert store.kept == [bytes([number]) * 300_000 for number in range(1, 6)]
    assert store.finishing_most == 1


@pytest.mark.parametrize("window", [0, 65536])
async def test_a_window_that_cannot_be(window: int) -> None:
    async with serving() as server:
        with pytest.raises(UsageError, match="window"):
            await opened(server, window)


async def test_responses_are_matched_by_message_id() -> None:
    """A peer that answers in the opposite order."""
    gates = {each: asyncio.get_running_loop().create_future() for each in ("1.2.1", "1.2.2", "1.2.3")}

    class Gated(Store):
        async def before_finish(self, request: Request) -> None:
            await gates[request.command["AffectedSOPInstanceUID"]]
            self.answer = Response(0, comment=request.command["AffectedSOPInstanceUID"])

    store = Gated()
    async with serving(services(store)) as server, await opened(server, 3) as association:
        tasks = [asyncio.ensure_future(storing(association, number)) for number in (1, 2, 3)]
        await until(lambda: len(store.requests) == 3)
        for number in (3, 1, 2):
            gates[f"1.2.{number}"].set_result(None)
            response = await tasks[number - 1]
            assert response.comment == response.extra["AffectedSOPInstanceUID"] == f"1.2.{number}"
    assert store.kept == [bytes([number]) * 4 for number in (3, 1, 2)]


async def test_a_cancel_ends_the_query_it_names_and_no_other() -> None:
    find = Endless()
    store = Store()
    async with serving(services(store, find=find), operations_max=3) as server:
        raw = await Raw.open(server.port, associate=WIDE)
        raw.send(message(3, FIND | {"MessageID": 10}, b"keys") + message(3, FIND | {"MessageID": 11}, b"keys"))
        await until(lambda: find.running == {10, 11})
        raw.send(message(3, {"CommandField": 0x0FFF, "MessageIDBeingRespondedTo": 10}))
        raw.send(store_request(b"in between", 12))
        finals: dict[int, int] = {}
        while len(finals) < 2:
            answer = await raw.command()
            if answer["Status"] != 0xFF00:
                finals[answer["MessageIDBeingRespondedTo"]] = answer["Status"]
        assert finals == {10: 0xFE00, 12: 0}
        assert find.running == {11}
        raw.send(message(3, {"CommandField": 0x0FFF, "MessageIDBeingRespondedTo": 11}))
        while (answer := await raw.command())["Status"] == 0xFF00:
            assert answer["MessageIDBeingRespondedTo"] == 11
        assert (answer["MessageIDBeingRespondedTo"], answer["Status"]) == (11, 0xFE00)
        raw.send(encode(ReleaseRQ()))
        assert await raw.answer() == ReleaseRP()
        raw.close()


async def test_the_client_cancels_queries_only() -> None:
    find, store = Endless(), Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store, find=find)) as server, await opened(server, 3) as association:
        storage = asyncio.ensure_future(storing(association, 1))
        await until(lambda: store.finishing == 1)
        rows = association.find(STUDY_FIND, b"keys")
        assert (await anext(rows)).status == 0xFF00
        await association.cancel()
        assert [row.status async for row in rows][-1] == 0xFE00
        store.finish_gate.set_result(None)
        assert (await storage).status == 0


async def test_an_operation_that_nobody_waits_for_any_more_still_takes_its_place() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server, await opened(server, 1) as association:
        storage = asyncio.ensure_future(storing(association, 1))
        await until(lambda: store.finishing == 1)
        storage.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storage
        echo = asyncio.ensure_future(association.echo())
        await asyncio.sleep(0)
        assert not echo.done() and len(store.requests) == 1
        store.finish_gate.set_result(None)
        assert await echo == 0


async def test_waiting_for_a_place_can_be_cancelled() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server, await opened(server, 1) as association:
        first, second, third = (asyncio.ensure_future(storing(association, number)) for number in (1, 2, 3))
        await until(lambda: store.finishing == 1)
        second.cancel()
        store.finish_gate.set_result(None)
        assert [(await task).status for task in (first, third)] == [0, 0]
        assert second.cancelled()
    assert store.kept == [b"\1" * 4, b"\3" * 4]


async def test_a_place_that_can_never_come_is_told() -> None:
    """A task that waits inside its own query would wait for ever."""
    async with serving(services(find=Endless())) as server, await opened(server, 1) as association:
        rows = association.find(STUDY_FIND, b"keys")
        await anext(rows)
        with pytest.raises(UsageError, match="1 operations at a time"):
            await association.echo()
        await rows.aclose()
        assert await association.echo() == 0


class Slow:
    """A retrieval whose one object stops in its middle until `gate`, and a query that counts the rows it has made."""

    def __init__(self, rows: int) -> None:
        self.gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rows, self.made = rows, 0

    async def _data(self) -> AsyncIterator[bytes]:
        yield bytes(100_000)
        await self.gate
        yield bytes(100_000)

    async def get(self, request: Request) -> AsyncIterator[Response]:
        await request.store(CT, "1.2.3", EXPLICIT_LE, self._data())
        yield Response(0)

    async def find(self, request: Request) -> AsyncIterator[Response]:
        for _ in range(self.rows):
            self.made += 1
            yield Response(0xFF00, bytes(10_000))
            notice()


async def test_a_query_waits_behind_a_data_set_that_goes_out() -> None:
    """Its rows can't be mixed into that; they are not gathered without end either."""
    contexts = [
        Proposal(STUDY_FIND, [EXPLICIT_LE]),
        Proposal(STUDY_GET, [EXPLICIT_LE]),
        Proposal(CT, [EXPLICIT_LE], "scp"),
    ]

    async def getting(association: Association, store: Store) -> int:
        return [each.status async for each in association.get(STUDY_GET, b"keys", store)][-1]

    async def finding(association: Association) -> int:
        return len([each async for each in association.find(STUDY_FIND, b"keys")])

    slow, store = Slow(400), Store()
    async with serving(services(find=slow.find, get=slow.get)) as server:
        peer = Peer("SAGITTAL", "127.0.0.1", server.port)
        async with await connect(peer, "CLIENT", contexts, window=2) as association:
            both = asyncio.gather(getting(association, store), finding(association))
            await until(lambda: slow.made > 50)
            for _ in range(200):
                await asyncio.sleep(0)
            assert slow.made < 150  # a megabyte or so
            slow.gate.set_result(None)
            assert await both == [0, slow.rows + 1]
    assert store.kept == [bytes(200_000)]


async def test_an_association_that_ends_ends_all_who_wait() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store), operations_max=2) as server:
        association = await opened(server, 2)
        tasks = [asyncio.ensure_future(storing(association, number)) for number in (1, 2, 3, 4)]
        await until(lambda: store.finishing == 2)
        for link in [*server.associations]:
            link.abort("test")
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [PeerError] * 4
        store.finish_gate.set_result(None)
        await association.release()
