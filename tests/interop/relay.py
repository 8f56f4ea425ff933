"""A relay between an SCU and an SCP that keeps the data sets the SCU sends, byte for byte, by SOP Instance UID.

It reads just enough of PS3.8 9.3 and PS3.7 6.3 by itself, since the code under test may not be the judge of what it
received.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_P_DATA_TF = 4
_AFFECTED_SOP_INSTANCE_UID = b"\x00\x00\x00\x10"


class Relay:
    """Listens on a free port of loopback; `sent` is complete when the SCU has ended."""

    def __init__(self, host: str, port: int) -> None:
        self.sent: dict[str, bytes] = {}
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # to close it alone would let the thread wait for ever
        self._thread.join()
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(near, far, _Messages(self.sent)), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, None), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, to: socket.socket, messages: _Messages | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if messages is not None:  # before it goes on, so that nothing is answered that isn't in `sent`
                    messages.feed(data)
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)


class _Messages:
    """The messages of one direction of one association."""

    def __init__(self, sent: dict[str, bytes]) -> None:
        self._sent = sent
        self._buffer = bytearray()
        self._command, self._data_set = bytearray(), bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 6:
            kind, length = struct.unpack_from(">BxI", self._buffer)
            if len(self._buffer) < 6 + length:
                return
            if kind == _P_DATA_TF:
                for header, value in _values(bytes(self._buffer[6 : 6 + length])):
                    self._value(header, value)
            del self._buffer[: 6 + length]

    def _value(self, header: int, value: bytes) -> None:
        if header & 1:  # PS3.8 E.2: a fragment of a command
            self._command += value
            return
        self._data_set += value
        if header & 2:  # the last one
            self._sent[_instance(bytes(self._command))] = bytes(self._data_set)
            self._command.clear()
            self._data_set.clear()


def _values(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(body):
        length, header = struct.unpack_from(">IxB", body, at)
        yield header, body[at + 6 : at + 4 + length]
        at += 4 + length


def _instance(command: bytes) -> str:
    at = 0
    while at < len(command):
        length = int.from_bytes(command[at + 4 : at + 8], "little")
        if command[at : at + 4] == _AFFECTED_SOP_INSTANCE_UID:
            return command[at + 8 : at + 8 + length].decode().rstrip("\0")
        at += 8 + length
    return ""
