"""What every store of objects must keep to (`archive.blobs`); an implementation joins by a row in VOLUMES."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sagittal.archive.blobs import Blobs
from sagittal.archive.local import LocalVolume, Staged
from sagittal.errors import DamagedObject

VOLUMES: dict[str, Callable[[Path], Blobs]] = {"local": LocalVolume}


@pytest.fixture(params=VOLUMES)
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return VOLUMES[request.param](tmp_path)


def staged(path: Path, data: bytes) -> Staged:
    name = os.urandom(8).hex()
    fd = os.open(path / "staging" / name, os.O_RDWR | os.O_CREAT)
    os.write(fd, data)
    return Staged(name, fd)


def put(volume: Blobs, path: Path, data: bytes) -> str:
    return volume.put(staged(path, data), hashlib.sha256(data).hexdigest())


def test_what_was_put_is_there(volume: Blobs, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    key = put(volume, tmp_path, data)
    assert volume.size(key) == len(data)
    assert volume.read_range(key, 0, len(data)) == data
    assert volume.read_range(key, 99_990, 10) == data[-10:]
    assert volume.read_range(key, 5, 0) == b""
    assert list(volume.keys()) == [key]


def test_reading_beyond_the_end_is_damage_and_never_less(volume: Blobs, tmp_path: Path) -> None:
    key = put(volume, tmp_path, b"0123456789")
    for offset, length in ((0, 11), (9, 2), (10, 1), (1000, 1)):
        with pytest.raises(DamagedObject):
            volume.read_range(key, offset, length)


def test_delete_can_be_repeated_and_leaves_others(volume: Blobs, tmp_path: Path) -> None:
    one, two = put(volume, tmp_path, b"one"), put(volume, tmp_path, b"two")
    volume.delete(one)
    volume.delete(one)
    assert list(volume.keys()) == [two]
    with pytest.raises(DamagedObject):
        volume.size(one)
    with pytest.raises(DamagedObject):
        volume.read_range(one, 0, 1)


def test_putting_the_same_again_gives_a_whole_object(volume: Blobs, tmp_path: Path) -> None:
    first = put(volume, tmp_path, b"same")
    again = put(volume, tmp_path, b"same")
    assert volume.read_range(again, 0, 4) == b"same"
    assert {first, again} == set(volume.keys())
    volume.delete(again)
    assert put(volume, tmp_path, b"same") in set(volume.keys())


def test_an_empty_object_is_an_object(volume: Blobs, tmp_path: Path) -> None:
    key = put(volume, tmp_path, b"")
    assert volume.size(key) == 0
    assert volume.read_range(key, 0, 0) == b""
