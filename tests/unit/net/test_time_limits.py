"""Every limit of time on a connection, just before it, at it and beyond it, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from loopback import CT, EXPLICIT_LE, VERIFICATION, Raw, Store, request, services, serving, store_request

from sagittal.dimse.commands import C_GET_RQ, C_MOVE_RQ
from sagittal.dimse.service import AssociationInfo, Context
from sagittal.errors import PeerUnreachable
from sagittal.limits import NetLimits
from sagittal.net.client import Peer, connect
from sagittal.net.messages.invoking import Invoker
from sagittal.net.messages.sending import Sender
from sagittal.net.watch import Watch

LIMITS = NetLimits()


class Clockwork(asyncio.SelectorEventLoop):
    """Time passes only when nothing else is to be done, and then at once up to the next timer."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # asyncio offers no other way
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]  # as above
        super()._run_once()  # type: ignore[misc]  # as above


class Link:
    """As much of a link as the watch looks at, with an association between two operations."""

    def __init__(self) -> None:
        self.limits = LIMITS
        self.over = False
        self.holds = self.received_bytes = self.unsent = 0
        self.active_at = 0.0
        self.transport = SimpleNamespace(
            get_write_buffer_size=lambda: self.unsent, get_extra_info=lambda _: None, abort=lambda: None
        )
        self.machine = SimpleNamespace(deadline=None, state=6, established=True, inside_pdu=False, expired=self._expire)
        self.exchange = SimpleNamespace(inside=False)
        self.invoker = SimpleNamespace(awaited=False, waiting=False, patience=LIMITS.response_seconds_max)
        self.performer = SimpleNamespace(working=False)
        self.ended = ""

    def _expire(self, now: float) -> None:
        self.ended = "ARTIM"

    def settle(self) -> None:
        pass

    def stands(self) -> bool:
        return True

    def abort(self, text: str) -> None:
        self.ended = text

    drop = abort


@pytest.mark.parametrize("beyond", [-0.1, 0.0, 0.1])
class TestWatch:
    def look(self, link: Any, now: float, watch: Watch | None = None) -> None:
        (watch or Watch()).look(link, now)

    def test_idle_seconds_max(self, beyond: float) -> None:
        link = Link()
        self.look(link, LIMITS.idle_seconds_max + beyond)
        assert bool(link.ended) == (beyond > 0)

    def test_a_long_operation_is_not_idle(self, beyond: float) -> None:
        link = Link()
        link.performer.working = True
        self.look(link, LIMITS.idle_seconds_max + beyond)
        assert not link.ended

    def test_response_seconds_max(self, beyond: float) -> None:
        link = Link()
        link.invoker.awaited = link.invoker.waiting = True
        self.look(link, LIMITS.response_seconds_max + beyond)
        assert bool(link.ended) == (beyond > 0)

    def test_a_peer_has_so_long_from_when_it_has_taken_the_request(self, beyond: float) -> None:
        """The kernel holds megabytes: minutes, behind a slow line."""
        link, watch = Link(), Watch()
        link.invoker.awaited = link.invoker.waiting = True
        taken_at = 3 * LIMITS.response_seconds_max
        for now, link.unsent in ((0.0, 9), (taken_at / 2, 5), (taken_at, 0)):
            watch._stalled(link, now)  # type: ignore[arg-type]
        self.look(link, taken_at + LIMITS.response_seconds_max + beyond, watch)
        assert bool(link.ended) == (beyond > 0)

    def test_move_seconds_max(self, beyond: float) -> None:
        """Of C-MOVE; any other operation has its response by then, or never."""
        asyncio.run(self.wait_for(C_MOVE_RQ, LIMITS.move_seconds_max, beyond))
        asyncio.run(self.wait_for(C_GET_RQ, LIMITS.response_seconds_max, beyond))

    async def wait_for(self, field: int, seconds: float, beyond: float) -> None:
        link: Any = Link()
        link.loop, link.info = asyncio.get_running_loop(), AssociationInfo("A", "B", "", 0)
        link.write = lambda parts: None
        link.invoker = Invoker(link, Sender(link))
        call = await link.invoker.call(Context(1, CT, EXPLICIT_LE), {"CommandField": field})
        link.invoker.finished(call)  # nobody takes what comes, and it is outstanding
        begun = link.active_at = float(math.ceil(link.active_at))  # no fraction that adding could lose
        self.look(link, begun + seconds + beyond)
        assert bool(link.ended) == (beyond > 0)

    def test_artim_seconds(self, beyond: float) -> None:
        link = Link()
        link.machine.state, link.machine.deadline = 2, LIMITS.artim_seconds
        self.look(link, LIMITS.artim_seconds + beyond)
        assert bool(link.ended) == (beyond >= 0)

    def test_send_stall_seconds_max(self, beyond: float) -> None:
        link, watch = Link(), Watch()
        link.unsent = 5
        self.look(link, 0.0, watch)
        self.look(link, LIMITS.send_stall_seconds_max + beyond, watch)
        assert bool(link.ended) == (beyond > 0)

    def test_progress_window_seconds(self, beyond: float) -> None:
        link, watch = Link(), Watch()
        link.exchange.inside = True
        self.look(link, 0.0, watch)
        self.look(link, LIMITS.progress_window_seconds + beyond, watch)
        assert bool(link.ended) == (beyond >= 0)


