"""The pages say what is: links lead somewhere, commands and settings are listed, the README's lines are CI's."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sagittal.cli import COMMANDS
from sagittal.config import load
from sagittal.config.making import setting_names
from sagittal.web.api.metrics import FIGURES

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_readmes_lead_to_the_same_pages() -> None:
    """To each page for users, in either language."""
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"}
    for name, other in (("README.md", "README.es.md"), ("README.es.md", "README.md")):
        targets = set(re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text()))
        assert targets == pages | {"ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", other}


def test_every_command_and_setting_is_documented() -> None:
    commands = (ROOT / "docs/reference/commands.md").read_text()
    settings = (ROOT / "docs/reference/settings.md").read_text()
    assert not [name for name in COMMANDS if f"## sagittal {name}\n" not in commands]
    assert not [name for name in setting_names() if f"`{name.rpartition('.')[2]}`" not in settings]


def test_every_setting_and_limit_says_what_for() -> None:
    """The pages quote the comment on the line: one that stands elsewhere is not seen."""
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", (ROOT / "docs/reference/settings.md").read_text(), re.M)
    assert len(rows) > 150
    assert not [name for name, meaning in rows if not meaning]


def test_commands_named_in_pages_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"\bsagittal ([a-z]+)", page.read_text()):
            assert name in COMMANDS, f"{page.name}: sagittal {name}"


SETTINGS = [
    (page.stem, text) for page in PAGES for text in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.M | re.S)
]


@pytest.mark.parametrize(("page", "text"), SETTINGS)
def test_settings_of_the_pages_are_taken(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "sagittal.toml").write_text(text)
    assert load(tmp_path / "sagittal.toml") != load()


def test_metrics_named_in_pages_exist() -> None:
    metrics = set(re.findall(r'"sagittal_(\w+)"', (ROOT / "src/sagittal/web/api/metrics.py").read_text()))
    metrics |= {f"{of}{name}" for name in FIGURES for of in ("", "store_")}
    named = {name for page in PAGES for name in re.findall(r"\bsagittal_([a-z_]+)", page.read_text())}
    assert len(named) > 10
    assert {name.removesuffix("_total") for name in named} <= metrics


def test_resources_named_in_pages_exist() -> None:
    resources = re.findall(r"^\| [A-Z]+ \| `(/\S*)`", (ROOT / "docs/reference/rest.md").read_text(), re.M)
    patterns = [re.sub(r"\{\w+\}", "[^/]+", each) for each in (*resources, "/docs", r"/openapi\.json")]
    named = {name.rstrip(".") for page in PAGES for name in re.findall(r"/api(/[\w./{}$]+)", page.read_text())}
    assert len(named) > 10
    assert not [name for name in named if not any(re.fullmatch(pattern, name) for pattern in patterns)]


def test_reference_is_current() -> None:
    ended = subprocess.run([sys.executable, ROOT / "tools/docs.py", "--check"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_readmes_name_the_lines_that_ci_runs() -> None:
    for name in ("README.md", "README.es.md"):
        text = (ROOT / name).read_text()
        assert "pip install uv && uv run sagittal serve" in text
        assert "uv run pytest\n" in text
    assert "uv run pytest ||" in (ROOT / ".ci/run").read_text()


def test_nothing_under_the_gpl_is_needed_to_run() -> None:
    """docs/decisions/0005-pyav.md: the extra `video` is the only one that asks for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {extra: {re.match(r"[\w.-]+", each)[0] for each in asked} for extra, asked in  # type: ignore[index]
             {"": project["dependencies"], **project["optional-dependencies"]}.items()}  # fmt: skip
    gpl = {"av", "pylibjpeg-libjpeg", "pillow-jxl-plugin"}
    assert {extra: names & gpl for extra, names in named.items() if names & gpl} == {"video": {"av"}}


def test_pins_agree() -> None:
    ended = subprocess.run([sys.executable, ROOT / "tools/lock.py", "--check"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_architecture_is_short() -> None:
    assert (ROOT / "ARCHITECTURE.md").read_text().count("\n") <= 200
