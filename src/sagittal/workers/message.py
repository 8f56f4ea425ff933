"""Messages between the pool, its fork server and its workers: two lengths, JSON, a few bytes, and file descriptors
alongside.

All of it travels on Unix stream sockets between our own processes; only what a decoder that has lost its way may write
there is guarded against. Bulk data never does: that is in the files whose descriptors go along. Up to
`INLINE_BYTES_MAX` a file would cost more than the copies. Deliberately not here: who asks whom.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

_LENGTHS = Struct("<II")  # of the JSON, of the bytes behind it
INLINE_BYTES_MAX = 1 << 17  # goes into the buffer of a socket whole
FDS_MAX = 64  # descriptors with one message; Linux takes 253
_READ_BYTES = 1 << 16
_TOLD_BYTES_MAX = 1 << 28  # of JSON; four letters read as a length are more


class Garbled(ValueError):
    """What came is no message."""


class Message(NamedTuple):
    """What came; whoever takes it owns the descriptors."""

    told: dict[str, Any]
    data: bytes
    fds: list[int]


def encode(told: dict[str, Any], data: bytes | memoryview = b"") -> bytes:
    """A message ready to be sent."""
    body = json.dumps(told).encode()
    return b"".join((_LENGTHS.pack(len(body), len(data)), body, data))


def send(sock: socket.socket, told: dict[str, Any], fds: Sequence[int] = (), data: bytes | memoryview = b"") -> None:
    """Send a message and duplicates of `fds`, on a blocking socket. OSError when the other end is gone."""
    data = encode(told, data)
    sent = socket.send_fds(sock, [data], list(fds)) if fds else sock.send(data)
    if sent < len(data):
        sock.sendall(data[sent:])


class Incoming:
    """Puts messages together from what a socket gives."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.fds: list[int] = []  # of the message being received; whoever takes it owns them

    def read(self, sock: socket.socket) -> bool:
        """Read once; False at the end of the stream. BlockingIOError on a socket that does not block."""
        data, fds, _, _ = socket.recv_fds(sock, _READ_BYTES, FDS_MAX)
        self.fds += fds
        self._bytes += data
        return bool(data)

    def add(self, data: bytes) -> None:
        """Bytes that were read elsewhere, without descriptors."""
        self._bytes += data

    def take(self) -> Message | None:
        """The message if it is complete, and its descriptors: one is under way at a time. Garbled."""
        if len(self._bytes) < _LENGTHS.size:
            return None
        told, data = _LENGTHS.unpack_from(self._bytes)
        if told > _TOLD_BYTES_MAX or data > _TOLD_BYTES_MAX:
            raise Garbled
        middle, end = _LENGTHS.size + told, _LENGTHS.size + told + data
        if len(self._bytes) < end:
            return None
        try:
            taken = Message(json.loads(self._bytes[_LENGTHS.size : middle]), bytes(self._bytes[middle:end]), self.fds)
        except ValueError:
            raise Garbled from None
        del self._bytes[:end]
        self.fds = []
        return taken

    def close(self) -> None:
        """Give back descriptors that nobody took."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def receive(sock: socket.socket, incoming: Incoming) -> Message | None:
    """The next message on a blocking socket; None when the other end is gone."""
    while (taken := incoming.take()) is None:
        try:
            alive = incoming.read(sock)
        except ConnectionResetError:  # in place of the end: not all that we sent was read (unix(7))
            alive = False
        if not alive:
            return None
    return taken


def memory_file(name: str) -> int:
    """A descriptor of a file that only lives in memory, or of one without a name where the system has no such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_whole(fd: int, data: bytes | memoryview) -> None:
    """Write all of it, however little a call takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
