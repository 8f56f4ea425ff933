"""Data sets that take long to read are read a turn at a time, with the outcome of reading them at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build, opened
from unit.archive.test_ingest import SOURCE, left

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Outcome, transfer
from sagittal.dicom import elements
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import Malformed
from sagittal.limits import ArchiveLimits, Limits

LIMITS = Limits(archive=ArchiveLimits(free_bytes_min=0, slow_write_seconds=600.0))  # no disk makes anybody wait
PIECE = 100_000


def large(syntax_uid: str = EXPLICIT_LE) -> Built:
    """Some 300 kB of items before the pixels, no two alike."""
    items, to = b"", syntax(IMPLICIT_LE if syntax_uid == IMPLICIT_LE else EXPLICIT_LE)
    for number in range(4000):
        text = f"{number} {hashlib.sha256(b'%d' % number).hexdigest()}".encode().ljust(70)
        content = elements.encode([(0x00204000, "LT", text)], to)
        items += b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content
    return build(1, syntax_uid=syntax_uid, extra={"ReferencedImageSequence": items})


def stored(path: Path, act: Callable[[Archive], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with opened(path, LIMITS) as archive:
            return await act(archive)

    return asyncio.run(run())


async def send(archive: Archive, data: bytes, built: Built, patient: bool = True) -> tuple[Outcome, int]:
    """The outcome, and for how many turns of the loop the sender was made to wait."""
    given = archive.store_begin(LOCAL, SOURCE, syntax_uid=built.syntax_uid)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await asyncio.sleep(0)
    turns = 0
    try:
        for at in range(0, len(data), PIECE):
            given.write(memoryview(data)[at : at + PIECE])
            if patient and (waiting := given.ready()) is not None:
                await waiting
        waited = turns
        return await given.commit(), waited
    finally:
        counting.cancel()


async def told(archive: Archive, built: Built) -> list[bytes]:
    refs = await archive.instances(LOCAL, study_uid=built.study_uid)
    return [text async for texts in archive.metadata(LOCAL, refs) for text in texts]


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("syntax_uid", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE])
def test_the_outcome_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax_uid: str, patient: bool
) -> None:
    built = large(syntax_uid)

    async def act(archive: Archive) -> tuple[Outcome, int, list[bytes]]:
        outcome, waited = await send(archive, built.data, built, patient)
        return outcome, waited, await told(archive, built)

    monkeypatch.setattr(transfer, "_TURN_SECONDS", 1e9)
    at_once, none, metadata = stored(tmp_path / "a", act)
    monkeypatch.setattr(transfer, "_TURN_SECONDS", 0.0)
    in_turns, waited, same = stored(tmp_path / "b", act)
    assert in_turns == at_once and same == metadata
    assert none == 0 and (waited > 3 if patient and syntax_uid != DEFLATED_LE else True)
    assert left(tmp_path / "a") == left(tmp_path / "b")


@pytest.mark.parametrize("first", [400, 40_000, 10**9])
@pytest.mark.parametrize("is_file", [True, False])
def test_nothing_of_a_buffer_is_kept_that_comes_to_hold_something_else(
    tmp_path: Path, is_file: bool, first: int
) -> None:
    built = large()
    data = built.part10 if is_file else built.data

    async def act(archive: Archive) -> tuple[str, list[bytes]]:
        begin = archive.store_begin_part10 if is_file else partial(archive.store_begin, syntax_uid=EXPLICIT_LE)
        given = begin(LOCAL, SOURCE)
        for piece in filter(None, (data[:first], data[first:])):
            buffer = bytearray(piece)
            given.write(memoryview(buffer))
            buffer[:] = bytes(len(buffer))
        return (await given.commit()).digest, await told(archive, built)

    async def whole(archive: Archive) -> list[bytes]:
        await send(archive, built.data, built)
        return await told(archive, built)

    assert stored(tmp_path / "a", act) == (built.digest, stored(tmp_path / "b", whole))


@pytest.mark.parametrize("size", [1, 700, 40_000, 1 << 30], ids=["bytes", "short", "longer", "at once"])
def test_a_file_comes_in_reads_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """What is left of a long read behind the head waits its turn, too."""
    monkeypatch.setattr(transfer, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(transfer, "_SLICE_BYTES", 4096)
    built = large()
    file = built.part10
    cuts = [0, *range(1, 1000), *range(1000, len(file), 1000)] if size == 1 else range(0, len(file), size)

    async def act(archive: Archive) -> tuple[Outcome, list[bytes]]:
        given = archive.store_begin_part10(LOCAL, SOURCE)
        for start, end in pairwise([*cuts, len(file)]):
            given.write(file[start:end])
        return await given.commit(), await told(archive, built)

    async def whole(archive: Archive) -> tuple[Outcome, list[bytes]]:
        return (await send(archive, built.data, built))[0], await told(archive, built)

    assert stored(tmp_path / "a", act) == stored(tmp_path / "b", whole)


@pytest.mark.parametrize("patient", [True, False])
def test_what_is_wrong_shows_at_the_next_write_or_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    monkeypatch.setattr(transfer, "_TURN_SECONDS", 0.0)
    built = large()

    async def act(archive: Archive) -> None:
        for data in (built.data[:PIECE] + bytes(PIECE), built.data[: PIECE - 5]):
            with pytest.raises(Malformed):
                await send(archive, data, built, patient)
        assert [count for (_, what, _), count in archive.figures().outcomes.items() if what == "refused"] == [2]

    stored(tmp_path / "a", act)
    assert left(tmp_path / "a") == []


def test_within_pixels_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_TURN_SECONDS", 0.0)
    built = build(1, rows=512, columns=512)
    outcome, waited = stored(tmp_path / "a", lambda archive: send(archive, built.data, built))
    assert outcome.status == "stored" and waited <= 1  # the head of the object and the start of its pixels
