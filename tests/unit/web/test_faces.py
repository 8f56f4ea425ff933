"""The page, the probes, the metrics, the change feed and the REST, against a made-up archive."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from archived import answers
from builders import build

import sagittal.web.ui.page as page
from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.changes import Change
from sagittal.errors import Busy
from sagittal.limits import Limits, WebLimits
from sagittal.web.app import WebApp
from sagittal.web.house import Settings

UI = Path(page.__file__).parent
STORED = Change(3, "stored", "1.2", "1.3", "1.4", 5)


class TestPage:
    @pytest.mark.parametrize(
        ("languages", "language"),
        [
            ("", "en"),
            ("es", "es"),
            ("es-MX,es;q=0.9,en;q=0.8", "es"),
            ("en-GB, es;q=0.9", "en"),
            ("de, es;q=0.5, en;q=0.4", "es"),
            ("de", "en"),
            ("es;q=0", "en"),
            ("es;q=x", "en"),
        ],
    )
    def test_language(self, web: Any, languages: str, language: str) -> None:
        assert f'<html lang="{language}">' in web.get("/", **{"accept-language": languages}).text

    def test_it_holds_no_script_and_nothing_from_elsewhere(self, web: Any) -> None:
        answer = web.get("/")
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        for name in ("index.html", "api.html"):
            text = (UI / name).read_text()
            assert not re.search(
                r"<script(?! type=\"application/json\")(?![^>]*src=\"/ui/)|style=|\son\w+=|<style", text
            )
        for path in UI.iterdir():
            if path.suffix in {".html", ".css", ".js"}:
                text = path.read_text()
                assert "innerHTML" not in text and "insertAdjacentHTML" not in text
                assert not re.findall(
                    r"(?:https?:)?//(?!www\.w3\.org)[\w.]+\.\w", re.sub(r"^\s*//.*$", "", text, flags=re.M)
                )

    def test_files(self, web: Any) -> None:
        for name in page.ASSETS:
            answer = web.get(f"/ui/{name}")
            assert answer.status_code == 200
            again = web.get(f"/ui/{name}", **{"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert web.get("/ui/page.py").status_code == 404

    def test_words_are_there_in_every_language(self) -> None:
        text = (UI / "words.js").read_text()
        languages = [re.findall(r"(\w+): \"", block) for block in re.findall(r"\w\w: \{(.*?)\n  \}", text, re.S)]
        assert len(languages) == len(page.LANGUAGES)
        assert set(languages[0]) == set(languages[1])
        asked = set(re.findall(r'data-word="(\w+)"', (UI / "index.html").read_text()))
        asked |= set(re.findall(r'word\("(\w+)"\)', (UI / "page.js").read_text()))
        assert asked == set(languages[0])

    def test_summary(self, web: Any) -> None:
        web.settings = Settings(aet="PACS", dimse_port=104, durability="off")
        body = web.get("/api/summary").json()
        assert (body["aet"], body["host"], body["dimse_port"], body["durability"]) == ("PACS", "localhost", 104, "off")
        assert (body["studies"], body["instances"], body["bytes"]) == (2, 4, 5)
        assert body["latest"][0]["description"] == "<script>"
        assert body["cursor"] == "c0"
        assert (body["store"], body["stores"]) == ("main", ["main"])

    @pytest.mark.parametrize(
        ("host", "public_url", "shown"),
        [("[::1]:8042", None, "::1"), ("localhost", "https://pacs.example:8443/archive", "pacs.example")],
    )
    def test_the_name_to_send_to_is_the_one_that_clients_know(
        self, web: Any, host: str, public_url: str | None, shown: str
    ) -> None:
        """A proxy asks by a name that may be good beside it only."""
        web.settings = Settings(public_url=public_url)
        assert web.get("/api/summary", host=host).json()["host"] == shown

    def test_the_page_brings_the_summary_along(self, web: Any) -> None:
        """As text that is no markup: the study's description is <script>."""
        (told,) = re.findall(r'id="summary">(.*?)</script>', web.get("/").text)
        assert json.loads(told) == web.get("/api/summary").json()
        assert "<" not in told

    def test_who_shows_no_token_is_told_nothing(self, web: Any) -> None:
        web.settings = Settings(tokens=lambda: {"": LOCAL}, loopback=False)
        assert 'id="summary">null</script>' in web.get("/").text

    def test_the_page_is_there_without_an_index(self, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        async def unread(principal: Principal) -> None:
            raise Busy()

        monkeypatch.setattr(web.archive, "statistics", unread)
        assert web.get("/api/summary").status_code == 503
        assert 'id="summary">null</script>' in web.get("/").text


class TestProbes:
    def test_ready(self, web: Any) -> None:
        assert web.get("/healthz").status_code == 200
        answer = web.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})
        web.archive.reasons = ["the volume is nearly full"]
        web.settings = Settings(ready=lambda: ["draining"])
        answer = web.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "reasons": ["the volume is nearly full", "draining"]}

    def test_metrics(self, web: Any) -> None:
        web.settings = Settings(durability="off")

        async def act(client: httpx.AsyncClient) -> httpx.Response:
            await client.get("/nothing")
            return await client.get("/metrics")

        text = web.run(act).text
        assert "sagittal_instances 4.0" in text
        assert 'sagittal_durability{mode="off"} 1.0' in text
        assert 'sagittal_http_requests_total{status="404"} 1.0' in text
        assert "sagittal_ready 1.0" in text
        assert 'sagittal_objects_total{outcome="stored",source="dimse",status="0000"} 7.0' in text
        assert 'sagittal_objects_total{outcome="refused",source="stow",status="A900"} 2.0' in text
        assert "sagittal_commit_queue 3.0" in text
        assert 'sagittal_commit_batch_objects_bucket{le="2"} 4.0' in text
        assert 'sagittal_commit_batch_objects_bucket{le="4"} 5.0' in text
        assert 'sagittal_commit_batch_objects_bucket{le="256"} 5.0' in text
        assert 'sagittal_commit_batch_objects_bucket{le="+Inf"} 6.0' in text
        assert "sagittal_commit_batch_objects_sum 307.0" in text
        assert "sagittal_associations" not in text

    def test_metrics_of_associations(self, web: Any) -> None:
        listener = SimpleNamespace(associations={1, 2}, connections=5, accepted=9, rejections={"1/1/3": 4})
        web.settings = Settings(listener=listener)
        text = web.get("/metrics").text
        assert "sagittal_associations 2.0" in text
        assert "sagittal_dimse_connections 5.0" in text
        assert "sagittal_associations_accepted_total 9.0" in text
        assert 'sagittal_associations_rejected_total{code="1/1/3"} 4.0' in text


