"""Import: an answer for every file, zip files within limits, and a second run that skips what is held."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened
from denied import nobody_may_list

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.archive.upkeep import sources
from sagittal.archive.upkeep.importer import Imported, import_files
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS, syntax
from sagittal.errors import NotAuthorized
from sagittal.limits import ArchiveLimits, Limits

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS, DEFLATED_LE)
OBJECTS = [build(number, syntax_uid=SYNTAXES[number % 4]) for number in range(20)]
SOURCE = Source("import")


async def done(archive: Archive, *paths: Path) -> dict[str, Imported]:
    return {one.name: one async for one in import_files(archive, LOCAL, paths, SOURCE)}


def imported(path: Path, *paths: Path, limits: Limits | None = None) -> dict[str, Imported]:
    async def run() -> dict[str, Imported]:
        async with opened(path, limits) as archive:
            return await done(archive, *paths)

    return asyncio.run(run())


def folder(path: Path) -> Path:
    for number, built in enumerate(OBJECTS):
        file = path / f"{number % 3}" / f"{number}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(built.part10)
    return path


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_folder_and_again(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    first = imported(tmp_path / "a", source)
    assert {one.status for one in first.values()} == {"stored"}
    assert len(first) == len(OBJECTS)
    second = imported(tmp_path / "a", source)
    assert {one.status for one in second.values()} == {"held"}
    assert second.keys() == first.keys()


async def test_an_interrupted_import_goes_on(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    async with opened(tmp_path / "a") as archive:
        running = import_files(archive, LOCAL, [source], SOURCE)
        for _ in range(5):
            assert (await anext(running)).status == "stored"
        await running.aclose()  # type: ignore[attr-defined]
        rest = await done(archive, source)
        assert {one.status for one in rest.values()} == {"held", "stored"}
        assert (await archive.statistics(LOCAL)).instances == len(OBJECTS)
    assert list((tmp_path / "a" / "staging").iterdir()) == []


def test_every_file_has_an_answer(tmp_path: Path) -> None:
    built = build()
    source = tmp_path / "in"
    source.mkdir()
    files = {
        "good.dcm": built.part10,
        "no-preamble.dcm": build(2).data,
        "empty": b"",
        "letter.txt": b"Dear colleague, " * 50,
        "DICOMDIR": build(3, sop_class_uid="1.2.840.10008.1.3.10").part10,
        "short.dcm": build(4).part10[:-3],
        "no-uid.dcm": build(5, sop_instance_uid="").part10,
        "broken.zip": b"PK\x03\x04 and then nothing",
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
    os.mkfifo(source / "pipe")
    (source / "nowhere").symlink_to(tmp_path / "missing")
    answers = {Path(name).name: one for name, one in imported(tmp_path / "a", source, tmp_path / "gone").items()}
    status = {name: one.status for name, one in answers.items()}
    assert status == {
        "good.dcm": "stored",
        "no-preamble.dcm": "stored",
        "empty": "skipped",
        "letter.txt": "skipped",
        "DICOMDIR": "skipped",
        "short.dcm": "failed",
        "no-uid.dcm": "failed",
        "broken.zip": "failed",
        "pipe": "failed",
        "nowhere": "failed",
        "gone": "failed",
    }
    assert all(one.reason for one in answers.values() if one.status in ("skipped", "failed"))


def test_a_file_that_is_named_and_no_object_has_failed(tmp_path: Path) -> None:
    """Anything may lie in a folder or zip; who names a file means it. The files that a DICOMDIR lists are not named."""
    files = {
        "letter.txt": b"Dear colleague, " * 50,
        "empty": b"",
        "headless": meta_group(build().sop_class_uid, "1.2.3", EXPLICIT_LE),
        "DICOMDIR": build(3, sop_class_uid="1.2.840.10008.1.3.10").part10,
        "good.dcm": build().part10,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    path = zipped(tmp_path / "in.zip", files)
    answers = imported(tmp_path / "a", *(tmp_path / name for name in files))
    assert {name: answers[str(tmp_path / name)].status for name in files} == {
        "letter.txt": "failed", "empty": "failed", "headless": "failed", "DICOMDIR": "skipped", "good.dcm": "stored",
    }  # fmt: skip
    answers = imported(tmp_path / "a", path)
    assert {name: answers[f"{path}!{name}"].status for name in files} == {
        "letter.txt": "skipped", "empty": "skipped", "headless": "skipped", "DICOMDIR": "skipped", "good.dcm": "held",
    }  # fmt: skip


def test_zip_members_are_imported_and_held_the_second_time(tmp_path: Path) -> None:
    members = {f"../../{number}.dcm": built.part10 for number, built in enumerate(OBJECTS)}
    path = zipped(tmp_path / "in.zip", {**members, "folder/": b"", "readme.txt": b"not an object " * 40})
    answers = imported(tmp_path / "a", path)
    assert [one.status for one in answers.values()].count("stored") == len(OBJECTS)
    assert answers[f"{path}!readme.txt"].status == "skipped"
    assert {one.status for one in imported(tmp_path / "a", path).values()} == {"held", "skipped"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "in.zip"]


@pytest.mark.parametrize("limit", [4, 3, 2])
def test_the_number_of_zip_members_is_bounded(tmp_path: Path, limit: int) -> None:
    members = {f"{'long' * 40}{number}.dcm": OBJECTS[number].part10 for number in range(3)}
    path = zipped(tmp_path / "in.zip", members)
    answers = imported(tmp_path / "a", path, limits=Limits(archive=ArchiveLimits(zip_members_max=limit)))
    if limit < 3:
        [refused] = answers.values()
        assert "zip_members_max" in refused.reason
    else:
        assert {one.status for one in answers.values()} == {"stored"}


@pytest.mark.parametrize(("spare", "statuses"), [(0, {"stored"}), (1, {"stored"}), (-1, {"stored", "failed"})])
def test_the_bytes_of_a_zip_file_are_bounded(tmp_path: Path, spare: int, statuses: set[str]) -> None:
    members = {f"{number}.dcm": OBJECTS[number].part10 for number in range(3)}
    path = zipped(tmp_path / "in.zip", members)
    total = sum(map(len, members.values())) + spare
    limits = Limits(archive=ArchiveLimits(zip_bytes_max=total, import_transfers=1))
    answers = imported(tmp_path / "a", path, limits=limits)
    assert {one.status for one in answers.values()} == statuses


def test_a_zip_bomb_is_refused_by_what_it_inflates_to(tmp_path: Path) -> None:
    bomb = build(1, extra={"PixelData": bytes(8 << 20)}, rows=2048, columns=2048)
    path = zipped(tmp_path / "in.zip", {"bomb.dcm": bomb.part10, "good.dcm": build(2).part10})
    limits = Limits(archive=ArchiveLimits(zip_ratio_free_bytes=1 << 20))
    answers = {name.rpartition("!")[2]: one for name, one in imported(tmp_path / "a", path, limits=limits).items()}
    assert answers["bomb.dcm"].status == "failed"
    assert "zip_ratio_max" in answers["bomb.dcm"].reason
    assert answers["good.dcm"].status == "stored"


def test_an_empty_image_is_no_bomb(tmp_path: Path) -> None:
    """It deflates a thousandfold, as segmentations do."""
    empty = build(1, extra={"PixelData": bytes(8 << 20)}, rows=2048, columns=2048)
    [answer] = imported(tmp_path / "a", zipped(tmp_path / "in.zip", {"empty.dcm": empty.part10})).values()
    assert (answer.status, answer.reason) == ("stored", "")


def test_a_zip_bomb_of_members_over_one_another_is_refused_unread(tmp_path: Path) -> None:
    """Each quotes the next one, so that all end with the same compressed bytes."""
    path = zipped(tmp_path / "in.zip", {"one.dcm": build(1).part10, "two.dcm": build(2).part10}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    reach = entry - int.from_bytes(data[entry + 42 : entry + 46], "little") - 50
    data[entry + 20 : entry + 28] = reach.to_bytes(4, "little") * 2
    path.write_bytes(data)
    answers = {name.rpartition("!")[2]: one.reason for name, one in imported(tmp_path / "a", path).items()}
    assert answers == {"one.dcm": "the zip member is damaged: it lies over another one", "two.dcm": ""}


def test_a_zip_whose_comment_looks_like_an_end_has_failed_and_an_empty_one_not(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", {"one.dcm": build(1).part10})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\x05\x06" + bytes(18)
    [answer] = imported(tmp_path / "a", path).values()
    assert (answer.status, "directory is empty" in answer.reason) == ("failed", True)
    assert imported(tmp_path / "a", zipped(tmp_path / "empty.zip", {})) == {}


def test_a_zip_member_whose_name_is_empty_hinders_no_other(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", {"Qname": build(1).part10, "two.dcm": build(2).part10})
    path.write_bytes(path.read_bytes().replace(b"Qname", b"\0name"))  # it ends at the first zero
    assert "stored" in {one.status for one in imported(tmp_path / "a", path).values()}


def test_a_zip_file_within_a_zip_file_has_failed(tmp_path: Path) -> None:
    """Objects may be in it: it is no letter that happens to lie there."""
    inner = zipped(tmp_path / "inner.zip", {"one.dcm": build(1).part10})
    path = zipped(tmp_path / "in.zip", {"study.zip": inner.read_bytes(), "two.dcm": build(2).part10})
    answers = {name.rpartition("!")[2]: one for name, one in imported(tmp_path / "a", path).items()}
    assert {name: one.status for name, one in answers.items()} == {"study.zip": "failed", "two.dcm": "stored"}
    assert "unpack it" in answers["study.zip"].reason


def test_forged_and_damaged_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", {"one.dcm": build(1).part10, "two.dcm": build(2).part10}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"DICM") + 300] ^= 1  # the checksum of the first member does not fit now
    path.write_bytes(data)
    answers = {name.rpartition("!")[2]: one for name, one in imported(tmp_path / "a", path).items()}
    assert answers["one.dcm"].status == "failed"
    assert answers["two.dcm"].status == "stored"


@pytest.mark.parametrize("at", [0, 42])  # the member's own head; where the directory says that it is
def test_a_member_whose_head_is_not_where_it_should_be_fails_alone(tmp_path: Path, at: int) -> None:
    path = zipped(tmp_path / "in.zip", {"one.dcm": build(1).part10, "two.dcm": build(2).part10})
    data = bytearray(path.read_bytes())
    data[(data.index(b"PK\x01\x02") if at else 30) + at] ^= 0x40
    path.write_bytes(data)
    answers = {name.rpartition("!")[2]: one for name, one in imported(tmp_path / "a", path).items()}
    assert {name: one.status for name, one in answers.items()} == {"one.dcm": "failed", "two.dcm": "stored"}
    assert "damaged" in answers["one.dcm"].reason


def test_encrypted_members_are_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", {"one.dcm": build(1).part10}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    [answer] = imported(tmp_path / "a", path).values()
    assert (answer.status, answer.reason) == ("failed", "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_memory_has_no_bound_are_refused(tmp_path: Path, method: int) -> None:
    """A few kilobytes of them inflate to gigabytes in one step."""
    path = zipped(tmp_path / "in.zip", {"one.dcm": build(1).part10 + bytes(1 << 24)}, method)
    [answer] = imported(tmp_path / "a", path).values()
    assert (answer.status, answer.reason) == ("failed", "compressed by another method than Deflate")


def test_a_file_that_is_written_to_while_it_is_read_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place may be taken already, as some copy, and what is not there yet read as zeros."""
    path = tmp_path / "copied.dcm"
    path.write_bytes(OBJECTS[0].part10[:-8] + bytes(8))
    read = sources._OpenFile.read

    def meanwhile(file: sources._OpenFile, length: int) -> bytes:
        data = read(file, length - 1)
        path.write_bytes(OBJECTS[0].part10)
        os.utime(path, ns=(1, 1))  # clocks of file systems may not have gone on
        return data + read(file, length - len(data))

    with monkeypatch.context() as patch:
        patch.setattr(sources._OpenFile, "read", meanwhile)
        [answer] = imported(tmp_path / "a", path).values()
    assert (answer.status, "written to" in answer.reason) == ("failed", True)
    [answer] = imported(tmp_path / "a", path).values()
    assert answer.outcome is not None
    assert (answer.status, answer.outcome.digest) == ("stored", OBJECTS[0].digest)


