"""How associations are let in, and how the listener stops."""

from __future__ import annotations

import asyncio
import socket

import pytest
from loopback import (
    CT,
    EXPLICIT_LE,
    FIND,
    FINDING,
    STORING,
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

from sagittal.limits import NetLimits
from sagittal.net.admission import Accept, AssociateInfo, Reject
from sagittal.net.link import Link
from sagittal.net.server import DimseServer
from sagittal.net.watch import Watch
from sagittal.ul.codec import encode
from sagittal.ul.pdu import Abort, AssociateAC, AssociateRJ, ReleaseRP, ReleaseRQ, UserIdentity


async def test_admission_sees_who_asks_and_may_take_its_time() -> None:
    seen: list[AssociateInfo] = []

    async def admit(info: AssociateInfo) -> Accept | Reject:
        seen.append(info)
        await asyncio.sleep(0)
        return Reject(1, 1, 3, "unknown") if info.calling_aet != "RAW" else Accept("it", identity_response=b"hello")

    identity = UserIdentity(2, b"me", b"secret", True)
    async with serving(admit=admit) as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request(identity=identity)))
        answer = await raw.answer()
        assert isinstance(answer, AssociateAC) and answer.user.identity_response == b"hello"
        assert (seen[0].called_aet, seen[0].peer_address, seen[0].user_identity) == (
            "SAGITTAL",
            "127.0.0.1",
            identity,
        )
        raw.close()
        other = request()
        raw = await Raw.open(server.port)
        raw.send(encode(type(other)("SAGITTAL", "OTHER", other.contexts)))
        assert await raw.answer() == AssociateRJ(1, 1, 3)
        raw.close()


async def test_who_is_not_let_in_any_more_is_cut_off_in_the_middle() -> None:
    """Were it between two operations only, whoever asks on and on would stay."""
    standing, store, unhurried = True, Store(), {"receive_bytes_per_second_min": 0}
    async with serving(
        services(store), lambda info: Accept("it", stands=lambda: standing), progress_window_seconds=0.04, **unhurried
    ) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(store_request(bytes(1000))[:-10])
        await until(lambda: bool(store.requests))
        standing = False
        assert await raw.answer() == Abort(0, 0)
        assert store.aborted == 1
        raw.close()


async def test_a_failing_admission_rejects() -> None:
    def admit(info: AssociateInfo) -> Accept:
        raise ZeroDivisionError

    async with serving(admit=admit) as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request()))
        assert await raw.answer() == AssociateRJ(2, 1, 1)
        raw.close()


async def test_no_context_is_still_an_association() -> None:
    async with serving() as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request(("1.2.840.99", EXPLICIT_LE), (CT, "1.2.840.10008.1.2.4.94"), (VERIFICATION, "1.2.9"))))
        answer = await raw.answer()
        assert [each.result for each in answer.contexts] == [3, 4, 4]
        raw.send(encode(ReleaseRQ()))
        assert await raw.answer() == ReleaseRP()
        raw.close()


async def test_stop_lets_operations_end_and_aborts_the_idle() -> None:
    store = Store()
    store.finish_gate = asyncio.get_running_loop().create_future()
    async with serving(services(store)) as server:
        busy, idle, silent = [await Raw.open(server.port, associate=STORING) for _ in range(2)] + [
            await Raw.open(server.port)
        ]
        busy.send(store_request(b"abc"))
        await until(lambda: bool(store.requests))
        stopping = asyncio.ensure_future(server.stop(10))
        assert await idle.answer() == Abort(0, 0)
        assert await silent.ended()
        assert not stopping.done()
        store.finish_gate.set_result(None)
        assert (await busy.command())["Status"] == 0
        assert await busy.answer() == Abort(0, 0)
        await stopping
        assert server.connections == 0
        with pytest.raises(OSError):
            await Raw.open(server.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::"] if socket.has_dualstack_ipv6() else ["127.0.0.1"])
async def test_a_port_that_is_taken_is_told_by_its_number(host: str) -> None:
    async with serving() as server:
        another = DimseServer(services(), lambda info: Accept("somebody"), NetLimits(), "ANOTHER")
        with pytest.raises(OSError, match=rf"in use \(port {server.port}\)"):
            await another.start(host, server.port)


async def test_stop_does_not_wait_for_ever() -> None:
    find = Endless(True)
    server: DimseServer
    async with serving(services(find=find)) as server:
        raw = await Raw.open(server.port, associate=FINDING)
        raw.send(message(1, FIND, b"keys"))
        await raw.command()
        await server.stop(0.05)
        assert find.closed and server.connections == 0
        raw.close()


async def test_a_connection_that_cannot_be_looked_after_is_closed_and_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the first in each round the check raises; behind it are one that says nothing, and one at work."""
    stalled, doubtful, looks = Watch._stalled, set[Link](), list[float]()

    def fail(self: Watch, link: Link, now: float) -> bool:
        if link in doubtful:
            looks.append(now)
            raise ZeroDivisionError
        return stalled(self, link, now)

    monkeypatch.setattr(Watch, "_stalled", fail)
    async with serving(artim_seconds=0.2) as server:
        first = await Raw.open(server.port, associate=request())
        doubtful.update(server.associations)
        silent, working = await Raw.open(server.port), await Raw.open(server.port, associate=request())
        assert await first.ended() and await silent.ended()
        working.send(echo_request())
        assert (await working.command())["Status"] == 0
        for raw in (first, silent, working):
            raw.close()
    (said,) = [record for record in caplog.records if record.exc_info is not None]
    assert said.getMessage() == "looking after a connection failed" and len(looks) == 1


async def test_associations_max_holds_for_those_that_were_admitted_meanwhile() -> None:
    release, asking = asyncio.Event(), 0

    async def admit(info: AssociateInfo) -> Accept:
        nonlocal asking
        asking += 1
        await release.wait()
        return Accept("somebody")

    async with serving(admit=admit, associations_max=1) as server:
        opened = [await Raw.open(server.port) for _ in range(2)]
        for each in opened:
            each.send(encode(request()))
        async with asyncio.timeout(20):
            while asking < 2:
                await asyncio.sleep(0)
        release.set()
        answers = [await each.answer() for each in opened]
        assert [answer for answer in answers if isinstance(answer, AssociateRJ)] == [AssociateRJ(2, 3, 2)]
        for each in opened:
            each.close()
