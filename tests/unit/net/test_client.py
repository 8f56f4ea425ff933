"""The requestor against our own listener: verbs, cancelling, refusals, endings."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from loopback import CT, EXPLICIT_LE, STUDY_FIND, STUDY_GET, VERIFICATION, Endless, Store, services, serving, until

from sagittal.dimse.service import FileRegion, NoContext, Request, Response
from sagittal.errors import DamagedObject, PeerError, PeerRefused, PeerUnreachable, UsageError
from sagittal.limits import NetLimits
from sagittal.net.admission import AssociateInfo, Reject
from sagittal.net.client import Association, Peer, Proposal, connect
from sagittal.net.messages.sending import BATCH_BYTES
from sagittal.net.server import DimseServer
from sagittal.ul import negotiation

ALL = [(VERIFICATION, [EXPLICIT_LE]), (CT, [EXPLICIT_LE]), (STUDY_FIND, [EXPLICIT_LE])]


async def opened(server: DimseServer, contexts: list[tuple[str, list[str]]] = ALL, **limits: float) -> Association:
    peer = Peer("SAGITTAL", "127.0.0.1", server.port)
    return await connect(peer, "CLIENT", contexts, limits=NetLimits(**limits))  # type: ignore[arg-type]


async def many(request: Request) -> AsyncIterator[Response]:
    for number in range(300):
        yield Response(0xFF00, b"%d" % number)
        await asyncio.sleep(0)


async def test_echo_store_find() -> None:
    store = Store()
    store.answer = Response(0xB000, comment="kept the first", extra={"OffendingElement": [0x00100020]})
    async with serving(services(store, find=many)) as server:
        async with await opened(server) as association:
            assert await association.echo() == 0
            answer = await association.store(CT, "1.2.3", EXPLICIT_LE, b"data")
            assert (answer.status, answer.comment) == (0xB000, "kept the first")
            assert answer.extra["OffendingElement"] == [0x00100020]
            rows = [row async for row in association.find(STUDY_FIND, b"keys")]
            assert [row.data_set for row in rows[:-1]] == [b"%d" % number for number in range(300)]
            assert rows[-1].status == 0
        await until(lambda: server.connections == 0)
        assert association.over


async def pieces(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("pdu", [256, 16384, 1 << 18])
@pytest.mark.parametrize("kind", ["bytes", "region", "mixed", "async", "tiny", "empty"])
async def test_every_kind_of_source_arrives_whole(kind: str, pdu: int, tmp_path: Path) -> None:
    data = os.urandom(1_300_001 if pdu > 256 else 70_001)
    path = tmp_path / "object"
    path.write_bytes(b"head" + data)
    with path.open("rb") as file:
        region = FileRegion(file.fileno(), 4, len(data))
        tail = FileRegion(file.fileno(), 4 + 100, len(data) - 100)
        source = {
            "bytes": data, "region": region, "mixed": [data[:100], tail], "async": pieces([data[:9], data[9:]]),
            "tiny": [data[i : i + 7] for i in range(0, len(data), 7)], "empty": [],
        }[kind]  # fmt: skip
        store = Store()
        async with (
            serving(services(store), pdu_receive_bytes_max=pdu) as server,
            await opened(server) as association,
        ):
            answer = await association.store(CT, "1.2.3", EXPLICIT_LE, source)  # type: ignore[arg-type]
            assert answer.status == 0
            assert await association.echo() == 0
        assert store.kept == [b"" if kind == "empty" else data]


async def test_a_short_file_aborts(tmp_path: Path) -> None:
    store = Store()
    (tmp_path / "short").write_bytes(bytes(BATCH_BYTES))
    with (tmp_path / "short").open("rb") as file:
        async with serving(services(store)) as server:
            async with await opened(server) as association:
                with pytest.raises(DamagedObject):
                    await association.store(CT, "1.2", EXPLICIT_LE, FileRegion(file.fileno(), 0, 1 << 24))
                assert association.over
            await until(lambda: store.aborted == 1)


async def test_what_cannot_be_read_at_all_costs_no_association(tmp_path: Path) -> None:
    store, folder = Store(), os.open(tmp_path, os.O_RDONLY)
    async with serving(services(store)) as server, await opened(server) as association:
        for source in (FileRegion(folder, 0, 1000), (b"%d" % (1 // n) for n in (0,))):
            with pytest.raises((OSError, ZeroDivisionError)):
                await association.store(CT, "1.2", EXPLICIT_LE, source)
            assert await association.echo() == 0
        assert not store.requests
    os.close(folder)


@pytest.mark.parametrize("by", ["close", "cancel"])
async def test_cancel(by: str) -> None:
    async with serving(services(find=Endless())) as server, await opened(server) as association:
        statuses = []
        async with aclosing(association.find(STUDY_FIND, b"keys")) as rows:  # type: ignore[type-var]
            async for row in rows:
                statuses.append(row.status)
                if len(statuses) == 5:
                    if by == "close":
                        break
                    await association.cancel()
        assert statuses[-1] == (0xFF00 if by == "close" else 0xFE00)
        assert await association.echo() == 0


@pytest.mark.parametrize("answered", [True, False])
async def test_get_takes_what_the_peer_sends_meanwhile(answered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And if it never said that it takes our role (PS3.7 D.3.3.4): it sends all the same."""
    if not answered:
        accept = negotiation.acceptance
        monkeypatch.setattr(negotiation, "acceptance", lambda asked, found, _, **more: accept(asked, found, (), **more))

    async def get(request: Request) -> AsyncIterator[Response]:
        for number in range(3):
            answer = await request.store(CT, f"1.2.{number}", EXPLICIT_LE, b"%d" % number * 100_000)
            assert answer.status == 0
            yield Response(0xFF00, extra={"NumberOfRemainingSuboperations": 2 - number})
        yield Response(0, extra={"NumberOfCompletedSuboperations": 3})

    contexts = [Proposal(STUDY_GET, [EXPLICIT_LE]), Proposal(CT, [EXPLICIT_LE], "scp")]
    mine = Store()
    async with serving(services(get=get)) as server, await opened(server, contexts) as association:  # type: ignore[arg-type]
        answers = [each async for each in association.get(STUDY_GET, b"keys", mine)]
        assert [each.status for each in answers] == [0xFF00] * 3 + [0]
        assert answers[-1].extra["NumberOfCompletedSuboperations"] == 3
        if answered:
            with pytest.raises(NoContext):
                association.context(CT)
    assert mine.kept == [b"0" * 100_000, b"1" * 100_000, b"2" * 100_000]
    assert mine.requests[1].command["AffectedSOPInstanceUID"] == "1.2.1"


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize(("failed", "room"), [(0, 0), (4, 260), (20, 1000), (0xFFFF, 1000)])
async def test_failed_list_bytes_max(failed: int, room: int, more: int) -> None:
    """As long as what is told of has failed: the list of a large study has megabytes. 65,535 may be any number."""

    async def get(_: Request) -> AsyncIterator[Response]:
        yield Response(0xA702, bytes(100 + room + more), extra={"NumberOfFailedSuboperations": failed})

    limits = {"identifier_bytes_max": 100, "failed_list_bytes_max": 1000}
    contexts = [(STUDY_GET, [EXPLICIT_LE])]
    async with serving(services(get=get)) as server, await opened(server, contexts, **limits) as association:
        if more > 0:
            with pytest.raises(PeerError, match=f"more than {100 + room} bytes"):
                assert [each async for each in association.get(STUDY_GET, b"keys", Store())]
        else:
            (answer,) = [each async for each in association.get(STUDY_GET, b"keys", Store())]
            assert len(answer.data_set or b"") == 100 + room + more


