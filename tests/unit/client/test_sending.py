"""C-STORE to a peer that ends its associations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import build
from service_fakes import FakeNetwork

from sagittal.client.outcome import Stored
from sagittal.client.remote import Sending
from sagittal.client.storing import stow
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


class Deadly(FakeNetwork):
    """One of these instances ends an association for all that are outstanding on it, once they all are."""

    def __init__(self, *deadly: int) -> None:
        super().__init__()
        self.deadly = {build(number).sop_instance_uid for number in deadly}
        self.windows: list[int] = []

    async def associate(self, proposals: Sequence[Any], window: int) -> Any:
        self.windows.append(window)
        association: Any = await self.connect(Peer("DEST", "127.0.0.1", 104), proposals)
        association.window, association.over, answer = window, False, association.store

        async def store(sop_class: str, uid: str, *more: Any) -> Any:
            await asyncio.sleep(0)
            association.over = association.over or uid in self.deadly
            await asyncio.sleep(0)
            if association.over:
                raise LOST
            return await answer(sop_class, uid, *more)

        association.store = store
        return association


def sent(
    folder: Path, answers: Sequence[Any], over: bool = True, network: Any = None, window: int = 1
) -> tuple[list[Stored], Any]:
    for number in range(9):
        (folder / f"{number}.dcm").write_bytes(build(number).part10)
    network, found = network or Network(answers, over), list[Stored]()

    async def run() -> None:
        async for answer in send(network.associate, read_objects([folder])[0], Sending(window=window)):
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


@pytest.mark.parametrize(("study", "path"), [("", "/studies"), ("1.2", "/studies/1.2")])
async def test_over_http_into_any_study_or_one(tmp_path: Path, study: str, path: str) -> None:
    asked: list[str] = []

    async def post(to: str, **_: Any) -> httpx.Response:
        asked.append(to)
        return httpx.Response(200, json={"00081199": {"vr": "SQ", "Value": [{}]}})

    (tmp_path / "a.dcm").write_bytes(build(1).part10)
    (answer,) = [answer async for answer in stow.send(post, read_objects([tmp_path])[0], Sending(study=study))]
    assert asked == [path] and not answer.failed


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


@pytest.mark.parametrize("deadly", [(0,), (4,), (8,), (0, 1), (3, 5), (2, 6, 8)])
def test_only_the_file_that_ends_it_fails_of_those_outstanding(tmp_path: Path, deadly: tuple[int, ...]) -> None:
    found, network = sent(tmp_path, [], network=Deadly(*deadly), window=4)
    assert sorted(one.file.name for one in found) == [f"{number}.dcm" for number in range(9)]
    assert sorted(one.file.name for one in found if one.failed) == [f"{number}.dcm" for number in deadly]
    assert network.windows[0] == 4
