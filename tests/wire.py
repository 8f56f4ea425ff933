"""A DIMSE peer of a few raw bytes, independent of the package: what the tests of abuse and of crashes speak with.

PS3.8 9.3 and PS3.7 6.3 by `struct` alone, so that it can also say what no decent peer would.
"""

from __future__ import annotations

import socket
import struct
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def element(tag: int, vr: str, value: bytes | str) -> bytes:
    """One element in Explicit VR Little Endian."""
    raw = value.encode() if isinstance(value, str) else value
    raw += (b"\0" if vr in ("UI", "OB") else b" ") * (len(raw) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in ("OB", "OW", "UN", "SQ", "UT", "UC", "UR", "OD", "OF", "OL", "OV", "SV", "UV"):
        return head + struct.pack("<HI", 0, len(raw)) + raw
    return head + struct.pack("<H", len(raw)) + raw


@dataclass(frozen=True)
class Object:
    """A small image: its identity and its data set without and with pixels."""

    sop_instance_uid: str
    data_set: bytes
    sop_class_uid: str = CT_IMAGE_STORAGE
    study_uid: str = ""
    series_uid: str = ""


def image(
    *,
    rows: int = 16,
    columns: int = 16,
    study_uid: str = "",
    series_uid: str = "",
    sop_instance_uid: str = "",
    patient_id: str = "ABUSE",
    before_pixels: bytes = b"",
    pixels: bytes | None = None,
) -> Object:
    """A CT of `rows` by `columns` 16-bit pixels in Explicit VR Little Endian; `before_pixels` goes in as it is."""
    study, series, uid = study_uid or new_uid(), series_uid or new_uid(), sop_instance_uid or new_uid()
    data = b"".join(
        (
            element(0x00080016, "UI", CT_IMAGE_STORAGE),
            element(0x00080018, "UI", uid),
            element(0x00080020, "DA", "20260101"),
            element(0x00080060, "CS", "CT"),
            element(0x00100010, "PN", "Abuse^Test"),
            element(0x00100020, "LO", patient_id),
            element(0x0020000D, "UI", study),
            element(0x0020000E, "UI", series),
            element(0x00280002, "US", struct.pack("<H", 1)),
            element(0x00280004, "CS", "MONOCHROME2"),
            element(0x00280010, "US", struct.pack("<H", rows)),
            element(0x00280011, "US", struct.pack("<H", columns)),
            element(0x00280100, "US", struct.pack("<H", 16)),
            element(0x00280101, "US", struct.pack("<H", 16)),
            element(0x00280102, "US", struct.pack("<H", 15)),
            element(0x00280103, "US", struct.pack("<H", 0)),
            before_pixels,
            element(0x7FE00010, "OW", bytes(rows * columns * 2) if pixels is None else pixels),
        )
    )
    return Object(uid, data, CT_IMAGE_STORAGE, study, series)


def part10(item: Object, syntax: str = EXPLICIT_LE) -> bytes:
    """The object as a Part 10 file."""
    meta = b"".join(
        (
            element(0x00020001, "OB", b"\0\1"),
            element(0x00020002, "UI", item.sop_class_uid),
            element(0x00020003, "UI", item.sop_instance_uid),
            element(0x00020010, "UI", syntax),
        )
    )
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + item.data_set


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq(
    contexts: Iterable[tuple[str, list[str]]],
    *,
    called: str = "SAGITTAL",
    calling: str = "WIRE",
    pdu_bytes_max: int = 131072,
    more_user_items: bytes = b"",
) -> bytes:
    """A-ASSOCIATE-RQ with the given (abstract syntax, transfer syntaxes), context ids 1, 3, 5, …"""
    items = [_item(0x10, b"1.2.840.10008.3.1.1.1")]
    for number, (abstract, transfers) in enumerate(contexts):
        syntaxes = b"".join(_item(0x40, uid.encode()) for uid in transfers)
        items.append(_item(0x20, bytes((2 * number + 1, 0, 0, 0)) + _item(0x30, abstract.encode()) + syntaxes))
    user = _item(0x51, struct.pack(">I", pdu_bytes_max)) + _item(0x52, b"2.25.1") + more_user_items
    items.append(_item(0x50, user))
    names = called.encode().ljust(16) + calling.encode().ljust(16)
    return pdu(1, struct.pack(">HH", 1, 0) + names + bytes(32) + b"".join(items))


def command(elements: dict[int, int | str]) -> bytes:
    """A command set: numbers as US, texts as UI (implicit little endian, with its group length)."""
    body = b""
    for number, value in sorted(elements.items()):
        raw = struct.pack("<H", value) if isinstance(value, int) else value.encode() + b"\0" * (len(value) % 2)
        body += struct.pack("<HHI", 0, number, len(raw)) + raw
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def p_data(context: int, flags: int, fragment: bytes) -> bytes:
    """P-DATA-TF with one PDV; flags: 1 command, 2 last."""
    return pdu(4, struct.pack(">IBB", len(fragment) + 2, context, flags) + fragment)


class Closed(Exception):
    """The peer ended the connection; `.pdu` is the last PDU type it sent (7: A-ABORT), or None."""

    def __init__(self, kind: int | None) -> None:
        super().__init__(f"closed by the peer after PDU type {kind}")
        self.pdu = kind


class Wire:
    """One TCP connection to the acceptor under test."""

    def __init__(self, host: str, port: int, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._message = 0
        self.last: int | None = None
        self.accepted: dict[int, str] = {}
        self.pdu_bytes_max = 16384

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                more = self.socket.recv(1 << 16)
            except (ConnectionResetError, BrokenPipeError):
                more = b""
            if not more:
                raise Closed(self.last)
            self._buffer += more
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def receive(self) -> tuple[int, bytes]:
        """The next PDU: type and body."""
        kind, _, length = struct.unpack(">BBI", self._take(6))
        self.last = kind
        return kind, self._take(length)

    def associate(self, *contexts: tuple[str, list[str]], **options: str) -> Wire:
        self.send(associate_rq(contexts or [(VERIFICATION, [IMPLICIT_LE])], **options))  # type: ignore[arg-type]
        kind, body = self.receive()
        assert kind == 2, f"association refused: PDU type {kind}, {body.hex()}"
        at = 68
        while at < len(body):
            item, _, length = struct.unpack_from(">BBH", body, at)
            if item == 0x21 and body[at + 6] == 0:
                self.accepted[body[at + 4]] = body[at + 12 : at + 4 + length].decode().rstrip("\0")
            if item == 0x50:
                self.pdu_bytes_max = struct.unpack_from(">I", body, at + 8)[0]
            at += 4 + length
        return self

    def response(self) -> dict[int, bytes]:
        """The elements of the next command set, by element number; data sets that follow are dropped."""
        data = b""
        while True:
            kind, body = self.receive()
            if kind != 4:
                raise Closed(kind)
            length, _, flags = struct.unpack_from(">IBB", body)
            if flags & 1:
                data += body[6 : 4 + length]
                if flags & 2:
                    break
        found, at = {}, 0
        while at < len(data):
            _, number, length = struct.unpack_from("<HHI", data, at)
            found[number] = data[at + 8 : at + 8 + length]
            at += 8 + length
        return found

    def _next(self) -> int:
        self._message += 1
        return self._message

    def echo(self, context: int = 1) -> int:
        """C-ECHO; the status."""
        fields: dict[int, int | str] = {0x0002: VERIFICATION, 0x0100: 0x0030, 0x0110: self._next(), 0x0800: 0x0101}
        self.send(p_data(context, 3, command(fields)))
        return struct.unpack("<H", self.response()[0x0900])[0]  # type: ignore[no-any-return]

    def store_head(self, item: Object, context: int = 1) -> bytes:
        """The P-DATA of a C-STORE-RQ command."""
        fields: dict[int, int | str] = {
            0x0002: item.sop_class_uid,
            0x0100: 0x0001,
            0x0110: self._next(),
            0x0700: 0,
            0x0800: 0x0001,
            0x1000: item.sop_instance_uid,
        }
        return p_data(context, 3, command(fields))

    def store(self, item: Object, context: int = 1, more: Iterator[bytes] | None = None) -> tuple[int, str]:
        """C-STORE; status and Error Comment. `more`: further bytes of the data set, in pieces."""
        self.send(self.store_head(item, context))
        size = min(self.pdu_bytes_max or 131072, 131072) - 6
        pieces = [item.data_set[at : at + size] for at in range(0, len(item.data_set), size)]
        for piece in pieces if more else pieces[:-1]:
            self.send(p_data(context, 0, piece))
        for piece in more or ():
            self.send(p_data(context, 0, piece))
        self.send(p_data(context, 2, b"" if more else pieces[-1]))
        answer = self.response()
        return struct.unpack("<H", answer[0x0900])[0], answer.get(0x0902, b"").decode("ascii", "replace").strip(" \0")

    def release(self) -> None:
        self.send(pdu(5, bytes(4)))
        kind, _ = self.receive()
        assert kind == 6
        self.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def store_once(host: str, port: int, item: Object, syntax: str = EXPLICIT_LE) -> tuple[int, str]:
    """Associate, C-STORE one object, release."""
    with Wire(host, port).associate((item.sop_class_uid, [syntax])) as wire:
        answer = wire.store(item)
        wire.release()
    return answer


def memory(pid: int) -> dict[str, int]:
    """VmRSS and VmHWM of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}


def reset_peak(pid: int) -> int:
    """Set the memory peak of a process back to what it holds now; that, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory(pid)["VmRSS"]
