"""What the maker makes of instances in other syntaxes: bytes, bounds, and what a crash of a worker costs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.references import InstanceRef
from sagittal.archive.transcoding.maker import Maker, uid_of_lossy
from sagittal.dicom.elements import swapped
from sagittal.dicom.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from sagittal.errors import Busy, NotAcceptable, PixelsUndecodable, StorageUnavailable, WorkerLost
from sagittal.limits import Limits, WorkerLimits
from sagittal.pixels.images import read_whole
from sagittal.workers.pool import Answer, Pool

CRASH = Path(__file__).parents[1] / "workers"
CHUNK = 1 << 16
Act = Callable[[Archive, Maker, list[InstanceRef]], Awaitable[Any]]


@asynccontextmanager
async def making(
    tmp_path: Path, *held: Built, limits: Limits | None = None, pool: type[Pool] = Pool
) -> AsyncIterator[tuple[Archive, Maker, list[InstanceRef]]]:
    async with opened(tmp_path / "a", **({"limits": limits} if limits else {})) as archive:
        await store(archive, *held)
        workers = pool(WorkerLimits(workers=2))
        refs = await archive.instances(LOCAL, study_uid=held[0].study_uid)
        try:
            yield archive, Maker(archive, workers, limits or Limits()), refs
        finally:
            await workers.close()
            assert not os.listdir(tmp_path / "a" / "staging")  # noqa: PTH208


def image_of(data: bytes, syntax_uid: str) -> Any:
    return read_whole(syntax_uid, lambda at, length: data[at : at + length], Limits().reader)


def frames_of(data: bytes, syntax_uid: str) -> list[bytes]:
    image = image_of(data, syntax_uid)
    return [image.frame(number + 1).stored.tobytes() for number in range(image.count)]


@pytest.mark.parametrize("stored", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
@pytest.mark.parametrize("to", [RLE_LOSSLESS, JPEG_LS_LOSSLESS])
async def test_instances_and_their_frames(stored: str, to: str, tmp_path: Path) -> None:
    held = build(syntax_uid=stored, frames=3, rows=8, columns=8)
    async with making(tmp_path, held) as (_, maker, refs):
        with await maker.instance(refs[0], to) as made:
            whole = b"".join(made.data_set(CHUNK))
            assert made.length == len(whole) == made.sent_size()
            assert (made.syntax_uid, made.sop_instance_uid) == (to, held.sop_instance_uid)
        compressed = await maker.frames(refs[0], [3, 1], to)
        native = await maker.frames(refs[0], [2], EXPLICIT_LE)
        parts = [b"".join(part) for part in compressed.frames(5)]
        plain = [b"".join(part) for part in native.frames(CHUNK)]
        compressed.close()
        native.close()
        native.close()
        whole, parts, plain = whole, parts, plain
    frames = [swapped(frame, 2) if stored == EXPLICIT_BE else frame for frame in held.frames]
    assert frames_of(whole, to) == frames
    image = image_of(whole, to)
    assert [part[: image.index.ranges(n)[0][1] // 8] for part, n in zip(parts, (3, 1), strict=True)] == [
        image.encoded(n)[: len(part)] for part, n in zip(parts, (3, 1), strict=True)
    ]
    assert plain == [frames[1]]


async def test_a_loss_makes_another_instance_the_same_each_time(tmp_path: Path) -> None:
    held = build(rows=64, columns=64)
    async with making(tmp_path, held) as (_, maker, refs):
        found = []
        for _ in range(2):
            with await maker.instance(refs[0], JPEG_2000) as made:
                found.append((made.sop_instance_uid, b"".join(made.data_set(CHUNK))))
        first, again = found
    assert first == again
    assert len({first[0], uid_of_lossy(refs[0], JPEG_2000, {"psnr": 45.0}), held.sop_instance_uid}) == 3
    image = image_of(first[1], JPEG_2000)
    assert image.attributes.text(0x00080018) == first[0]
    assert image.attributes.text(0x00282110) == "01"
    assert held.sop_instance_uid in str(image.members["00082112"])


async def test_what_cannot_be_made_says_why(tmp_path: Path) -> None:
    broken, wide = build(1, syntax_uid=JPEG_BASELINE), build(2)
    async with making(tmp_path, broken, wide) as (archive, maker, refs):
        with pytest.raises(PixelsUndecodable):
            await maker.instance(refs[0], EXPLICIT_LE)
        with pytest.raises(NotAcceptable, match="8 bits"):
            await maker.frames(refs[1], [1], JPEG_BASELINE)
        archive.volume.unwell("tried")
        with pytest.raises(StorageUnavailable):
            await maker.instance(refs[1], RLE_LOSSLESS)
        archive.volume.probe()


class Crashing(Pool):
    """Its first request finds a worker that dies of it."""

    async def run(self, call: str, *given: Any, **more: Any) -> Answer:
        if not self.lost:
            return await super().run("calls:crash", *given)
        return await super().run(call, *given, **more)


async def test_a_crash_costs_one_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CRASH))
    held = build()

    async with making(tmp_path, held, pool=Crashing) as (_, maker, refs):
        with pytest.raises(WorkerLost):
            await maker.instance(refs[0], RLE_LOSSLESS)
        with await maker.instance(refs[0], RLE_LOSSLESS) as made:
            assert frames_of(b"".join(made.data_set(CHUNK)), RLE_LOSSLESS) == list(held.frames)


async def test_so_many_at_once(tmp_path: Path) -> None:
    """One below, at, and one above `transcoded_max`: the last waits until another is closed, or failed."""
    limits = Limits(archive=replace(Limits().archive, transcoded_max=2))
    async with making(tmp_path, build(), limits=limits) as (_, maker, refs):
        first = await maker.instance(refs[0], RLE_LOSSLESS)
        with pytest.raises(NotAcceptable):
            await maker.instance(refs[0], JPEG_BASELINE)
        second = await maker.frames(refs[0], [1], RLE_LOSSLESS)
        third = asyncio.ensure_future(maker.instance(refs[0], RLE_LOSSLESS))
        done, _ = await asyncio.wait([third], timeout=0.3)
        assert not done
        first.close()
        first.close()
        (await third).close()
        second.close()


async def test_nobody_waits_for_a_place_without_end(tmp_path: Path) -> None:
    """Whose time is over is told that the archive is busy, and leaves no place taken."""
    short = replace(Limits().archive, transcoded_max=1, transcoded_wait_seconds_max=0.05)
    async with making(tmp_path, build(), limits=Limits(archive=short)) as (_, maker, refs):
        with await maker.instance(refs[0], RLE_LOSSLESS):
            for asked in (maker.instance(refs[0], RLE_LOSSLESS), maker.frames(refs[0], [1], RLE_LOSSLESS)):
                with pytest.raises(Busy, match="transcoded_max"):
                    await asyncio.wait_for(asked, 20)
        (await maker.instance(refs[0], RLE_LOSSLESS)).close()


async def test_any_thread_gives_the_place_of_a_film_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Filming(Pool):
        async def run(self, call: str, *_: Any, **__: Any) -> Answer:
            return Answer({"lengths": [0]}, b"")

    released: list[int] = []
    async with making(tmp_path, build(), limits=Limits(), pool=Filming) as (_, maker, refs):
        monkeypatch.setattr(maker._room, "release", lambda: released.append(threading.get_ident()))
        film = await maker.film(refs[0])
        await asyncio.to_thread(film.close)
        await asyncio.sleep(0)
        assert released == [threading.get_ident()]  # the loop's: what waits there is woken by nobody else
