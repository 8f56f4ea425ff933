"""Messages out of fragments, and fragments out of messages."""

from __future__ import annotations

import pytest

from sagittal.dimse import commands
from sagittal.dimse.commands import InvalidCommand
from sagittal.dimse.exchange import Exchange, encode_matches, encode_part, fragment_bytes, header
from sagittal.ul.stream import PduStream, Run

ECHO = {"AffectedSOPClassUID": "1.2.840.10008.1.1", "CommandField": 0x30, "MessageID": 1, "CommandDataSetType": 0x0101}
STORE = {"CommandField": 1, "MessageID": 1, "CommandDataSetType": 1}


def run(data: bytes, context_id: int = 1, *, command: bool = True, last: bool = True) -> Run:
    return Run(context_id, command, last, [memoryview(data)])


def exchange(limit: int = 1024) -> Exchange:
    return Exchange(command_set_bytes_max=limit)


def test_a_command_set_in_pieces() -> None:
    parts, data = exchange(), commands.encode(ECHO)
    assert parts.command(run(data[:10], last=False)) is None
    assert parts.inside
    arrived = parts.command(run(data[10:]))
    assert arrived is not None and arrived.command == ECHO
    assert (arrived.row.name, arrived.data_set, parts.inside) == ("C-ECHO-RQ", False, False)


def test_a_data_set_follows_its_command() -> None:
    parts = exchange()
    arrived = parts.command(run(commands.encode(STORE)))
    assert arrived is not None and arrived.data_set
    parts.data(run(b"abc", command=False, last=False))
    assert parts.inside
    parts.data(run(b"", command=False))
    assert not parts.inside


@pytest.mark.parametrize("size", [-1, 0, 1])
def test_the_command_set_is_bounded(size: int) -> None:
    data = commands.encode(ECHO)
    parts = exchange(len(data) + size)
    if size >= 0:
        assert parts.command(run(data))
    else:
        with pytest.raises(InvalidCommand, match="more than"):
            parts.command(run(data))


def test_what_breaks_the_order() -> None:
    with pytest.raises(InvalidCommand):
        exchange().data(run(b"abc", command=False))
    parts = exchange()
    parts.command(run(commands.encode(STORE)))
    with pytest.raises(InvalidCommand):
        parts.command(run(commands.encode(ECHO)))
    with pytest.raises(InvalidCommand):
        parts.data(run(b"abc", 3, command=False))
    parts = exchange()
    parts.command(run(b"\0", last=False))
    with pytest.raises(InvalidCommand):
        parts.command(run(b"\0", 3))


@pytest.mark.parametrize(
    ("peer", "own", "limit"),
    [(0, 1000, 994), (500, 1000, 494), (5000, 1000, 994), (501, 1000, 494), (0, 999, 992), (8, 1000, 2), (7, 1000, 1)],
)
def test_the_smaller_maximum_counts(peer: int, own: int, limit: int) -> None:
    assert fragment_bytes(peer, own) == limit


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 21, 100])
def test_parts_come_back_whole(size: int) -> None:
    data = bytes(range(size))
    encoded = b"".join(bytes(part) for part in encode_part(5, data, 10, command=False))
    pieces = PduStream(pdu_bytes_max=16, associate_bytes_max=1).receive(memoryview(encoded))
    assert len(pieces) == 1 and isinstance(pieces[0], Run)
    assert (pieces[0].context_id, pieces[0].command, pieces[0].last) == (5, False, True)
    assert b"".join(pieces[0].fragments) == data


@pytest.mark.parametrize("limit", [4, 11, 100])
def test_matches_are_the_messages_one_by_one(limit: int) -> None:
    data_sets = [b"row 1", b"", b"row 2", bytes(99), b"row 33"]
    expected = [
        part
        for data in data_sets
        for part in (*encode_part(3, b"command", limit, command=True), *encode_part(3, data, limit, command=False))
    ]
    assert b"".join(encode_matches(3, b"command", data_sets, limit)) == b"".join(expected)


def test_the_header_counts_itself() -> None:
    assert header(1, 4, command=True, last=True).hex() == "04000000000a000000060103"
