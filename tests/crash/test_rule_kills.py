"""SIGKILL between each two steps of transcoding by rule; opened again, nothing acknowledged is lost and all is done."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from pathlib import Path

import forked
import pytest
from builders import build
from conftest import Served, sagittal, serve
from crash.test_kill_boundaries import _store_until_killed
from ruled import findings, frames_in, ruled
from wire import image

from sagittal.archive.access import LOCAL
from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER
from sagittal.archive.transcoding.rules import Rule
from sagittal.dicom.syntaxes import JPEG_LS_LOSSLESS

OBJECTS = [build(number, rows=16, columns=16) for number in range(4)]
NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
RULES = {
    "lossless": Rule(JPEG_LS_LOSSLESS),
    "lossy": Rule(NEAR_LOSSLESS, lossy=True, keep_original=False),
}

_PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from crash.test_rule_kills import OBJECTS, RULES
from ruled import ruled
from sagittal.archive.faults import from_environment

async def main():
    faults = from_environment(os.environ)
    async with ruled(Path(sys.argv[1]), RULES[sys.argv[2]], faults=faults, durability="full") as held:
        for built in OBJECTS:
            (outcome,) = await held.store(built)
            os.write(1, f"{outcome.sop_instance_uid}\\n".encode())
        await held.settled()

asyncio.run(main())
"""

# The first passings are of the objects that come in, one after the other; those of the rule follow.
KILLS = [
    ("transcode.made", 1), ("transcode.made", 3), ("transcode.advance", 1), ("staging.create", 6), ("file.sync", 6),
    ("object.rename", 5), ("object.rename", 7), ("directory.sync", 6), ("index.begin", 7), ("index.commit", 7),
    ("index.committed", 7), ("index.commit", 9), ("answer", 6), ("answer", 7),
]  # fmt: skip
DAILY = [("transcode.made", 1), ("index.commit", 7)]  # each takes seconds: processes with workers, twice


def killed(data: Path, rule: str, point: str, nth: int) -> list[str]:
    """Store and transcode until the process dies; gives the acknowledged UIDs."""
    environment = os.environ | {"SAGITTAL_FAULT": f"{point}:kill:{nth}"}
    ran = forked.done(forked.python, _PROGRAM, str(data), rule, timeout=60, environment=environment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return ran.stdout.split()


async def looked_at(data: Path, acknowledged: list[str], rule: str) -> None:
    async with ruled(data, RULES[rule]) as held:
        archive = held.archive
        assert not list((data / "staging").iterdir())
        first = findings(archive)
        assert (await held.settled()).failures == []
        assert first == findings(archive) == []
        refs = await archive.instances(LOCAL, study_uid=OBJECTS[0].study_uid)
        assert {ref.syntax_uid for ref in refs} == {RULES[rule].to}
        assert len(refs) == len({ref.sop_instance_uid for ref in refs}) >= len(acknowledged)
        for built in OBJECTS:
            if built.sop_instance_uid not in acknowledged:
                continue
            states = [state for _, state in await held.states(built)]
            if rule == "lossless":
                assert states == [DELETED_OTHER, CURRENT]
                assert frames_in(archive, await held.current(built)) == list(built.frames)
                assert (await held.store(built))[0].status == "duplicate"
            else:
                assert states == [DELETED]
        await archive.collect(now=1 << 62)
        assert sorted(archive.volume.keys()) == sorted(ref.key for ref in refs)
        assert (await archive.statistics(LOCAL)).instances == len(refs)
        assert findings(archive) == []


@pytest.mark.parametrize(
    ("point", "nth"), [pytest.param(*kill, marks=() if kill in DAILY else pytest.mark.slow) for kill in KILLS]
)
@pytest.mark.parametrize("rule", RULES)
def test_killed_at(tmp_path: Path, rule: str, point: str, nth: int) -> None:
    acknowledged = killed(tmp_path / "data", rule, point, nth)
    asyncio.run(looked_at(tmp_path / "data", acknowledged, rule))


@pytest.mark.parametrize("nth", [1, 3])
def test_killed_before_an_original_is_let_go(tmp_path: Path, nth: int) -> None:
    acknowledged = killed(tmp_path / "data", "lossy", "transcode.stored", nth)
    asyncio.run(looked_at(tmp_path / "data", acknowledged, "lossy"))


def asked(served: Served, path: str, accept: str) -> bytes:
    request = urllib.request.Request(served.http + path, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize(
    ("point", "nth"),
    [
        pytest.param("transcode.made", 1, marks=pytest.mark.slow),
        pytest.param("transcode.made", 4, marks=pytest.mark.slow),
        ("transcode.advance", 1),
    ],
)
def test_a_server_killed_while_it_transcodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
) -> None:
    """All of it by C-STORE and DICOMweb: what was acknowledged is there, pixel for pixel, in the rule's syntax."""
    objects = [image(rows=64, columns=64, pixels=os.urandom(64 * 64 * 2)) for _ in range(6)]
    monkeypatch.setenv("SAGITTAL_TRANSCODE", json.dumps([{"to": JPEG_LS_LOSSLESS}]))
    monkeypatch.setenv("SAGITTAL_FAULT", f"{point}:kill:{nth}")
    served = serve(tmp_path / "data")
    acknowledged = _store_until_killed(served, objects)
    assert served.process.wait(timeout=60) == -signal.SIGKILL
    monkeypatch.delenv("SAGITTAL_FAULT")
    served = serve(tmp_path / "data")
    try:
        until = time.monotonic() + 60
        while json.loads(asked(served, "/api/transcoding", "application/json"))["waiting"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        for item in acknowledged:
            where = f"/studies/{item.study_uid}/series/{item.series_uid}/instances/{item.sop_instance_uid}"
            frame = asked(served, f"/dicom-web{where}/frames/1", "application/octet-stream")
            assert item.data_set[-64 * 64 * 2 :] in frame
            versions = json.loads(asked(served, f"/api/instances/{item.sop_instance_uid}/versions", "application/json"))
            assert [one["state"] for one in versions if one["transfer_syntax"] == JPEG_LS_LOSSLESS] == ["current"]
    finally:
        served.stop()
    scrub = sagittal("scrub", "--data", tmp_path / "data")
    assert scrub.returncode == 0, scrub.stdout
