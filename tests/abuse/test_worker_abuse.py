"""Decoders that crash, hang and grow, bombs, clients that go away: one request gets a clear error, all else goes on."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import Served, serve
from wire import Object, element, image, memory, part10, reset_peak, store_once

SABOTAGE = Path(__file__).parent / "sabotage"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
LIMITS = "[limits]\nworkers = 2\nseconds_max = 2.0\nmemory_bytes_max = 2147483648\n"
GROWN_BYTES_MAX = 64 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("workers")
    settings = folder / "sagittal.toml"
    settings.write_text(LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SABOTAGE))
        running = serve(folder / "data", "--config", str(settings), fresh=True)
    rendered(running, stored(running))  # everything is imported now
    yield running
    running.stop()


def stored(served: Served, item: Object | None = None, syntax: str = "1.2.840.10008.1.2.1") -> str:
    """The address of an object after STOW."""
    held = item or image(pixels=struct.pack("<256H", *range(256)))
    body = part10(held, syntax)
    request = urllib.request.Request(served.http + "/dicom-web/studies", body, {"content-type": "application/dicom"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    return f"/dicom-web/studies/{held.study_uid}/series/{held.series_uid}/instances/{held.sop_instance_uid}"


def sabotage(served: Served, how: bytes) -> str:
    return stored(served, image(pixels=how.ljust(512, b"\0")))


def rendered(served: Served, address: str, what: str = "rendered") -> tuple[int, bytes]:
    request = urllib.request.Request(f"{served.http}{address}/{what}", headers={"accept": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        assert error.headers["content-type"] == "application/problem+json"
        return error.code, error.read()


def metric(served: Served, name: str) -> float:
    with urllib.request.urlopen(served.http + "/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name + " ")))


def until(what: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("how", "status", "said", "counted"),
    [
        (b"CRASH", 500, "crashed", 'sagittal_workers_lost_total{reason="crash"}'),
        (b"HANG!", 413, "more than 2 seconds", 'sagittal_workers_lost_total{reason="time"}'),
        (b"GREED", 413, "more memory", ""),
        (b"NOISE", 500, "crashed", 'sagittal_workers_lost_total{reason="crash"}'),
    ],
)
def test_a_bad_decoder_costs_one_request(served: Served, how: bytes, status: int, said: str, counted: str) -> None:
    good, bad = stored(served), sabotage(served, how)
    before, idle = metric(served, counted) if counted else 0, reset_peak(served.process.pid)
    logged = len(served.log.read_text())
    with ThreadPoolExecutor(8) as threads:
        doomed = [threads.submit(rendered, served, bad) for _ in range(2)]
        others = [threads.submit(rendered, served, good) for _ in range(6)]
        echoed = [store_once(served.host, served.port, image()) for _ in range(5)]
        answers = [each.result() for each in doomed]
        assert [each.result()[0] for each in others] == [200] * 6
    assert [each[0] for each in echoed] == [0] * 5
    for code, body in answers:
        assert code == status and said in json.loads(body)["detail"], body
    assert rendered(served, good)[0] == 200
    assert memory(served.process.pid)["VmHWM"] - idle < GROWN_BYTES_MAX
    if counted:
        assert metric(served, counted) == before + 2
        lines = [line for line in served.log.read_text()[logged:].splitlines() if "a worker was lost" in line]
        assert len(lines) == 2 and all("sagittal.convert.rendered:still" in line for line in lines)


def test_what_a_decoder_prints_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SABOTAGE))
    source = tmp_path / "talkative.dcm"
    source.write_bytes(part10(image(pixels=b"PRINT".ljust(512, b"\0"))))
    command = [
        sys.executable,
        "-m",
        "sagittal",
        "transcode",
        source,
        "-o",
        tmp_path / "made.dcm",
        "--to",
        "rle",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "something is wrong" in done.stderr
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(source)]


def test_a_thumbnail_of_what_crashes_is_an_error_too(served: Served) -> None:
    assert rendered(served, sabotage(served, b"CRASH"), "thumbnail")[0] == 500


def fragments(*frames: bytes) -> bytes:
    head = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
    items = (b"\xfe\xff\x00\xe0" + struct.pack("<I", len(each) + len(each) % 2) + each + b"\0" * (len(each) % 2)
             for each in frames)  # fmt: skip
    return head + b"".join(items) + b"\xfe\xff\xdd\xe0\0\0\0\0"


def encapsulated(rows: int, columns: int, *frames: bytes) -> Object:
    """An image of frames as they are in Pixel Data."""
    made = image(rows=rows, columns=columns, pixels=b"")
    head = made.data_set[: -len(element(0x7FE00010, "OW", b""))]
    return Object(made.sop_instance_uid, head + fragments(*frames), made.sop_class_uid, made.study_uid, made.series_uid)


def deflated_zeros(count: int) -> bytes:
    packer, out = zlib.compressobj(9, wbits=-15), []
    for _ in range(count >> 20):
        out.append(packer.compress(bytes(1 << 20)))
    return b"".join(out) + packer.flush()


def test_declared_geometry_is_refused_before_any_codec(served: Served) -> None:
    for syntax, frame in ((JPEG_BASELINE, b"\xff\xd8\xff\xd9"), (DEFLATED_FRAME, deflated_zeros(1 << 20))):
        address = stored(served, encapsulated(60_000, 60_000, frame), syntax)
        idle = reset_peak(served.process.pid)
        status, body = rendered(served, address)
        assert status == 413 and "frame_pixels_max" in json.loads(body)["detail"]
        assert memory(served.process.pid)["VmHWM"] - idle < GROWN_BYTES_MAX


def test_a_frame_that_inflates_to_more_than_it_says(served: Served) -> None:
    address = stored(served, encapsulated(16, 16, deflated_zeros(256 << 20)), DEFLATED_FRAME)
    idle = reset_peak(served.process.pid)
    status, _ = rendered(served, address)
    assert status in (200, 406)
    assert memory(served.process.pid)["VmHWM"] - idle < GROWN_BYTES_MAX
    assert rendered(served, stored(served))[0] == 200


@pytest.mark.parametrize("frame", [b"", b"\xff\xd8", b"\xff\xd8" + bytes(2000), random.Random(1).randbytes(4096)])
def test_code_streams_that_are_none(served: Served, frame: bytes) -> None:
    status, body = rendered(served, stored(served, encapsulated(16, 16, frame), JPEG_BASELINE))
    assert status == 406 and json.loads(body)["detail"]


def test_a_hundred_at_once(served: Served) -> None:
    addresses = [stored(served) for _ in range(4)]
    reset, idle = memory(served.process.pid)["VmRSS"], reset_peak(served.process.pid)
    assert reset
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda n: rendered(served, addresses[n % 4]), range(100)))
    assert [status for status, _ in answers] == [200] * 100
    assert len({body for _, body in answers}) == 1
    assert memory(served.process.pid)["VmHWM"] - idle < GROWN_BYTES_MAX


def by_uri(address: str) -> str:
    """The same by WADO-URI."""
    _, _, _, study, _, series, _, instance = address.split("/")
    return f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"


@pytest.mark.parametrize("address", [lambda bad: bad + "/rendered", by_uri])
def test_a_client_that_goes_away_frees_its_worker(served: Served, address: Callable[[str], str]) -> None:
    bad, where = address(sabotage(served, b"HANG!")), urlsplit(served.http)
    before, lost = metric(served, "sagittal_workers_abandoned_total"), lost_workers(served)
    connections = []
    for _ in range(2):  # as many as there are workers
        connection = http.client.HTTPConnection(where.hostname or "", where.port)
        connection.request("GET", bad, headers={"accept": "image/png"})
        connections.append(connection)
    until(lambda: metric(served, "sagittal_workers_busy") == 2)
    for connection in connections:
        connection.close()
    until(lambda: metric(served, "sagittal_workers_abandoned_total") == before + 2, 1.9)  # before their time is over
    assert rendered(served, stored(served))[0] == 200
    assert lost_workers(served) == lost


def lost_workers(served: Served) -> float:
    return sum(metric(served, f'sagittal_workers_lost_total{{reason="{reason}"}}') for reason in ("crash", "time"))


def descendants(pid: int) -> set[int]:
    found, below = set(), [pid]
    while below:
        for task in Path(f"/proc/{below.pop()}/task").glob("*/children"):
            children = {int(child) for child in task.read_text().split()}
            found |= children
            below += children
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_server(start_server: Callable[..., Served], how: signal.Signals) -> None:
    server = start_server()
    assert rendered(server, stored(server))[0] == 200
    processes = descendants(server.process.pid)
    assert len(processes) >= 2  # the fork server and a worker
    os.kill(server.process.pid, how)
    server.process.wait(30)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
