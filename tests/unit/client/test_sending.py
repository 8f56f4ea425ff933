"""C-STORE to a peer that ends its associations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import build
from service_fakes import FakeNetwork

from sagittal.client.outcome import Stored
from sagittal.client.remote import Sending
from sagittal.client.storing.files import read_objects
from sagittal.client.storing.sending import send
from sagittal.errors import PeerError, PeerRefused
from sagittal.net.client import Peer

LOST = PeerError("the association ended: aborted")


class Network(FakeNetwork):
    """Associations that are over once a store has failed."""

    def __init__(self, answers: Sequence[Any], over: bool) -> None:
        super().__init__(answers=answers)
        self.over = over

    async def associate(self, proposals: Sequence[Any], window: int) -> Any:
        association: Any = await self.connect(Peer("DEST", "127.0.0.1", 104), proposals)
        association.window, association.over = window, self.over
        return association


def sent(folder: Path, answers: Sequence[Any], over: bool = True) -> tuple[list[Stored], Network]:
    for number in range(9):
        (folder / f"{number}.dcm").write_bytes(build(number).part10)
    network, found = Network(answers, over), list[Stored]()

    async def run() -> None:
        async for answer in send(network.associate, read_objects([folder])[0], Sending()):
            found.append(answer)

    try:
        asyncio.run(run())
    except PeerRefused as error:
        found.append(Stored(folder, comment=error.text))
    return found, network


@pytest.mark.parametrize("before", [[], [0], [LOST, LOST, 0]])
def test_a_peer_that_answers_nothing_is_given_up(tmp_path: Path, before: list[Any]) -> None:
    found, network = sent(tmp_path, [*before, *[LOST] * 9])
    assert len(network.opened) == len(before) + 3
    assert found[-1].comment == "the peer ended 3 associations without an answer to anything"
    assert len(found) == len(before) + 3 + 1


def test_one_that_ends_each_association_after_an_answer_gets_all(tmp_path: Path) -> None:
    found, network = sent(tmp_path, [])
    assert len(network.opened) == 9
    assert not any(one.failed for one in found)


def test_what_is_sent_as_the_peer_closes_after_an_answer_goes_once_more(tmp_path: Path) -> None:
    """The end of the connection is not seen yet as the next file goes out."""
    found, network = sent(tmp_path, [0, LOST, 0, 0, LOST, 0], over=False)
    assert len(network.opened) == 3
    assert sorted(one.file.name for one in found) == [f"{number}.dcm" for number in range(9)]
    assert not any(one.failed for one in found)


def test_a_file_that_ends_each_association_fails_alone(tmp_path: Path) -> None:
    found, network = sent(tmp_path, [0, LOST, LOST], over=False)
    assert len(network.opened) == 3
    assert [one.file.name for one in found if one.failed] == ["1.dcm"]
    assert len(found) == 9
