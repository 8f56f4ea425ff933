"""Raw DIMSE over a socket: just enough of PS3.7 and PS3.8 to load and question an archive without a library's own cost.

Everything that can be framed is framed before the clock starts. Not a toolkit: peers are trusted, errors end the run.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.objects import EXPLICIT_LE, IMPLEMENTATION, padded

IMPLICIT_LE = "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
PDU_MAX = 131_072
STORE_RQ, GET_RQ, FIND_RQ, MOVE_RQ, ECHO_RQ, RESPONSE = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x8000
PENDING = (0xFF00, 0xFF01)
SECONDS_MAX = 60.0  # an archive that answers nothing for so long has failed


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _user_information(roles: list[str]) -> bytes:
    items = _item(0x51, struct.pack(">I", PDU_MAX)) + _item(0x52, IMPLEMENTATION.encode())
    for sop_class in roles:  # we also take the SCP role (C-GET)
        items += _item(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode() + b"\0\1")
    return _item(0x50, items)


def associate_rq(called: str, calling: str, contexts: list[tuple[int, str]], roles: list[str]) -> bytes:
    body = struct.pack(">HH16s16s32x", 1, 0, called.encode().ljust(16), calling.encode().ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract in contexts:
        syntaxes = _item(0x40, IMPLICIT_LE.encode())
        if abstract not in (FIND, MOVE, GET):  # our identifiers are implicit VR
            syntaxes = _item(0x40, EXPLICIT_LE.encode()) + syntaxes
        body += _item(0x20, struct.pack(">BBBB", number, 0, 0, 0) + _item(0x30, abstract.encode()) + syntaxes)
    body += _user_information(roles)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def _items(body: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(body):
        kind, _, length = struct.unpack_from(">BBH", body, place)
        yield kind, body[place + 4 : place + 4 + length]
        place += 4 + length


def command(sop_class: str, code: int, message: int, **values: int | str) -> bytes:
    """A command set in implicit VR little endian, group length first."""
    data_set = 0x0101 if values.pop("empty", 0) else 0x0102
    elements: list[tuple[int, bytes]] = [(0x0002, padded(sop_class)), (0x0100, struct.pack("<H", code))]
    elements.append((0x0120 if code & RESPONSE else 0x0110, struct.pack("<H", message)))
    elements.append((0x0800, struct.pack("<H", data_set)))
    for name, number in (("priority", 0x0700), ("status", 0x0900)):
        if name in values:
            elements.append((number, struct.pack("<H", values[name])))
    if "instance" in values:
        elements.append((0x1000, padded(str(values["instance"]))))
    if "destination" in values:
        elements.append((0x0600, str(values["destination"]).encode().ljust(16)))
    body = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in sorted(elements))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def identifier(values: dict[int, str]) -> bytes:
    """Keys of a query, implicit VR little endian."""
    encoded = b""
    for tag, text in sorted(values.items()):
        value = text.encode() + (b"\0" if text[:2] == "2." else b" ") * (len(text) % 2)
        encoded += struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    return encoded


def pdv(context: int, flags: int, data: bytes) -> bytes:
    """One P-DATA-TF PDU with one presentation data value."""
    return struct.pack(">BBIIBB", 4, 0, len(data) + 6, len(data) + 2, context, flags) + data


def frame_store(
    context: int, message: int, sop_class: str, instance: str, header: bytes, pixels: memoryview, pdu: int
) -> list[bytes | memoryview]:
    """A whole C-STORE-RQ as buffers for sendmsg; the pixel data is not copied."""
    head = pdv(context, 3, command(sop_class, STORE_RQ, message, priority=0, instance=instance))
    room, place = pdu - 6, pdu - 6 - len(header)
    if place <= 0:
        raise ValueError("header does not fit one PDU")
    taken = min(place, len(pixels))
    last = 2 if taken == len(pixels) else 0
    size = len(header) + taken
    head += struct.pack(">BBIIBB", 4, 0, size + 6, size + 2, context, last) + header
    buffers: list[bytes | memoryview] = [head, pixels[:taken]]
    while taken < len(pixels):
        part = pixels[taken : taken + room]
        taken += len(part)
        last = 2 if taken == len(pixels) else 0
        buffers += [struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, context, last), part]
    return buffers


def send_all(sock: socket.socket, buffers: list[bytes | memoryview]) -> None:
    """sendmsg until everything is out."""
    left: list[memoryview] = [memoryview(buffer) for buffer in buffers]
    while left:
        sent = sock.sendmsg(left[:512])
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if sent:
            left[0] = left[0][sent:]


@dataclass
class Message:
    """A command and what came with it; `data` is kept only when asked for, its size always."""

    context: int
    command: dict[int, bytes]
    size: int = 0
    data: bytes = b""

    @property
    def code(self) -> int:
        return int.from_bytes(self.command[0x0100], "little")

    @property
    def status(self) -> int:
        return int.from_bytes(self.command.get(0x0900, b""), "little")

    @property
    def number(self) -> int:
        return int.from_bytes(self.command[0x0110], "little")

    def text(self, tag: int) -> str:
        return self.command[tag].rstrip(b"\0 ").decode()


def parse_command(raw: bytes) -> dict[int, bytes]:
    found, place = {}, 0
    while place < len(raw):
        _, tag, length = struct.unpack_from("<HHI", raw, place)
        found[tag] = raw[place + 8 : place + 8 + length]
        place += 8 + length
    return found


@dataclass
class Wire:
    """One association's socket, read in large pieces."""

    sock: socket.socket
    keep: bool = False  # keep the data sets of messages
    buffer: bytearray = field(default_factory=lambda: bytearray(1 << 20))
    start: int = 0
    end: int = 0

    def pdu(self) -> tuple[int, memoryview]:
        """The next whole PDU; valid until the next call."""
        while True:
            held = self.end - self.start
            if held >= 6:
                kind, _, length = struct.unpack_from(">BBI", self.buffer, self.start)
                if held >= 6 + length:
                    body = memoryview(self.buffer)[self.start + 6 : self.start + 6 + length]
                    self.start += 6 + length
                    return kind, body
                if self.start + 6 + length > len(self.buffer):
                    self._move_to_front()
            elif self.start + 6 > len(self.buffer):
                self._move_to_front()
            count = self.sock.recv_into(memoryview(self.buffer)[self.end :])
            if not count:
                raise ConnectionError("the peer closed the connection")
            self.end += count

    def _move_to_front(self) -> None:
        held = self.end - self.start
        self.buffer[:held] = self.buffer[self.start : self.end]
        self.start, self.end = 0, held

    def message(self) -> Message | None:
        """The next complete message; None when the peer asks for release."""
        raw, data, size, parsed = b"", [], 0, None
        while True:
            kind, body = self.pdu()
            if kind == 5:
                return None
            if kind != 4:
                raise ConnectionError(f"PDU type {kind} inside an association: {bytes(body[:4])!r}")
            place = 0
            while place < len(body):
                length, context, flags = struct.unpack_from(">IBB", body, place)
                value = body[place + 6 : place + 4 + length]
                place += 4 + length
                if flags & 1:
                    raw += bytes(value)
                    if flags & 2:
                        parsed = Message(context, parse_command(raw))
                        if parsed.command[0x0800] == b"\x01\x01":
                            return parsed
                    continue
                size += len(value)
                if self.keep:
                    data.append(bytes(value))
                if flags & 2 and parsed:
                    parsed.size, parsed.data = size, b"".join(data)
                    return parsed


