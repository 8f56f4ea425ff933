"""A full disk, a failing fsync, a locked index, a slow disk: A700 / 503, nothing left, ready again by itself."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from abuse.conftest import echo, echoing
from conftest import Served, serve
from programs import missing
from wire import CT_IMAGE_STORAGE, EXPLICIT_LE, Object, Wire, image, part10, store_once

from sagittal.archive import SERVER_FILE

OUT_OF_RESOURCES = 0xA700
LIMITS = "[limits]\naudit_seconds_max = 0.05\n"  # how often an unwell archive looks whether it is well again


def _ready(served: Served) -> tuple[int, list[str]]:
    try:
        with urllib.request.urlopen(f"{served.http}/readyz", timeout=10) as answer:
            return answer.status, []
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["reasons"]
    except OSError as error:  # it is being opened anew
        return 0, [str(error)]


def _until_ready(served: Served, files: list[str] | None = None) -> None:
    """Wait until the archive says by itself that it is ready again, and has these files."""
    end = time.monotonic() + 30
    while (state := _ready(served))[0] != 200 or (files is not None and _files(served.data) != files):
        assert time.monotonic() < end, state
        threading.Event().wait(0.02)


def _stow(served: Served, body: bytes) -> int:
    request = urllib.request.Request(
        f"{served.http}/dicom-web/studies",
        body,
        {"Content-Type": "application/dicom", "Accept": "application/dicom+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _files(data: Path) -> list[str]:
    return sorted(
        str(path) for folder in ("staging", "objects") for path in (data / folder).rglob("*") if path.is_file()
    )


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "sagittal.toml"
    path.write_text(LIMITS)
    return path


@pytest.fixture
def faulty(tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Served]]:
    """Start a server whose archive fails as the plan says."""
    started: list[Served] = []

    def start(plan: str) -> Served:
        monkeypatch.setenv("SAGITTAL_FAULT", plan)
        started.append(serve(tmp_path / "data", "--config", str(settings)))
        monkeypatch.delenv("SAGITTAL_FAULT")
        return started[-1]

    yield start
    for served in started:
        served.stop()


@pytest.mark.parametrize("action", ["eio", "enospc"])
@pytest.mark.parametrize(
    "point",
    ["staging.create", "staging.write", "file.sync", "object.rename", "directory.sync", "index.begin", "index.commit"],
)  # fmt: skip
def test_one_failure_refuses_that_object_only(faulty: Callable[[str], Served], point: str, action: str) -> None:
    often = point == "staging.write"  # passed several times for one object; all others once
    served = faulty(f"{point}:{action}:{1 if often else 2}")
    first, second, third = (image(rows=512, columns=512) for _ in range(3))
    assert often or store_once(served.host, served.port, first)[0] == 0
    before = _files(served.data)
    assert store_once(served.host, served.port, second)[0] == OUT_OF_RESOURCES
    _until_ready(served, before)
    assert store_once(served.host, served.port, second)[0] == 0
    assert store_once(served.host, served.port, third)[0] == 0
    assert len(_files(served.data)) == len(before) + 2


@pytest.mark.parametrize("fault", ["staging.write:enospc:1", "file.sync:eio:1", "index.commit:eio:1"])
def test_stow_says_503(faulty: Callable[[str], Served], fault: str) -> None:
    served = faulty(fault)
    body = part10(image(rows=512, columns=512))
    assert _stow(served, body) == 503
    _until_ready(served, [])
    assert _stow(served, body) == 200


def _failing(probes: int) -> str:
    """A failed sync, and so many probes after it; the archive probes 20 times a second."""
    return ",".join(["file.sync:eio:1", *(f"probe:eio:{nth}" for nth in range(2, 2 + probes))])


def test_a_failed_sync_makes_it_unready(faulty: Callable[[str], Served]) -> None:
    served = faulty(_failing(probes=4_000))
    for _ in range(2):
        assert store_once(served.host, served.port, image())[0] == OUT_OF_RESOURCES
        status, reasons = _ready(served)
        assert status == 503 and reasons


def test_it_is_ready_again_when_a_probe_passes(faulty: Callable[[str], Served]) -> None:
    served = faulty(_failing(probes=4))
    assert store_once(served.host, served.port, image())[0] == OUT_OF_RESOURCES
    _until_ready(served)
    assert store_once(served.host, served.port, image())[0] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True).returncode:
        missing("the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, settings: Path) -> None:
    settings.write_text(LIMITS + "free_bytes_min = 0\n")
    served = serve(small_disk / "data", "--config", str(settings))
    try:
        answers = [store_once(served.host, served.port, image(rows=1024, columns=1024))[0] for _ in range(16)]
        assert answers[0] == 0 and answers[-1] == OUT_OF_RESOURCES, answers
        assert set(answers) == {0, OUT_OF_RESOURCES}
        objects = [name for name in _files(served.data) if "/objects/" in name]
        assert len(objects) == answers.count(0)
        assert [name for name in _files(served.data) if "/staging/" in name] == []
        ballast = small_disk / "ballast"
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert not ballast.exists()
        _until_ready(served)
        assert store_once(served.host, served.port, image(rows=1024, columns=1024))[0] == 0
    finally:
        served.stop()


def _fill(path: Path) -> None:
    """To the last byte."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while file.write(bytes(4096)) == 4096:
            pass
        file.write(b"!")


