"""What came in gets another transfer syntax by rule: what is right afterwards, wherever one looks."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from builders import Built, build, file_of, opened, revision_of, rows, store
from ruled import JPEG_LS, findings, frames_in, ruled, ruling

from sagittal.archive.access import LOCAL
from sagittal.archive.index import CURRENT, DELETED_OTHER, OTHER
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.archive.local import LocalVolume
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.transcoding.rules import Rule
from sagittal.archive.upkeep import tasks
from sagittal.archive.upkeep.backup import restore
from sagittal.archive.upkeep.reindex import Reindex
from sagittal.dicom.elements import swapped
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    HTJ2K_LOSSLESS,
    IMPLICIT_LE,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    syntax,
)
from sagittal.limits import Limits
from sagittal.pixels.codecs import codec
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description

HELD = build(rows=32, columns=32, frames=3)
PIXELS = Description(8, 8)


def plain(built: Built) -> list[bytes]:
    return [swapped(frame, 2) if built.syntax_uid == EXPLICIT_BE else frame for frame in built.frames]


@pytest.mark.parametrize("to", [JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, RLE_LOSSLESS, DEFLATED_LE])
async def test_every_way(to: str, tmp_path: Path) -> None:
    came = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE)
    objects = [build(number, rows=16, columns=16, frames=2, syntax_uid=uid) for number, uid in enumerate(came)]
    async with ruling(tmp_path, Rule(to)) as held:
        await held.store(*objects)
        assert (await held.settled()).failures == []
        for built in objects:
            ref = await held.current(built)
            assert ref.syntax_uid == to
            assert frames_in(held.archive, ref) == plain(built)
        assert findings(held.archive) == []


async def test_everything_about_it_is_right(tmp_path: Path) -> None:
    async with ruling(tmp_path) as held:
        archive = held.archive
        await held.store(HELD, calling_aet="CT1")
        before = await held.current(HELD)
        await held.settled()
        ref = await held.current(HELD)
        assert (ref.sop_instance_uid, ref.study_uid, ref.series_uid) == (
            HELD.sop_instance_uid, HELD.study_uid, HELD.series_uid,
        )  # fmt: skip
        file = file_of(archive, ref)
        assert hashlib.sha256(file).hexdigest() == ref.digest == ref.key.rpartition("/")[2]
        assert ref.revision == (before.revision or 0) + 1
        assert await revision_of(archive, HELD.series_uid, "series") == 2
        # What was prepared is of the new file: metadata as the reader gives it, frames where they lie now.
        texts: list[str] = []
        reader = Reader(syntax(ref.syntax_uid), wanted=frozenset(), limits=Limits().reader, metadata=texts.append)
        reader.feed(file[ref.header_length :])
        index = reader.finish().frames
        assert [body async for body in archive.metadata(LOCAL, [ref])] == [["".join(texts).encode()]]
        assert index is not None
        assert await archive.frame_ranges(ref, [1, 3]) == list(index.ranges_of([1, 3]))


async def test_nothing_is_counted_twice(tmp_path: Path) -> None:
    beside = build(2)
    async with ruling(tmp_path) as held:
        archive = held.archive
        await held.store(HELD, calling_aet="CT1")
        await held.settled()
        await held.store(beside)
        await held.settled()
        counts = await archive.statistics(LOCAL)
        assert (counts.studies, counts.series, counts.instances, counts.other_versions) == (1, 1, 2, 0)
        assert await archive.count(LOCAL, Query("IMAGE", {0x0020000D: HELD.study_uid})) == 2
        assert await archive.discrepancies(LOCAL) == []
        changes, _ = await archive.changes(LOCAL, None, 10)
        kinds = [change.kind for change in changes if change.sop_instance_uid == HELD.sop_instance_uid]
        assert kinds == ["stored", "transcoded"]
        assert await held.states(HELD) == [(EXPLICIT_LE, DELETED_OTHER), (JPEG_LS_LOSSLESS, CURRENT)]
        assert held.archive.figures().outcomes["transcode", "transcoded", 0] == 2
    data = tmp_path / "a"
    audit = (
        "SELECT principal, outcome, study_instance_uid, sum(number_of_instances) FROM audit WHERE verb = 'transcode'"
    )
    assert rows(data, audit) == [("transcode", "transcoded", HELD.study_uid, 2)]
    assert rows(data, "SELECT kind, outcome FROM receipt WHERE calling_aet <> 'CT1'") == [
        ("transcode", "transcoded"), ("import", "stored"), ("transcode", "transcoded"),
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["keep-first", "replace", "refuse"])
async def test_the_original_sent_again_is_no_conflict(policy: str, tmp_path: Path) -> None:
    async with ruling(tmp_path) as held:
        await held.store(HELD)
        await held.settled()
        ref = await held.current(HELD)
        for built in (HELD, HELD):
            assert [one.status for one in await held.store(built, policy=policy)] == ["duplicate"]
        assert [one.digest for one in await held.store(HELD, policy=policy)] == [ref.digest]
        # Nor once the original is gone.
        await held.archive.collect(now=1 << 62)
        assert [one.status for one in await held.store(HELD, policy=policy)] == ["duplicate"]
        await held.settled()
        assert await held.states(HELD) == [(JPEG_LS_LOSSLESS, CURRENT)]
        # Nor what is held now; other content still is.
        transfer = held.archive.store_begin_part10(LOCAL, Source("import", policy=policy))
        transfer.write(file_of(held.archive, ref))
        assert (await transfer.commit()).status == "duplicate"
        if policy != "refuse":
            other = build(rows=32, columns=32, frames=3, patient_name="Another")
            assert {one.status for one in await held.store(other, policy=policy)} <= {"kept", "replaced"}


BE_PIXELS = b"".join(swapped(frame, 2) for frame in HELD.frames)
SAME = [
    build(rows=32, columns=32, frames=3, syntax_uid=IMPLICIT_LE),
    build(rows=32, columns=32, frames=3, syntax_uid=DEFLATED_LE),
    build(rows=32, columns=32, frames=3, syntax_uid=EXPLICIT_BE, extra={"PixelData": BE_PIXELS}),
    replace(HELD, data=HELD.data + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0\0\0\0\0"),
    replace(HELD, data=b"\x08\0\0\0UL\4\0\xff\0\0\0" + HELD.data),
]
OTHERS = [
    (build(rows=32, columns=32, frames=3, patient_name="Another"), 0x00100010),
    (build(rows=32, columns=32, frames=3, extra={"PixelData": BE_PIXELS}), 0x7FE00010),
    (build(rows=32, columns=32, frames=3, extra={"PhotometricInterpretation": "MONOCHROME1"}), 0x7FE00010),
    (build(rows=32, columns=32, frames=3, syntax_uid=RLE_LOSSLESS), 0x7FE00010),
]


@pytest.mark.parametrize("purged", [False, True])
async def test_the_original_otherwise_encoded_is_no_conflict(purged: bool, tmp_path: Path) -> None:
    """As between any two encodings of one content; other content is one still, and the answer says where."""
    async with ruling(tmp_path) as held:
        await held.store(HELD)
        await held.settled()
        if purged:
            await held.archive.collect(now=1 << 62)
        assert [one.status for one in await held.store(*SAME)] == ["duplicate"] * len(SAME)
        for other, offending in OTHERS:
            (outcome,) = await held.store(other)
            assert (outcome.status, outcome.offending) == ("kept", offending)


@pytest.mark.parametrize("to", [JPEG_LS_LOSSLESS, EXPLICIT_LE])
async def test_a_compressed_original_is_known_by_its_fragments(to: str, tmp_path: Path) -> None:
    frames = [codec(RLE_LOSSLESS).encode(numpy.full((8, 8), n, "u2"), PIXELS, Options()) for n in (1, 2)]
    built = build(rows=8, columns=8, frames=2, syntax_uid=RLE_LOSSLESS, extra={"PixelData": b""})
    items = b"".join(b"\xfe\xff\0\xe0" + len(one).to_bytes(4, "little") + one for one in (b"", *frames))
    data = built.data[: built.data.rindex(b"\xe0\x7f\x10\0")] + b"\xe0\x7f\x10\0OB\0\0" + b"\xff" * 4 + items
    built = replace(built, data=data + b"\xfe\xff\xdd\xe0\0\0\0\0")
    padded = replace(built, data=built.data + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0\0\0\0\0")
    other = replace(built, data=built.data.replace(items, items[:-2] + b"\x03\0"))
    async with ruling(tmp_path, Rule(to)) as held:
        await held.store(built)
        assert (await held.settled()).failures == []
        assert (await held.current(built)).syntax_uid == to
        assert [one.status for one in await held.store(built, padded, other)] == ["duplicate", "duplicate", "kept"]


async def test_the_original_goes_after_its_grace(tmp_path: Path) -> None:
    async with ruling(tmp_path) as held:
        archive = held.archive
        await held.store(HELD, calling_aet="CT1")
        await held.settled()
        assert await archive.tombstones(LOCAL) == []
        (tombstone,) = await archive.tombstones(LOCAL, originals=True)
        assert (tombstone.level, tombstone.reason) == ("original", f"transcoded to {JPEG_LS_LOSSLESS}")
        at = tombstone.at + 1_000_000 * archive.limits.archive.originals_grace_seconds
        for more, instances in ((-1, 0), (0, 0), (1, 1)):
            purged = await archive.collect(now=at + more)
            assert (purged.instances, len(list(archive.volume.keys()))) == (instances, 2 - instances)
        assert purged.bytes == len(HELD.part10)
        ref = await held.current(HELD)
        assert list(archive.volume.keys()) == [ref.key]
        assert await archive.tombstones(LOCAL, originals=True) == []
        assert (await archive.statistics(LOCAL)).bytes == ref.size
        assert findings(archive) == []
    # Who sent it is still told of the instance.
    senders = "SELECT calling_aet FROM receipt JOIN instance ON instance.id = receipt.instance AND state = 1"
    assert rows(tmp_path / "a", senders) == [("CT1",), ("",)]


async def test_the_original_can_come_back_beside(tmp_path: Path) -> None:
    async with ruling(tmp_path) as held:
        archive = held.archive
        await held.store(HELD)
        await held.settled()
        (tombstone,) = await archive.tombstones(LOCAL, originals=True)
        assert await archive.undelete(LOCAL, Target(), tombstone.id) == 1
        assert await held.states(HELD) == [(EXPLICIT_LE, OTHER), (JPEG_LS_LOSSLESS, CURRENT)]
        # Whom a person makes current did not come in: no rule is asked.
        (original, _) = await archive.versions(LOCAL, HELD.sop_instance_uid)
        await archive.promote(LOCAL, original)
        await held.settled()
        assert await held.states(HELD) == [(EXPLICIT_LE, CURRENT), (JPEG_LS_LOSSLESS, OTHER)]
        # Sent again by a node that replaces: the very file that was made lies there already, and is taken.
        other = build(rows=32, columns=32, frames=3, patient_name="Another")
        await held.store(other, HELD, policy="replace")
        await held.settled()
        assert (await held.current(HELD)).syntax_uid == JPEG_LS_LOSSLESS
        assert findings(archive) == []
        assert (await archive.statistics(LOCAL)).instances == 1


async def answers(data: Path) -> list[Any]:
    async with opened(data) as archive:
        (ref,) = await archive.instances(LOCAL, sop_instance_uids=[HELD.sop_instance_uid])
        metadata = [body async for body in archive.metadata(LOCAL, [ref])]
        again = await store(archive, HELD)
        return [ref.digest, metadata, frames_in(archive, ref), [one.status for one in again], findings(archive)]


@pytest.mark.parametrize("purged", [False, True])
async def test_reindex_and_backup(purged: bool, tmp_path: Path) -> None:
    data = tmp_path / "a"
    async with ruling(tmp_path) as held:
        await held.store(HELD)
        await held.settled()
        if purged:
            await held.archive.collect(now=1 << 62)
        async for copied in tasks.back_up(held.archive, LOCAL, tmp_path / "backup"):
            assert not copied.error
    before = await answers(data)
    assert before[2:] == [list(HELD.frames), ["duplicate"], []]
    assert not any(one.error for one in restore(tmp_path / "backup", tmp_path / "restored", INDEX))
    assert await answers(tmp_path / "restored") == before
    volume = LocalVolume(data)
    list(Reindex(data, volume, Limits(), INDEX, 1).run())
    assert await answers(data) == before
    # From the objects alone: of two files the older is current, and pixels are the same either way.
    (data / INDEX).unlink()
    list(Reindex(data, volume, Limits(), INDEX, 1).run())
    volume.close()
    alone = await answers(data)
    assert (alone[2], alone[4]) == (list(HELD.frames), [])
    assert alone[0] == (before[0] if purged else HELD.digest)


async def test_export_is_of_what_is_current(tmp_path: Path) -> None:
    async with ruling(tmp_path) as held:
        await held.store(HELD)
        await held.settled()
        ref = await held.current(HELD)
        async for one in tasks.export(held.archive, LOCAL, [ref], tmp_path / "out"):
            assert not one.error
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert ref.digest in {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def test_what_was_assumed_of_its_text_stays(tmp_path: Path) -> None:
    """A character set of the sender's node, for an object that names none: before, after, and after a reindex."""
    data, name = tmp_path / "a", "Äpfel^Ä"
    built = build(rows=8, columns=8, extra={"PatientName": name.encode("latin-1")})

    async def look() -> str:
        async with opened(data) as archive:
            (ref,) = await archive.instances(LOCAL, sop_instance_uids=[built.sop_instance_uid])
            assert ref.syntax_uid == JPEG_LS_LOSSLESS
            assert await archive.discrepancies(LOCAL) == []
            ((body,),) = [texts async for texts in archive.metadata(LOCAL, [ref])]
            return str(json.loads(body)["00100010"]["Value"][0]["Alphabetic"])

    async with ruling(tmp_path) as held:
        source = Source("dimse", "CT1", character_set="ISO_IR 100", issuer_of_patient_id="HOSP", timezone="+0100")
        transfer = held.archive.store_begin_part10(LOCAL, source)
        transfer.write(built.part10)
        await transfer.commit()
        await held.settled()
    assert await look() == name
    volume = LocalVolume(data)
    list(Reindex(data, volume, Limits(), INDEX, 1).run())
    volume.close()
    assert await look() == name


