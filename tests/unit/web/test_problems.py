"""Whatever goes wrong is told as problem details (RFC 9457), below /api too, as its OpenAPI says."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archived import asking

from sagittal.errors import Busy, SagittalError
from sagittal.web.app import WebApp
from sagittal.web.house import Settings
from sagittal.web.problems import problem

LONG = "9" * 5000  # more digits than Python makes a number of
WRONG = (
    ("GET", "/nothing", None, 404),
    ("GET", "/api/nothing", None, 404),
    ("PUT", "/metrics", None, 405),
    ("POST", "/api/statistics", None, 405),
    ("GET", f"/api/changes?limit={LONG}", None, 400),
    ("GET", "/api/statistics?images=maybe", None, 422),
    ("GET", "/api/instances/1.2/versions/x/file", None, 422),
    ("POST", "/api/corrections/undo", {"corrections": [0]}, 422),
    ("POST", "/api/corrections/undo", {"corrections": [99]}, 404),
    ("POST", "/api/nodes", {"peer": "CT1@h:104", "verb": ["echo"]}, 422),
    ("POST", "/api/tokens", {"name": "a", "digest": "0" * 64, "verbs": ["find"], "stores": "research"}, 422),
    ("POST", "/api/patients/1/merge", {"into": "2", "reason": "why", "issuer_into": "H"}, 422),
    ("POST", f"/api/tombstones/{1 << 63}/undelete", None, 422),
    ("POST", f"/api/tombstones/{LONG}/undelete", None, 422),
    ("POST", "/api/tombstones/99/undelete", None, 404),
    ("DELETE", f"/api/studies/1.2/corrections/{1 << 63}", None, 404),
    ("GET", "/dicom-web/studies?Patientname=x", None, 400),
)


@pytest.mark.parametrize(("method", "path", "given", "status"), WRONG, ids=[f"{m} {p[:40]}" for m, p, _, _ in WRONG])
async def test_what_is_wrong_is_told(tmp_path: Path, method: str, path: str, given: Any, status: int) -> None:
    async with asking(tmp_path, []) as (client, _):
        answer = await client.request(method, path, json=given)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    told = answer.json()
    assert told == {"status": status, "title": HTTPStatus(status).phrase, "detail": told["detail"]}
    assert isinstance(told["detail"], str)
    assert len(told["detail"]) > 10
    assert "allow" in answer.headers or status != 405


async def test_what_is_refused_is_told_where(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, _):
        assert (
            (await client.post("/api/corrections/undo", json={"corrections": ["x"]}))
            .json()["detail"]
            .startswith("body.corrections.0: ")
        )


async def test_what_nobody_foresaw_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a route of FastAPI too, which would answer text; why, the log says."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async with asking(tmp_path, []) as (client, archive):
        monkeypatch.setattr(archive, "versions", fails)
        monkeypatch.setattr(archive, "find", fails)
        answers = [await client.get(path) for path in ("/api/instances/1.2/versions", "/dicom-web/studies")]
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert answer.json()["title"] == "Internal Server Error"
        assert "Zero" not in answer.text
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2


@pytest.mark.parametrize("foreseen", [True, False])
def test_what_goes_wrong_within_an_answer_ends_it(foreseen: bool, caplog: pytest.LogCaptureFixture) -> None:
    """There is no status to tell it with; a line of the log does, without a traceback where it was foreseen."""
    error = Busy("too many requests wait for a worker") if foreseen else ValueError("broken")
    told: list[Any] = []

    async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    async def send(message: Any) -> None:
        told.append(message["type"])

    app: Any = object.__new__(WebApp)
    app.house = SimpleNamespace(settings=Settings(), answers=Counter())
    app._inside, app._prefix, app._own = breaks_off, "", ()
    with nullcontext() if foreseen else pytest.raises(ValueError, match="broken"):
        asyncio.run(app({"type": "http", "path": "/", "headers": []}, None, send))
    assert told == ["http.response.start"]
    assert ("an answer ends early: too many" in caplog.text) == foreseen


@pytest.mark.parametrize("kind", SagittalError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_names_of_classes_are_not_told(kind: type[SagittalError]) -> None:
    error = kind("odd-length", "the text") if kind.__name__ == "Malformed" else kind("the text")  # type: ignore[call-arg]
    answer = problem(error)
    assert kind.__name__.encode() not in bytes(answer.body)
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)


async def test_openapi_says_so(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, _):
        paths = (await client.get("/api/openapi.json")).json()["paths"]
    assert "/changes" in paths
    for path in paths.values():
        for operation in path.values():
            (told,) = operation["responses"]["default"]["content"].items()
            assert told[0] == "application/problem+json"
            assert {name: field["type"] for name, field in told[1]["schema"]["properties"].items()} == {
                "status": "integer",
                "title": "string",
                "detail": "string",
            }