class Association(Wire):
    """We as requestor."""

    def __init__(self, server: Address, abstracts: list[str], roles: tuple[str, ...] = ()) -> None:
        super().__init__(connect(server.dimse_port))
        contexts = [(2 * n + 1, abstract) for n, abstract in enumerate([*abstracts, *roles])]
        self.sock.sendall(associate_rq(server.aet, "BENCH", contexts, list(roles)))
        kind, body = self.pdu()
        if kind != 2:
            raise ConnectionError(f"{server.aet} refused the association: {kind} {bytes(body)!r}")
        self.pdu_max, accepted = PDU_MAX, set()
        for item, value in _items(bytes(body[68:])):
            if item == 0x21 and value[2] == 0:
                accepted.add(value[0])
            if item == 0x50:
                limits = [int.from_bytes(part, "big") for sub, part in _items(value) if sub == 0x51]
                self.pdu_max = min([PDU_MAX, *(limit for limit in limits if limit)])
        self.contexts = {abstract: number for number, abstract in contexts if number in accepted}

    def release(self) -> None:
        self.sock.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        kind, _ = self.pdu()
        if kind != 6:
            raise ConnectionError(f"release answered with PDU type {kind}")
        self.sock.close()

    def ask(self, sop_class: str, code: int, keys: bytes, **values: int | str) -> Iterator[Message]:
        """Send a request with an identifier and hand on all messages until its final response."""
        context = self.contexts[sop_class]
        self.sock.sendall(pdv(context, 3, command(sop_class, code, 1, priority=0, **values)) + pdv(context, 2, keys))
        while True:
            message = self.message()
            if message is None:
                raise ConnectionError("released inside an operation")
            yield message
            if message.code == code | RESPONSE and message.status not in PENDING:
                return


@dataclass
class Address:
    """Where an archive listens."""

    aet: str
    dimse_port: int
    http_port: int = 0


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def store_response(message: Message) -> bytes:
    values: dict[str, int | str] = {"status": 0, "instance": message.text(0x1000), "empty": 1}
    return pdv(message.context, 3, command(message.text(0x0002), STORE_RQ | RESPONSE, message.number, **values))


def serve_store(sock: socket.socket) -> int:
    """Accept one association and every object on it; the number of bytes taken. Used as a C-MOVE destination."""
    wire, taken = Wire(sock), 0
    kind, body = wire.pdu()
    if kind != 1:
        raise ConnectionError(f"PDU type {kind} before an association")
    sock.sendall(accept(bytes(body)))
    while message := wire.message():
        if message.code == ECHO_RQ:
            answer = command(VERIFICATION, ECHO_RQ | RESPONSE, message.number, status=0, empty=1)
            sock.sendall(pdv(message.context, 3, answer))
            continue
        taken += message.size
        sock.sendall(store_response(message))
    sock.sendall(b"\6\0\0\0\0\4\0\0\0\0")
    return taken


def accept(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC that takes every context, in explicit VR where it is proposed."""
    body = request[:68] + _item(0x10, b"1.2.840.10008.3.1.1.1")
    for kind, value in _items(request[68:]):
        if kind == 0x20:
            syntaxes = [text for sub, text in _items(value[4:]) if sub == 0x40]
            chosen = EXPLICIT_LE.encode() if EXPLICIT_LE.encode() in syntaxes else syntaxes[0]
            body += _item(0x21, struct.pack(">BBBB", value[0], 0, 0, 0) + _item(0x40, chosen))
    body += _user_information([])
    return struct.pack(">BBI", 2, 0, len(body)) + body
