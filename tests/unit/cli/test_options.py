"""What every command has."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from sagittal.cli import group
from sagittal.cli.output import result

DOCUMENTS = {"json", "xml", "conformance"}  # what these print is a document itself


def commands(found: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(found, click.Group):
        yield name, found
        return
    context = click.Context(found)
    for each in found.list_commands(context):
        inner = found.get_command(context, each)
        assert inner is not None
        yield from commands(inner, f"{name} {each}".strip())


ALL = dict(commands(group))


@pytest.mark.parametrize("name", sorted(ALL.keys() - DOCUMENTS))
def test_results_can_be_had_as_json(name: str) -> None:
    assert "--json" in {option for parameter in ALL[name].params for option in parameter.opts}


@pytest.mark.parametrize("name", ["find", "get", "move"])
def test_a_level_may_be_as_the_standard_writes_it(name: str) -> None:
    """PS3.4 says IMAGE where PS3.18 says instances."""
    (level,) = (parameter for parameter in ALL[name].params if parameter.name == "level")
    assert level.type.convert("STUDY", level, None) == "study"
    assert level.type.convert("Instance", level, None) == "image"


def test_documents_are_commands() -> None:
    assert ALL.keys() >= DOCUMENTS


def test_a_value_stays_in_its_column_and_row(capsys: pytest.CaptureFixture[str]) -> None:
    result(False, {"PatientID": "1", "PatientComments": "one\r\ntwo\t3\x1b[31m", "StudyID": "4"})
    assert capsys.readouterr().out == "1\tone\\x0d\\x0atwo\\x093\\x1b[31m\t4\n"
