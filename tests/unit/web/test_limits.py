"""The limits of the web room at cap-1, cap and cap+1; those of requests' forms have tests of theirs."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from threads import at_once

from sagittal.archive.access import LOCAL
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import Busy
from sagittal.limits import Limits, ReaderLimits, WebLimits
from sagittal.web.api.events import Changes
from sagittal.web.connection import _FLOOR_WINDOW_SECONDS, Connection
from sagittal.web.house import Settings
from sagittal.web.retrieve.objects import Stored
from sagittal.web.server import HttpServer
from sagittal.web.store.answer import Result
from sagittal.web.store.commits import Commits
from sagittal.web.wire.stream import batched

AROUND = pytest.mark.parametrize("more", [-1, 0, 1])


def limited(**limits: Any) -> Settings:
    return Settings(limits=Limits(web=WebLimits(**limits)))


@AROUND
def test_accept_ranges_max(web: Any, more: int) -> None:
    web.settings = limited(accept_ranges_max=5)
    accept = ", ".join(["application/dicom+json"] * (5 + more))
    assert web.get("/dicom-web/studies", accept).status_code == (400 if more > 0 else 200)


@AROUND
def test_api_body_bytes_max(web: Any, more: int) -> None:
    web.settings = limited(api_body_bytes_max=100)
    body = b'{"peer": "SCANNER1@localhost:104"}'
    body += b" " * (100 + more - len(body))

    async def act(client: httpx.AsyncClient) -> list[int]:
        async def pieces() -> Any:
            for at in range(0, len(body), 7):
                yield body[at : at + 7]

        headers = {"content-type": "application/json"}
        answers = [await client.post("/api/nodes", content=each, headers=headers) for each in (body, pieces())]
        return [answer.status_code for answer in answers]

    assert web.run(act) == ([413, 413] if more > 0 else [404, 404])  # this archive keeps no AE table


@AROUND
@pytest.mark.parametrize(
    ("limit", "names"),
    [("event_streams_max", {"local": 1, "reader": 1}), ("event_streams_of_one_max", {"local": 2, "reader": 9})],
)
def test_event_streams_max(web: Any, limit: str, names: dict[str, int], more: int) -> None:
    """All, and those of one name, whatever others have."""
    web.settings = limited(**{limit: 3})

    async def open_one() -> None:
        app = web.app()
        changes = Changes(app.house)
        changes._streams = Counter(names | {"local": names["local"] + more})  # that are open already
        headers = [(b"accept", b"text/event-stream")]
        scope = {
            "type": "http",
            "method": "GET",
            "headers": headers,
            "query_string": b"",
            "principal": LOCAL,
            "standing": bool,
        }
        try:
            answer = await changes.changes(Request(scope))
            async with aclosing(answer._pushed) as pieces:  # type: ignore[attr-defined]
                await anext(pieces)  # before which the head of the answer isn't sent
            assert answer.status_code == 200
        finally:
            app.close()

    if more > 0:
        with pytest.raises(Busy, match=limit):
            asyncio.run(open_one())
    else:
        asyncio.run(open_one())


class _Waiting:
    """A transfer whose commit waits for the gate."""

    def __init__(self, gate: asyncio.Event) -> None:
        self._gate = gate

    async def commit(self, study: str | None) -> None:
        await self._gate.wait()


@AROUND
async def test_commits_outstanding_max(web: Any, more: int) -> None:
    """With that many under way the next part is read; with more it waits for one."""
    commits, gate = Commits(None, (), 3), asyncio.Event()
    for _ in range(3 + more):
        commits.begin(_Waiting(gate), Result())  # type: ignore[arg-type]
    breathing = asyncio.ensure_future(commits.room())
    await asyncio.sleep(0)
    assert breathing.done() == (more <= 0)
    gate.set()
    await asyncio.gather(breathing, commits.settle())


@AROUND
def test_read_chunk_bytes(web: Any, more: int) -> None:
    """One read, and one write to the socket."""
    ref = web.archive.hold(b"", EXPLICIT_LE)
    ref = web.archive.hold(bytes(1000 + more - ref.size), EXPLICIT_LE)
    pieces = list(Stored(web.archive, ReaderLimits(), 1000).file(ref, EXPLICIT_LE))
    assert [len(piece) for piece in pieces] == ([1000, more] if more > 0 else [1000 + more])
    batches = list(batched([bytes(500), bytes(500 + more), bytes(500)], 1000))
    assert [len(b"".join(batch)) for batch in batches] == ([1000 + more, 500] if more >= 0 else [1500 + more])


@AROUND
def test_read_threads(web: Any, more: int) -> None:
    web.settings = limited(read_threads=3)
    app = web.app()
    most = at_once(app.house.readers.submit, 3 + more, min(3, 3 + more))
    app.close()
    assert most == min(3, 3 + more)


def connection(**state: Any) -> Connection:
    """A connection without a socket, for the sweep to judge."""
    made = object.__new__(Connection)
    made.limits = WebLimits()
    made.transport = SimpleNamespace(get_write_buffer_size=lambda: 0, get_extra_info=lambda _: None)  # type: ignore[assignment]
    made.flow = SimpleNamespace(read_paused=False)  # type: ignore[assignment]
    made.timeout_keep_alive_task = None
    made.head_since, made.head_bytes, made.receiving = None, 0, False
    made.unsent, made.unsent_since, made.window_since, made.window_bytes = 0, 0.0, 0.0, 0
    for name, value in state.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("beyond", [-0.1, 0.0, 0.1])
def test_header_seconds_max(beyond: float) -> None:
    assert bool(connection(head_since=0.0).overdue(WebLimits().header_seconds_max + beyond)) == (beyond > 0)


@AROUND
def test_body_bytes_per_second_min(more: int) -> None:
    least = int(WebLimits().body_bytes_per_second_min * _FLOOR_WINDOW_SECONDS)
    judged = connection(receiving=True, window_bytes=least + more)
    assert not judged.overdue(_FLOOR_WINDOW_SECONDS - 0.1)
    assert bool(judged.overdue(_FLOOR_WINDOW_SECONDS)) == (more < 0)


@AROUND
def test_keep_alive_seconds_max(more: int) -> None:
    """uvicorn closes what is idle so long; whole seconds, one at the least."""
    server = HttpServer(None, "127.0.0.1", 0, WebLimits(keep_alive_seconds_max=1 + more))
    assert server._uvicorn.config.timeout_keep_alive == max(1, 1 + more)


def test_who_is_closed_when_all_connections_are_taken() -> None:
    """Who owes us nothing, longest first: with a body that goes on after its answer, too. That took no token."""
    working, answered = SimpleNamespace(response_complete=False), SimpleNamespace(response_complete=True)
    waits, stores = connection(head_since=9.0), connection(receiving=True, cycle=working)
    goes_on = connection(receiving=True, cycle=answered, window_since=5.0)
    new = connection(head_since=10.0)
    new.connections = {waits, stores, goes_on, new}
    closed: list[object] = []
    for each in new.connections:
        each.refused = False
        each.end = lambda reason, each=each: closed.append(each)
    assert [new._displace() for _ in range(3)] == [True, True, False]
    assert closed == [goes_on, waits]
