"""What cannot be an address or a token, and files that cannot be made, are told in a line of ours, not a traceback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.cli import main

LONG = "x" * 64  # a label has 63 characters at most


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("find http://127.0.0.1:1 --tls", "--tls is for AET@host:port, not for an http URL"),
        ("find https://127.0.0.1:1 --aet US", "--aet is for AET@host:port, not for an https URL"),
        ("find http://127.0.0.1:1 --relational", "--relational is for AET@host:port"),
        ("find http://127.0.0.1:1 --datetime", "--datetime is for AET@host:port"),
        ("find http://127.0.0.1:1 --study-root", "--study-root is for AET@host:port"),
        ("get http://127.0.0.1:1 -k PatientID=1 --patient-root", "--patient-root is for AET@host:port"),
        ("get http://127.0.0.1:1 -k SOPInstanceUID=1.2 --relational", "--relational is for AET@host:port"),
        ("store http://127.0.0.1:1 . --window 2", "--window is for AET@host:port"),
        ("store http://127.0.0.1:1 . --syntax ImplicitVRLittleEndian", "--syntax is for AET@host:port"),
        ("store http://127.0.0.1:1 . --propose CTImageStorage=1.2", "--propose is for AET@host:port"),
        (
            "qido http://127.0.0.1:1 --tls-ca a.pem",
            "is for AET@host:port or an https URL, not for an http URL",
        ),
        ("qido http://127.0.0.1:1 studies?PatientID=1", "what to look for goes into -k"),
        ("stow http://127.0.0.1:1 . --tls-cert a.pem", "--tls-cert is for"),
        ("wado http://127.0.0.1:1 studies --tls-key a.pem", "--tls-key is for"),
        ("find http://127.0.0.1:1 --identity", "--identity is for AET@host:port"),
        ("find A@127.0.0.1:1 --identity", "there is neither SAGITTAL_TOKEN nor SAGITTAL_USER"),
        ("find archive --user a:b", "--user is for AET@host:port or a URL, not for a data directory"),
        ("import . --url http://127.0.0.1:1 --data archive", "--data or --url, not both"),
        ("find archive --tls-ca a.pem", "--tls-ca is for AET@host:port or an https URL, not for a data directory"),
    ],
)
def test_options_of_another_protocol(
    options: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archive").mkdir()
    for name in ("a.pem", "archive/index.db"):
        (tmp_path / name).touch()
    with pytest.raises(SystemExit) as ended:
        main(options.split(" "))
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "find A@127.0.0.1:1 --tls-ca a.pem --aet SAGITTAL",
        "find https://127.0.0.1:1 --tls-ca a.pem --token secret",
        "find http://127.0.0.1:1 --user a:b --fuzzy --timezone +0100 --timeout 5",
        "get A@127.0.0.1:1 -k PatientID=1 --patient-root --relational",
    ],
)
def test_options_of_the_protocol_are_taken(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also from the environment, which is not about this archive alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGITTAL_TOKEN", "secret")
    (tmp_path / "a.pem").touch()
    with pytest.raises(SystemExit):
        main(line.split(" "))
    assert " is for " not in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "echo A@a..b:104",
        f"echo A@{LONG}:104",
        "echo A@a\0b:104",
        "echo A@127.0.0.1:1 --aet seventeen-letters",
        "find A@127.0.0.1:1 -k PatientID --aet a\\b",
        "move A@127.0.0.1:1 -k PatientID=1 --to seventeen-letters",
        "receive --aet seventeen-letters",
        "receive --host a..b",
        "serve --host a..b",
        "serve --node A@a..b:104",
        "nodes add A@a..b:104",
        "find http://[x -k PatientID",
        "info --url http://[x",
        "find http://127.0.0.1:1 -k PatientID --token ä",
        "wado http://127.0.0.1:1 studies/\x01",
        "find http://127.0.0.1:1 -k PatientName=x\udce9",
    ],
)
def test_usage(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(line.split(" "))
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, ""), told.err
    assert not list(tmp_path.glob("sagittal-data/index.db"))


def test_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SAGITTAL_TOKEN", "a\nb")
    with pytest.raises(SystemExit) as ended:
        main(["info", "--url", "http://127.0.0.1:1"])
    assert ended.value.code == 2
    assert "token" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "nodes add A@h:1 --data file/x",
        "config token add NAME --data file/x",
        "import file --data file/x",
        "export --data held -o file/x",
        "export --data held -o file",
        "backup --data held file/x",
        "serve --data file/x --http-port 0 --dimse-port 0",
        "receive -o file/x --port 0",
        "dump file/x",
        "fix picture.dcm -o file/x",
    ],
)
def test_files_that_cannot_be_made(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "picture.dcm").write_bytes(build().part10)
    asyncio.run(_make(tmp_path / "held"))
    with pytest.raises(SystemExit) as ended:
        main(line.split(" "))
    told = capsys.readouterr()
    assert ended.value.code in (1, 2), told.err
    assert "file" in told.err
    assert "Errno" not in told.err


def test_a_folder_of_scans_becomes_no_data_directory_by_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "one.dcm").write_bytes(build().part10)
    with pytest.raises(SystemExit) as ended:
        main(["import", "scans/one.dcm", "--data", "scans"])
    assert ended.value.code == 2
    assert "scans holds the files" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "scans").iterdir()] == ["one.dcm"]


@pytest.mark.parametrize(("name", "is_told"), [("one.dcm", True), (".hidden", False), ("index.db", False)])
def test_serve_says_that_a_folder_holds_other_files(
    name: str, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def at_once(*_: object) -> None:
        pass

    monkeypatch.setattr("sagittal.serve.serve", at_once)
    (tmp_path / name).touch()
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--data", str(tmp_path)])
    assert ended.value.code == 0
    assert ("holds other files" in capsys.readouterr().err) == is_told


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        ("seventeen-letters@127.0.0.1:1", "not an AE title (1 to 16 characters"),
        ("A@127.0.0.1:99999", "not AET@host:port, with a port of 1 to 65535"),
        ("A@127.0.0.1", "not AET@host:port, with a port of 1 to 65535"),
        ("127.0.0.1:104", "neither AET@host:port nor"),
    ],
)
def test_what_is_wrong_with_an_address(archive: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["find", archive])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


async def _make(folder: Path) -> None:
    async with opened(folder) as archive:
        await store(archive, build())
