"""Raw HTTP/1.1 over a socket: requests framed beforehand, bodies counted or kept. Loopback and polite servers only."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from bench.dimse import connect, send_all
from bench.objects import Item

BOUNDARY = "bench-boundary"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    size: int
    body: bytes


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock: socket.socket = connect(port)
        self.buffer = bytearray(1 << 20)
        self.start = self.end = 0

    def get(self, path: str, accept: str, keep: bool = False) -> Answer:
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: {accept}\r\n\r\n".encode())
        return self.answer(keep)

    def post(self, buffers: list[bytes | memoryview]) -> Answer:
        send_all(self.sock, buffers)
        return self.answer(keep=False)

    def answer(self, keep: bool) -> Answer:
        status, _, rest = self._until(b"\r\n\r\n").decode("latin-1").partition("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest.split("\r\n"))
        }
        kept: list[bytes] | None = [] if keep else None
        if "content-length" in headers:
            size = int(headers["content-length"])
            self._take(size, kept)
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            size = 0
            while length := int(self._until(b"\r\n").partition(b";")[0], 16):
                self._take(length, kept)
                self._take(2, None)
                size += length
            self._until(b"\r\n")
        else:
            size = self._to_the_end(kept)
        return Answer(int(status.split()[1]), headers, size, b"".join(kept or []))

    def _fill(self) -> int:
        if self.start == self.end:
            self.start = self.end = 0
        elif self.end == len(self.buffer):
            self.buffer[: self.end - self.start] = self.buffer[self.start : self.end]
            self.start, self.end = 0, self.end - self.start
        count = self.sock.recv_into(memoryview(self.buffer)[self.end :])
        self.end += count
        return count

    def _until(self, mark: bytes) -> bytes:
        while (found := self.buffer.find(mark, self.start, self.end)) < 0:
            if not self._fill():
                raise ConnectionError("the server closed the connection")
        line = bytes(self.buffer[self.start : found])
        self.start = found + len(mark)
        return line

    def _take(self, size: int, kept: list[bytes] | None) -> None:
        while size:
            if self.start == self.end and not self._fill():
                raise ConnectionError("the server closed the connection inside a body")
            count = min(size, self.end - self.start)
            if kept is not None:
                kept.append(bytes(self.buffer[self.start : self.start + count]))
            self.start += count
            size -= count

    def _to_the_end(self, kept: list[bytes] | None) -> int:
        size = 0
        while self.start < self.end or self._fill():
            count = self.end - self.start
            self._take(count, kept)
            size += count
        return size


def frame_stow(item: Item, port: int) -> list[bytes | memoryview]:
    """A STOW-RS request of one instance as buffers for sendmsg."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + item.part10_head() + item.header
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    request = f"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/dicom+json\r\n"
    request += f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n'
    request += f"Content-Length: {len(head) + len(item.pixels) + len(tail)}\r\n\r\n"
    return [request.encode() + head, item.pixels, tail]
