"""A command that SIGTERM ends, as a scheduler or `timeout` does, or SIGHUP, as a terminal that is closed, leaves in
order: as one that Ctrl-C ends.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

import forked
import pytest
from builders import build
from conftest import sagittal_here
from forked import Forked

from sagittal.cli import main


def test_ctrl_c_ends_it_in_order_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("sagittal.cli.__getattr__", interrupted, raising=False)  # as one of its modules is imported
    monkeypatch.delattr("sagittal.cli.main")
    [command] = entry_points(group="console_scripts", name="sagittal")
    with pytest.raises(SystemExit) as ended:
        command.load()()
    assert ended.value.code == 130


@pytest.mark.parametrize(
    ("number", "status", "start"),
    [
        (signal.SIGTERM, 143, forked.sagittal),
        (signal.SIGINT, 130, forked.sagittal),
        (signal.SIGHUP, 129, forked.sagittal),
        (signal.SIGTERM, 143, forked.sagittal_in_background),
    ],
)
def test_what_is_left_to_send_is_written_down(
    tmp_path: Path, number: int, status: int, start: Callable[..., None]
) -> None:
    files = [tmp_path / f"{seed}.dcm" for seed in range(2)]
    for seed, file in enumerate(files):
        file.write_bytes(build(seed).part10)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = f"SILENT@127.0.0.1:{silent.getsockname()[1]}"
        words = ["store", peer, *files, "--failed", tmp_path / "failed"]
        process = Forked(start, *map(str, words), errors=tmp_path / "errors")
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1) == b"\x01"  # A-ASSOCIATE-RQ, which is not answered
            process.send_signal(number)
            assert process.wait(60) == status
    assert (tmp_path / "failed").read_text().split() == [str(file) for file in files]
    assert "Traceback" not in (tmp_path / "errors").read_text()


@pytest.mark.parametrize("meanwhile", ["read_objects", "open_remote", "_Report.add"])
def test_so_it_is_where_the_signal_comes_while_files_are_read_sent_or_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """In the background the signal interrupts whatever is run at that moment, not only the waiting between."""

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"sagittal.cli.peer.store.{meanwhile}", interrupted)
    file = tmp_path / "one.dcm"
    file.write_bytes(build().part10)
    assert sagittal_here("import", file, "--data", tmp_path / "data").returncode == 0
    with pytest.raises(SystemExit) as ended:
        main(["store", str(tmp_path / "data"), str(file), "--failed", str(tmp_path / "failed")])
    assert ended.value.code == 130
    assert (tmp_path / "failed").read_text().split() == [str(file)]
