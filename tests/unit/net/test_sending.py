"""Data sets on their way out: PDUs that the peer takes, fragments of even length (PS3.8 E.1)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from sagittal.dimse.exchange import Buffer
from sagittal.dimse.service import AssociationInfo
from sagittal.limits import NetLimits
from sagittal.net.messages.sending import Sender


def sent(source: Any, pdu_bytes_max: int, peer: str = "") -> list[bytes]:
    """The fragments of the data set; the PDUs are checked."""
    wire = bytearray()

    def write(buffers: Iterable[Buffer]) -> None:
        for buffer in buffers:
            wire.extend(buffer)

    info = AssociationInfo("A", "B", "", 0, peer_pdu_bytes_max=pdu_bytes_max, implementation_class=peer)
    link: Any = SimpleNamespace(info=info, limits=NetLimits(), over=False, write_waiter=None, write=write)

    async def send() -> None:
        await Sender(link).send_with_data(3, b"command.", source)

    asyncio.run(send())
    fragments, at = list[bytes](), 0
    while at < len(wire):
        kind, length, item, context, control = struct.unpack_from(">BxLLBB", wire, at)
        assert (kind, item, context) == (4, length - 4, 3)
        assert length <= pdu_bytes_max
        if not control & 1:
            fragments.append(bytes(wire[at + 12 : at + 6 + length]))
        at += 6 + length
        assert (control & 2 > 0) == (at == len(wire) or bool(control & 1))
    return fragments


@pytest.mark.parametrize("pdu_bytes_max", [256, 257, 1000, 16383])
@pytest.mark.parametrize("sizes", [[], [0], [1], [1, 1], [251], [3, 251, 252, 1], [99_999, 1], [7, 70_001, 3, 1000]])
def test_fragments_are_even(pdu_bytes_max: int, sizes: list[int]) -> None:
    parts = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for source in (iter(parts), b"".join(parts)):
        fragments = sent(source, pdu_bytes_max)
        assert b"".join(fragments) == b"".join(parts)
        assert not any(len(fragment) & 1 for fragment in fragments[:-1])


@pytest.mark.parametrize("size", [3, 4, 70_001])
def test_an_odd_data_set_is_padded_for_peers_that_abort_at_an_odd_fragment(size: int) -> None:
    for source in (b"1" * size, iter([b"1" * size])):
        fragments = sent(source, 1000, peer="1.2.276.0.7230010.3.0.3.6.7")
        assert b"".join(fragments) == b"1" * size + b"\0" * (size & 1)
        assert not any(len(fragment) & 1 for fragment in fragments)
