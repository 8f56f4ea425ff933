"""Messages between the pool, its fork server and its workers: a length, JSON, and file descriptors alongside.

All of it travels on Unix stream sockets between our own processes, so nothing here guards against a peer; bulk data
never does: that is in the files whose descriptors go along. Deliberately not here: who asks whom.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Any

_LENGTH = Struct("<I")
FDS_MAX = 64  # descriptors with one message; Linux takes 253
_READ_BYTES = 1 << 16


def encode(message: dict[str, Any]) -> bytes:
    """A message ready to be sent."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send a message and duplicates of `fds`, on a blocking socket. OSError when the other end is gone."""
    data = encode(message)
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

    def take(self) -> tuple[dict[str, Any], list[int]] | None:
        """The message if it is complete, and its descriptors: one is under way at a time."""
        if len(self._bytes) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
        if len(self._bytes) < end:
            return None
        message: dict[str, Any] = json.loads(self._bytes[_LENGTH.size : end])
        del self._bytes[:end]
        fds, self.fds = self.fds, []
        return message, fds

    def close(self) -> None:
        """Give back descriptors that nobody took."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def receive(sock: socket.socket, incoming: Incoming) -> tuple[dict[str, Any], list[int]] | None:
    """The next message on a blocking socket; None when the other end is gone."""
    while (taken := incoming.take()) is None:
        if not incoming.read(sock):
            return None
    return taken


def memory_file(name: str) -> int:
    """A descriptor of a file that only lives in memory, or of one without a name where the system has no such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
