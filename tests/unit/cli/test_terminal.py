"""What peers, objects and files are called drives no terminal, and forges no line of a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import build

from sagittal.cli import main
from sagittal.cli.output import result
from sagittal.cli.peer.find import show
from sagittal.cli.web import qido
from sagittal.errors import PeerError, UsageError

HOSTILE = "a\x1b]52;c;aGk=\x07\x9b2J\x7f\u202e\nsagittal: all is well"
SHOWN = "a\\x1b]52;c;aGk=\\x07\\x9b2J\\x7f\\x202e\\x0asagittal: all is well"


def ended(*arguments: str) -> object:
    with pytest.raises(SystemExit) as status:
        main(arguments)
    return status.value.code


def test_the_words_of_a_peer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def refused(*_: Any) -> None:
        raise PeerError(f"the server answered 400: {HOSTILE}")

    monkeypatch.setattr(qido, "_search", refused)
    assert ended("qido", "http://127.0.0.1:1") == 3
    assert capsys.readouterr().err == f"sagittal: the server answered 400: {SHOWN}\n"


def test_our_own_words_may_have_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def refused(*_: Any) -> None:
        raise UsageError("type first:\n  this")

    monkeypatch.setattr(qido, "_search", refused)
    assert ended("qido", "http://127.0.0.1:1") == 2
    assert capsys.readouterr().err == "sagittal: type first:\n  this\n"


def test_values(capsys: pytest.CaptureFixture[str]) -> None:
    result(False, {"name": HOSTILE, "id": "1\t2"})
    assert capsys.readouterr().out == f"{SHOWN}\t1\\x092\n"


def test_json_is_the_same_to_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"00100020": {"vr": "LO", "Value": [HOSTILE]}}
    result(True, told)
    show(told, (), True)
    out = capsys.readouterr().out
    assert [json.loads(line) for line in out.splitlines()] == [told, told]
    assert not any(c in out for c in "\x1b\x07\x9b\x7f")


@pytest.mark.parametrize("command", [("dump",), ("dump", "--json"), ("json",)])
def test_files(command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [tmp_path / "a\x1b[2J\nb", tmp_path / "c\n(0010,0010) PN [forged]"]
    names[0].write_bytes(build(1, charset="ISO_IR 192", patient_name="x\x9b2J").part10)
    names[1].write_bytes(b"none")
    assert ended(*command, *map(str, names)) == 1
    out, err = capsys.readouterr()
    assert not any(c in out + err for c in "\x1b\x9b")
    assert len(err.splitlines()) == 1
    assert not any(line.startswith("(0010,0010) PN [forged]") for line in out.splitlines())
