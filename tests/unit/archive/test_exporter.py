"""Export: folders and zip files of Part 10 files with names of our own, checked on the way."""

from __future__ import annotations

import asyncio
import csv
import errno
import os
import zipfile
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.references import InstanceRef
from sagittal.archive.upkeep import exporter
from sagittal.archive.upkeep.exporter import export_folder, export_zip
from sagittal.errors import UsageError

OBJECTS = [
    build(1, patient_id="../../etc"), build(2, patient_id="../../etc"), build(1, series=2, patient_id="../../etc"),
    build(1, study=2, patient_id="../../etc"),
]  # fmt: skip
NAMES = ["0001/0001/000001.dcm", "0001/0001/000002.dcm", "0001/0002/000001.dcm", "0002/0001/000001.dcm"]


async def references(archive: Archive) -> list[InstanceRef]:
    await store(archive, *OBJECTS)
    return await archive.instances(LOCAL, patient_id="../../etc")


async def test_a_folder(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        refs = await references(archive)
        assert [one.name for one in export_folder(archive.open_object, refs, tmp_path / "out")] == NAMES
    assert [(tmp_path / "out" / name).read_bytes() for name in NAMES] == [built.part10 for built in OBJECTS]
    listed = list(csv.DictReader((tmp_path / "out" / "index.csv").open(newline="")))
    assert [row["file"] for row in listed] == NAMES
    assert [row["sop_instance_uid"] for row in listed] == [built.sop_instance_uid for built in OBJECTS]


async def test_a_zip_file(tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    async with opened(tmp_path / "a") as archive:
        refs = await references(archive)
        assert [one.name for one in export_zip(archive.open_object, refs, target)] == NAMES
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [*NAMES, "index.csv"]
        assert [archive.read(name) for name in NAMES] == [built.part10 for built in OBJECTS]


async def test_damaged_objects_are_told_and_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        refs = await references(archive)
        objects = tmp_path / "a" / "objects" / "0001"
        data = bytearray(OBJECTS[0].part10)
        data[-1] ^= 1
        (objects / OBJECTS[0].digest).write_bytes(data)
        (objects / OBJECTS[2].digest).unlink()
        for number, exported in enumerate(
            (export_folder(archive.open_object, refs, tmp_path / "out"),
             export_zip(archive.open_object, refs, tmp_path / "out.zip"))
        ):  # fmt: skip
            answers = list(exported)
            assert [bool(one.error) for one in answers] == [True, False, True, False], number
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.dcm")) == [
        NAMES[1],
        NAMES[3],
    ]
    assert len((tmp_path / "out" / "index.csv").read_text().splitlines()) == 3


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    (tmp_path / "out.zip").write_text("dear")
    async with opened(tmp_path / "a") as archive:
        refs = await references(archive)
        with pytest.raises(UsageError, match="not empty"):
            list(export_folder(archive.open_object, refs, tmp_path / "out"))
        with pytest.raises(FileExistsError):
            list(export_zip(archive.open_object, refs, tmp_path / "out.zip"))


@pytest.mark.parametrize("full", [True, False])
def test_no_zip_file_is_left_of_an_export_that_ended_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    def fail(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def run() -> None:
        async with opened(tmp_path / "a") as archive:
            files = export_zip(archive.open_object, await references(archive), tmp_path / "out.zip")
            next(files)
            if not full:  # Ctrl-C closes it
                files.close()  # type: ignore[attr-defined]
                return
            monkeypatch.setattr(exporter, "_copy", fail)
            with pytest.raises(OSError, match="space"):
                next(files)

    asyncio.run(run())
    assert not (tmp_path / "out.zip").exists()
