"""What is written of an answer, and when: by uvicorn's own cycle, into a transport that takes notes."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from sagittal.web.cycle import adjusted

Message = dict[str, Any]


class Noting:
    """Each write as the pieces that it has."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writelines([data])

    def writelines(self, pieces: Any) -> None:
        if any(pieces):
            self.writes.append([bytes(piece) for piece in pieces])

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def answering(noting: Noting, method: str = "GET", version: str = "1.1", expect: bool = False) -> Any:
    made = RequestResponseCycle(
        cast(Any, {"method": method, "http_version": version}),
        cast(Any, noting),
        cast(Any, SimpleNamespace(write_paused=False, resume_reading=lambda: None)),
        logging.getLogger(),
        logging.getLogger(),
        False,
        [],
        asyncio.Event(),
        expect_100_continue=expect,
        keep_alive=version != "1.0",
        on_response=lambda: None,
    )
    adjusted(made)
    return made


def head(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def body(data: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def written(cycle: Any, noting: Noting, *messages: Message) -> list[int]:
    """How many pieces each write had, after each message."""

    async def send() -> list[int]:
        found = []
        for message in messages:
            await cycle.send(message)
            found.append(len(noting.writes))
        return found

    return asyncio.run(send())


SIX = head((b"content-length", b"6"))


@pytest.mark.parametrize("pieces", [[b"abcdef"], [b"abc", b"d", b"ef"]])
def test_the_head_goes_with_the_first_of_the_body(pieces: list[bytes]) -> None:
    noting = Noting()
    bodies = [body(piece, more=n < len(pieces)) for n, piece in enumerate(pieces, 1)]
    assert written(answering(noting), noting, SIX, *bodies) == list(range(len(pieces) + 1))
    (start, first), *others = noting.writes
    assert start == b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"
    assert [first, *(piece for (piece,) in others)] == pieces


@pytest.mark.parametrize(
    ("method", "version", "start", "then"),
    [
        ("GET", "1.1", head((b"content-length", b"0")), b""),
        ("GET", "1.1", head(), b"data: 1"),  # as event streams: the first may come in an hour
        ("GET", "1.0", head(), b"data: 1"),
        ("HEAD", "1.1", SIX, b"abcdef"),
        ("HEAD", "1.0", SIX, b"abcdef"),
    ],
)
def test_a_head_that_no_body_follows_for_sure_goes_at_once(
    method: str, version: str, start: Message, then: bytes
) -> None:
    noting = Noting()
    assert written(answering(noting, method, version), noting, start, body(then)) == [
        1,
        1 + (method == "GET" and then != b""),
    ]


def test_a_client_that_waits_for_leave_gets_it_before_the_head() -> None:
    noting = Noting()
    cycle = answering(noting, "POST", expect=True)
    cycle.body, cycle.more_body = bytearray(b"x"), False
    cycle.message_event.set()
    asyncio.run(cycle.receive())
    assert written(cycle, noting, SIX, body(b"abcdef")) == [1, 2]
    assert [len(pieces) for pieces in noting.writes] == [1, 2]
    assert noting.writes[0][0].startswith(b"HTTP/1.1 100 Continue")


def test_an_answer_that_fails_before_its_body_is_cut_off_and_no_half_of_it_sent() -> None:
    noting = Noting()
    cycle = answering(noting)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(SIX)

    asyncio.run(cycle.run_asgi(app))
    assert noting.closed and noting.writes == []
