"""A command whose output nobody reads any more (`… | head -1`) ends at once: in order, and without a word."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import forked
import pytest
from builders import build, opened, store
from conftest import Served, sagittal
from forked import Forked

OBJECTS = [build(seed) for seed in range(20)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number, one in enumerate(OBJECTS):
        (folder / f"{number}.dcm").write_bytes(one.part10)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            for one in OBJECTS:
                await store(archive, one)

    asyncio.run(fill())
    return tmp_path / "data"


def unread(errors: Path, *words: str | Path) -> tuple[int, str]:
    """Exit status and words of a command to whose output nobody listens."""
    process = Forked(forked.sagittal, *map(str, words), errors=errors, unread=True)
    return process.wait(60), errors.read_text()


def audited(data: Path, verb: str) -> list[str]:
    with closing(sqlite3.connect(data / "index.db")) as index:
        return [outcome for (outcome,) in index.execute("SELECT outcome FROM audit WHERE verb = ?", (verb,))]


def test_an_import_closes_the_archive(tmp_path: Path, files: Path) -> None:
    into = tmp_path / "into"
    assert unread(tmp_path / "errors", "import", "--json", "--data", into, files) == (1, "")
    assert not list((into / "staging").iterdir())
    assert set(audited(into, "store")) <= {"stored"}


def test_an_export_is_written_down(tmp_path: Path, data: Path) -> None:
    assert unread(tmp_path / "errors", "export", "--json", "--data", data, "-o", tmp_path / "out") == (1, "")
    assert len(audited(data, "export")) == 1


@pytest.mark.parametrize("command", ["dump", "json", "xml"])
def test_no_file_is_blamed(tmp_path: Path, files: Path, command: str) -> None:
    assert unread(tmp_path / "errors", command, files / "0.dcm") == (1, "")


def test_a_get_ends(tmp_path: Path, data: Path, start_server: Callable[..., Served]) -> None:
    archive = start_server(data=data)
    words = ("get", "--json", archive.peer, "-k", "PatientName=*", "-o", tmp_path / "got")
    assert unread(tmp_path / "errors", *words) == (1, "")
    assert len(list((tmp_path / "got").iterdir())) < len(OBJECTS)


def test_a_receiver_ends(tmp_path: Path, files: Path) -> None:
    words = ("receive", "-o", str(tmp_path / "got"), "--port", "0", "--json")
    process = Forked(forked.sagittal, *words, errors=tmp_path / "errors")
    peer = "SAGITTAL@" + json.loads(process.stdout.readline())["dimse"]
    process.stdout.close()
    told = sagittal("store", peer, *sorted(files.iterdir())[:1])
    assert (told.returncode, told.stdout) == (0, "")  # it has come, and that is what the sender hears
    assert process.wait(60) == 1
    assert "Broken" not in (tmp_path / "errors").read_text()
