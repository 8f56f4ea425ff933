"""Commands on a data directory, held by a server or by nobody: each leaves one row in the audit log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Served, serve
from conftest import sagittal_here as sagittal
from wire import image, part10, store_once

Row = tuple[str, str, str, str, int]

COMMANDS = {
    "scrub": ("scrub", "--data", "DATA"),
    "backup": ("backup", "--data", "DATA", "OUT"),
    "export": ("export", "--data", "DATA", "-o", "OUT"),
}


def run(verb: str, data: Path, out: Path) -> int:
    return sagittal(*({"DATA": data, "OUT": out}.get(part, part) for part in COMMANDS[verb])).returncode


def logged(data: Path, verb: str) -> list[Row]:
    """What the log says of a verb: who, what kind of principal, how it ended, a remark, how many instances."""
    statement = "SELECT principal, principal_kind, outcome, detail, number_of_instances FROM audit WHERE verb = ?"
    return sqlite3.connect(data / "index.db").execute(statement, (verb,)).fetchall()


def filled(data: Path) -> Served:
    served = serve(data)
    assert [store_once(served.host, served.port, image())[0] for _ in range(2)] == [0, 0]
    return served


@pytest.mark.parametrize("held", [True, False], ids=["held", "alone"])
def test_each_is_written_down_once(tmp_path: Path, held: bool) -> None:
    data = tmp_path / "data"
    served = filled(data)
    if not held:
        served.stop()
    ended = {verb: run(verb, data, tmp_path / verb) for verb in COMMANDS}
    served.stop()
    assert ended == dict.fromkeys(COMMANDS, 0)
    for verb in COMMANDS:
        ((*who, detail, instances),) = logged(data, verb)
        assert (*who, instances) == ("local", "local", "done", 2), verb
        assert detail.startswith("0 findings" if verb == "scrub" else ""), verb


@pytest.mark.parametrize("held", [True, False], ids=["held", "alone"])
def test_what_is_found_or_fails_too(tmp_path: Path, held: bool) -> None:
    data = tmp_path / "data"
    served = filled(data)
    if not held:
        served.stop()
    lost = next(path for path in (data / "objects").rglob("*") if path.is_file())
    lost.write_bytes(lost.read_bytes()[:-1])
    (data / "objects" / "0001" / ("0" * 64)).write_bytes(b"stray")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "other").touch()  # export wants an empty folder
    ended = {verb: run(verb, data, tmp_path / verb) for verb in COMMANDS}
    served.stop()
    assert ended["scrub"] == ended["backup"] == 1 and ended["export"] != 0
    (row,) = logged(data, "scrub")
    assert row[2] == "findings" and row[4] == 2
    ((*_, copied),) = logged(data, "backup")
    assert copied == 1
    assert len(logged(data, "export")) == 1
    # A stray is told, and still there for `reindex`, unless an archive was opened since.
    assert (data / "objects" / "0001" / ("0" * 64)).exists() == held


def test_who_may_not_administer_may_not_write_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = sagittal("config", "token", "add", "reader", "--verb", "find", "--data", data)
    served = serve(data)
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    row = {"verb": "backup", "outcome": "done", "instances": 1}
    answers = [httpx.post(f"{served.http}/api/upkeep", json=row, headers=headers).status_code for _ in range(1)]
    answers.append(httpx.post(f"{served.http}/api/upkeep", json={"verb": "delete"}, headers=headers).status_code)
    served.stop()
    assert answers == [403, 422]
    assert [row[:3] for row in logged(data, "backup")] == [("reader", "token", "denied")]


def imported(*arguments: str | Path) -> list[tuple[str, str]]:
    """Status and reason of each file, by its name."""
    lines = sagittal("import", "-q", "--json", *arguments).stdout.splitlines()
    rows = sorted(map(json.loads, lines), key=lambda row: row["file"])
    return [(row["status"], row["reason"]) for row in rows]


@pytest.mark.parametrize("to", ["alone", "held", "url"])
def test_an_import_tells_what_became_of_each(tmp_path: Path, start_server: Callable[..., Served], to: str) -> None:
    data, folder, second = tmp_path / "data", tmp_path / "in", tmp_path / "second"
    place: tuple[str | Path, ...] = ("--data", data)
    if to != "alone":
        served = start_server(data=data)
        place = ("--url", served.http) if to == "url" else place
    folder.mkdir()
    second.mkdir()
    first, other = image(), image()
    (folder / "1.dcm").write_bytes(part10(first))
    (folder / "2.dcm").write_bytes(part10(other))
    (folder / "3.txt").write_text("Dear colleague")
    (folder / "4.dcm").touch()
    became = imported(folder, *place)
    assert [status for status, _ in became] == ["stored", "stored", "skipped", "skipped"]
    assert became[3][1] == "empty"
    changed = part10(first).replace(b"Abuse^Test", b"Abuse^Else")
    assert changed != part10(first)
    (second / "1.dcm").write_bytes(changed)
    (second / "2.dcm").write_bytes(part10(other))
    (kept, reason), (same, _) = imported(second, *place)
    assert kept == "kept" and "stored first under this UID, they differ in (0010,0010)" in reason
    assert same == ("held" if to == "alone" else "duplicate")


def test_copies_and_indexes_are_counted_in_json(tmp_path: Path) -> None:
    data, copy, restored = (tmp_path / name for name in ("data", "copy", "restored"))
    filled(data).stop()

    def told(*arguments: str | Path) -> list[dict[str, object]]:
        return [json.loads(line) for line in sagittal(*arguments, "--json").stdout.splitlines()]

    assert told("backup", "--data", data, copy) == [{"objects": 2, "new": 2, "damaged": 0}]
    assert told("backup", "--data", data, copy) == [{"objects": 2, "new": 0, "damaged": 0}]
    assert told("restore", copy, "--data", restored) == [{"objects": 2, "failed": 0}]
    assert told("reindex", "--data", restored) == [{"objects": 2, "failed": 0}]
    lost = next(path for path in (copy / "objects").rglob("*") if path.is_file())
    lost.unlink()
    failed, counted = told("restore", copy, "--data", tmp_path / "again")
    assert failed["error"] and counted == {"objects": 1, "failed": 1}


def test_the_token_of_this_machine_goes_to_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Served
) -> None:
    """It may do all there is to do; and a proxy that the environment names could not reach us either."""
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    file, data, url = tmp_path / "one.dcm", server.data, server.http
    file.write_bytes(part10(image()))
    for command in (("nodes", "list", "--data", data), ("find", data), ("find", url), ("import", file, "--url", url)):
        ended = sagittal(*command)
        assert ended.returncode == 0, (command, ended.stderr)
