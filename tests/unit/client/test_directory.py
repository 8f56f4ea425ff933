"""A data directory that nobody serves, asked by a program."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Mapping
from pathlib import Path

import pytest
from archived import hold, instance_of
from builders import build, opened

from sagittal.cli.data.place import server_of
from sagittal.client import place
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


@pytest.mark.parametrize("left", ["", "{", "{}", "[]"])
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
            await server_of(tmp_path)


async def test_a_server_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    """It holds its directory for a moment before it says where it listens."""
    told = json.dumps({"http": "http://127.0.0.1:1", "token": "x"})
    async with opened(tmp_path):
        opening = open_directory(tmp_path, Access(), print)
        entering = asyncio.ensure_future(opening.__aenter__())
        for _ in range(3):  # so far that it has looked
            await asyncio.sleep(0)
        assert not entering.done()
        (tmp_path / "server.json").write_text(told)
        assert (await entering).base == "http://127.0.0.1:1/dicom-web"
        await opening.__aexit__(None, None, None)
