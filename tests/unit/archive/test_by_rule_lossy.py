"""Rules that say `lossy = true`: what is made is an instance of its own, beside the original or in its stead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
from builders import Built, build, file_of
from ruled import Ruled, findings, frames_in, ruling

from sagittal.archive.access import LOCAL
from sagittal.archive.index import CURRENT, DELETED
from sagittal.archive.index.removal import Target
from sagittal.archive.query import Query
from sagittal.archive.references import InstanceRef
from sagittal.archive.transcoding.rules import Rule
from sagittal.dicom.syntaxes import EXPLICIT_LE, JPEG_2000, JPEG_BASELINE
from sagittal.errors import Gone
from sagittal.pixels.images import read_whole

NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
GRADIENT = b"".join((row * 40 + column * 7).to_bytes(2, "little") for row in range(32) for column in range(32))
HELD = build(rows=32, columns=32, extra={"PixelData": GRADIENT})
KEEP = Rule(NEAR_LOSSLESS, lossy=True, near=3)
REMOVE = Rule(NEAR_LOSSLESS, lossy=True, near=3, keep_original=False)


async def derived(held: Ruled, of: Built = HELD) -> InstanceRef:
    """What was made of an object: the one other instance of its series."""
    refs = await held.archive.instances(LOCAL, study_uid=of.study_uid)
    (ref,) = [ref for ref in refs if ref.sop_instance_uid != of.sop_instance_uid]
    return ref


def attributes(held: Ruled, ref: InstanceRef) -> Any:
    data = file_of(held.archive, ref)[ref.header_length :]
    return read_whole(ref.syntax_uid, lambda at, length: data[at : at + length], held.archive.limits.reader).members


async def test_beside_the_original(tmp_path: Path) -> None:
    async with ruling(tmp_path, KEEP) as held:
        await held.store(HELD)
        assert (await held.settled()).failures == []
        assert (await held.current(HELD)).digest == HELD.digest
        ref = await derived(held)
        assert (ref.syntax_uid, ref.series_uid) == (NEAR_LOSSLESS, HELD.series_uid)
        told = attributes(held, ref)
        # PS3.3 C.7.6.1.1.2, C.7.6.1.1.3, C.7.6.1.1.5
        assert told["00080008"]["Value"][0] == "DERIVED"
        assert told["00080018"]["Value"] == [ref.sop_instance_uid]
        assert told["00282110"]["Value"] == ["01"]
        assert told["00282114"]["Value"] == ["ISO_14495_1"]
        assert float(told["00282112"]["Value"][0]) == pytest.approx(len(GRADIENT) / frame_length(held, ref), rel=0.01)
        assert told["00082112"]["Value"][0]["00081155"]["Value"] == [HELD.sop_instance_uid]
        assert "Lossy compression" in told["00082111"]["Value"][0]
        before, after = numpy.frombuffer(GRADIENT, "<u2"), numpy.frombuffer(frames_in(held.archive, ref)[0], "<u2")
        assert 0 < numpy.abs(before.astype(int) - after).max() <= 3
        counts = await held.archive.statistics(LOCAL)
        assert (counts.instances, counts.deleted, counts.other_versions) == (2, 0, 0)
        changes, _ = await held.archive.changes(LOCAL, None, 10)
        assert [change.kind for change in changes] == ["stored", "stored"]
        # Sent again it is held already, and nothing more is made.
        assert (await held.store(HELD))[0].status == "duplicate"
        await held.settled()
        assert (await held.archive.statistics(LOCAL)).instances == 2
        assert findings(held.archive) == []


def frame_length(held: Ruled, ref: InstanceRef) -> int:
    """Bytes of the last fragment, as its item says."""
    data = file_of(held.archive, ref)[ref.header_length :]
    at = data.rindex(b"\xfe\xff\x00\xe0")
    return int.from_bytes(data[at + 4 : at + 8], "little")


async def test_in_its_stead(tmp_path: Path) -> None:
    async with ruling(tmp_path, REMOVE) as held:
        archive = held.archive
        await held.store(HELD)
        assert (await held.settled()).failures == []
        ref = await derived(held)
        assert await held.states(HELD) == [(EXPLICIT_LE, DELETED)]
        with pytest.raises(Gone):
            await archive.instances(LOCAL, sop_instance_uids=[HELD.sop_instance_uid])
        assert (await archive.statistics(LOCAL)).instances == 1
        assert await archive.count(LOCAL, Query("IMAGE", {0x0020000D: HELD.study_uid})) == 1
        changes, _ = await archive.changes(LOCAL, None, 10)
        assert [(change.kind, change.sop_instance_uid) for change in changes] == [
            ("stored", HELD.sop_instance_uid), ("stored", ref.sop_instance_uid), ("deleted", HELD.sop_instance_uid),
        ]  # fmt: skip
        # Sent again it is stored, and goes the same way: no conflict, nothing twice.
        assert (await held.store(HELD))[0].status == "stored"
        await held.settled()
        assert await derived(held) == ref._replace(revision=(await derived(held)).revision)
        assert [state for _, state in await held.states(HELD)] == [DELETED, DELETED]
        # It can come back, and goes for good with the collector.
        first, second = await archive.tombstones(LOCAL, originals=True)
        assert await archive.undelete(LOCAL, Target(), first.id) == 1
        assert (await held.current(HELD)).digest == HELD.digest
        await archive.delete(LOCAL, Target(sop_instance_uid=HELD.sop_instance_uid))
        await archive.collect(now=1 << 62)
        assert [one.digest for one in await archive.versions(LOCAL, HELD.sop_instance_uid)] == []
        assert list(archive.volume.keys()) == [ref.key]
        assert findings(archive) == []
        assert second.level == "original"


async def test_a_version_beside_is_not_let_go(tmp_path: Path) -> None:
    other = build(rows=32, columns=32, patient_name="Another", extra={"PixelData": GRADIENT})
    async with ruling(tmp_path, REMOVE) as held:
        held.task.cancel()
        await held.store(HELD, other)
        await held.by_rule._step()
        assert sorted(state for _, state in await held.states(HELD)) == [0, DELETED]
        assert findings(held.archive) == []


async def test_what_a_syntax_does_not_take_stays(tmp_path: Path) -> None:
    async with ruling(tmp_path, Rule(JPEG_BASELINE, lossy=True, keep_original=False)) as held:
        await held.store(HELD)
        (failure,) = (await held.settled()).failures
        assert "8 bits" in failure.reason
        assert await held.states(HELD) == [(EXPLICIT_LE, CURRENT)]


async def test_a_syntax_that_takes_both_loses_nothing_unless_told(tmp_path: Path) -> None:
    async with ruling(tmp_path, Rule(JPEG_2000)) as held:
        await held.store(HELD)
        assert (await held.settled()).failures == []
        ref = await held.current(HELD)
        assert (ref.syntax_uid, frames_in(held.archive, ref)) == (JPEG_2000, [GRADIENT])
        assert "00282110" not in attributes(held, ref)


async def test_a_ratio(tmp_path: Path) -> None:
    async with ruling(tmp_path, Rule(JPEG_2000, lossy=True, ratio=8.0)) as held:
        await held.store(HELD)
        assert (await held.settled()).failures == []
        assert float(attributes(held, await derived(held))["00282112"]["Value"][0]) >= 8
