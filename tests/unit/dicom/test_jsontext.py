"""JSON as text: what orjson does not take comes out all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagittal.cli.output import result
from sagittal.dicom.models.jsontext import encode_json
from sagittal.limits import ReaderLimits


def nested(depth: int) -> dict[str, Any]:
    obj: dict[str, Any] = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ä"}]}}
    for _ in range(depth):
        obj = {"0040A730": {"vr": "SQ", "Value": [obj]}}
    return obj


@pytest.mark.parametrize("depth", [0, 83, 84, 85, ReaderLimits().depth_max])
def test_as_deep_as_the_reader_goes(depth: int) -> None:
    assert json.loads(encode_json(nested(depth))) == nested(depth)


def test_names_of_files_that_are_no_text() -> None:
    row = {"file": b"\xff.dcm".decode("utf-8", "surrogateescape"), "status": "ä"}
    assert json.loads(encode_json(row)) == row


def test_what_is_no_json() -> None:
    with pytest.raises(TypeError):
        encode_json({"a": object()})


def test_a_result_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    result(True, {"file": b"\xff\n.dcm".decode("utf-8", "surrogateescape")})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"file": "\udcff\n.dcm"}
