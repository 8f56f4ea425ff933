"""System programs that tests need: found by name, or the test is skipped with that name, failed in a strict run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

STRICT = os.environ.get("SAGITTAL_STRICT") == "1"
ROOM_BYTES = 2 << 30  # of memory, so that folders of tests are made there; they take a tenth of it

# Among Python's own scripts lie pynetdicom's `storescu`, `findscu` and so on: DCMTK's are meant, so those come last.
_SCRIPTS = str(Path(sys.prefix) / "bin")
os.environ["PATH"] = os.pathsep.join(
    sorted(os.environ.get("PATH", os.defpath).split(os.pathsep), key=lambda folder: folder == _SCRIPTS)
)
# Modules stay compiled, also where PYTHONDONTWRITEBYTECODE is set: else every program that a test starts compiles its
# own anew, which takes as long as the start itself, and pytest rewrites every assertion of the suite.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "bytecode"))
sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]
_CORPUS_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def missing(what: str) -> None:
    """Skip the running test because `what` is not here; fail it in a strict run."""
    if STRICT:
        pytest.fail(f"{what} is missing, and SAGITTAL_STRICT=1 wants it", pytrace=False)
    pytest.skip(f"{what} is missing")


def need(program: str) -> str:
    """The path of a system program."""
    path = shutil.which(program)
    if path is None:
        missing(program)
    return str(path)


def memory() -> Path | None:
    """A folder that is kept in memory, None where there is none with room enough."""
    folder, available = Path("/dev/shm"), Path("/proc/meminfo")
    if not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < ROOM_BYTES or not available.exists():
        return None
    said = dict(line.split(":") for line in available.read_text().splitlines())
    return folder if int(said["MemAvailable"].split()[0]) * 1024 >= ROOM_BYTES else None


def corpus_path() -> Path | None:
    """The corpus folder (SAGITTAL_CORPUS, or `../shared/corpus` beside the repository), None when there is none."""
    folder = Path(os.environ.get("SAGITTAL_CORPUS") or _CORPUS_BESIDE)
    return folder if (folder / "MANIFEST.csv").is_file() else None


def corpus_folder() -> Path:
    """The corpus folder, or the running test is skipped."""
    folder = corpus_path()
    if folder is None:
        missing("the corpus (SAGITTAL_CORPUS)")
    assert folder is not None
    return folder
