"""Transfers: what is taken, what is refused, and that nothing of a refused one remains."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from builders import CT, Built, build, file_of, opened, resting, store, uid

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.faults import Faults
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.local import LocalVolume
from sagittal.archive.query import Query
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from sagittal.errors import DirectoryHeld, IdentifierMismatch, Malformed, NotAuthorized, SagittalError
from sagittal.limits import ArchiveLimits, Limits

HANGING_PROTOCOL = "1.2.840.10008.5.1.4.38.1"
RLE = "1.2.840.10008.1.2.5"
SOURCE = Source("dimse", "MODALITY", "SAGITTAL", "127.0.0.1")


async def send(
    archive: Archive, built: Built, piece: int = 1 << 20, command: Mapping[str, str] | None = None
) -> Outcome:
    """As C-STORE does it: the command first, the data set in pieces of one reused buffer."""
    given = {"sop_class_uid": built.sop_class_uid, "sop_instance_uid": built.sop_instance_uid, **(command or {})}
    transfer = archive.store_begin(LOCAL, SOURCE, syntax_uid=built.syntax_uid, **given)
    buffer = bytearray(piece)
    for start in range(0, len(built.data), piece):
        part = built.data[start : start + piece]
        buffer[: len(part)] = part
        view = memoryview(buffer)[: len(part)]
        transfer.write([view[:1], view[1:]])
        if (waiting := transfer.ready()) is not None:
            await waiting
    return await transfer.commit()


def left(path: Path) -> list[str]:
    """Files of a data directory that hold bytes of objects."""
    return sorted(
        str(file.relative_to(path))
        for name in ("staging", "objects")
        for file in (path / name).rglob("*")
        if file.is_file()
    )


@pytest.mark.parametrize("piece", [7, 100, 1 << 20])
@pytest.mark.parametrize("inline", [0, 1 << 17])
@pytest.mark.parametrize("syntax_uid", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, RLE])
async def test_the_file_is_our_head_and_the_data_set_as_received(
    tmp_path: Path, syntax_uid: str, inline: int, piece: int
) -> None:
    built = build(rows=16, columns=16, frames=2, syntax_uid=syntax_uid)
    limits = Limits(archive=ArchiveLimits(staging_inline_bytes_max=inline, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive:
        outcome = await send(archive, built, piece)
        assert (outcome.status, outcome.digest) == ("stored", built.digest)
        (ref,) = await archive.instances(LOCAL, sop_instance_uids=[built.sop_instance_uid])
        assert file_of(archive, ref) == built.part10
        assert ref.header_length == len(built.meta)
    assert left(tmp_path) == [f"objects/0001/{built.digest}"]


async def test_the_same_by_part_10(tmp_path: Path) -> None:
    built = build()
    other_head = built.part10[:132].replace(b"\0" * 128, b"II*\0" + b"\1" * 124) + built.part10[132:]
    async with opened(tmp_path) as archive:
        transfer = archive.store_begin_part10(LOCAL, SOURCE)
        for start in range(0, len(other_head), 50):
            transfer.write(other_head[start : start + 50])
        assert (await transfer.commit()).digest == built.digest


@pytest.mark.parametrize("piece", [3, 1 << 20])
@pytest.mark.parametrize(("agreed", "actual"), list(permutations([IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE], 2)))
async def test_a_data_set_in_another_plain_syntax_than_its_context(
    tmp_path: Path, agreed: str, actual: str, piece: int
) -> None:
    """It is kept as what it is, as that of a Part 10 file: others would be sent it as what it is not."""
    built = build(syntax_uid=actual)
    async with opened(tmp_path) as archive:
        outcome = await send(archive, replace(built, syntax_uid=agreed), piece)
        assert (outcome.digest, outcome.warnings) == (built.digest, ("syntax-wrong",))
        (ref,) = await archive.instances(LOCAL, sop_instance_uids=[built.sop_instance_uid])
        assert ref.syntax_uid == actual


async def test_a_first_element_of_an_unknown_vr_is_no_implicit_data_set(tmp_path: Path) -> None:
    built = build(syntax_uid=EXPLICIT_LE)
    odd = replace(built, data=b"\x08\0\x01\0ZZ\0\0\x02\0\0\0\0\0" + built.data)
    async with opened(tmp_path) as archive:
        outcome = await send(archive, odd)
        assert {"vr-unknown"} <= set(outcome.warnings) and "syntax-wrong" not in outcome.warnings


@pytest.mark.parametrize("inline", [0, 1 << 17])
async def test_a_head_that_says_something_else_is_written_anew(tmp_path: Path, inline: int) -> None:
    built = build()
    wrong = replace(built, sop_instance_uid=uid("another"))
    limits = Limits(archive=ArchiveLimits(staging_inline_bytes_max=inline, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive:
        for data in (wrong.meta + built.data, built.data):
            transfer = archive.store_begin_part10(LOCAL, SOURCE)
            transfer.write(data)
            outcome = await transfer.commit()
            assert (outcome.digest, outcome.sop_instance_uid) == (built.digest, built.sop_instance_uid)
    assert left(tmp_path) == [f"objects/0001/{built.digest}"]


@pytest.mark.parametrize("value", ["", "1.2.x", "../../etc/passwd", "/abs", "1..2", "1.02", "1" * 65])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
async def test_uids_that_are_none_are_refused(tmp_path: Path, keyword: str, value: str) -> None:
    built = build(extra={keyword: value})
    async with opened(tmp_path) as archive:
        with pytest.raises(IdentifierMismatch):
            await send(archive, built)
        with pytest.raises(IdentifierMismatch):
            await store(archive, built)
    assert left(tmp_path) == []


@pytest.mark.parametrize("value", ["1.2.x", "../../etc/passwd", "1.02", "1" * 65])
async def test_a_sop_class_that_no_context_could_carry_is_refused(tmp_path: Path, value: str) -> None:
    """But for an empty one, for which the command or the meta group speaks."""
    async with opened(tmp_path) as archive:
        for built in (build(1, extra={"SOPClassUID": value}), build(2, sop_class_uid=value)):
            with pytest.raises(IdentifierMismatch):
                await store(archive, built)
            with pytest.raises(IdentifierMismatch):
                await send(archive, built, command={"sop_class_uid": ""})
        await store(archive, build(3, extra={"SOPClassUID": ""}))
    assert left(tmp_path) == [f"objects/0001/{build(3, extra={'SOPClassUID': ''}).digest}"]


@pytest.mark.parametrize("command", [{"sop_class_uid": "1.2.3"}, {"sop_instance_uid": "1.2.3"}])
async def test_a_uid_that_differs_from_the_command_is_refused(tmp_path: Path, command: dict[str, str]) -> None:
    async with opened(tmp_path) as archive:
        with pytest.raises(IdentifierMismatch, match="differs from the command"):
            await send(archive, build(), command=command)
    assert left(tmp_path) == []


async def test_a_study_other_than_that_of_the_request_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        transfer = archive.store_begin_part10(LOCAL, SOURCE)
        transfer.write(build().part10)
        with pytest.raises(IdentifierMismatch):
            await transfer.commit(uid("study", "another"))


@pytest.mark.parametrize("inline", [0, 1 << 17])
async def test_a_truncated_data_set_leaves_nothing(tmp_path: Path, inline: int) -> None:
    built = build()
    limits = Limits(archive=ArchiveLimits(staging_inline_bytes_max=inline, free_bytes_min=0))
    async with opened(tmp_path, limits) as archive:
        for end in (0, 3, 40, len(built.data) - 1):
            with pytest.raises(SagittalError):
                await send(archive, replace(built, data=built.data[:end]))
        with pytest.raises(Malformed):
            archive.store_begin_part10(LOCAL, SOURCE).write(b"GET / HTTP/1.1\r\n" * 20)
        archive.store_begin_part10(LOCAL, SOURCE).discard()
        assert (await archive.statistics(LOCAL)).instances == 0
    assert left(tmp_path) == []


async def test_a_non_patient_object_has_no_study(tmp_path: Path) -> None:
    built = build(sop_class_uid=HANGING_PROTOCOL, extra={"StudyInstanceUID": "", "SeriesInstanceUID": ""})
    async with opened(tmp_path) as archive:
        outcome = await send(archive, built)
        assert (outcome.status, outcome.study_uid, outcome.series_uid) == ("stored", "", "")
        assert (await archive.find(LOCAL, Query("STUDY"))).rows == []
        (ref,) = await archive.instances(LOCAL, sop_instance_uids=[built.sop_instance_uid])
        assert ref.study_uid is None


async def test_who_may_not_store_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        with pytest.raises(NotAuthorized):
            archive.store_begin_part10(Principal("X", "node", frozenset({"find"})), SOURCE)


async def test_a_directory_belongs_to_one_archive(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(DirectoryHeld):
            await Archive.open(tmp_path)
    async with opened(tmp_path):
        pass


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_a_full_queue_is_busy(tmp_path: Path, more: int) -> None:
    staged = {"staging_inline_bytes_max": 0, "metadata_part_characters": 100, "metadata_held_bytes_max": 0}
    limits = Limits(archive=ArchiveLimits(commit_queue_max=2, free_bytes_min=0, **staged))
    async with opened(tmp_path, limits) as archive:
        transfers = []
        for number in range(2 + more):
            transfers.append(archive.store_begin_part10(LOCAL, SOURCE))
            transfers[-1].write(build(number).part10)
        async with resting(archive), asyncio.timeout(20):
            committing = [asyncio.ensure_future(transfer.commit()) for transfer in transfers]
            while archive._committer.waiting + sum(one.done() for one in committing) < len(committing):
                await asyncio.sleep(0)
        results = await asyncio.gather(*committing, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["Busy", "Outcome", "Outcome"][-2 - more :]
        assert archive.ready() == []
    assert len(left(tmp_path)) == min(2, 2 + more)


async def test_a_sender_that_goes_away_while_committing_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        transfer = archive.store_begin_part10(LOCAL, SOURCE)
        transfer.write(build(1).part10)
        committing = asyncio.ensure_future(transfer.commit())
        await asyncio.sleep(0)
        committing.cancel()
        await store(archive, build(2))
        assert (await archive.statistics(LOCAL)).instances == 2


async def test_a_slow_disk_makes_the_sender_wait_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write counts as slow: threads write, in order, behind a bound."""
    built = build(rows=512, columns=512)
    write, waited_for = LocalVolume.write, threading.Event()

    def slow(self: LocalVolume, *given: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            waited_for.wait()
        write(self, *given)

    monkeypatch.setattr(LocalVolume, "write", slow)
    bounds = ArchiveLimits(slow_write_seconds=0.0, slow_write_pending_bytes_max=50_000, free_bytes_min=0)
    async with opened(tmp_path, Limits(archive=bounds)) as archive:
        transfer = archive.store_begin_part10(LOCAL, SOURCE)
        waits = 0
        for start in range(0, len(built.part10), 10_000):
            transfer.write(memoryview(built.part10)[start : start + 10_000])
            if (waiting := transfer.ready()) is not None:
                waits += 1
                waited_for.set()
                await waiting
        assert (await transfer.commit()).digest == built.digest
        assert waits
        waited_for.clear()
        given_up = archive.store_begin_part10(LOCAL, SOURCE)
        given_up.write(built.part10)
        async with asyncio.timeout(20):
            while len(left(tmp_path)) < 2:
                await asyncio.sleep(0)
        given_up.discard()
        waited_for.set()
    assert left(tmp_path) == [f"objects/0001/{built.digest}"]


async def test_huge_metadata_spills_and_is_whole(tmp_path: Path) -> None:
    built = build(extra={"ImageComments": "x" * 9_000, "PatientComments": "y" * 9_000})
    bounds = ArchiveLimits(metadata_part_characters=1_000, metadata_held_bytes_max=100, free_bytes_min=0)
    plain, spilling = tmp_path / "plain", tmp_path / "spilling"
    texts = []
    for path, limits in ((plain, None), (spilling, Limits(archive=bounds))):
        async with opened(path, limits) as archive:
            await send(archive, built, 500)
            refs = await archive.instances(LOCAL, study_uid=built.study_uid)
            texts.append([text async for some in archive.metadata(LOCAL, refs) for text in some])
        assert len(left(path)) == 1
    assert texts[0] == texts[1]


async def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    built = build(sop_class_uid=CT)
    async with opened(tmp_path) as archive:
        await send(archive, built)
    (file,) = (tmp_path / "objects" / "0001").iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


async def test_a_huge_object_is_synced_on_the_way(tmp_path: Path) -> None:
    built = build(rows=512, columns=512)
    seen: list[str] = []
    # The sender waits for each write of a thread: what piled up behind it would be synced together.
    bounds = ArchiveLimits(unsynced_bytes_max=200_000, slow_write_pending_bytes_max=1, free_bytes_min=0)
    limits = Limits(archive=bounds)
    async with opened(tmp_path, limits, Faults(seen.append)) as archive:
        assert (await send(archive, built, 50_000)).digest == built.digest
    assert seen.count("file.sync") > 2
