"""`sagittal store --failed` and `--from`: a file name is bytes, whatever characters they are meant to be."""

from __future__ import annotations

import os
from pathlib import Path

from builders import build
from conftest import sagittal_here

ODD = os.fsdecode(b"m\xfcller\x0b\xe2\x80\xa8.dcm")  # Latin-1, then what Python counts among the ends of lines


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "held.dcm").write_bytes(build(9).part10)
    assert sagittal_here("import", tmp_path / "held.dcm", "--data", tmp_path / "data").returncode == 0
    (tmp_path / "in" / ODD).write_bytes(build().part10[:140])
    done = sagittal_here("store", tmp_path / "data", tmp_path / "in", "--failed", tmp_path / "failed")
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "failed").read_bytes() == os.fsencode(tmp_path / "in" / ODD) + b"\n"
    (tmp_path / "in" / ODD).write_bytes(build().part10)
    done = sagittal_here("store", tmp_path / "data", "--from", tmp_path / "failed")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "1 sent" in done.stderr


def test_a_list_of_another_system(tmp_path: Path) -> None:
    (tmp_path / "held.dcm").write_bytes(build().part10)
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbf" + os.fsencode(tmp_path / "held.dcm") + b"\r\n")
    assert sagittal_here("import", tmp_path / "held.dcm", "--data", tmp_path / "data").returncode == 0
    done = sagittal_here("store", tmp_path / "data", "--from", tmp_path / "list")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
