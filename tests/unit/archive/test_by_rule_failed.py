"""What rules can't do, which stays as it came and is told; and what has to wait."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pytest
from builders import build
from ruled import JPEG_LS, findings, ruled, ruling

from sagittal import lasting
from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.faults import Faults
from sagittal.archive.index import CURRENT, DELETED_OTHER
from sagittal.archive.index.removal import Target
from sagittal.archive.transcoding import byrule
from sagittal.archive.transcoding.rules import Rule
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, JPEG_LS_LOSSLESS, RLE_LOSSLESS
from sagittal.errors import NotAuthorized
from sagittal.limits import ArchiveLimits, Limits
from sagittal.workers.pool import Answer, Pool

CRASH = Path(__file__).parents[1] / "workers"
HELD = build(rows=32, columns=32, frames=3)


async def test_what_cannot_be_decoded_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "sagittal")
    broken = build(9, syntax_uid=RLE_LOSSLESS, rows=8, columns=8)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "sagittal.transcode"]

    async with ruling(tmp_path) as held:
        await held.store(broken, HELD)
        report = await held.settled()
        (failure,) = report.failures
        assert (failure.sop_instance_uid, failure.to_syntax) == (broken.sop_instance_uid, JPEG_LS_LOSSLESS)
        assert "RLE" in failure.reason
        assert (await held.current(broken)).digest == broken.digest
        assert (await held.current(HELD)).syntax_uid == JPEG_LS_LOSSLESS
        assert findings(held.archive) == []
    (line,) = told()
    assert line.startswith("not transcoded: ")
    async with ruling(tmp_path) as held:
        assert (await held.settled()).state.failed == 1  # a restart is no reason to try
        assert len(told()) == 1
        with pytest.raises(NotAuthorized):
            await held.by_rule.again(Principal("n", "node", frozenset({"find"})))
        assert await held.by_rule.again(LOCAL) == 1
        assert [one.again for one in (await held.settled()).failures] == [0]
        assert len(told()) == 2
        await held.archive.delete(LOCAL, Target(broken.study_uid))
        assert await held.by_rule.again(LOCAL) == 0  # nothing that is not current
        await held.archive.collect(now=1 << 62)
        assert (await held.settled()).state.failed == 0


SIGNED = build(1, extra={"DigitalSignaturesSequence": b""})


async def test_what_is_not_for_the_rule(tmp_path: Path) -> None:
    """Signed objects with a reason; lossy ones, and those without pixels, without a word."""
    lossy = build(3, syntax_uid=JPEG_BASELINE)
    async with ruling(tmp_path) as held:
        await held.store(SIGNED, lossy)
        (failure,) = (await held.settled()).failures
        assert (failure.sop_instance_uid, "signed" in failure.reason) == (SIGNED.sop_instance_uid, True)
        assert (await held.current(lossy)).digest == lossy.digest


async def test_damage_is_not_made_good(tmp_path: Path) -> None:
    """Of a file that is not what it was nothing is made; once it is, it is tried when somebody asks."""
    data = tmp_path / "a"
    async with ruled(data, JPEG_LS) as held:
        held.task.cancel()
        await held.store(HELD)
    (path,) = (data / "objects").glob("*/*")
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    async with ruled(data, JPEG_LS) as held:
        (failure,) = (await held.settled()).failures
        assert "not those that were received" in failure.reason
        assert (await held.current(HELD)).syntax_uid == EXPLICIT_LE
        assert (await held.store(HELD))[0].status == "duplicate"  # a repair
        assert path.read_bytes() == good
        await held.by_rule.again(LOCAL)
        assert (await held.settled()).failures == []
        assert (await held.current(HELD)).syntax_uid == JPEG_LS_LOSSLESS


class Lying(Pool):
    """Tells the digest of another file than it made."""

    async def run(self, call: str, *given: Any, **more: Any) -> Answer:
        answer = await super().run(call, *given, **more)
        return Answer({**answer.told, "digest": "0" * 64}, answer.body)


class Hanging(Pool):
    """A worker that is never done with a request."""

    async def run(self, call: str, *given: Any, **more: Any) -> Answer:
        return await super().run("calls:hang", *given, seconds=more["seconds"])


class Crashing(Pool):
    """A worker that dies of each request."""

    async def run(self, call: str, *given: Any, **more: Any) -> Answer:
        return await super().run("calls:crash", *given)


@pytest.mark.parametrize(("pool", "told"), [(Lying, "not what was verified"), (Crashing, "crashed")])
async def test_what_was_not_verified_is_not_kept(
    pool: type[Pool], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CRASH))
    async with ruling(tmp_path, pool=pool) as held:
        await held.store(HELD)
        (failure,) = (await held.settled()).failures
        assert told in failure.reason
        assert await held.states(HELD) == [(EXPLICIT_LE, CURRENT)]
        assert len(list(held.archive.volume.keys())) == 1
        assert not list((tmp_path / "a" / "staging").iterdir())


@pytest.mark.parametrize(("seconds", "pool"), [(0.05, Hanging), (60.0, Pool)])
async def test_transcode_seconds_max(
    seconds: float, pool: type[Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker is ended, and the object stays as it came; the limit of other requests is none for it."""
    monkeypatch.setenv("PYTHONPATH", str(CRASH))
    done = pool is Pool
    archive = ArchiveLimits(transcode_seconds_max=seconds, free_bytes_min=0)
    async with ruling(tmp_path, limits=Limits(archive=archive), pool=pool) as held:
        await held.store(HELD)
        report = await held.settled()
        assert [f"{seconds:g} seconds" in one.reason for one in report.failures] == ([] if done else [True])
        assert (await held.current(HELD)).syntax_uid == (JPEG_LS_LOSSLESS if done else EXPLICIT_LE)


