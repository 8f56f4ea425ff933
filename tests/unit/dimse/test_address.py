"""Addresses are shown as they can be typed again."""

from __future__ import annotations

import pytest

from sagittal.archive.nodes import Node
from sagittal.dimse.address import parse_peer
from sagittal.errors import UsageError
from sagittal.hosts import authority
from sagittal.net.client import Peer


@pytest.mark.parametrize("text", ["PACS@127.0.0.1:104", "PACS@pacs.example.org:11112", "PACS@[::1]:104"])
def test_what_is_shown_can_be_typed(text: str) -> None:
    peer = parse_peer(text)
    assert str(peer) == str(Peer(*peer)) == str(Node(*peer)) == text
    assert parse_peer(str(peer)) == peer
    assert authority(peer.host, peer.port) == authority(f"[{peer.host}]" if ":" in peer.host else peer.host, peer.port)


@pytest.mark.parametrize("text", ["PACS@127.0.0.1:104:11112", "PACS@http://pacs:104", "PACS@pacs.:.:104"])
def test_a_colon_in_a_host_is_of_an_ipv6_address(text: str) -> None:
    with pytest.raises(UsageError, match="no name and no address"):
        parse_peer(text)