async def test_what_is_slow_to_take_is_read_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read whose data costs the loop much makes the next ones small, until they are quick again."""
    async with serving(services(Store()), receive_buffer_bytes=1 << 18) as server:
        raw = await Raw.open(server.port, associate=request((CT, EXPLICIT_LE)))
        (link,) = server.associations
        clock = iter(())
        monkeypatch.setattr("sagittal.net.link.perf_counter", lambda: next(clock))
        monkeypatch.setattr(link.machine, "receive", lambda data, now: [])
        link._room = 1 << 18  # whatever the association request cost on this machine
        sizes = []
        for cost in (0.1, 0.02, 0.02, 0.004, 0.001, 0.001, *[0.0] * 8):
            clock = iter((0.0, cost))
            link.buffer_updated(len(link.get_buffer(-1)))
            sizes.append(len(link.get_buffer(-1)) >> 10)
        assert sizes == [32, 8, 8, 8, 16, 32, 64, 128, 256, 256, 256, 256, 256, 256]
        raw.close()


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_receive_bytes_per_second_min(more: int) -> None:
    link: Any = Link()
    watch = Watch()
    link.exchange.inside = True
    watch.look(link, 0.0)
    link.received_bytes = int(LIMITS.receive_bytes_per_second_min * LIMITS.progress_window_seconds) + more
    watch.look(link, LIMITS.progress_window_seconds)
    assert bool(link.ended) == (more < 0)


@pytest.mark.parametrize("beyond", [-0.1, 0.0, 0.1])
def test_connect_seconds_max(beyond: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is refused after so many seconds, by a clock that jumps from timer to timer."""

    async def refused(*arguments: object, **options: object) -> None:
        await asyncio.sleep(LIMITS.connect_seconds_max + beyond)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    async def test() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refused)
        told = "Connection refused" if beyond < 0 else "no connection within 10 s"
        with pytest.raises(PeerUnreachable, match=told):
            await connect(Peer("FAR", "192.0.2.1", 104), "CLIENT", [(VERIFICATION, [EXPLICIT_LE])], limits=LIMITS)

    with asyncio.Runner(loop_factory=Clockwork) as runner:
        runner.run(test())


async def test_a_listener_that_does_not_accept() -> None:
    """Its backlog is full: its kernel answers no further connection."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        peer = Peer("FULL", *full.getsockname())
        with pytest.raises(PeerUnreachable, match=r"no connection within 0\.05 s"):
            await connect(peer, "CLIENT", [(VERIFICATION, [EXPLICIT_LE])], limits=NetLimits(connect_seconds_max=0.05))
        for each in waiting:
            each.close()
    async with serving() as server:
        peer = Peer("SAGITTAL", "127.0.0.1", server.port)
        limits = NetLimits(connect_seconds_max=20)
        async with await connect(peer, "CLIENT", [(VERIFICATION, [EXPLICIT_LE])], limits=limits) as association:
            assert await association.echo() == 0


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_receive_buffer_bytes(more: int) -> None:
    """One read is never longer; what is longer comes in several."""
    store = Store()
    async with serving(services(store), receive_buffer_bytes=4096) as server:
        raw = await Raw.open(server.port, associate=request((CT, EXPLICIT_LE)))
        (link,) = server.associations
        assert len(link.get_buffer(-1)) == 4096
        data = bytes(4096 - (len(store_request(b"ab")) - 2) + more)
        whole = store_request(data)
        assert len(whole) == 4096 + more
        raw.send(whole)
        assert (await raw.command())["Status"] == 0
        assert store.kept == [data]
        raw.close()