def test_only_what_comes_in_while_there_are_rules(tmp_path: Path) -> None:
    data = tmp_path / "a"
    numbers = [build(number, rows=8, columns=8) for number in range(4)]

    async def hold(built: Built, *rules: Rule) -> None:
        async with ruled(data, *rules) as held:
            await held.store(built)
            if rules:
                await held.settled()

    async def look() -> list[bool]:
        async with opened(data) as archive:
            refs = await archive.instances(LOCAL, study_uid=HELD.study_uid)
            by_uid = {ref.sop_instance_uid: ref for ref in refs}
            return [by_uid[built.sop_instance_uid].syntax_uid == JPEG_LS_LOSSLESS for built in numbers]

    for built, rules in zip(numbers, ((), (JPEG_LS,), (), (JPEG_LS,)), strict=True):
        asyncio.run(hold(built, *rules))
    assert asyncio.run(look()) == [False, True, False, True]


async def test_a_restart_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "a"
    objects = [build(number, rows=8, columns=8) for number in range(5)]
    async with ruled(data, JPEG_LS) as held:
        held.task.cancel()
        await held.store(*objects[:3])
    async with opened(data) as archive:  # an import without a server
        await store(archive, *objects[3:])
    async with ruled(data, JPEG_LS) as held:
        assert (await held.settled()).state.failed == 0
        for built in objects:
            assert (await held.current(built)).syntax_uid == JPEG_LS_LOSSLESS
        assert held.archive.figures().outcomes == {("transcode", "transcoded", 0): 5}
