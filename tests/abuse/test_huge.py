"""Objects larger than any memory: 6 GB in 3,000 fragments by C-STORE and by STOW-RS, and 200,000 per-frame items."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from abuse.conftest import Watch
from wire import CT_IMAGE_STORAGE, JPEG_BASELINE, Object, Wire, element, image, memory, part10

TRANSFER_BYTES_MAX = 16 << 20  # the named constant of one transfer
GiB = 1 << 30


def _without_pixels(frames: int) -> Object:
    item = image(before_pixels=b"")
    cut = item.data_set.rindex(b"\xe0\x7f\x10\x00")
    rows = item.data_set.index(b"\x28\x00\x10\x00")
    data = item.data_set[:rows] + element(0x00280008, "IS", str(frames)) + item.data_set[rows:cut]
    return Object(item.sop_instance_uid, data, CT_IMAGE_STORAGE, item.study_uid, item.series_uid)


def _encapsulated(total_bytes: int, fragment_bytes: int) -> Iterator[bytes]:
    """Pixel data of one fragment a frame, in pieces of 128 KiB less a PDV's head."""
    yield struct.pack("<HH", 0x7FE0, 0x0010) + b"OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
    piece = bytes(131_000)
    for _ in range(total_bytes // fragment_bytes):
        yield b"\xfe\xff\x00\xe0" + struct.pack("<I", fragment_bytes)
        left = fragment_bytes
        while left:
            yield piece[:left]
            left -= min(left, len(piece))
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


def _check_memory(watch: Watch, record_property: Callable[..., None]) -> None:
    grown = memory(watch.served.process.pid)["VmHWM"] - watch.idle_bytes
    record_property("grown_mib", round(grown / 1048576, 1))
    assert grown <= TRANSFER_BYTES_MAX, f"grew by {grown / 1048576:.0f} MiB"


@pytest.mark.slow
def test_6_gb_by_c_store(watch: Watch, record_property: Callable[..., None]) -> None:
    item = _without_pixels(3000)
    with Wire(watch.served.host, watch.served.port, 600).associate((CT_IMAGE_STORAGE, [JPEG_BASELINE])) as wire:
        assert wire.store(item, more=_encapsulated(6 * GiB, 2 * 1024 * 1024)) == (0, "")
        wire.release()
    _check_memory(watch, record_property)
    watch.check()


@pytest.mark.slow
def test_6_gb_by_stow(watch: Watch, record_property: Callable[..., None]) -> None:
    head = part10(_without_pixels(3000), JPEG_BASELINE)

    def body() -> Iterator[bytes]:
        yield b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + head
        yield from _encapsulated(6 * GiB, 2 * 1024 * 1024)
        yield b"\r\n--cut--\r\n"

    connection = http.client.HTTPConnection(urlsplit(watch.served.http).netloc, timeout=600)
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=cut',
        "Accept": "application/dicom+json",
    }
    connection.request("POST", "/dicom-web/studies", body(), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    _check_memory(watch, record_property)
    watch.check()


def _per_frame_items(count: int) -> Iterator[bytes]:
    """Per-Frame Functional Groups Sequence of undefined length, items of four nested attributes."""
    yield struct.pack("<HH", 0x5200, 0x9230) + b"SQ\0\0\xff\xff\xff\xff"
    block = []
    for number in range(count):
        position = element(0x00200032, "DS", f"0\\0\\{number}")
        inner = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(position)) + position
        content = struct.pack("<HH", 0x0020, 0x9113) + b"SQ\0\0" + struct.pack("<I", len(inner)) + inner
        content += element(0x00204000, "LT", f"frame {number}")
        block.append(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content)
        if len(block) == 1000:
            yield b"".join(block)
            block = []
    yield b"".join(block) + b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.slow
def test_200000_per_frame_items(watch: Watch, record_property: Callable[..., None]) -> None:
    head = _without_pixels(200_000)
    frame = b"\xff\xd8\xff\xd9"
    pixels = struct.pack("<HH", 0x7FE0, 0x0010) + b"OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame

    def more() -> Iterator[bytes]:
        yield from (
            block[at : at + 100_000] for block in _per_frame_items(200_000) for at in range(0, len(block), 100_000)
        )
        yield pixels
        for _ in range(200):
            yield item * 1000
        yield b"\xfe\xff\xdd\xe0\0\0\0\0"

    with Wire(watch.served.host, watch.served.port, 600).associate((CT_IMAGE_STORAGE, [JPEG_BASELINE])) as wire:
        assert wire.store(head, more=more()) == (0, "")
        wire.release()
    _check_memory(watch, record_property)
    base = f"/dicom-web/studies/{head.study_uid}/series/{head.series_uid}/instances/{head.sop_instance_uid}"
    connection = http.client.HTTPConnection(urlsplit(watch.served.http).netloc, timeout=600)
    connection.request("GET", f"{base}/metadata", headers={"Accept": "application/dicom+json"})
    answer = connection.getresponse()
    assert answer.status == 200
    groups = json.loads(answer.read())[0]["52009230"]["Value"]
    assert len(groups) == 200_000
    assert groups[199_999]["00209113"]["Value"][0]["00200032"]["Value"][2] == 199_999
    connection.request("GET", f"{base}/frames/200000", headers={"Accept": '*/*; transfer-syntax="*"'})
    assert frame in connection.getresponse().read()
    _check_memory(watch, record_property)
    watch.check()
