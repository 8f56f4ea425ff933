"""Every shell and Python example of the tutorial and the how-tos runs, in the order of its page, in an empty folder;
and the program of the README.

The tutorial's `sagittal` is the installed program; that of the how-tos is forked, which takes a tenth of the time.

A page says in a comment what it needs: `<!-- test: scans server -->`. A block "sh serve" starts an archive and leaves
it running, as the reader's first terminal does. The pages' ports are replaced by free ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import pytest
from conftest import Served
from forked import Forked
from programs import need
from pydicom import dcmread
from pydicom.data import get_testdata_file

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|sh serve|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm")
PROGRAMS = ("curl", "dcmsend", "echoscu", "findscu")


def scans(folder: Path) -> None:
    folder.mkdir()
    for name in FILES:
        shutil.copy(str(get_testdata_file(name)), folder / name)


def on_free_ports(text: str, served: Served | None) -> str:
    if served is None:
        return text
    return text.replace("11112", str(served.port)).replace("8042", served.http.rpartition(":")[2])


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The text of a program that is `sagittal`."""
    folder = tmp_path_factory.mktemp("forking")
    process = Forked(forked.answer_commands, str(folder / "socket"), errors=folder / "errors.txt")
    assert process.stdout.readline() == "listening\n"
    yield forked.COMMAND.format(python=sys.executable, address=str(folder / "socket"))
    process.kill()
    process.wait(10)


def commands(folder: Path, forking: str) -> None:
    """A folder for PATH with only ours of Python's scripts: pynetdicom's `findscu` lies there too."""
    folder.mkdir()
    if forking:
        (folder / "sagittal").write_text(forking)
        (folder / "sagittal").chmod(0o755)
    else:
        (folder / "sagittal").symlink_to(Path(sys.executable).parent / "sagittal")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path, tmp_path: Path, start_server: Callable[..., Served], forking: str) -> None:
    text = page.read_text()
    commands(tmp_path / ".commands", "" if page.stem == "tutorial" else forking)
    needs = (re.findall(r"<!-- test: (.*?) -->", text) or [""])[0].split()
    if "scans" in needs:
        scans(tmp_path / "scans")
    served = start_server(data=tmp_path / "sagittal-data") if "server" in needs else None
    script = ""
    for kind, body in BLOCK.findall(text):
        for program in PROGRAMS:
            if re.search(rf"\b{program}\b", body):
                need(program)
        if kind == "sh serve":
            run(script, served, tmp_path)
            assert body.strip() == "sagittal serve"
            script, served = "", start_server(data=tmp_path / "sagittal-data")
        elif kind == "python":
            (tmp_path / f"{len(script)}.py").write_text(on_free_ports(body, served))
            script += f"{sys.executable} {len(script)}.py\n"
        else:
            script += body
    run(script, served, tmp_path)


@pytest.mark.parametrize("name", ["README.md", "README.es.md"])
def test_the_program_of_the_readme_runs(name: str, tmp_path: Path, start_server: Callable[..., Served]) -> None:
    found = re.search(r"^    from sagittal.*?(?=^\S)", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    commands(tmp_path / ".commands", "")
    scans(tmp_path / "scans")
    served = start_server(data=tmp_path / "sagittal-data")
    (tmp_path / "program.py").write_text(on_free_ports(textwrap.dedent(found[0]), served))
    run(f"sagittal store {served.peer} scans\n{sys.executable} program.py > told\n", served, tmp_path)
    names = {line.split()[0] for line in (tmp_path / "told").read_text().splitlines()}
    assert names == {"CompressedSamples^CT1", "CompressedSamples^MR1", "CompressedSamples^NM1"}
    folder = re.findall(r'get\("(\w+)"', found[0])[0]
    assert [dcmread(path).PatientID for path in (tmp_path / folder).rglob("*.dcm")] == ["4MR1"]


def run(script: str, served: Served | None, folder: Path) -> None:
    """One page's blocks share their shell variables, so they are one script."""
    if not script:
        return
    environment = os.environ | {"PATH": f"{folder / '.commands'}:{os.environ['PATH']}"}
    call = ["bash", "-euo", "pipefail", "-c", on_free_ports(script, served)]
    ended = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, f"{script}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
