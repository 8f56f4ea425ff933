"""A command that is started with a standard stream closed, as by `>&-` or an old way of making services."""

from __future__ import annotations

from pathlib import Path

import forked
import pytest
from builders import build

CLOSED = """
import os, sys
number = int(sys.argv.pop(1))
os.close(number)
setattr(sys, ("stdin", "stdout", "stderr")[number], None)  # as Python starts then
from sagittal.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_socket_or_file_takes_its_number(tmp_path: Path, number: int) -> None:
    """The event loop has some, and workers inherit them."""
    (tmp_path / "x.dcm").write_bytes(build().part10)
    words = ("transcode", str(tmp_path / "x.dcm"), "--to", "implicit", "-o", str(tmp_path / "y.dcm"))
    process = forked.Forked(forked.python, CLOSED, str(number), *words, errors=tmp_path / "errors")
    assert process.wait(60) == 0, (tmp_path / "errors").read_text()
    assert (tmp_path / "y.dcm").stat().st_size
