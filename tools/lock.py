"""Pins: requirements.lock (hashes, no index address) and `[tool.uv] constraint-dependencies` from one resolution.

    python tools/lock.py            resolve anew; every pin moves to the newest version that fits
    python tools/lock.py --check    fail when the two differ, or a dependency of pyproject.toml is not pinned

`uv run` honours the constraints, so a clone gets exactly these versions; `pip install --require-hashes -r
requirements.lock` does the same without uv. uv.lock itself is not committed: it names download hosts.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT, LOCK = ROOT / "pyproject.toml", ROOT / "requirements.lock"
BLOCK = re.compile(r"^constraint-dependencies = \[\n(?:  .*\n)*\]\n", re.MULTILINE)
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*==[^ ;\\]+)( ; [^\\]+?)?(?: \\)?$", re.MULTILINE)


def pins(lock: str) -> list[str]:
    """The lock's `name==version ; marker` lines, without hashes."""
    return [found[1] + (found[2] or "") for found in PIN.finditer(lock)]


def resolve(project: str) -> str:
    """Ask uv for one resolution that holds for every platform and Python we support, ignoring the present pins."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pyproject.toml"
        copy.write_text(BLOCK.sub("", project))
        command = ["uv", "pip", "compile", copy.name, "--group", f"{copy.name}:dev", "--all-extras", "--universal"]
        command += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--quiet"]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def write() -> None:
    project = PROJECT.read_text()
    lock = resolve(project)
    LOCK.write_text(lock)
    block = "constraint-dependencies = [\n" + "".join(f'  "{pin}",\n' for pin in map(_quoted, pins(lock))) + "]\n"
    if BLOCK.search(project):
        project = BLOCK.sub(lambda _: block, project)
    else:
        project = project.replace("[tool.uv]\n", "[tool.uv]\n" + block)
    PROJECT.write_text(project)


def _quoted(pin: str) -> str:
    return pin.replace('"', "'")


def differences() -> list[str]:
    """What is wrong with the pins, one line each."""
    settings = tomllib.loads(PROJECT.read_text())
    locked = [_quoted(pin) for pin in pins(LOCK.read_text())]
    constraints = settings["tool"]["uv"].get("constraint-dependencies", [])
    found = [f"{pin}: in one of pyproject.toml and requirements.lock only" for pin in set(locked) ^ set(constraints)]
    wanted = list(settings["project"]["dependencies"])
    for group in (settings.get("dependency-groups", {}), settings["project"].get("optional-dependencies", {})):
        wanted += [line for lines in group.values() for line in lines]
    names = {pin.partition("==")[0] for pin in locked}
    for line in wanted:
        name = re.split(r"[<>=!~;\[ ]", line)[0].lower().replace("_", "-").replace(".", "-")
        if name not in names and name != "sagittal":
            found.append(f"{name}: a dependency without a pin")
    return sorted(found)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        problems = differences()
        print(
            "\n".join([*problems, "run `make lock`"])
            if problems
            else "pins: pyproject.toml and requirements.lock agree"
        )
        raise SystemExit(bool(problems))
    write()
