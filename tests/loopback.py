"""A DIMSE listener with trivial services in this process, and raw sockets to it: what the tests of net/ share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any
from unittest.mock import patch

import uvloop

from sagittal.dicom.syntaxes import EXPLICIT_LE as EXPLICIT_LE
from sagittal.dicom.syntaxes import IMPLICIT_LE as IMPLICIT_LE
from sagittal.dimse import commands
from sagittal.dimse.exchange import encode_part
from sagittal.dimse.service import Request, Response, Service, StoreSink
from sagittal.limits import NetLimits
from sagittal.net.acceptor import Acceptor
from sagittal.net.admission import Accept
from sagittal.net.server import DimseServer
from sagittal.ul.codec import decode, encode
from sagittal.ul.negotiation import storable
from sagittal.ul.pdu import AssociateRQ, ProposedContext, UserInformation

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
PRINTER = "1.2.840.10008.5.1.1.16"  # a class with N- services and an instance of its own


_waiting: list[asyncio.Future[None]] = []  # for something to happen


def notice() -> None:
    """Something happened: those who wait `until` something look again."""
    waiting = [*_waiting]
    _waiting.clear()
    for future in waiting:
        if not future.done():
            future.set_result(None)


class Noticed(Acceptor):
    """A connection whose every step is noticed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        notice()

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        notice()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        notice()

    def hold(self) -> None:
        super().hold()
        notice()

    def unhold(self) -> None:
        super().unhold()
        notice()

    def association_over(self) -> None:
        super().association_over()
        notice()

    def run(self, work: Any) -> asyncio.Task[None]:
        task = super().run(work)
        task.add_done_callback(lambda _: notice())
        notice()
        return task


class Sink:
    """Keeps what it is given; what it answers and when it is ready can be set."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store, self.request = store, request
        self.parts: list[bytes] = []

    def write(self, fragments: Sequence[memoryview], last: bool = False) -> None:
        if self.store.write_error is not None:
            raise self.store.write_error
        self.parts += [bytes(fragment) for fragment in fragments]

    def ready(self) -> Any:
        return self.store.gate

    async def finish(self) -> Response:
        self.store.finishing += 1
        notice()
        self.store.finishing_most = max(self.store.finishing_most, self.store.finishing)
        try:
            await self.store.before_finish(self.request)
        finally:
            self.store.finishing -= 1
        if self.store.finish_error is not None:
            raise self.store.finish_error
        self.store.kept.append(b"".join(self.parts))
        return self.store.answer

    def abort(self) -> None:
        self.store.aborted += 1
        notice()


class Store:
    """A store handler: every sink it made reports here."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.requests: list[Request] = []
        self.aborted = 0
        self.answer = Response(0)
        self.gate: Any = None
        self.finish_gate: asyncio.Future[None] | None = None
        self.write_error: Exception | None = None
        self.finish_error: Exception | None = None
        self.open_error: Exception | None = None
        self.finishing = self.finishing_most = 0  # data sets that are whole and not answered; how many at one time

    async def before_finish(self, request: Request) -> None:
        """What has to be waited for before the answer."""
        if self.finish_gate is not None:
            await self.finish_gate

    def __call__(self, request: Request) -> StoreSink:
        if self.open_error is not None:
            raise self.open_error
        self.requests.append(request)
        notice()
        return Sink(self, request)


class Endless:
    """Queries that only a cancel ends, told apart by their message IDs; a `rude` one doesn't look whether it came."""

    def __init__(self, rude: bool = False) -> None:
        self.rude, self.closed, self.identifier = rude, False, b""
        self.running: set[int] = set()

    async def __call__(self, request: Request) -> AsyncIterator[Response]:
        self.identifier = request.identifier or b""
        self.running.add(request.message_id)
        notice()
        try:
            while self.rude or not request.cancelled:
                yield Response(0xFF00, extra={"NumberOfRemainingSuboperations": 4})
                await asyncio.sleep(0)
            yield Response(0xFE00, comment="as you wish")
        finally:
            self.running.discard(request.message_id)
            self.closed = True
            notice()


async def echo(request: Request) -> AsyncIterator[Response]:
    yield Response(0)


def services(store: Store | None = None, **handlers: Any) -> list[Service]:
    """Verification, storage of everything, and the handlers given as find= and get=."""
    listed = [Service("Verification", frozenset({VERIFICATION}), {0x0030: echo})]
    if "find" in handlers:
        listed.append(Service("Find", frozenset({STUDY_FIND}), {0x0020: handlers["find"]}))
    if "get" in handlers:
        listed.append(Service("Get", frozenset({STUDY_GET}), {0x0010: handlers["get"]}))
    stores = frozenset({CT, "1.2.3.4"})
    listed.append(Service("Storage", stores, store=store or Store(), scu=True, syntaxes=storable))
    return listed


