"""Every valid file of the corpus goes in by `sagittal store` and comes back by C-GET with a byte-identical data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import Served
from instances import Instance, data_set_of, instances, rounds

from sagittal.cli import group

# The same content as an earlier file, encoded otherwise: then the archive keeps one copy, the first.
SAME_CONTENT = {"CR/pydicom__chrJapMultiExplicitIR6.dcm"}


def sagittal(*arguments: object) -> list[dict]:
    """A command in this process; its rows."""
    result = CliRunner().invoke(group, [*map(str, arguments), "--json"], catch_exceptions=False)
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def replacing_server(tmp_path_factory):
    from conftest import serve

    folder = tmp_path_factory.mktemp("replacing")
    (folder / "settings.toml").write_text('duplicates = "replace"\n')
    served = serve(folder / "data", "--config", str(folder / "settings.toml"))
    yield served
    served.stop()


def stored(served: Served, found: list[Instance]) -> None:
    rows = sagittal("store", served.peer, "-q", *(one.path for one in found))
    assert {row["file"]: row["status"] for row in rows} == {str(one.path): "0000" for one in found}


def got(served: Served, found: list[Instance], folder: Path) -> None:
    for study in dict.fromkeys(one.study_uid for one in found):
        rows = sagittal("get", served.peer, "-k", f"StudyInstanceUID={study}", "-o", folder)
        assert rows[-1]["status"] == "0000", rows[-1]


def wrong(found: list[Instance], folder: Path) -> list[str]:
    """Those whose data set is not what it was."""
    return [
        str(one.path)
        for one in found
        if data_set_of((folder / f"{one.sop_instance_uid}.dcm").read_bytes()) != one.data_set
    ]


def test_every_valid_file_comes_back_as_it_was(corpus_dir, replacing_server, tmp_path):
    valid = [one for one in instances(corpus_dir) if one.path.relative_to(corpus_dir).as_posix() not in SAME_CONTENT]
    assert len(valid) > 250
    for number, found in enumerate(rounds(valid)):
        stored(replacing_server, found)
        got(replacing_server, found, tmp_path / str(number))
        assert not wrong(found, tmp_path / str(number))


@pytest.mark.parametrize("name", sorted(SAME_CONTENT))
def test_a_file_whose_content_is_that_of_another(name, corpus_dir, server, tmp_path):
    found = [one for one in instances(corpus_dir) if one.path == corpus_dir / name]
    stored(server, found)
    got(server, found, tmp_path / "got")
    assert not wrong(found, tmp_path / "got")