class TestChanges:
    def test_a_page_of_them(self, web: Any) -> None:
        web.archive.feed = [[STORED]]
        body = web.get("/api/changes?limit=1").json()
        assert body["cursor"] == "c9"
        assert body["changes"] == [
            {"cursor": "c3", "kind": "stored", "study": "1.2", "series": "1.3", "instance": "1.4", "at": 5}
        ]

    @pytest.mark.parametrize("limit", ["0", "10001", "x", "-1", ""])
    def test_limits_that_are_none(self, web: Any, limit: str) -> None:
        assert web.get(f"/api/changes?limit={limit}").status_code == 400

    @staticmethod
    async def follow(app: WebApp, sending: Callable[[Any], None], *headers: tuple[bytes, bytes]) -> None:
        """Take an event stream until it ends; `sending` is called with each message."""
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": "/api/changes",
            "root_path": "",
            "query_string": b"since=now",
            "headers": [(b"host", b"localhost"), (b"accept", b"text/event-stream"), *headers],
            "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 2),
        }

        async def send(message: Any) -> None:
            sending(message)

        async def receive() -> Any:
            await asyncio.Event().wait()

        await asyncio.wait_for(app(scope, receive, send), 20)

    def streamed(
        self, web: Any, sending: Callable[[WebApp, list[bytes]], None], *headers: tuple[bytes, bytes]
    ) -> list[bytes]:
        """What an event stream sends until it ends; `sending` is called with each piece."""
        sent: list[bytes] = []

        async def inside() -> None:
            app = web.app()

            def send(message: Any) -> None:
                sent.append(message.get("body", b""))
                sending(app, sent)

            await self.follow(app, send, *headers)
            app.close()

        asyncio.run(inside())
        return sent

    def test_events(self, web: Any) -> None:
        web.archive.feed = [[STORED], [STORED, STORED]]
        sent = self.streamed(web, lambda app, sent: app.drain() if len(sent) == 4 else None)
        event = b'event: stored\nid: c3\ndata: {"cursor":"c3","kind":"stored","study":"1.2"'
        assert b"".join(sent).count(event) == 3
        assert sent[-1] == b""
        # Who is cut off before the first event comes back with this, not with a later "now".
        assert b"".join(sent).partition(b"event:")[0].endswith(b"\nid: c0\n\n")

    @pytest.mark.parametrize("after", [None, frozenset({"store"})])
    def test_a_stream_ends_with_its_token(self, web: Any, after: frozenset[str] | None) -> None:
        """Revoked, or replaced by one that may do other things: what happens from then on is not told any more."""
        web.archive.feed = [[STORED], [STORED, STORED]]
        digest = hashlib.sha256(b"told once").hexdigest()
        tokens = {digest: Principal("viewer", "token", frozenset({"find"}))}
        web.settings = Settings(tokens=lambda: tokens)

        def sending(_: WebApp, sent: list[bytes]) -> None:
            if b"event:" in sent[-1]:
                tokens.clear()
                if after is not None:
                    tokens[digest] = Principal("viewer", "token", after)

        sent = self.streamed(web, sending, (b"authorization", b"Bearer told once"))
        assert b"".join(sent).count(b"event: stored") == 1
        assert sent[-1] == b""

    @pytest.mark.parametrize("query", ["?since=now", "?since=c1"])
    def test_who_comes_back_misses_nothing_and_gets_nothing_twice(self, tmp_path: Path, query: str) -> None:
        """EventSource sends the address of its first request again, and where it was."""
        here = {"accept": "application/json", "last-event-id": "c2"}
        begin, back = (f"/api/changes{query}", {}), (f"/api/changes{query}", here)
        first, again = answers(tmp_path, [build(number) for number in range(4)], begin, back)
        assert [each["cursor"] for each in again.json()["changes"]] == ["c3", "c4"]
        assert first.json()["cursor"] == "c4"

    @pytest.mark.parametrize(
        ("query", "last"), [("", "nonsense"), ("?since=nonsense", ""), ("?since=c", ""), ("?since=c1", ""), ("", "c1")]
    )
    def test_cursors_that_are_none(self, tmp_path: Path, query: str, last: str) -> None:
        """Said with a status, before the first event: a stream that breaks off would be asked for again and again.

        One ahead of the archive comes of a restore from an older backup: all up to there would be passed over.
        """
        for type_ in ("application/json", "text/event-stream"):
            (answer,) = answers(tmp_path, [], (f"/api/changes{query}", {"accept": type_, "last-event-id": last}))
            assert answer.status_code == 400, type_

    async def test_streams_that_come_together_are_counted_one_by_one(self, web: Any) -> None:
        web.settings = Settings(limits=Limits(web=WebLimits(event_streams_max=1)))
        statuses: list[int] = []
        unbuffered: list[tuple[bytes, bytes]] = []
        app = web.app()

        def send(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])
            unbuffered.extend(each for each in message.get("headers", ()) if each[0] == b"x-accel-buffering")
            if len(statuses) == 3:
                app.drain()

        await asyncio.gather(*(self.follow(app, send) for _ in range(3)))
        app.close()
        assert sorted(statuses) == [200, 503, 503]
        assert unbuffered == [(b"x-accel-buffering", b"no")]  # by a proxy that has pages of them otherwise

    def test_streams_at_once(self, web: Any) -> None:
        web.settings = Settings(limits=Limits(web=WebLimits(event_streams_max=0)))
        assert web.get("/api/changes", "text/event-stream").status_code == 503


