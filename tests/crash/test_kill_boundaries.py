"""SIGKILL at every boundary that the kernel sees, by `strace -e inject`: nothing acknowledged is lost, nothing doubled.

For each system call that writes, syncs, renames or sends, the n-th one after the server is ready kills it, for
n = 1, 2, 3, … while objects are stored by C-STORE. Then the archive is started again: what was acknowledged is there
with its bytes, every object once, `scrub` finds nothing, staging is empty.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Served, sagittal, serve
from crash.strace import Strace
from wire import CT_IMAGE_STORAGE, EXPLICIT_LE, Closed, Object, Wire, image

# Each 20 times over the suite. `write` is that of a staging file and, since uvloop sends with it, of an answer too.
BOUNDARIES = (
    "write",
    "pwrite64",
    "fdatasync",
    "fsync",
    "rename,renameat,renameat2",
    "unlink,unlinkat",
)
KILLS = 20
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


def _kill_at(data: Path, trace: Path, boundary: str, nth: int, objects: list[Object]) -> tuple[bool, list[Object]]:
    """Whether the n-th call of the boundary came (and killed), and what was acknowledged."""
    served = serve(data)
    strace = Strace(
        served.process.pid, trace, "-e", f"trace={boundary}", "-e", f"inject={boundary}:signal=SIGKILL:when={nth}"
    )
    acknowledged = _store_until_killed(served, objects)
    killed = len(acknowledged) < len(objects)
    if not killed:
        strace.detach()
    served.stop()
    strace.detach()
    return killed, acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_kill_at_every_boundary(tmp_path: Path, boundary: str) -> None:
    study, series = image().study_uid, image().series_uid
    acknowledged: list[Object] = []
    offered: list[Object] = []
    killed = 0
    for nth in range(1, KILLS + 1):
        big = nth % 2 == 0
        objects = [
            image(study_uid=study, series_uid=series, rows=512 if big else 16, columns=512) for _ in range(KILLS + 5)
        ]
        died, kept = _kill_at(tmp_path / "data", tmp_path / "trace", boundary, nth, objects)
        killed += died
        acknowledged += kept
        offered += objects
        if nth % PER_DIRECTORY == 0 or not died:
            _check_after(tmp_path / "data", acknowledged, offered)
    # Nothing is unlinked while storing goes well: then the storing ends before the n-th comes, and that is fine too.
    assert killed == (0 if "unlink" in boundary else KILLS), boundary


@pytest.fixture
def fault_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Served]:
    def start(plan: str) -> Served:
        monkeypatch.setenv("SAGITTAL_FAULT", plan)
        served = serve(tmp_path / "data")
        monkeypatch.delenv("SAGITTAL_FAULT")
        return served

    return start


@pytest.mark.parametrize(
    "point",
    ["staging.create", "staging.write", "file.sync", "object.rename", "directory.sync", "index.begin", "index.commit",
     "index.committed", "answer"],
)  # fmt: skip
def test_kill_at_every_fault_point(tmp_path: Path, fault_server: Callable[[str], Served], point: str) -> None:
    served = fault_server(f"{point}:kill:3")
    study, series = image().study_uid, image().series_uid
    objects = [image(study_uid=study, series_uid=series, rows=512, columns=512) for _ in range(6)]
    acknowledged = _store_until_killed(served, objects)
    served.stop()
    assert len(acknowledged) < len(objects), f"{point} was never passed"
    _check_after(tmp_path / "data", acknowledged, objects)
