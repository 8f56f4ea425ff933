"""What is left out of an answer of several instances: what can't be made, not what can't be made just now."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from builders import CT
from starlette.requests import Request

from sagittal.errors import Busy, NotAcceptable, PixelsUndecodable, SagittalError, StorageUnavailable, WorkerLost
from sagittal.limits import Limits
from sagittal.web.house import Settings
from sagittal.web.render.rendered import Rendered
from sagittal.web.retrieve.transcoded import Transcoded
from sagittal.web.wire.accept import DICOM, Offer
from sagittal.web.wire.multipart import Framing

EXPLICIT_LE, JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"


class Maker:
    """Makes nothing, for a reason."""

    def __init__(self, problem: SagittalError) -> None:
        self.problem = problem

    async def instance(self, ref: Any, to: str) -> Any:
        raise self.problem


class Stored:
    """A file of one byte."""

    def file(self, ref: Any, to: str) -> Any:
        return iter((b"!",))


def answered(problem: SagittalError) -> bytes:
    """An instance that is in the syntax wanted, and one for which there is a problem."""
    settings = SimpleNamespace(limits=Limits())
    house: Any = SimpleNamespace(maker=Maker(problem), readers=None, settings=settings)
    stored: Any = Stored()
    refs: Any = [SimpleNamespace(syntax_uid=uid, sop_instance_uid="1.2") for uid in (EXPLICIT_LE, JPEG_LS)]

    async def read() -> bytes:
        offers = [[Offer(DICOM, EXPLICIT_LE)]] * 2
        return b"".join([piece async for piece in Transcoded(house, stored).files(Framing(DICOM), refs, offers)])

    return asyncio.run(read())


@pytest.mark.parametrize("problem", [NotAcceptable("of another kind"), WorkerLost()])
def test_what_cannot_be_made_is_left_out(problem: SagittalError) -> None:
    assert answered(problem).count(b"Content-Type") == 1


@pytest.mark.parametrize("problem", [Busy("too many wait"), StorageUnavailable("No space left")])
def test_an_answer_ends_where_the_server_cannot_go_on(problem: SagittalError) -> None:
    with pytest.raises(type(problem)):
        answered(problem)


class Easel:
    """Draws the first instance, and another one not, for a reason."""

    def __init__(self, problem: SagittalError) -> None:
        self.problem = problem

    async def alone(self, principal: Any, ref: Any, *_: Any) -> bytes:
        if ref.digest:
            raise self.problem
        return b"!"


def drawn(problem: SagittalError) -> bytes:
    """Pictures of both."""
    rendered: Any = object.__new__(Rendered)
    rendered._house, rendered._limits = SimpleNamespace(settings=Settings()), Limits().web
    rendered._easel = Easel(problem)
    said = {"frames": 1, "revision": 0, "sop_class_uid": CT, "study_uid": "1", "series_uid": "2"}
    refs = [
        SimpleNamespace(digest=digest, sop_instance_uid="3", syntax_uid=EXPLICIT_LE, **said) for digest in ("", "x")
    ]
    headers = [(b"accept", b'multipart/related; type="image/jpeg"'), (b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "headers": headers, "query_string": b"", "principal": None}
    scope |= {"scheme": "http", "server": ("localhost", 80)}

    async def read() -> bytes:
        answer = rendered._parts(Request(scope), [(ref, 0) for ref in refs], None)
        return b"".join([piece async for piece in answer._pushed])

    return asyncio.run(read())


def test_a_picture_that_cannot_be_drawn_is_left_out() -> None:
    assert drawn(PixelsUndecodable("broken")).count(b"Content-Type") == 1


@pytest.mark.parametrize("problem", [Busy("too many wait"), StorageUnavailable("No space left")])
def test_pictures_end_where_the_server_cannot_go_on(problem: SagittalError) -> None:
    with pytest.raises(type(problem)):
        drawn(problem)