def n_service(handlers: Mapping[int, Any]) -> Service:
    """N- services of one class in both roles, by command field."""
    return Service("Printer", frozenset({PRINTER}), handlers, scu=True)


@asynccontextmanager
async def serving(
    listed: Sequence[Service] | None = None,
    admit: Callable[..., Any] = lambda info: Accept("somebody"),
    tls: Any = None,
    **limits: Any,
) -> AsyncIterator[DimseServer]:  # fmt: skip
    """A listener on a free port of loopback; `tls` is a context, or gives one for each connection."""
    secured = (lambda: tls) if isinstance(tls, SSLContext) else tls
    server = DimseServer(services() if listed is None else listed, admit, NetLimits(**limits), "SAGITTAL", secured)
    with patch("sagittal.net.server.Acceptor", Noticed):
        await server.start("127.0.0.1", 0)
        try:
            yield server
        finally:
            await server.stop(0)


FIND = {"AffectedSOPClassUID": STUDY_FIND, "CommandField": 0x0020, "MessageID": 7, "Priority": 0}
CANCEL = {"CommandField": 0x0FFF, "MessageIDBeingRespondedTo": 7}


def request(*contexts: tuple[str, str], pdu_bytes_max: int = 16384, **user: Any) -> AssociateRQ:
    """An A-ASSOCIATE-RQ for these abstract and transfer syntaxes; Verification if there are none."""
    pairs = contexts or ((VERIFICATION, IMPLICIT_LE),)
    proposed = tuple(ProposedContext(2 * i + 1, abstract, (syntax,)) for i, (abstract, syntax) in enumerate(pairs))
    return AssociateRQ("SAGITTAL", "RAW", proposed, UserInformation(pdu_bytes_max, "1.2.3", **user))


STORING = request((CT, EXPLICIT_LE))
FINDING = request((STUDY_FIND, EXPLICIT_LE))


def message(context_id: int, command: dict[str, Any], data: bytes | None = None, limit: int = 16378) -> bytes:
    """A message in P-DATA-TF PDUs."""
    command = {"CommandDataSetType": 0x0101 if data is None else 1, **command}
    parts = [*encode_part(context_id, commands.encode(command), limit, command=True)]
    if data is not None:
        parts += encode_part(context_id, data, limit, command=False)
    return b"".join(bytes(part) for part in parts)


def echo_request(message_id: int = 1) -> bytes:
    return message(1, {"AffectedSOPClassUID": VERIFICATION, "CommandField": 0x0030, "MessageID": message_id})


def store_request(data: bytes, message_id: int = 1, limit: int = 16378, sop_class: str = CT) -> bytes:
    command = {"AffectedSOPClassUID": sop_class, "CommandField": 1, "MessageID": message_id, "Priority": 0,
               "AffectedSOPInstanceUID": "1.2.3.4.5"}  # fmt: skip
    return message(1, command, data, limit)


class Raw:
    """A plain connection that can also say what no decent peer would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, *, associate: AssociateRQ | None = None) -> Raw:
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        raw.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if associate is not None:
            raw.send(encode(associate))
            answer = await raw.pdu()
            assert answer[0] == 2, answer
        return raw

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def pdu(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; (0, b"") at the end of the connection."""
        try:
            head = await asyncio.wait_for(self.reader.readexactly(6), 20)
            return head[0], await self.reader.readexactly(int.from_bytes(head[2:], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""

    async def answer(self) -> Any:
        """The next PDU of the association phase, decoded."""
        return decode(*await self.pdu())

    async def command(self) -> dict[str, Any]:
        """The next message's command set (in one PDU); what isn't one fails."""
        kind, body = await self.pdu()
        assert kind == 4 and body[5] == 3, (kind, body[:20])
        return commands.decode(body[6:])

    async def ended(self) -> bool:
        """Wait for the end of the connection, PDUs before it dropped."""
        while (await self.pdu())[0]:
            pass
        return True

    def close(self) -> None:
        self.writer.transport.abort()


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
loop = "asyncio"  # set by a fixture of tests/unit/net


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on the event loop that is its turn, for 60 seconds at most."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once `condition` holds, which is looked at whenever something happened; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            _waiting.append(asyncio.get_running_loop().create_future())
            await _waiting[-1]