async def test_a_volume_that_takes_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lasting, "PAUSES", (0.05, 0.1))
    made = 0

    def fail(point: str) -> None:
        nonlocal made
        made += point == "transcode.made"
        if point == "file.sync" and 0 < made < 3:
            raise OSError(errno.EIO, "tried")

    caplog.set_level(logging.WARNING, "sagittal")
    async with ruling(tmp_path, faults=Faults(fail)) as held:
        await held.store(HELD)
        assert (await held.settled()).failures == []
        assert (await held.current(HELD)).syntax_uid == JPEG_LS_LOSSLESS
        assert findings(held.archive) == []
    assert any("transcoding by rule waits" in record.getMessage() for record in caplog.records)
    assert made == 3


async def test_objects_without_pixels_have_another_form_too(tmp_path: Path) -> None:
    report = build(2, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.11", modality="SR", syntax_uid=IMPLICIT_LE)
    palette = build(3, sop_class_uid="1.2.840.10008.5.1.4.39.1", study_uid="", series_uid="", syntax_uid=IMPLICIT_LE)
    async with ruling(tmp_path, Rule(EXPLICIT_LE, syntaxes=(IMPLICIT_LE,))) as held:
        await held.store(report, palette)
        assert (await held.settled()).failures == []
        for built in (report, palette):
            versions = await held.archive.versions(LOCAL, built.sop_instance_uid)
            assert [(ref.syntax_uid, ref.state) for ref in versions] == [
                (IMPLICIT_LE, DELETED_OTHER), (EXPLICIT_LE, CURRENT),
            ]  # fmt: skip
        assert findings(held.archive) == []


async def test_a_class_that_only_the_command_told(tmp_path: Path) -> None:
    """A data set without SOP Class UID: the file has it in its meta group, before and after."""
    built = build(rows=32, columns=32)
    at = built.data.index(b"\x08\0\x16\0UI")
    data = built.data[:at] + built.data[at + 8 + int.from_bytes(built.data[at + 6 : at + 8], "little") :]
    async with ruling(tmp_path) as held:
        transfer = held.archive.store_begin(
            LOCAL, byrule.Source("dimse"), syntax_uid=EXPLICIT_LE, sop_class_uid=built.sop_class_uid,
            sop_instance_uid=built.sop_instance_uid,
        )  # fmt: skip
        transfer.write(data)
        await transfer.commit()
        assert (await held.settled()).failures == []
        ref = await held.current(built)
        assert (ref.syntax_uid, ref.sop_class_uid) == (JPEG_LS_LOSSLESS, built.sop_class_uid)
        assert findings(held.archive) == []
