"""A data directory that nobody serves, asked by a program."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from pathlib import Path

import pytest
from archived import hold, instance_of
from builders import build, opened

from sagittal.cli.data import place
from sagittal.client.directory import open_directory
from sagittal.client.place import Access
from sagittal.errors import DirectoryHeld


class Pieces:
    """What a retrieval brought."""

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self.body, self.count = b"", 0

    def begin(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def data(self, data: memoryview) -> None:
        self.body += data

    def end(self) -> None:
        self.count += 1

    def abort(self) -> None:
        raise AssertionError("the answer broke off")


async def test_workers_end_with_it(tmp_path: Path) -> None:
    """Those that drew a picture, and the process that they were forked from."""
    held, pieces = build(), Pieces()
    async with opened(tmp_path) as archive:
        await hold(archive, held)
    before = {*multiprocessing.active_children()}
    async with open_directory(tmp_path, Access(), print) as remote:
        path = instance_of(held).removeprefix("/dicom-web")
        await remote.retrieve(f"{path}/rendered", pieces, "image/png")
    assert {*multiprocessing.active_children()} == before
    assert pieces.count == 1 and pieces.body.startswith(b"\x89PNG")


@pytest.mark.parametrize("left", ["", "{"])
async def test_where_the_server_listens_can_not_be_read(
    tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut left of the file, before the next server writes it."""
    monkeypatch.setattr(place, "_STARTING_SECONDS", 0.0)
    async with opened(tmp_path):
        (tmp_path / "server.json").write_text(left)
        with pytest.raises(DirectoryHeld, match="does not say where"):
            async with open_directory(tmp_path, Access(), print):
                pass
        with pytest.raises(DirectoryHeld, match="does not say where"):
            await place.server_of(tmp_path)
