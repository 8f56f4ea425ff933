"""What is read of a folder, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from denied import nobody_may_list

from sagittal.client.storing.files import read_objects, walk
from sagittal.folders import files_below, is_data_directory, is_of_an_index, whole, why_not_entered


def made(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with an archive in it."""
    return made(tmp_path / "in", "a", "data/index.db", "data/lock", "data/index.db-wal", "data/objects/0001/ab", "z/b")


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    made(tmp_path, "b/2", "b/1", "a/x/y", "c", ".hidden")
    found = [str(path.relative_to(tmp_path)) for path in files_below(tmp_path)]
    assert found == [".hidden", "c", "a/x/y", "b/1", "b/2"]


def test_a_data_directory_is_passed_over_unless_it_is_given(archive: Path) -> None:
    found = list(files_below(archive))
    assert found == [archive / "a", archive / "data", archive / "z" / "b"]
    assert "data directory" in str(why_not_entered(archive / "data"))
    assert list(files_below(archive / "data")) == [archive / "data" / "objects" / "0001" / "ab"]
    assert list(walk([archive])) == [archive / "a", archive / "z" / "b"]


def test_an_index_is_not_opened_even_when_it_is_named(archive: Path) -> None:
    assert is_data_directory(archive / "data")
    assert is_of_an_index(archive / "data" / "index.db-wal")
    assert not is_of_an_index(made(archive, "index.db") / "index.db")
    [failed] = read_objects([archive / "data" / "index.db"])[1]
    assert failed.comment == "the index of a data directory"


def test_links_to_folders_are_given_as_they_are(archive: Path) -> None:
    (archive / "again").symlink_to(".")
    assert archive / "again" in list(files_below(archive))
    assert "link" in str(why_not_entered(archive / "again"))
    assert list(walk([archive])) == [archive / "a", archive / "z" / "b"]


def test_a_folder_too_deep_to_be_named_keeps_nobody_from_the_rest(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = archive / "a.deep"
    with monkeypatch.context() as patch:
        for name in (deep, *["d" * 250] * 17):
            Path(name).mkdir()
            patch.chdir(name)
    found = list(walk([archive]))
    assert found[0] == archive / "a"
    assert archive / "z" / "b" in found
    [unlisted] = [path for path in found if path.name == "d" * 250]
    assert "too long" in str(why_not_entered(unlisted))


def test_a_folder_that_cannot_be_listed_is_told(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_may_list(monkeypatch, archive / "z")
    assert list(walk([archive])) == [archive / "a", archive / "z"]
    failed = {answer.file: answer.comment for answer in read_objects([archive])[1]}
    assert failed[archive / "z"] == "Permission denied"


def test_a_folder_that_is_given_and_cannot_be_listed_is_told(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_may_list(monkeypatch, archive)
    [failed] = read_objects([archive])[1]
    assert (failed.file, failed.comment) == (archive, "Permission denied")


def test_what_takes_the_place_of_a_file_has_its_permissions(tmp_path: Path) -> None:
    path = made(tmp_path, "private") / "private"
    path.chmod(0o600)
    with whole(path) as file:
        file.write(b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    with pytest.raises(ValueError, match="not to its end"), whole(path) as file:
        file.write(b"half")
        raise ValueError("not to its end")
    assert (path.read_bytes(), [each.name for each in tmp_path.iterdir()]) == (b"new", ["private"])
