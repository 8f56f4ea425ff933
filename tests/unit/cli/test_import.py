"""`sagittal import` and `sagittal store` of files that are named and can't be taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import build
from conftest import sagittal_here

COMMANDS = {"import": ["import", "--data"], "store": ["store"]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one object."""
    (tmp_path / "held.dcm").write_bytes(build(9).part10)
    assert sagittal_here("import", tmp_path / "held.dcm", "--data", tmp_path / "data").returncode == 0
    return tmp_path / "data"


@pytest.mark.parametrize("verb", COMMANDS)
def test_each_is_told_and_the_others_are_taken(tmp_path: Path, data: Path, verb: str) -> None:
    files = {"good.dcm": build().part10, "letter.txt": b"Dear colleague, " * 50, "empty.dcm": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    given = [*(tmp_path / name for name in files), tmp_path / "missing.dcm"]
    done = sagittal_here(*COMMANDS[verb], data, "--json", *given)
    rows = {Path(row["file"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1, done.stderr
    assert rows.keys() == {*files, "missing.dcm"}
    reason = "reason" if verb == "import" else "comment"
    assert rows["missing.dcm"][reason] == "No such file or directory"
    assert rows["letter.txt"][reason].startswith("not a DICOM file")
    good = {"import": "stored", "store": "0000"}[verb]
    bad = {"import": "failed", "store": ""}[verb]
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(rows, bad) | {"good.dcm": good}


@pytest.mark.parametrize("verb", COMMANDS)
def test_in_a_folder_they_are_passed_over(tmp_path: Path, data: Path, verb: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.dcm").write_bytes(build().part10)
    (folder / "letter.txt").write_bytes(b"Dear colleague, " * 50)
    (folder / "empty.dcm").touch()
    done = sagittal_here(*COMMANDS[verb], data, folder)
    assert done.returncode == 0, done.stderr
    if verb == "import":
        assert done.stderr.splitlines()[-1] == "2 skipped, 1 stored"


def test_beside_no_server_the_settings_of_one_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its data directory, limits and what it does with duplicates; of the environment, too."""
    first, second = tmp_path / "first.dcm", tmp_path / "second.dcm"
    first.write_bytes(build(extra={"PatientName": "First"}).part10)
    second.write_bytes(build(extra={"PatientName": "Second"}).part10)
    settings = tmp_path / "sagittal.toml"
    settings.write_text(f'data = "{tmp_path / "there"}"\nduplicates = "replace"\n[limits]\nzip_members_max = 1\n')
    statuses = [
        [json.loads(line)["status"] for line in sagittal_here("import", "--json", *given).stdout.splitlines()]
        for given in (
            ("--config", settings, first),
            ("--config", settings, second),
            ("--data", tmp_path / "other", second),
        )
    ]
    assert statuses == [["stored"], ["replaced"], ["stored"]]
    monkeypatch.setenv("SAGITTAL_DATA", str(tmp_path / "there"))
    monkeypatch.setenv("SAGITTAL_LIMITS__FREE_BYTES_MIN", str(1 << 60))
    (tmp_path / "third.dcm").write_bytes(build(3).part10)
    done = sagittal_here("import", tmp_path / "third.dcm")
    assert "the volume is nearly full" in done.stderr
    monkeypatch.delenv("SAGITTAL_LIMITS__FREE_BYTES_MIN")
    rows = sagittal_here("config", "token", "list")
    assert rows.returncode == 0, rows.stderr