def _retrieved(served: Served, item: Object) -> int:
    with urllib.request.urlopen(f"{served.http}/dicom-web/studies/{item.study_uid}", timeout=30) as answer:
        assert item.data_set in answer.read()
        return int(answer.status)


def _beginning(path: Path, settings: Path, *, killed: bool) -> tuple[Object, list[str]]:
    """A data directory with one object; gives the arguments to serve it again."""
    settings.write_text(LIMITS + "free_bytes_min = 0\n")
    arguments, item = ["--config", str(settings)], image()
    served = serve(path, *arguments)
    assert store_once(served.host, served.port, item)[0] == 0
    if killed:
        served.process.kill()
    served.stop()
    return item, arguments


@pytest.mark.parametrize("killed", [False, True])
def test_a_start_on_a_full_disk(small_disk: Path, settings: Path, *, killed: bool) -> None:
    """What is held is served, and new objects are taken as soon as there is room."""
    item, arguments = _beginning(small_disk, settings, killed=killed)
    _fill(small_disk / "ballast")
    served = serve(small_disk, *arguments)
    try:
        assert _ready(served)[0] == 503 and _retrieved(served, item) == 200
        assert store_once(served.host, served.port, image())[0] == OUT_OF_RESOURCES
        (small_disk / "ballast").unlink()
        _until_ready(served)
        assert store_once(served.host, served.port, image())[0] == 0
    finally:
        served.stop()


@pytest.mark.parametrize("killed", [False, True])
def test_a_start_on_a_disk_that_may_only_be_read(small_disk: Path, settings: Path, *, killed: bool) -> None:
    """What is held is served, new objects are taken as soon as it may be written, and who read meanwhile is known."""
    item, arguments = _beginning(small_disk, settings, killed=killed)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    served = serve(small_disk, *arguments)
    try:
        assert _ready(served)[0] == 503 and _retrieved(served, item) == 200
        assert store_once(served.host, served.port, image())[0] == OUT_OF_RESOURCES
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        _until_ready(served)
        assert store_once(served.host, served.port, image())[0] == 0
        assert (small_disk / SERVER_FILE).exists()
    finally:
        served.stop()
    with closing(sqlite3.connect(small_disk / "index.db")) as index:
        assert index.execute("SELECT count(*) FROM audit WHERE verb = 'get'").fetchone() == (1,)


def test_refused_before_the_disk_is_full(small_disk: Path) -> None:
    served = serve(small_disk / "data")  # less is free than free_bytes_min asks for
    try:
        assert store_once(served.host, served.port, image())[0] == OUT_OF_RESOURCES
        status, reasons = _ready(served)
        assert status == 503 and reasons
    finally:
        served.stop()


def test_a_locked_index(start_server: Callable[..., Served], settings: Path) -> None:
    server = start_server("--config", str(settings))
    assert store_once(server.host, server.port, image())[0] == 0
    other = sqlite3.connect(server.data / "index.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    item = image()
    status, _ = store_once(server.host, server.port, item)
    assert _stow(server, part10(image())) == 503
    assert _ready(server)[0] == 503
    other.execute("ROLLBACK")
    other.close()
    assert status == OUT_OF_RESOURCES
    _until_ready(server)
    assert store_once(server.host, server.port, item)[0] == 0


def test_a_slow_disk_does_not_hold_up_others(
    faulty: Callable[[str], Served], record_property: Callable[..., None]
) -> None:
    served = faulty("staging.write:delay=0.05")  # 256 KiB at a time: 5 MB/s
    with echoing(served) as alone:
        for _ in range(20):
            echo(served)
    with (
        echoing(served) as echoes,
        Wire(served.host, served.port, 120).associate((CT_IMAGE_STORAGE, [EXPLICIT_LE])) as wire,
    ):
        statuses = {wire.store(image(rows=1024, columns=1024))[0] for _ in range(3)}
    assert statuses <= {0, OUT_OF_RESOURCES}
    assert echoes.latencies and not echoes.failures
    record_property("echo_p99_ms_alone", 1000 * alone.percentile(0.99))
    record_property("echo_p99_ms_beside_a_slow_disk", 1000 * echoes.percentile(0.99))
