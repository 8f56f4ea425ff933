"""The asynchronous operations window at a real server, by a peer that shares no code with us."""

from __future__ import annotations

import struct

import pytest
import wire
from conftest import Served


def wide(server: Served, invoked: int) -> wire.Wire:
    """An association whose requestor wants to have so many operations outstanding (PS3.7 D.3.3.3)."""
    peer = wire.Wire(server.host, server.port)
    item = struct.pack(">BBHHH", 0x53, 0, 4, invoked, 1)
    contexts = [(wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE]), (wire.VERIFICATION, [wire.IMPLICIT_LE])]
    peer.send(wire.associate_rq(contexts, more_user_items=item))
    kind, body = peer.receive()
    assert kind == 2
    at = body.index(struct.pack(">BBH", 0x53, 0, 4))
    assert struct.unpack_from(">HH", body, at + 4) == (min(invoked or 8, 8), 1)
    return peer


def in_pieces(item: wire.Object, size: int = 16_000) -> bytes:
    pieces = [item.data_set[at : at + size] for at in range(0, len(item.data_set), size)]
    parts = [wire.p_data(1, 2 if number == len(pieces) - 1 else 0, piece) for number, piece in enumerate(pieces)]
    return b"".join(parts)


@pytest.mark.parametrize("invoked", [0, 3, 8, 100])
def test_stores_that_are_outstanding_together(invoked: int, shared_server: Served) -> None:
    study = wire.new_uid()
    items = [wire.image(study_uid=study, rows=64 if number % 3 else 512) for number in range(24)]
    width = min(invoked or 8, 8)
    with wide(shared_server, invoked) as peer:
        statuses: dict[str, int] = {}
        waiting = list(items)
        outstanding = 0
        while waiting or outstanding:
            while waiting and outstanding < width:
                item = waiting.pop(0)
                peer.send(peer.store_head(item) + in_pieces(item))
                outstanding += 1
            answer = peer.response()
            outstanding -= 1
            uid = answer[0x1000].rstrip(b"\0").decode()
            message = struct.unpack("<H", answer[0x0120])[0]
            assert items[message - 1].sop_instance_uid == uid  # matched by message ID
            statuses[uid] = struct.unpack("<H", answer[0x0900])[0]
        assert statuses == {item.sop_instance_uid: 0 for item in items}
        assert peer.echo(3) == 0
        peer.release()
