"""C-MOVE whose destination changes in the AE table while objects are on their way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from service_fakes import FakeArchive, FakeNetwork, answers, ref, request, site

from sagittal.dimse.commands import C_MOVE_RQ
from sagittal.errors import UsageError
from sagittal.net.client import Peer
from sagittal.services.retrieve import move

ONE_STUDY = [(0x00080052, "CS", "STUDY"), (0x0020000D, "UI", "1.2")]


@pytest.mark.parametrize(("now", "sent"), [(Peer("DEST", "127.0.0.1", 105), 4), (None, 2)])
def test_a_node_that_changes_or_goes_meanwhile(tmp_path, now, sent):
    nodes = {"DEST": Peer("DEST", "127.0.0.1", 104)}

    async def changed():
        nodes["DEST"] = now
        return 0

    network = FakeNetwork(answers=[0, changed])
    at_work = replace(site(FakeArchive(tmp_path, [ref(n) for n in range(4)]), network), destination=nodes.get)
    *_, last = answers(move(at_work), C_MOVE_RQ, request(ONE_STUDY, {"MoveDestination": "DEST"}))
    assert [peer.port for peer, _ in network.opened] == [104, 105][: sent // 2]
    assert len(network.sent) == last.extra["NumberOfCompletedSuboperations"] == sent
    assert last.extra["NumberOfFailedSuboperations"] == 4 - sent
    assert last.comment == ("" if now else "DEST is not a configured node")


def test_a_node_that_wants_tls_meanwhile_of_which_we_have_none(tmp_path):
    """What was sent before counts."""
    nodes = [Peer("DEST", "127.0.0.1", 104)]

    def destination(_):
        if not nodes:
            raise UsageError("the certificate own.pem or its key can't be used")
        return nodes[0]

    async def changed():
        nodes.clear()
        return 0

    at_work = site(FakeArchive(tmp_path, [ref(n) for n in range(4)]), FakeNetwork(answers=[0, changed]))
    at_work = replace(at_work, destination=destination)
    *_, last = answers(move(at_work), C_MOVE_RQ, request(ONE_STUDY, {"MoveDestination": "DEST"}))
    assert (last.extra["NumberOfCompletedSuboperations"], last.extra["NumberOfFailedSuboperations"]) == (2, 2)
    assert last.comment.startswith("the certificate own.pem")
