"""Frames that are answered on the loop, out of the system's memory."""

from __future__ import annotations

import os
from typing import Any

import httpx
import pytest

from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE
from sagittal.web.retrieve.objects import Stored

INSTANCE = "/dicom-web/studies/1.2.1/series/1.2.2/instances/1.2.3.1"
OCTETS = "multipart/related; type=application/octet-stream"
ALONE = "application/octet-stream"
pytestmark = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="Linux only")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often frames were read on a thread, with files that are in memory."""
    calls: list[int] = []
    inner, preadv = Stored.frames, os.preadv  # tmpfs knows no RWF_NOWAIT
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset, flags: preadv(fd, buffers, offset))

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return inner(*arguments)

    monkeypatch.setattr(Stored, "frames", counted)
    return calls


def several(web: Any, path: str, accept: str, count: int) -> list[httpx.Response]:
    """Answers of one application, one after another."""

    async def get(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get(INSTANCE + path, headers={"accept": accept}) for _ in range(count)]

    answers: list[httpx.Response] = web.run(get)
    return answers


def plain(answer: httpx.Response) -> tuple[int, bytes, str, str, int]:
    """What has to be the same, without the boundary, which is random."""
    kind, _, boundary = answer.headers["content-type"].partition("boundary=")
    assert answer.headers["content-length"] == str(len(answer.content))
    body = answer.content.replace(boundary.encode() or b"-", b"*")
    return answer.status_code, body, kind, answer.headers["etag"], len(answer.content)


def test_the_first_answer_and_those_after_it_are_the_same(web: Any, threads: list[int]) -> None:
    web.archive.hold(b"headAABBCC", EXPLICIT_LE, frames=3)
    web.archive.ranges[1] = [[(32, 16)], [(48, 8), (56, 8)], [(64, 16)]]
    asked = [("/frames/2", OCTETS), ("/frames/3,2", OCTETS), ("/frames/2", ALONE)]
    first = [plain(answer) for path, accept in asked for answer in several(web, path, accept, 1)]
    assert len(threads) == 3
    for (path, accept), alike in zip(asked, first, strict=True):
        assert [plain(answer) for answer in several(web, path, accept, 3)] == [alike] * 3
    assert len(threads) == 6  # the first of each application


def test_what_is_not_in_memory_is_read_on_a_thread(
    web: Any, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def preadv(fd: int, buffers: Any, offset: int, flags: int) -> int:
        raise BlockingIOError

    web.archive.hold(b"headAABB", EXPLICIT_LE, frames=2)
    web.archive.ranges[1] = [[(32, 16)], [(48, 16)]]
    monkeypatch.setattr(os, "preadv", preadv)
    assert [answer.content for answer in several(web, "/frames/2", ALONE, 3)] == [b"BB"] * 3
    assert len(threads) == 3


@pytest.mark.parametrize(
    ("syntax", "ranges"), [(EXPLICIT_BE, [(32, 16)]), (EXPLICIT_LE, [(33, 16)]), (EXPLICIT_LE, [(32, 0)] * 65)]
)
def test_what_is_not_sent_as_it_lies_is_made_on_a_thread(
    web: Any, threads: list[int], syntax: str, ranges: list[tuple[int, int]]
) -> None:
    web.archive.hold(b"headAABBCC", syntax, frames=1)
    web.archive.ranges[1] = [ranges]
    assert [answer.status_code for answer in several(web, "/frames/1", ALONE, 2)] == [200, 200]
    assert len(threads) == 2


async def test_an_application_that_is_closed_keeps_no_object_open(
    web: Any, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    web.archive.hold(b"headAABB", EXPLICIT_LE, frames=2)
    web.archive.ranges[1] = [[(32, 16)], [(48, 16)]]
    inner, opened = web.archive.open_object, list[int]()

    def open_object(ref: Any) -> Any:
        found = inner(ref)
        opened.append(found.fd)
        return found

    monkeypatch.setattr(web.archive, "open_object", open_object)
    app = web.app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for _ in range(2):
            await client.get(f"{INSTANCE}/frames/2", headers={"accept": ALONE})
        os.fstat(opened[-1])  # it stays open for the next
    app.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[-1])
    await app.house.workers.close()
