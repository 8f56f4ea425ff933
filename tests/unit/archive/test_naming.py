"""Files get their names while the rows are written: both at once, and neither is taken back before the other ended."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.faults import Faults
from sagittal.archive.index.writer import IndexWriter
from sagittal.archive.ingest.batch import Batch
from sagittal.errors import SagittalError

SECONDS_MAX = 20.0


async def test_rows_are_written_while_files_get_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    naming, flush = threading.Event(), IndexWriter.flush
    met: list[bool] = []

    def point(name: str) -> None:
        if name == "directory.sync":
            naming.set()

    def meet(self: IndexWriter, at: int) -> None:
        met.append(naming.wait(SECONDS_MAX))
        flush(self, at)

    monkeypatch.setattr(IndexWriter, "flush", meet)
    async with opened(tmp_path, faults=Faults(point)) as archive:
        await store(archive, build())
    assert met[0]


async def test_nothing_is_taken_back_while_a_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naming, taking = threading.Event(), threading.Event()
    take_back = Batch.take_back
    early: list[bool] = []

    def point(name: str) -> None:
        if name == "object.rename" and not naming.is_set():
            naming.set()
            early.append(taking.wait(0.2))

    def fail(*_: object, **__: object) -> int:
        assert naming.wait(SECONDS_MAX)
        raise sqlite3.IntegrityError("constructed")

    def taken(self: Batch, *arguments: object, **named: object) -> None:
        taking.set()
        take_back(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Batch, "take_back", taken)
    async with opened(tmp_path, faults=Faults(point)) as archive:
        with monkeypatch.context() as patch:
            patch.setattr(IndexWriter, "add", fail)
            with pytest.raises(SagittalError, match="could not be indexed"):
                await store(archive, build())
        assert archive.ready() == []
        assert not [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
        await store(archive, build())
        assert (await archive.statistics(LOCAL)).instances == 1
    assert early == [False]
