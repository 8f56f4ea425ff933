"""Which commands make a data directory, and what the others say where there is none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pytest
from builders import build
from conftest import sagittal_here
from unit.cli.test_options import ALL

READING: dict[str, list[str]] = {
    "export": ["-o", "OUT"],
    "backup": ["OUT"],
    "scrub": [],
    "reindex": [],
    "info": [],
    "nodes list": [],
    "nodes show": ["CT1"],
    "nodes remove": ["CT1"],
    "config token list": [],
    "config token revoke": ["reader"],
}
MAKING: dict[str, list[str]] = {
    "import": ["FILE"],
    "restore": ["BACKUP"],
    "nodes add": ["CT1@127.0.0.1:104"],  # both before the first `serve`, which wants them
    "config token add": ["reader"],
}


@pytest.mark.parametrize("name", sorted(READING.keys() | MAKING.keys() | {"serve"}))
def test_no_name_is_not_the_folder_that_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BACKUP").mkdir()
    ended = sagittal_here(*name.split(), *{**READING, **MAKING}.get(name, []), "--data", "")
    assert ended.returncode == 2
    assert "data" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["BACKUP"]


def test_every_command_on_a_data_directory_is_one_of_them() -> None:
    found = {name for name, each in ALL.items() for parameter in each.params if "--data" in parameter.opts}
    assert found == READING.keys() | MAKING.keys() | {"serve"}
    assert all(isinstance(ALL[name], click.Command) for name in found)


def words(tmp_path: Path, given: list[str]) -> list[str]:
    (tmp_path / "one.dcm").write_bytes(build().part10)
    names = {"OUT": tmp_path / "out", "FILE": tmp_path / "one.dcm", "BACKUP": tmp_path / "backup"}
    return [str(names.get(word, word)) for word in given]


@pytest.mark.parametrize("kind", ["missing", "empty"])
@pytest.mark.parametrize("name", READING)
def test_nothing_is_made_by_who_reads(tmp_path: Path, name: str, kind: str) -> None:
    data, given = tmp_path / "data", words(tmp_path, READING[name])
    if kind == "empty":
        data.mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = sagittal_here(*name.split(), *given, "--data", data)
    assert (done.returncode, done.stderr) == (2, f"sagittal: {data} is not a data directory\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", MAKING)
def test_who_adds_makes_it(tmp_path: Path, name: str) -> None:
    given = words(tmp_path, MAKING[name])
    if name == "restore":
        first = tmp_path / "first"
        assert sagittal_here("import", tmp_path / "one.dcm", "--data", first).returncode == 0
        assert sagittal_here("backup", "--data", first, tmp_path / "backup").returncode == 0
    done = sagittal_here(*name.split(), *given, "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "index.db").is_file()


@pytest.mark.parametrize("name", [*READING, "import", "nodes add", "config token add", "serve"])
def test_an_index_of_a_later_program_is_left_alone(tmp_path: Path, name: str) -> None:
    data, given = tmp_path / "data", words(tmp_path, (READING | MAKING).get(name, ["--http-port=0", "--dimse-port=0"]))
    assert sagittal_here("import", tmp_path / "one.dcm", "--data", data).returncode == 0
    with closing(sqlite3.connect(data / "index.db")) as index, index:
        index.execute("UPDATE alembic_version SET version_num = '9999'")
    done = sagittal_here(*name.split(), *given, "--data", data)
    assert done.returncode == 2, done.stderr
    assert "the index is of a newer program (revision 9999" in done.stderr
    with closing(sqlite3.connect(data / "index.db")) as index:
        assert index.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


@pytest.mark.parametrize("name", READING)
def test_an_empty_index_is_made_anew(tmp_path: Path, name: str) -> None:
    data, given = tmp_path / "data", words(tmp_path, READING[name])
    assert sagittal_here("import", tmp_path / "one.dcm", "--data", data).returncode == 0
    (data / "index.db").write_bytes(b"")
    done = sagittal_here(*name.split(), *given, "--data", data)
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr
    assert len(list((data / "objects" / "0001").iterdir())) == 1


@pytest.mark.parametrize(
    "name", [*sorted(READING.keys() - {"reindex"}), "import", "nodes add", "config token add", "serve"]
)
def test_an_index_that_is_none_is_told(tmp_path: Path, name: str) -> None:
    data, given = tmp_path / "data", words(tmp_path, (READING | MAKING).get(name, ["--http-port=0", "--dimse-port=0"]))
    assert sagittal_here("import", tmp_path / "one.dcm", "--data", data).returncode == 0
    (data / "index.db").write_bytes(b"nonsense" * 10_000)
    done = sagittal_here(*name.split(), *given, "--data", data)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "sagittal: the index cannot be used: file is not a database; "
        "`sagittal reindex` makes a new one from the objects"
    )
    assert "Traceback" not in done.stderr
