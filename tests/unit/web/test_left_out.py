"""What is left out of an answer of several instances: what can't be made, not what can't be made just now."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sagittal.errors import Busy, NotAcceptable, SagittalError, StorageUnavailable, WorkerLost
from sagittal.limits import Limits
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
