"""One peer that never becomes an association, or a request: what it may cost at most, though it sends all it may."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from abuse.conftest import Watch, echo
from wire import VERIFICATION, associate_rq, memory

from sagittal.limits import NetLimits, WebLimits

PEER_BYTES_MAX = 8 << 20  # over idle, for a peer without association
_BYTE_BY_BYTE = 4_000  # of what is sent; the rest in pieces of a few bytes
_PIECE_BYTES = 16


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _association_of(length: int) -> bytes:
    """An A-ASSOCIATE-RQ whose PDU has this length, full of transfer syntaxes as short as can be."""
    most = (length - 300) // 132
    contexts = [(VERIFICATION, ["1.2"] * ((most - 30) // 7)) for _ in range(126)]
    short = length + 6 - len(associate_rq(contexts))
    rest = b"".join(_item(0x55, b"") for _ in range(short // 4 - 1))
    rest += _item(0x55, bytes(short - len(rest) - 4))
    made = associate_rq(contexts, more_user_items=rest)
    assert struct.unpack_from(">I", made, 2) == (length,) and len(made) == length + 6
    return made


def _head_of(length: int, line: bytes) -> bytes:
    begin = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    return (begin + line * (length // len(line) + 1))[:length]


ASSOCIATE_MAX = NetLimits().associate_pdu_bytes_max
HEAD_MAX = WebLimits().request_line_and_headers_bytes_max
HEADS = {"one header": b"X-Slow: " + b"a" * HEAD_MAX, "many headers": b"a:b\r\n", "many empty": b"a:\r\n"}


def _dribbles(address: tuple[str, int], octets: bytes, watch: Watch) -> int:
    """Send all but the last byte, and no more; the most that the server held over idle meanwhile."""
    with socket.create_connection(address, timeout=10) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(_BYTE_BY_BYTE):
            one.sendall(octets[at : at + 1])
        for at in range(_BYTE_BY_BYTE, len(octets) - 1, _PIECE_BYTES):
            one.sendall(octets[at : min(at + _PIECE_BYTES, len(octets) - 1)])
        _until_read(one)
        echo(watch.served)  # answered after what was read last
        one.setblocking(False)
        with pytest.raises(BlockingIOError):  # it waits for the rest
            one.recv(1)
        return memory(watch.served.process.pid)["VmHWM"] - watch.idle_bytes


def _until_read(one: socket.socket) -> None:
    """Until the other end, on this machine, has taken all that was sent (proc(5): the queues of /proc/net/tcp)."""
    ends = [_end(address) for address in (one.getpeername(), one.getsockname())]
    until = time.monotonic() + 20
    while time.monotonic() < until:
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        waiting = {line[4].partition(":")[2] for line in lines if line[1:3] == ends}  # a line may come twice
        if waiting and all(int(octets, 16) == 0 for octets in waiting):
            return
    raise AssertionError("it has not read what was sent to it")


def _end(address: tuple[str, int]) -> str:
    """As proc(5) writes it: the address's bytes as one number of this machine, in hexadecimal."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"


def test_an_association_that_is_asked_for_byte_by_byte(watch: Watch) -> None:
    address = watch.served.host, watch.served.port
    grown = _dribbles(address, _association_of(ASSOCIATE_MAX), watch)
    assert grown <= PEER_BYTES_MAX, f"grew by {grown / 1048576:.1f} MiB"


@pytest.mark.parametrize("line", HEADS.values(), ids=HEADS)
def test_a_request_head_that_comes_byte_by_byte(watch: Watch, line: bytes) -> None:
    asked = urlsplit(watch.served.http)
    address = asked.hostname or "", asked.port or 0
    grown = _dribbles(address, _head_of(HEAD_MAX, line), watch)
    assert grown <= PEER_BYTES_MAX, f"grew by {grown / 1048576:.1f} MiB"
