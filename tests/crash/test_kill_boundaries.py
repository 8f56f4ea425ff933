"""SIGKILL at every boundary that the kernel sees, by `strace -e inject`: nothing acknowledged is lost, nothing doubled.

For each system call that writes, syncs, renames or sends, the n-th one after the server is ready kills it, for
n = 1, 2, 3, … while objects are stored by C-STORE or STOW-RS. Then the archive is started again: all that was
acknowledged is there with its bytes, every object once, `scrub` finds nothing, staging is empty. Corrections are
killed the same way.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from builders import opened
from conftest import Served, sagittal, serve
from crash.strace import Strace
from programs import need
from wire import CT_IMAGE_STORAGE, EXPLICIT_LE, Closed, Object, Wire, image, part10

from sagittal.archive.access import LOCAL
from sagittal.archive.query import Query

# Each 20 times over the suite. `write` is that of a staging file and, as uvloop sends with it, of an answer too; with
# asyncio's own loop an answer is a `sendto`, so that is killed alone. With each how many calls one thread makes in any
# case: strace counts for each thread, and four share the syncs and renames of files.
SENDING, RENAMING = "sendto,sendmsg", "rename,renameat,renameat2"
KILLS, SHARED = 20, 5
BOUNDARIES = {
    "write": KILLS,
    "pwrite64": KILLS,
    "fdatasync": KILLS,
    "fsync": SHARED,
    RENAMING: SHARED,
    "unlink,unlinkat": KILLS,
    SENDING: KILLS,
}
PER_DIRECTORY = 5  # runs that go on with the same data directory


def _store_until_killed(served: Served, objects: list[Object]) -> list[Object]:
    """Store one after the other; those that were acknowledged."""
    acknowledged = []
    try:
        with Wire(served.host, served.port, 20).associate((CT_IMAGE_STORAGE, [EXPLICIT_LE])) as wire:
            for item in objects:
                if wire.store(item)[0] == 0:
                    acknowledged.append(item)
            wire.release()
    except (Closed, OSError):
        pass
    return acknowledged


def _stow_until_killed(served: Served, objects: list[Object]) -> list[Object]:
    """The same by STOW-RS over one connection."""
    acknowledged = []
    try:
        with httpx.Client(base_url=served.http, headers={"content-type": "application/dicom"}, timeout=20) as client:
            for item in objects:
                if client.post("/dicom-web/studies", content=part10(item)).status_code == 200:
                    acknowledged.append(item)
    except httpx.TransportError:
        pass
    return acknowledged


Way = Callable[[Served, list[Object]], list[Object]]
WAYS: dict[str, Way] = {"C-STORE": _store_until_killed, "STOW-RS": _stow_until_killed}


def _retrieved(served: Served, item: Object) -> bytes:
    url = f"{served.http}/dicom-web/studies/{item.study_uid}/series/{item.series_uid}/instances/{item.sop_instance_uid}"
    request = urllib.request.Request(url, headers={"Accept": 'application/dicom; transfer-syntax="*"'})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


def _check_after(data: Path, acknowledged: list[Object], offered: list[Object]) -> None:
    served = serve(data)
    try:
        for item in acknowledged:
            assert _retrieved(served, item).endswith(item.data_set)
        study = offered[0].study_uid
        url = f"{served.http}/dicom-web/studies/{study}/instances?limit=1000"
        with urllib.request.urlopen(url, timeout=20) as answer:
            found = [row["00080018"]["Value"][0] for row in json.loads(answer.read() or b"[]")]
        assert len(found) == len(set(found))
        assert {item.sop_instance_uid for item in acknowledged if item.study_uid == study} <= set(found)
        assert list((data / "staging").iterdir()) == []
    finally:
        served.stop()
    scrub = sagittal("scrub", "--data", data)
    assert scrub.returncode == 0, scrub.stdout + scrub.stderr


def _kill_at(
    data: Path, trace: Path, boundary: str, nth: int, objects: list[Object], store: Way
) -> tuple[bool, list[Object]]:
    """Whether the n-th call of the boundary came (and killed), and what was acknowledged."""
    served = serve(data, fresh=True)  # a boundary may want it without a module
    strace = Strace(
        served.process.pid, trace, "-e", f"trace={boundary}", "-e", f"inject={boundary}:signal=SIGKILL:when={nth}"
    )
    acknowledged = store(served, objects)
    killed = len(acknowledged) < len(objects)
    if not killed:
        strace.detach()
    served.stop()
    strace.detach()
    return killed, acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_kill_at_every_boundary(tmp_path: Path, boundary: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if boundary == SENDING:
        (tmp_path / "without").mkdir()
        (tmp_path / "without" / "uvloop.py").write_text("raise ImportError\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    study, series = image().study_uid, image().series_uid
    acknowledged: list[Object] = []
    offered: list[Object] = []
    killed = 0
    for nth in range(1, KILLS + 1):
        big = nth % 2 == 0
        objects = [
            image(study_uid=study, series_uid=series, rows=512 if big else 16, columns=512) for _ in range(KILLS + 5)
        ]
        at = 1 + (nth - 1) % BOUNDARIES[boundary]
        died, kept = _kill_at(tmp_path / "data", tmp_path / "trace", boundary, at, objects, WAYS[way])
        killed += died
        acknowledged += kept
        offered += objects
        if nth % PER_DIRECTORY == 0 or not died:
            _check_after(tmp_path / "data", acknowledged, offered)
    # Nothing is unlinked while storing goes well: then the storing ends before the n-th comes, and that is fine too.
    assert killed == (0 if "unlink" in boundary else KILLS), boundary


# The first call that is not one of the start, when the index is opened, and how many one thread of an import makes in
# any case: how many syncs of files one of the index serves varies.
IMPORT_BOUNDARIES = {
    "write": (1, KILLS),
    "pwrite64": (8, KILLS),
    "fdatasync": (4, 3),
    "fsync": (1, 3),
    RENAMING: (1, SHARED),
}


def _import_until_killed(folder: Path, data: Path, trace: Path, boundary: str, nth: int) -> tuple[bool, set[str]]:
    """Whether it was killed, and the SOP Instance UIDs that it said were stored."""
    command = [need("strace"), "-f", "-o", str(trace), "-e", f"trace={boundary}"]
    command += ["-e", f"inject={boundary}:signal=SIGKILL:when={nth}"]
    command += [sys.executable, "-m", "sagittal", "import", "-q", "--json", "--data", str(data), str(folder)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # only what is written to the archive counts
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line.endswith("}")]
    assert ran.returncode == 0 or ran.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), ran.stderr
    return ran.returncode != 0, {row["sop_instance_uid"] for row in rows if row["status"] == "stored"}


def _held(data: Path, study: str) -> list[str]:
    async def run() -> list[str]:
        async with opened(data) as archive:
            rows = await archive.find(LOCAL, Query("IMAGE", {0x0020000D: study, 0x00080018: ""}))
            return [str(row[0]) for row in rows.rows]

    return asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("boundary", IMPORT_BOUNDARIES)
def test_kill_an_import_at_every_boundary(tmp_path: Path, boundary: str) -> None:
    """What it said was stored is there; started again, it brings in all of the rest, once."""
    study, series, killed = image().study_uid, image().series_uid, 0
    data, acknowledged, offered = tmp_path / "data", set[str](), set[str]()
    folder = tmp_path / "in"
    folder.mkdir()
    for nth in range(1, KILLS + 1):
        for number in range(KILLS + 5):
            item = image(study_uid=study, series_uid=series, rows=512 if nth % 2 == 0 else 16, columns=512)
            (folder / f"{nth}-{number}.dcm").write_bytes(part10(item))
            offered.add(item.sop_instance_uid)
        first, calls = IMPORT_BOUNDARIES[boundary]
        at = first + (nth - 1) % calls
        died, stored = _import_until_killed(folder, data, tmp_path / "trace", boundary, at)
        killed += died
        acknowledged |= stored
        if nth % PER_DIRECTORY == 0:
            held = _held(data, study)
            assert len(held) == len(set(held)) and acknowledged <= set(held)
            assert list((data / "staging").iterdir()) == []
            scrub = sagittal("scrub", "--data", data)
            assert scrub.returncode == 0, scrub.stdout + scrub.stderr
            again = sagittal("import", "-q", "--json", "--data", data, folder)
            assert {json.loads(line)["status"] for line in again.stdout.splitlines()} <= {"stored", "held"}
            assert sorted(_held(data, study)) == sorted(offered)
    assert killed == KILLS


@pytest.fixture
def fault_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Served]:
    def start(plan: str) -> Served:
        monkeypatch.setenv("SAGITTAL_FAULT", plan)
        served = serve(tmp_path / "data")
        monkeypatch.delenv("SAGITTAL_FAULT")
        return served

    return start


POINTS = (
    "staging.create", "staging.write", "file.sync", "object.rename", "directory.sync", "index.begin", "index.commit",
    "index.committed", "answer",
)  # fmt: skip


def _kill_at_point(tmp_path: Path, fault_server: Callable[[str], Served], point: str, store: Way) -> None:
    served = fault_server(f"{point}:kill:3")
    study, series = image().study_uid, image().series_uid
    objects = [image(study_uid=study, series_uid=series, rows=512, columns=512) for _ in range(6)]
    acknowledged = store(served, objects)
    served.stop()
    assert len(acknowledged) < len(objects), f"{point} was never passed"
    _check_after(tmp_path / "data", acknowledged, objects)


@pytest.mark.parametrize("point", POINTS)
def test_kill_at_every_fault_point(tmp_path: Path, fault_server: Callable[[str], Served], point: str) -> None:
    _kill_at_point(tmp_path, fault_server, point, _store_until_killed)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_kill_at_every_fault_point_of_stow(tmp_path: Path, fault_server: Callable[[str], Served], point: str) -> None:
    _kill_at_point(tmp_path, fault_server, point, _stow_until_killed)


def _correct_until_killed(served: Served, study: str, names: list[str]) -> list[str]:
    """Give a study one name after the other; those that were acknowledged."""
    acknowledged = []
    try:
        with httpx.Client(base_url=served.http, timeout=20) as client:
            for name in names:
                given = {"attributes": {"PatientName": name}, "reason": "mixed up"}
                if client.patch(f"/api/studies/{study}", json=given).status_code == 200:
                    acknowledged.append(name)
    except httpx.TransportError:
        pass
    return acknowledged


@pytest.mark.parametrize("point", ["index.begin", "index.commit", "index.committed"])
def test_a_correction_is_whole_or_not_there(tmp_path: Path, fault_server: Callable[[str], Served], point: str) -> None:
    """What was acknowledged is in force; index, metadata and file say the same name, and the log tells who gave it."""
    item, names = image(), [f"Name^{number}" for number in range(1, 7)]
    served = serve(tmp_path / "data")
    assert _stow_until_killed(served, [item]) == [item]
    served.stop()
    served = fault_server(f"{point}:kill:4")
    acknowledged = _correct_until_killed(served, item.study_uid, names)
    served.stop()
    assert 0 < len(acknowledged) < len(names), f"{point} was passed too early or never"
    served = serve(tmp_path / "data")
    try:
        with httpx.Client(base_url=served.http, timeout=20, headers={"accept": "application/dicom+json"}) as client:
            study = f"/dicom-web/studies/{item.study_uid}"
            told = [client.get(path).json()[0] for path in ("/dicom-web/studies", study + "/metadata")]
            (found, same) = [each["00100010"]["Value"][0]["Alphabetic"] for each in told]
            corrections = client.get(f"/api/studies/{item.study_uid}/corrections").json()
        given = [each["attributes"]["00100010"]["Value"][0]["Alphabetic"] for each in corrections]
        assert found == same == given[-1]
        assert given in (acknowledged, names[: len(acknowledged) + 1])  # one more: done, but never told
        assert f"PN{chr(len(found))}\0{found}".encode() in _retrieved(served, item)
    finally:
        served.stop()
    with sqlite3.connect(tmp_path / "data" / "index.db") as index:
        (logged,) = index.execute("SELECT count(*) FROM audit WHERE verb = 'correct' AND outcome = 'done'").fetchone()
    assert logged == len(given)
