"""`sagittal wado`: what a resource with a query is called in the folder, and that its metadata go to stdout."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from sagittal.cli.web.wado import command
from sagittal.client import dicomweb

XML = "application/dicom+xml"


def wado(monkeypatch: pytest.MonkeyPatch, resource: str, out: Path, accept: str = "", **answer: Any) -> str:
    def answered(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if accept in ("", request.headers["accept"]) else 406, **answer)

    transport = httpx.MockTransport(answered)
    monkeypatch.setattr(dicomweb, "open_url", partial(dicomweb.open_url, transport=transport))
    words = ["http://archive", resource, "-o", str(out), *(("--accept", accept) if accept else ())]
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert done.return_value == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        ("studies/1.2/rendered?window=40,400,linear", "rendered-1.jpg"),
        ("studies/1.2/series/1.3/instances/1.4/frames/7?quality=5", "frame-7.jpg"),
    ],
)
def test_a_query_is_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resource: str, named: str) -> None:
    wado(monkeypatch, resource, tmp_path, content=b"picture", headers={"content-type": "image/jpeg"})
    assert [path.name for path in tmp_path.iterdir()] == [named]


def test_metadata_with_a_query(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    match = {"00080018": {"vr": "UI", "Value": ["1.4"]}}
    assert json.loads(wado(monkeypatch, "studies/1.2/metadata?charset=utf-8", tmp_path, json=[match])) == [match]


def test_the_type_that_is_wanted_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer: dict[str, Any] = {"content": b"<NativeDicomModel/>", "headers": {"content-type": XML}}
    assert wado(monkeypatch, "studies/1.2/metadata", tmp_path, XML, **answer) == "<NativeDicomModel/>\n"
    wado(monkeypatch, "studies/1.2/series/1.3/instances/1.4", tmp_path, XML, **answer)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [answer["content"]]