def test_a_fault_of_ours_in_one_file_keeps_no_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_on = sources._OpenFile.read

    def read(self: Any, length: int) -> bytes:
        data = read_on(self, length)
        if data == OBJECTS[3].part10:
            raise KeyError("nobody foresaw this")
        return data

    monkeypatch.setattr(sources._OpenFile, "read", read)
    found = imported(tmp_path / "a", source := folder(tmp_path / "in"))
    failed = found.pop(str(source / "0" / "3.dcm"))
    assert (failed.status, failed.reason) == ("failed", "a fault of this program: KeyError")
    assert [one.status for one in found.values()] == ["stored"] * (len(OBJECTS) - 1)


def test_a_held_file_that_is_missing_is_repaired(tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(OBJECTS[0].part10)
    imported(tmp_path / "a", file)
    (tmp_path / "a" / "objects" / "0001" / OBJECTS[0].digest).unlink()
    assert [one.status for one in imported(tmp_path / "a", file).values()] == ["duplicate"]
    assert (tmp_path / "a" / "objects" / "0001" / OBJECTS[0].digest).exists()


def test_a_held_file_that_is_damaged_is_repaired(tmp_path: Path) -> None:
    file, stored = tmp_path / "one.dcm", tmp_path / "a" / "objects" / "0001" / OBJECTS[0].digest
    file.write_bytes(OBJECTS[0].part10)
    imported(tmp_path / "a", file)
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [one.status for one in imported(tmp_path / "a", file).values()] == ["duplicate"]
    assert stored.read_bytes() == whole


async def test_the_archive_itself_lies_in_the_folder(tmp_path: Path) -> None:
    """Who closes a descriptor of its index takes the locks off that index: then whoever else opens it and closes it
    is the last one, for SQLite, and removes what was committed last.
    """
    folder(tmp_path / "in")
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM setting'); c.close()"
    async with opened(tmp_path / "data") as archive:
        answers = await done(archive, tmp_path, tmp_path / "data" / "index.db")
        assert answers[str(tmp_path / "data")].status == "skipped"
        assert answers[str(tmp_path / "data" / "index.db")].status == "failed"
        assert len(answers) == len(OBJECTS) + 2
        subprocess.run([sys.executable, "-c", other, str(archive.index)], check=True)
        assert (tmp_path / "data" / "index.db-wal").exists()


def test_folders_that_are_not_gone_into_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "in")
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    refused = tmp_path / "in" / "1"
    nobody_may_list(monkeypatch, refused)
    answers = imported(tmp_path / "a", tmp_path / "in")
    assert (answers[str(refused)].status, answers[str(refused)].reason) == ("failed", "Permission denied")
    assert answers[str(tmp_path / "in" / "link")].status == "skipped"


async def test_only_who_may_store_imports(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as archive:
        with pytest.raises(NotAuthorized):
            await anext(import_files(archive, Principal("x", "node", frozenset({"find"})), [tmp_path], SOURCE))


def test_the_builder_makes_every_syntax() -> None:
    assert all(syntax(built.syntax_uid) for built in OBJECTS)
    assert io.BytesIO(OBJECTS[0].part10).read(132)[128:] == b"DICM"