async def test_no_context() -> None:
    async with serving() as server, await opened(server, [(VERIFICATION, [EXPLICIT_LE])]) as association:
        with pytest.raises(NoContext, match=r"accepted no context for 1\.2\.840"):
            await association.store(CT, "1.2.3", EXPLICIT_LE, b"data")


async def test_refusals_and_absences_say_why() -> None:
    def admit(info: AssociateInfo) -> Reject:
        return Reject(1, 1, 7)

    async with serving(admit=admit) as server:
        with pytest.raises(PeerRefused, match=r"called AE title not recognized \(1/1/7\)"):
            await opened(server)
    with pytest.raises(PeerUnreachable, match="refused"):
        await opened(server)
    with pytest.raises(PeerUnreachable, match="no such host"):
        await connect(Peer("SAGITTAL", "a..b", 104), "CLIENT", ALL)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        await opened(server, [])
    with pytest.raises(UsageError):
        await opened(server, [(CT, [EXPLICIT_LE])] * 129)


async def test_a_peer_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        peer = Peer("X", "127.0.0.1", mute.getsockname()[1])
        with pytest.raises(PeerUnreachable, match="no answer"):
            await connect(peer, "CLIENT", ALL, limits=NetLimits(artim_seconds=0.05))


async def test_a_peer_that_speaks_something_else() -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    peer = Peer("X", "127.0.0.1", server.sockets[0].getsockname()[1])
    with pytest.raises(PeerRefused, match="not DICOM"):
        await connect(peer, "CLIENT", ALL)
    server.close()


class Gone:
    """A transport whose peer has reset the connection, which the loop has not seen."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


async def test_an_abort_of_what_has_gone() -> None:
    async with serving() as server:
        association = await opened(server, [(VERIFICATION, [EXPLICIT_LE])])
        link: Any = association._link
        link.transport = Gone(link.transport)
        association.abort()
        assert association.over


async def test_an_operation_without_an_answer_gives_up() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server:
        association = await opened(server, response_seconds_max=0.05)
        with pytest.raises(PeerError, match="no response within"):
            await association.store(CT, "1.2.3", EXPLICIT_LE, b"data")
        assert association.over
        await association.release()
        store.finish_gate.set_result(None)


async def test_a_peer_that_goes_on_after_a_cancel_is_given_up() -> None:
    async def deaf(request: Request) -> AsyncIterator[Response]:
        yield Response(0xFF00, b"one")
        while True:  # until the association is over
            request.tell(Response(0xFF00, b"another"))
            await asyncio.sleep(0)

    async with serving(services(find=deaf)) as server:
        association = await opened(server, response_seconds_max=0.05)
        async with aclosing(association.find(STUDY_FIND, b"keys")) as rows:  # type: ignore[type-var]
            await anext(rows)
        assert association.over
        await association.release()


async def test_a_peer_that_leaves_inside_an_operation() -> None:
    async def leave(request: Request) -> AsyncIterator[Response]:
        yield Response(0xFF00)
        for link in [*holder[0].associations]:
            link.drop("test")
        await asyncio.get_running_loop().create_future()  # until the association is over

    holder: list[DimseServer] = []
    async with serving(services(find=leave)) as server:
        holder.append(server)
        async with await opened(server) as association:
            with pytest.raises(PeerError, match="association ended"):
                async for _ in association.find(STUDY_FIND, b"keys"):
                    pass
        with pytest.raises(PeerError):
            await association.echo()
