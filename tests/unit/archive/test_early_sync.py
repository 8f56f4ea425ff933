"""An object that comes alone is synced before all is known of it; what turns out to be no object leaves nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened
from unit.archive.test_ingest import SOURCE, left

from sagittal.archive.access import LOCAL
from sagittal.archive.faults import Faults
from sagittal.archive.ingest.transfer import Transfer
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import Malformed

SECONDS_MAX = 20.0
either_size = pytest.mark.parametrize("side", [4, 256])  # in memory until it is complete, or written as it comes
read_behind = Transfer._read_behind


class Syncs:
    """Counts the syncs of files; each waits until it may go on."""

    def __init__(self) -> None:
        self.count = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, point: str) -> None:
        if point == "file.sync":
            self.count += 1
            self.begun.set()
            assert self.go_on.wait(SECONDS_MAX)


@either_size
async def test_it_is_read_while_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    syncs, met = Syncs(), list[bool]()

    def meet(self: Transfer, seconds: float) -> None:
        met.append(syncs.begun.wait(SECONDS_MAX))
        syncs.go_on.set()
        read_behind(self, seconds)

    monkeypatch.setattr(Transfer, "_read_behind", meet)
    async with opened(tmp_path, faults=Faults(syncs)) as archive:
        given = archive.store_begin_part10(LOCAL, SOURCE)
        given.write(build(rows=side, columns=side).part10)
        assert (await given.commit()).status == "stored"
    assert met == [True] and syncs.count == 1


async def test_the_last_bytes_are_hashed_while_it_is_synced(tmp_path: Path) -> None:
    syncs, met, built = Syncs(), list[bool](), build(rows=256, columns=256)

    class Meeting:
        """The running digest, which waits for the sync."""

        def __init__(self, digest: Any) -> None:
            self._digest, self.hexdigest = digest, digest.hexdigest

        def update(self, data: memoryview) -> None:
            met.append(syncs.begun.wait(SECONDS_MAX))
            syncs.go_on.set()
            self._digest.update(data)

    async with opened(tmp_path, faults=Faults(syncs)) as archive:
        given = archive.store_begin_part10(LOCAL, SOURCE)
        given.write(built.part10[:-1_000])
        given._digest = Meeting(given._digest)  # type: ignore[assignment]
        given.write(built.part10[-1_000:], last=True)
        assert (await given.commit()).digest == built.digest
    assert met == [True] and syncs.count == 1


@either_size
async def test_it_is_read_first_while_others_keep_the_disk_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    syncs, counts = Syncs(), list[int]()
    syncs.go_on.set()

    def count(self: Transfer, seconds: float) -> None:
        read_behind(self, seconds)
        counts.append(syncs.count)

    monkeypatch.setattr(Transfer, "_read_behind", count)
    async with opened(tmp_path, faults=Faults(syncs)) as archive:
        archive._committer.waiting += 1
        given = archive.store_begin_part10(LOCAL, SOURCE)
        given.write(build(rows=side, columns=side).part10)
        assert (await given.commit()).status == "stored"
        archive._committer.waiting -= 1
    assert counts == [0] and syncs.count == 1


@either_size
async def test_what_is_refused_goes_when_its_sync_ends_and_the_loop_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    syncs = Syncs()

    def late(self: Transfer, seconds: float) -> None:
        assert syncs.begun.wait(SECONDS_MAX)  # a sync that has not begun is not done at all
        read_behind(self, seconds)

    monkeypatch.setattr(Transfer, "_read_behind", late)
    async with opened(tmp_path, faults=Faults(syncs)) as archive:
        built = build(rows=side, columns=side)
        given = archive.store_begin_part10(LOCAL, SOURCE)
        given.write(built.part10[:-1])
        with pytest.raises(Malformed):
            await given.commit()
        assert len(left(tmp_path)) == 1
        syncs.go_on.set()
    assert left(tmp_path) == []


@either_size
async def test_a_file_whose_head_says_something_else_is_synced_anew(tmp_path: Path, side: int) -> None:
    syncs, built = Syncs(), build(rows=side, columns=side)
    syncs.go_on.set()
    wrong = meta_group(built.sop_class_uid, "1.2.3", EXPLICIT_LE)
    async with opened(tmp_path, faults=Faults(syncs)) as archive:
        given = archive.store_begin_part10(LOCAL, SOURCE)
        given.write(wrong + built.data)
        assert (await given.commit()).digest == built.digest
        (kept,) = left(tmp_path)
        assert (tmp_path / kept).read_bytes() == built.part10
    assert syncs.count == 2