class TestRest:
    @pytest.mark.parametrize("path", ["nodes", "statistics", "docs", "changes", "nothing"])
    def test_heads(self, web: Any, path: str) -> None:
        """Wherever there is a GET (RFC 9110 9.1), and without its body."""

        async def act(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
            return await client.get(f"/api/{path}"), await client.head(f"/api/{path}")

        whole, head = web.run(act)
        assert head.status_code == whole.status_code
        assert head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]

    def test_the_head_of_an_event_stream_ends(self, web: Any) -> None:
        async def act(client: httpx.AsyncClient) -> httpx.Response:
            return await client.head("/api/changes", headers={"accept": "text/event-stream"})

        told = web.run(act).headers
        assert told["content-type"].startswith("text/event-stream")
        assert told["x-accel-buffering"] == "no"

    def test_openapi(self, web: Any) -> None:
        async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
            return [
                await client.get(f"/api/{path}") for path in ("openapi.json", "docs", "statistics", "nodes", "nothing")
            ]

        openapi, docs, statistics, nodes, nothing = web.run(act)
        paths = json.loads(openapi.content)["paths"]
        assert {"/changes", "/statistics", "/nodes", "/studies/{study}", "/tombstones"} <= set(paths)
        assert docs.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in docs.headers["content-security-policy"]
        assert statistics.json()["instances"] == 4
        assert nodes.json() == []
        assert nothing.status_code == 404

    @pytest.mark.parametrize(
        ("path", "methods"),
        [
            ("nodes", "GET, HEAD, POST"),
            ("nodes/CT1", "DELETE, GET, HEAD"),
            ("tokens/reader", "DELETE"),
            ("changes", "GET, HEAD"),
            ("studies/1.2", "DELETE, PATCH"),
        ],
    )
    def test_another_method_is_told_which_there_are(self, web: Any, path: str, methods: str) -> None:
        for prefix in ("/api/", "/stores/main/api/"):
            answer = web.request("PUT", prefix + path)
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)

    def test_it_is_imported_late(self) -> None:
        code = "import sagittal.web.app, sagittal.web.server, sys; print({'fastapi', 'pydicom'} & set(sys.modules))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "set()"
