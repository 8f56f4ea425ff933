"""What happens to an object while it is transcoded by rule, and beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from builders import build, file_of, opened
from ruled import JPEG_LS, Ruled, findings, frames_in, ruled, ruling

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER, OTHER
from sagittal.archive.index.removal import Target
from sagittal.archive.index.upkeep import stale
from sagittal.archive.transcoding import byrule
from sagittal.archive.transcoding.byrule import ByRule
from sagittal.archive.transcoding.rules import Rule
from sagittal.dicom.syntaxes import EXPLICIT_LE, JPEG_LS_LOSSLESS
from sagittal.errors import NotFound

HELD = build(rows=32, columns=32, frames=3)
OTHER_CONTENT = build(rows=32, columns=32, frames=3, patient_name="Another")


def meanwhile(act: Callable[[ByRule], Awaitable[Any]]) -> type[ByRule]:
    """An engine to which `act` happens once, when the first file was made and is not stored yet."""

    class Interrupted(ByRule):
        happened = False

        async def _made(self, *given: Any) -> Mapping[str, Any]:
            told = await super()._made(*given)
            if not Interrupted.happened:
                Interrupted.happened = True
                await act(self)
            return told

    return Interrupted


async def test_deleted_meanwhile(tmp_path: Path) -> None:
    async def delete(engine: ByRule) -> None:
        await engine._archive.delete(LOCAL, Target(HELD.study_uid))

    async with ruling(tmp_path, engine=meanwhile(delete)) as held:
        await held.store(HELD)
        assert (await held.settled()).state.failed == 0
        assert await held.states(HELD) == [(EXPLICIT_LE, DELETED)]
        assert len(list(held.archive.volume.keys())) == 1
        assert findings(held.archive) == []
        await held.archive.undelete(LOCAL, Target(HELD.study_uid))
        assert (await held.current(HELD)).digest == HELD.digest


async def test_gone_meanwhile(tmp_path: Path) -> None:
    async def purge(engine: ByRule) -> None:
        await engine._archive.delete(LOCAL, Target(HELD.study_uid))
        await engine._archive.collect(now=1 << 62)

    async with ruling(tmp_path, engine=meanwhile(purge)) as held:
        await held.store(HELD)
        assert (await held.settled()).state.failed == 0
        assert await held.states(HELD) == []
        assert list(held.archive.volume.keys()) == []
        # Stored anew, it is done anew.
        assert [one.status for one in await held.store(HELD)] == ["stored"]
        await held.settled()
        assert (await held.current(HELD)).syntax_uid == JPEG_LS_LOSSLESS


async def test_deleted_afterwards_and_sent_again(tmp_path: Path) -> None:
    """The same file is made again, and lies where that of the deleted version lies."""
    async with ruling(tmp_path) as held:
        archive = held.archive
        await held.store(HELD)
        await held.settled()
        await archive.delete(LOCAL, Target(HELD.study_uid))
        assert [one.status for one in await held.store(HELD)] == ["stored"]
        await held.settled()
        ref = await held.current(HELD)
        assert ref.syntax_uid == JPEG_LS_LOSSLESS
        assert sorted(state for _, state in await held.states(HELD)) == [CURRENT, DELETED, DELETED_OTHER, DELETED_OTHER]
        assert len(list(archive.volume.keys())) == 2
        with pytest.raises(NotFound):  # what is held is the same
            await archive.undelete(LOCAL, Target(HELD.study_uid))
        await archive.collect(now=1 << 62)
        assert list(archive.volume.keys()) == [ref.key]
        assert frames_in(archive, ref) == list(HELD.frames)
        assert findings(archive) == []


async def test_what_does_not_fit_is_still_told_of_it(tmp_path: Path) -> None:
    """Discrepancies name the instance that carries them, after its original is gone too."""
    other = build(2, extra={"StudyDescription": "Another", "SeriesDescription": "Another"})
    async with ruling(tmp_path) as held:
        await held.store(HELD, other)
        await held.settled()
        await held.archive.collect(now=1 << 62)
        told = [(row.sop_instance_uid, row.level, row.instances) for row in await held.archive.discrepancies(LOCAL)]
        assert sorted(told) == [(other.sop_instance_uid, "series", 1), (other.sop_instance_uid, "study", 1)]


async def test_what_does_not_fit_is_found_anew_and_counted_once(tmp_path: Path) -> None:
    """Its original, which is held for a while, says the same."""
    different = {"StudyDescription": "Another", "SeriesDescription": "Another"}
    other, third = (build(number, extra=different) for number in (2, 3))
    of_patient = build(4, study=2, extra={"PatientSex": "M"})

    async def told(renewed: bool) -> list[Any]:
        async with opened(tmp_path / "a") as archive:
            while renewed and not await archive.readers.run(stale.is_current):
                await asyncio.sleep(0.01)
            if renewed:
                await archive.collect(now=1 << 62)
            return sorted(row._replace(id=0) for row in await archive.discrepancies(LOCAL))

    def named(told: list[Any]) -> list[Any]:
        """Either of two, whichever was transcoded first."""
        first = other.sop_instance_uid
        return [row._replace(sop_instance_uid=first) if row.instances == 2 else row for row in told]

    async with ruling(tmp_path) as held:
        await held.store(HELD, other, third, of_patient)
        await held.settled()
    before = await told(False)
    assert sorted(row.instances for row in before) == [1, 2, 2] and all(row.sop_instance_uid for row in before)
    with sqlite3.connect(tmp_path / "a" / "index.db") as index:
        index.execute("UPDATE instance SET reader_version = 0")
        index.execute("UPDATE discrepancy SET number_of_instances = 9, instance = 0")
        index.execute("UPDATE setting SET value = '0' WHERE name = 'reader_version'")
    after = await asyncio.wait_for(told(True), 20)
    assert {row.sop_instance_uid for row in after} <= {one.sop_instance_uid for one in (other, third, of_patient)}
    assert named(after) == named(before)


@pytest.mark.parametrize("policy", ["keep-first", "replace", "refuse"])
async def test_sent_again_meanwhile(policy: str, tmp_path: Path) -> None:
    statuses: list[str] = []

    async def later(engine: ByRule) -> None:
        await type(engine).act(engine)  # type: ignore[attr-defined]

    async with ruling(tmp_path, engine=meanwhile(later)) as held:

        async def send(_: ByRule) -> None:
            statuses.extend(one.status for one in await held.store(HELD, HELD, policy=policy))

        held.by_rule.__class__.act = send  # type: ignore[attr-defined]
        await held.store(HELD)
        await held.settled()
        assert statuses == ["duplicate", "duplicate"]
        assert await held.states(HELD) == [(EXPLICIT_LE, DELETED_OTHER), (JPEG_LS_LOSSLESS, CURRENT)]


async def test_replaced_meanwhile(tmp_path: Path) -> None:
    async def later(engine: ByRule) -> None:
        await type(engine).act(engine)  # type: ignore[attr-defined]

    async with ruling(tmp_path, engine=meanwhile(later)) as held:

        async def send(_: ByRule) -> None:
            assert [one.status for one in await held.store(OTHER_CONTENT, policy="replace")] == ["replaced"]

        held.by_rule.__class__.act = send  # type: ignore[attr-defined]
        await held.store(HELD)
        await held.settled()
        # What was made of the first is not kept; the other came in as well, and is done by itself.
        assert await held.states(HELD) == [
            (EXPLICIT_LE, OTHER), (EXPLICIT_LE, DELETED_OTHER), (JPEG_LS_LOSSLESS, CURRENT),
        ]  # fmt: skip
        assert findings(held.archive) == []


async def test_a_version_beside_stays_as_it_is(tmp_path: Path) -> None:
    async with ruling(tmp_path) as held:
        await held.store(HELD, OTHER_CONTENT)
        await held.settled()
        assert sorted(await held.states(HELD)) == [
            (EXPLICIT_LE, OTHER), (EXPLICIT_LE, DELETED_OTHER), (JPEG_LS_LOSSLESS, CURRENT),
        ]  # fmt: skip
        await held.archive.collect(now=1 << 62)
        assert sorted(await held.states(HELD)) == [(EXPLICIT_LE, OTHER), (JPEG_LS_LOSSLESS, CURRENT)]
        assert findings(held.archive) == []


async def test_corrections_stay_beside_the_object(tmp_path: Path) -> None:
    """Made before, meanwhile and after: in force on every way out, in no file."""

    async def correct(engine: ByRule) -> None:
        where = (HELD.study_uid, "")
        await engine._archive.correct(LOCAL, where, {"PatientName": "Right^Jane"}, "mixed up", "CORRECT")

    async with ruling(tmp_path, engine=meanwhile(correct)) as held:
        archive = held.archive
        await held.store(HELD)
        await held.settled()
        await archive.correct(LOCAL, (HELD.study_uid, ""), {"PatientID": "P9"}, "mixed up", "CORRECT")
        ref = await held.current(HELD)
        assert (ref.syntax_uid, len(ref.corrections)) == (JPEG_LS_LOSSLESS, 2)
        stored = file_of(archive, ref)
        assert (b"Doe^Jane" in stored, b"Right^Jane" in stored) == (True, False)
        with archive.open_object(ref) as opened:
            sent = b"".join(opened.file(1 << 16))
        assert b"Right^Jane" in sent and b"P9" in sent and len(sent) == ref.sent_size
        assert frames_in(archive, ref) == list(HELD.frames)


async def test_stores_are_apart(tmp_path: Path) -> None:
    """A rule of one store; the same file in another one stays, whatever becomes of it here."""
    data = tmp_path / "a"

    async def act(held: Ruled) -> None:
        archive = held.archive
        research = Principal("r", "local", LOCAL.verbs, archive.stores["research"])
        for who in (LOCAL, research):
            transfer = archive.store_begin_part10(who, byrule.Source("import"))
            transfer.write(HELD.part10)
            assert (await transfer.commit()).status == "stored"
        await held.settled()
        (theirs,) = await archive.instances(research, study_uid=HELD.study_uid)
        assert (theirs.digest, (await held.current(HELD)).syntax_uid) == (HELD.digest, JPEG_LS_LOSSLESS)
        await archive.collect(now=1 << 62)
        with archive.open_object(theirs) as opened:
            assert b"".join(opened.file(1 << 16)) == HELD.part10
        assert findings(archive) == []
        assert (await held.store(HELD))[0].status == "duplicate"
        assert (await held.by_rule.report(research, 10)).failures == []
        assert [(await held.by_rule.tally(who)).done for who in (LOCAL, research)] == [1, 0]

    await (await Archive.open(data, stores=["research"])).close()
    async with ruled(data, Rule(JPEG_LS_LOSSLESS, stores=("main",))) as held:
        await act(held)


async def test_the_same_file_in_two_stores(tmp_path: Path) -> None:
    """A rule of all stores: each has its own version, of one file; what one deletes the other keeps."""
    data = tmp_path / "a"
    await (await Archive.open(data, stores=["research"])).close()
    async with ruled(data, JPEG_LS) as held:
        archive = held.archive
        research = Principal("r", "local", LOCAL.verbs, archive.stores["research"])
        for who in (LOCAL, research):
            transfer = archive.store_begin_part10(who, byrule.Source("import"))
            transfer.write(HELD.part10)
            await transfer.commit()
        await held.settled()
        (theirs,) = await archive.instances(research, study_uid=HELD.study_uid)
        ours = await held.current(HELD)
        assert (ours.syntax_uid, theirs.digest, theirs.key) == (JPEG_LS_LOSSLESS, ours.digest, ours.key)
        await archive.delete(LOCAL, Target(HELD.study_uid))
        await archive.collect(now=1 << 62)
        assert list(archive.volume.keys()) == [theirs.key]
        assert frames_in(archive, theirs) == list(HELD.frames)
        assert findings(archive) == []
