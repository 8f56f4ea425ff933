"""What a peer has not taken yet, where the kernel holds most of it."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest

from sagittal.limits import NetLimits
from sagittal.net.unsent import unsent, untaken
from sagittal.net.watch import Watch

SOON = 20.0
TAKEN = 50_000  # far less than the kernel wants to have gone before it asks for more


@pytest.mark.parametrize("taken", [0, TAKEN])
def test_a_peer_that_takes_little_is_not_one_that_takes_nothing(taken: int) -> None:
    async def act() -> bool:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
        server = await asyncio.start_server(lambda _, writer: opened.set_result(writer), "127.0.0.1", 0)
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        await loop.sock_connect(peer, server.sockets[0].getsockname())
        writer = await opened
        transport = writer.transport
        transport.write(bytes(1 << 16))  # more than the peer takes, less than the kernel does
        assert unsent(transport) == 0 < untaken(transport)
        transport.write(bytes(16 << 20))
        held = -1
        while held != (held := transport.get_write_buffer_size()):
            await asyncio.sleep(0)
        assert 0 < held < unsent(transport)
        link, watch = SimpleNamespace(transport=transport, limits=NetLimits()), Watch()
        watch._stalled(link, 0.0)  # type: ignore[arg-type]
        before, got = unsent(transport), 0
        while got < taken:
            got += len(await loop.sock_recv(peer, 4096))
        while taken and unsent(transport) > before - taken // 2:
            await asyncio.sleep(0)
        stalled = watch._stalled(link, NetLimits().send_stall_seconds_max + 1.0)  # type: ignore[arg-type]
        peer.close()
        transport.abort()
        server.close()
        return stalled

    assert asyncio.run(asyncio.wait_for(act(), SOON)) == (taken == 0)


def test_a_closed_socket_has_no_kernel_behind_it() -> None:
    with socket.socket() as gone:
        pass
    transport = SimpleNamespace(get_write_buffer_size=lambda: 5, get_extra_info=lambda _: gone)
    assert unsent(transport) == 5  # type: ignore[arg-type]
