"""What a module leaves running is seen: threads, what is forked, programs, and objects that are open."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import forked
from threads import running


def test_all_that_runs_is_seen_and_nothing_that_ended(tmp_path: Path) -> None:
    before, stop = running(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    process = forked.Forked(forked.python, "import signal; signal.pause()", errors=tmp_path / "log")
    (staged := tmp_path / "staging" / "0").parent.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as program, staged.open("w"):
        seen = running() - before
    process.kill()
    process.wait()
    process.stdout.close()
    stop.set()
    thread.join()
    assert seen == {thread, process._process, program.pid, str(staged)}
    assert running() == before
