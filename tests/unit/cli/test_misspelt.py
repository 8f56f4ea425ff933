"""What cannot be an address, a token or a number is a usage error in a line of ours, not a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagittal.cli import main

LONG = "x" * 64  # a label has 63 characters at most


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
