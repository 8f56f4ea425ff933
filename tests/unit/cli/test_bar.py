"""Lines that are told while a progress bar stands on the terminal."""

from __future__ import annotations

import io
import sys

import pytest

from sagittal.cli.output import progress, result, say


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_they_do_not_stand_behind_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(io.BytesIO(), "utf-8", write_through=True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("Importing", 3) as advance:
        result(False, {"file": "one"})
        advance(1)
        say("two")
    terminal.seek(0)
    told = terminal.read()
    shown = [line.rpartition("\x1b[2K")[2] for line in told.split("\n")]
    assert [line for line in shown if "one" in line or "two" in line] == [
        "one", "two",
    ]  # fmt: skip
