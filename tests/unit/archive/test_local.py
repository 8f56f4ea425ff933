"""The local volume: staging, names, rolling over, and what it says when the disk fails."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from sagittal.archive.faults import Faults
from sagittal.archive.local import LocalVolume
from sagittal.archive.reading import read_pieces
from sagittal.errors import DamagedObject, StorageUnavailable


def put(volume: LocalVolume, data: bytes) -> str:
    with closing(volume.stage()) as staged:
        os.write(staged.fd, data)
        volume.sync_file(staged.fd)
        key = volume.place(hashlib.sha256(data).hexdigest())
        volume.adopt(staged, key)
    volume.sync_directory(key.partition("/")[0])
    return key


def read(volume: LocalVolume, key: str, offset: int, length: int) -> bytes:
    fd = volume.open(key)
    try:
        return b"".join(read_pieces(fd, length, offset, length))
    finally:
        os.close(fd)


def failing(point: str, code: int = errno.EIO) -> Faults:
    def hook(name: str) -> None:
        if name == point:
            raise OSError(code, os.strerror(code))

    return Faults(hook)


def test_an_object_is_named_by_its_digest_and_read_back(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    key = put(volume, b"abcdef")
    assert key == "0001/" + hashlib.sha256(b"abcdef").hexdigest()
    assert read(volume, key, 2, 3) == b"cde"
    assert volume.size(key) == 6
    assert list(volume.keys()) == [key]
    assert list((tmp_path / "staging").iterdir()) == []
    with pytest.raises(DamagedObject):
        read(volume, key, 4, 3)


def test_directories_roll_over_and_the_count_survives_reopening(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path, directory_files_max=2)
    keys = [put(volume, bytes([n])) for n in range(3)]
    volume.close()
    volume = LocalVolume(tmp_path, directory_files_max=2)
    keys += [put(volume, bytes([n])) for n in range(3, 5)]
    assert [key[:4] for key in keys] == ["0001", "0001", "0002", "0002", "0003"]
    assert sorted(volume.keys()) == sorted(keys)


def test_delete_is_repeatable_and_a_missing_object_is_damaged(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    key = put(volume, b"x")
    volume.delete(key)
    volume.delete(key)
    for ask in (lambda: volume.size(key), lambda: volume.open(key), lambda: volume.link(key, tmp_path / "link")):
        with pytest.raises(DamagedObject):
            ask()


@pytest.mark.parametrize("key", ["../lock", "0001/../../lock", "/etc/passwd", "0001/" + "A" * 64, "x" * 70, ""])
def test_only_keys_of_ours_open_files(tmp_path: Path, key: str) -> None:
    with pytest.raises(DamagedObject):
        LocalVolume(tmp_path).open(key)


@pytest.mark.parametrize("digest", ["../" + "a" * 61, "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_only_digests_name_objects(tmp_path: Path, digest: str) -> None:
    volume = LocalVolume(tmp_path)
    with pytest.raises(ValueError, match="SHA-256"):
        volume.place(digest)


@pytest.mark.parametrize(
    "point", ["staging.create", "file.sync", "directory.create", "object.rename", "directory.sync"]
)
def test_a_failure_makes_the_volume_unwell_until_a_probe_goes_through(tmp_path: Path, point: str) -> None:
    volume = LocalVolume(tmp_path, faults=failing(point))
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        put(volume, b"x")
    assert volume.reason is not None
    with pytest.raises(StorageUnavailable):
        volume.stage()
    assert volume.probe() is None
    volume.check()


def test_a_staging_file_that_cannot_be_removed_makes_the_volume_unwell(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    staged = volume.stage()
    (tmp_path / "staging" / staged.name).unlink()
    (tmp_path / "staging" / staged.name).mkdir()
    volume.discard(staged)
    assert volume.reason == "a staging file cannot be removed: Is a directory"


def test_what_found_no_room_is_well_again_when_an_object_has_some(tmp_path: Path) -> None:
    """A probe goes through where no object does: it would be well and unwell by turns."""
    volume = LocalVolume(tmp_path, faults=failing("staging.create", errno.ENOSPC))
    volume.free_bytes = lambda: 1 << 20  # type: ignore[method-assign]
    assert volume.probe() is None
    with pytest.raises(StorageUnavailable):
        volume.stage()
    assert [volume.probe(), volume.probe()] == ["the volume is nearly full"] * 2
    volume.free_bytes = lambda: 16 << 20  # type: ignore[method-assign]
    assert volume.probe() is None
    volume.close()


def test_a_probe_that_fails_gives_the_reason(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path, faults=failing("probe", errno.ENOSPC))
    assert volume.probe() == "the probe write failed: No space left on device"
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_probe_tells_that_objects_are_on_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = LocalVolume(tmp_path)

    def rename(*names: str, **folders: int) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "rename", rename)
    assert volume.probe() == "the probe write failed: objects and staging have to be on one file system"
    monkeypatch.undo()
    assert volume.probe() is None
    assert not list(tmp_path.glob("*/*"))


def test_nothing_is_stored_where_another_folder_hides_it(tmp_path: Path) -> None:
    """As a disk does that is mounted over `objects`, or the folder that is seen again once one is unmounted."""
    volume = LocalVolume(tmp_path)
    key = put(volume, b"abc")
    (tmp_path / "objects").rename(tmp_path / "hidden")
    assert volume.trouble() is not None  # `objects` is not there at all
    (tmp_path / "objects" / "0001").mkdir(parents=True)
    for act in (volume.open, volume.size):
        with pytest.raises(StorageUnavailable, match="another folder"):  # no object is damaged
            act(key)
    with pytest.raises(StorageUnavailable, match="another folder"):
        put(volume, b"def")
    assert "another folder" in (volume.probe() or "")
    volume.delete(key)
    assert not (tmp_path / "hidden" / key).exists()
    (tmp_path / "objects" / "0001").rmdir()
    (tmp_path / "hidden").rename(tmp_path / "objects")
    assert volume.probe() is None
    put(volume, b"abc")
    volume.close()


def test_refuses_before_the_disk_is_full(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path, free_bytes_min=1 << 60)
    with pytest.raises(StorageUnavailable, match="nearly full"):
        volume.stage()
    assert volume.probe() == "the volume is nearly full"


def test_putting_again_repairs_and_staging_is_cleaned(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    key = put(volume, b"whole")
    (tmp_path / "objects" / key).write_bytes(b"wh")
    assert put(volume, b"whole") == key
    assert read(volume, key, 0, 5) == b"whole"
    kept, left = volume.stage(), volume.stage()
    volume.discard(kept)
    volume.discard(kept)
    left.close()
    (tmp_path / "staging" / "lost+found").mkdir()
    (tmp_path / "staging" / "probe-0123456789abcdef").touch()  # of a process that was killed
    (tmp_path / "staging" / "notes.txt").write_text("of somebody who has a folder of this name")
    assert volume.clean_staging() == 2
    assert {file.name for file in (tmp_path / "staging").iterdir()} == {"lost+found", "notes.txt"}


def test_a_pipe_or_socket_in_place_of_an_object_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    volume = LocalVolume(tmp_path)
    piped, bound = put(volume, b"x"), put(volume, b"y")
    for key in (piped, bound):
        (tmp_path / "objects" / key).unlink()
    os.mkfifo(tmp_path / "objects" / piped)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        Path("socket").rename(tmp_path / "objects" / bound)
        for key in (piped, bound):
            with pytest.raises(DamagedObject):
                read(volume, key, 0, 1)


def test_strangers_are_listed_and_are_no_keys(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    key = put(volume, b"x")
    (tmp_path / "objects" / "notes.txt").write_text("?")
    (tmp_path / "objects" / "0001" / "thumbs.db").write_text("?")
    assert list(volume.keys()) == [key]
    assert list(volume.strangers()) == ["0001/thumbs.db", "notes.txt"]
