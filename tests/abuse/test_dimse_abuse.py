"""Hostile bytes on the DIMSE port: refused by policy, within memory, with a line that says why, no harm to others."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from abuse.conftest import Watch, echo, echoing
from conftest import Served
from wire import (
    CT_IMAGE_STORAGE,
    DEFLATED_LE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    VERIFICATION,
    Closed,
    Object,
    Wire,
    associate_rq,
    element,
    image,
    memory,
    p_data,
    pdu,
    store_once,
)


def _store(
    served: Served, item: Object, syntax: str = EXPLICIT_LE, more: Iterator[bytes] | None = None
) -> tuple[int, str]:
    with Wire(served.host, served.port).associate((item.sop_class_uid, [syntax])) as wire:
        return wire.store(item, more=more)


def test_50000_nested_sequences_are_refused(watch: Watch) -> None:
    nested = (
        struct.pack("<HH", 0x0040, 0xA730) + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ) * 50_000
    status, comment = _store(watch.served, image(before_pixels=nested))
    assert status == 0xA700 or status >> 12 == 0xC, hex(status)
    assert comment
    watch.check("depth")


def test_a_deflate_bomb_is_refused(watch: Watch) -> None:
    item = image(before_pixels=element(0x00204000, "LT", "x"))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(item.data_set[: item.data_set.rindex(b"\xe0\x7f\x10\x00")])
    bomb += packer.compress(struct.pack("<HH", 0x7FE0, 0x0010) + b"OW\0\0" + struct.pack("<I", 0xFFFFFFFE))
    for _ in range(400):
        bomb += packer.compress(bytes(1 << 20))
    bomb += packer.flush()
    assert len(bomb) < 600_000
    status, _ = _store(watch.served, Object(item.sop_instance_uid, bomb), DEFLATED_LE)
    assert status == 0xA700 or status >> 12 == 0xC, hex(status)
    watch.check("inflate")


def test_pixel_data_shorter_than_declared(watch: Watch) -> None:
    item = image(rows=64, columns=64)
    status, _ = _store(watch.served, Object(item.sop_instance_uid, item.data_set[:-100]))
    assert status >> 12 == 0xC, hex(status)
    watch.check("C-STORE")


def test_pixel_data_shorter_than_its_geometry(watch: Watch) -> None:
    status, _ = _store(watch.served, image(rows=64, columns=64, pixels=bytes(1000)))
    assert status >> 12 == 0xC, hex(status)
    watch.check("C-STORE")


def test_an_element_that_declares_4_gib(watch: Watch) -> None:
    huge = struct.pack("<HH", 0x0042, 0x0011) + b"OB\0\0" + struct.pack("<I", 0xFFFFFFF0)
    status, _ = _store(watch.served, image(before_pixels=huge))
    assert status >> 12 == 0xC, hex(status)
    watch.check("C-STORE")


@pytest.mark.parametrize("uid", ["../../escaped", "/escaped", "1.2.3/../../escaped", "1.2.3\n4", "", "1..2", "1" * 65])
def test_paths_as_sop_instance_uid(watch: Watch, uid: str) -> None:
    before = _files_outside(watch.served.data)
    status, _ = _store(watch.served, image(sop_instance_uid=uid or " "))
    assert status == 0xA900, hex(status)
    assert _files_outside(watch.served.data) == before
    assert not Path("/escaped").exists()
    watch.check()


@pytest.mark.parametrize("keyword", ["study_uid", "series_uid"])
def test_paths_as_study_and_series_uid(watch: Watch, keyword: str) -> None:
    before = _files_outside(watch.served.data)
    item = image(**{keyword: "../../escaped"})  # type: ignore[arg-type]
    status, _ = _store(watch.served, item)
    assert status == 0xA900, hex(status)
    assert _files_outside(watch.served.data) == before
    watch.check()


def _files_outside(data: Path) -> set[str]:
    return {str(path) for path in data.parent.rglob("*") if data not in path.parents}


def test_a_uid_that_differs_from_the_command(watch: Watch) -> None:
    one, other = image(), image()
    status, _ = _store(watch.served, Object(one.sop_instance_uid, other.data_set))
    assert status == 0xA900
    watch.check("C-STORE")


def _ends(wire: Wire) -> int | None:
    """The PDU type after which the server closed."""
    with pytest.raises(Closed) as closed:
        while True:
            wire.receive()
    return closed.value.pdu


def test_a_2_gib_associate(watch: Watch) -> None:
    with Wire(watch.served.host, watch.served.port) as wire:
        wire.send(b"\x01\x00\x80\x00\x00\x00" + bytes(4096))
        assert _ends(wire) in (7, None)
    watch.check("2147483648 bytes")


def test_a_2_gib_p_data(watch: Watch) -> None:
    with Wire(watch.served.host, watch.served.port).associate() as wire:
        wire.send(b"\x04\x00\x80\x00\x00\x00" + bytes(4096))
        assert _ends(wire) == 7
    watch.check("2147483648 bytes")


def test_a_pdv_longer_than_its_pdu(watch: Watch) -> None:
    with Wire(watch.served.host, watch.served.port).associate() as wire:
        wire.send(pdu(4, struct.pack(">IBB", 0x7FFFFFFF, 1, 3) + bytes(100)))
        assert _ends(wire) == 7
    watch.check()


def test_a_context_that_was_never_accepted(watch: Watch) -> None:
    with Wire(watch.served.host, watch.served.port).associate() as wire:
        wire.send(p_data(77, 3, bytes(10)))
        assert _ends(wire) == 7
    watch.check()


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-x\r\n", os.urandom(3000)],
    ids=["http", "tls", "ssh", "random"],
)  # fmt: skip
def test_another_protocol_on_the_port(watch: Watch, line: bytes) -> None:
    with Wire(watch.served.host, watch.served.port) as wire:
        wire.send(line)
        assert _ends(wire) in (7, None)
    watch.check()
    said = [line for line in watch.log() if "without an association" in line]
    assert len(said) == 1 and "reason=" in said[0], watch.log()


def test_a_command_set_that_never_ends(watch: Watch) -> None:
    with Wire(watch.served.host, watch.served.port).associate() as wire, pytest.raises((Closed, OSError)):
        for _ in range(100):
            wire.send(p_data(1, 1, bytes(8192)))
        _ends(wire)
        raise Closed(None)
    watch.check()


def test_naughty_ae_titles_stay_on_one_log_line(watch: Watch) -> None:
    with Wire(watch.served.host, watch.served.port) as wire:
        wire.send(associate_rq([(VERIFICATION, [IMPLICIT_LE])], calling="A\nroot: \x1b[31m"))
        wire.receive()
    watch.check()
    assert not any("\x1b" in line or line.startswith("root:") for line in watch.log())


def _dribble(sockets: list[socket.socket], kinds: list[bytes]) -> None:
    for at, one in enumerate(sockets):
        if kinds[at % len(kinds)]:
            one.send(kinds[at % len(kinds)])


def _many_sockets(served: Served, count: int) -> tuple[list[socket.socket], list[str], list[float]]:
    request = associate_rq([(VERIFICATION, [IMPLICIT_LE])])
    sockets = [socket.create_connection((served.host, served.port)) for _ in range(count)]
    with echoing(served) as echoes:
        for part in range(20):
            _dribble(sockets, [b"", request[part : part + 1], request[:40] if part == 0 else b"", b""])
            echo(served)
    return sockets, echoes.failures, echoes.latencies


def test_2000_silent_or_dribbling_sockets(
    start_server: Callable[..., Served], record_property: Callable[..., None]
) -> None:
    served = start_server()
    with echoing(served) as alone:
        for _ in range(20):
            echo(served)
    idle = memory(served.process.pid)["VmRSS"]
    sockets, failures, latencies = _many_sockets(served, 2000)
    try:
        assert not failures, failures[:3]
        assert memory(served.process.pid)["VmRSS"] - idle < 100 << 20
        record_property("echo_p99_ms_alone", 1000 * alone.percentile(0.99))
        record_property("echo_p99_ms_among_2000", 1000 * sorted(latencies)[int(0.99 * len(latencies))])
    finally:
        for one in sockets:
            one.close()
    echo(served)


def test_silent_sockets_are_closed_by_artim(start_server: Callable[..., Served], tmp_path: Path) -> None:
    settings = tmp_path / "sagittal.toml"
    settings.write_text("[limits]\nartim_seconds = 0.5\n")
    served = start_server("--config", str(settings))
    with Wire(served.host, served.port) as wire:
        assert _ends(wire) in (7, None)
    with Wire(served.host, served.port) as wire:
        wire.send(associate_rq([(CT_IMAGE_STORAGE, [EXPLICIT_LE])])[:60])
        assert _ends(wire) in (7, None)
    echo(served)


def test_half_an_object_leaves_nothing(watch: Watch) -> None:
    item = image(rows=512, columns=512)
    wire = Wire(watch.served.host, watch.served.port).associate((CT_IMAGE_STORAGE, [EXPLICIT_LE]))
    wire.send(wire.store_head(item))
    for at in range(0, 300_000, 16000):
        wire.send(p_data(1, 0, item.data_set[at : at + 16000]))
    wire.close()
    assert store_once(watch.served.host, watch.served.port, image())[0] == 0
    echo(watch.served)
    assert list((watch.served.data / "staging").iterdir()) == []
