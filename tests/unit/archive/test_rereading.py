"""Rows of an older reader are made anew while serving, and it goes on after a restart."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index import READER_VERSION
from sagittal.archive.index.upkeep import stale
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS
from sagittal.limits import ArchiveLimits, Limits

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS, DEFLATED_LE)
OBJECTS = [
    build(number, syntax_uid=syntax, frames=3, rows=64, columns=64, extra={"ImageComments": "x" * 5_000})
    for number, syntax in enumerate(SYNTAXES)
]
ROWS = (
    "SELECT id, instance_number, content_date, content_time, rows, columns, bits_allocated, number_of_frames, defects, "
    "reader_version FROM instance ORDER BY id",
    "SELECT instance, body FROM frame_index ORDER BY instance",
    "SELECT instance, body FROM metadata ORDER BY instance, part",
)


def rows(path: Path) -> list[Any]:
    with sqlite3.connect(path / "index.db") as index:
        instances, frames, metadata = (index.execute(statement).fetchall() for statement in ROWS)
    texts: dict[int, bytes] = {}
    for instance, body in metadata:
        texts[instance] = texts.get(instance, b"") + zlib.decompress(body)
    return [instances, frames, texts]


def grow_old(path: Path) -> None:
    """As an older reader might have made them."""
    with sqlite3.connect(path / "index.db") as index:
        index.execute("UPDATE instance SET reader_version = 0, rows = 7, instance_number = 'old', defects = 'odd'")
        index.execute("UPDATE metadata SET body = ?", (zlib.compress(b'{"00100010":{"vr":"PN"}}'),))
        index.execute("DELETE FROM frame_index WHERE instance = 1")
        index.execute("UPDATE setting SET value = '0' WHERE name = 'reader_version'")


def filled(path: Path) -> list[Any]:
    async def run() -> None:
        async with opened(path) as archive:
            await store(archive, *OBJECTS)

    asyncio.run(run())
    return rows(path)


async def until_current(archive: Archive) -> None:
    async with asyncio.timeout(20):
        while not await archive.readers.run(stale.is_current):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("characters", [None, 1_000])
def test_rows_are_made_anew(tmp_path: Path, characters: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "_AT_ONCE", 2)
    path = tmp_path / "a"
    before = filled(path)
    grow_old(path)
    assert rows(path) != before
    bounds = {} if characters is None else {"metadata_part_characters": characters, "metadata_held_bytes_max": 100}

    async def run() -> tuple[Any, Any]:
        async with opened(path, Limits(archive=ArchiveLimits(free_bytes_min=0, **bounds))) as archive:
            revised = await archive.revision(LOCAL, OBJECTS[0].study_uid)
            await until_current(archive)
            return revised, await archive.revision(LOCAL, OBJECTS[0].study_uid)

    old, new = asyncio.run(run())
    assert rows(path) == before
    assert old != new  # or a client would go on with the metadata it has
    assert list((path / "staging").iterdir()) == []


def test_what_cannot_be_read_keeps_its_rows_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = filled(path)
    grow_old(path)
    lost = next(file for file in (path / "objects").rglob(OBJECTS[2].digest))
    lost.rename(tmp_path / "elsewhere")

    async def run(whole: bool) -> None:
        async with opened(path) as archive:
            async with asyncio.timeout(20):
                while [row[-1] for row in rows(path)[0]].count(READER_VERSION) < 3 + whole:
                    await asyncio.sleep(0.01)
            assert whole or not await archive.readers.run(stale.is_current)

    asyncio.run(run(False))
    instances, *_ = rows(path)
    assert [row[-1] for row in instances] == [READER_VERSION, READER_VERSION, 0, READER_VERSION]
    assert instances[2][1] == "old"
    (tmp_path / "elsewhere").rename(lost)
    asyncio.run(run(True))
    assert rows(path) == before


def test_a_fresh_index_has_nothing_to_do(tmp_path: Path) -> None:
    async def run() -> bool:
        async with opened(tmp_path / "a") as archive:
            return await archive.readers.run(stale.is_current)

    assert asyncio.run(run())
