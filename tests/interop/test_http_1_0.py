"""Clients that speak HTTP/1.0, as nginx does to what is behind it: plain bytes up to the end of the connection."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from archived import parts, study_of
from builders import build
from conftest import Served
from interop.questions import post

OBJECTS = [build(number, frames=3, rows=64, columns=64) for number in range(1, 40)]
STUDY = study_of(OBJECTS[0])


@pytest.fixture(scope="module")
def held(shared_server: Served) -> Served:
    post(shared_server, OBJECTS)
    return shared_server


class Answer:
    """The answer to a GET: its head, and the body as it comes."""

    def __init__(self, server: Served, path: str, accept: str) -> None:
        address = urlsplit(server.http)
        self.socket = socket.create_connection((address.hostname or "", address.port or 0), timeout=30)
        request = f"GET {path} HTTP/1.0\r\nHost: {address.netloc}\r\nAccept: {accept}\r\n\r\n"
        self.socket.sendall(request.encode())
        told = b""
        while b"\r\n\r\n" not in told:
            told += self._more()
        head, _, self.body = told.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first.endswith(" 200 OK"), first
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert "transfer-encoding" not in self.headers
        assert self.headers["connection"] == "close"

    def _more(self) -> bytes:
        piece = self.socket.recv(1 << 16)
        assert piece, "the connection has ended"
        return piece

    def until(self, end: bytes) -> bytes:
        while not self.body.endswith(end):
            self.body += self._more()
        return self.body

    def whole(self) -> httpx.Response:
        with self.socket:
            while piece := self.socket.recv(1 << 16):
                self.body += piece
        return httpx.Response(200, headers=self.headers, content=self.body)


def test_a_study(held: Served) -> None:
    answer = Answer(held, STUDY, 'multipart/related; type="application/dicom"; transfer-syntax=*').whole()
    assert sorted(content for _, content in parts(answer)) == sorted(built.part10 for built in OBJECTS)


def test_a_study_that_is_made_as_it_is_sent(held: Served) -> None:
    """In another transfer syntax, so that nobody knows its length before."""
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.5'
    answer = Answer(held, STUDY, accept)
    assert "content-length" not in answer.headers
    chunked = httpx.get(held.http + STUDY, headers={"accept": accept})
    assert chunked.headers["transfer-encoding"] == "chunked"
    told = sorted(content for _, content in parts(answer.whole()))
    assert told == sorted(content for _, content in parts(chunked)) and len(told) == len(OBJECTS)


def test_metadata(held: Served) -> None:
    answer = Answer(held, f"{STUDY}/metadata", "application/dicom+json")
    assert "content-length" not in answer.headers
    rows = answer.whole().json()
    assert {row["00080018"]["Value"][0] for row in rows} == {built.sop_instance_uid for built in OBJECTS}


def test_the_event_stream(held: Served) -> None:
    answer = Answer(held, "/api/changes?since=now", "text/event-stream")
    with answer.socket:
        assert answer.until(b"\n\n").startswith(b": the change feed of this archive\nid: ")
        late = build(1, study=2)
        post(held, [late])
        event = answer.until(b"}\n\n").decode().split("\n\n")[1].split("\n")
    assert [line.partition(":")[0] for line in event] == ["event", "id", "data"]
    assert late.sop_instance_uid in event[2]
