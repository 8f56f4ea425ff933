"""Fault points: silent without a hook, and what SAGITTAL_FAULT makes of them."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from sagittal.archive.faults import POINTS, Faults, from_environment
from sagittal.errors import UsageError


def test_without_a_hook_nothing_happens() -> None:
    for point in POINTS:
        Faults().hit(point)
        from_environment({}).hit(point)


def test_a_hook_sees_known_points_only() -> None:
    seen: list[str] = []
    faults = Faults(seen.append)
    faults.hit("answer")
    assert seen == ["answer"]
    with pytest.raises(ValueError, match="not a fault point"):
        faults.hit("anwser")


def test_the_environment_names_point_action_and_hit() -> None:
    faults = from_environment({"SAGITTAL_FAULT": "file.sync:eio:2,probe:enospc"})
    faults.hit("file.sync")
    with pytest.raises(OSError, match="error") as failure:
        faults.hit("file.sync")
    assert failure.value.errno == errno.EIO
    faults.hit("file.sync")
    for _ in range(2):
        with pytest.raises(OSError, match="space"):
            faults.hit("probe")
    from_environment({"SAGITTAL_FAULT": "answer:delay=0"}).hit("answer")


@pytest.mark.parametrize("text", ["nowhere:kill", "answer:explode", "answer"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="SAGITTAL_FAULT"):
        from_environment({"SAGITTAL_FAULT": text})


def test_kill_is_sigkill() -> None:
    code = "from sagittal.archive.faults import *; import os; from_environment(os.environ).hit('answer')"
    done = subprocess.run([sys.executable, "-c", code], env={"SAGITTAL_FAULT": "answer:kill"}, check=False)
    assert done.returncode == -9
