"""Any split of the bytes gives the same events; garbage gives only declared ones."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sagittal.dimse import commands
from sagittal.dimse.commands import InvalidCommand
from sagittal.dimse.exchange import Exchange, encode_part
from sagittal.ul.association import Aborted, Association
from sagittal.ul.codec import decode, encode
from sagittal.ul.pdu import (
    Abort,
    AssociateRJ,
    AssociateRQ,
    CommonExtended,
    InvalidPDU,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    Role,
    UserIdentity,
    UserInformation,
)
from sagittal.ul.stream import Invalid, PduStream, Run

uids = st.lists(st.integers(0, 9999), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
titles = st.text("ABCXYZ_09", min_size=1, max_size=16)
users = st.builds(
    UserInformation,
    pdu_bytes_max=st.integers(0, 2**32 - 1),
    implementation_class=uids,
    implementation_version=st.text("ABC1", max_size=16),
    asynchronous=st.none() | st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    roles=st.lists(st.builds(Role, uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
    extended=st.lists(st.tuples(uids, st.binary(max_size=9)), max_size=3).map(tuple),
    common_extended=st.lists(
        st.builds(CommonExtended, uids, uids, st.lists(uids, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
    identity=st.none() | st.builds(UserIdentity, st.integers(1, 5), st.binary(max_size=9), st.binary(max_size=9)),
)
contexts = st.lists(
    st.builds(
        ProposedContext, st.integers(0, 127).map(lambda n: 2 * n + 1), uids, st.lists(uids, max_size=3).map(tuple)
    ),
    max_size=5,
    unique_by=lambda context: context.id,
)
requests = st.builds(AssociateRQ, titles, titles, contexts.map(tuple), users)
others = st.sampled_from([AssociateRJ(1, 1, 1), ReleaseRQ(), ReleaseRP(), Abort(0), Abort(2, 6)])
parts = st.builds(
    lambda context, data, limit, command: b"".join(map(bytes, encode_part(context, data, limit, command=command))),
    st.sampled_from([1, 3]),
    st.binary(max_size=80),
    st.integers(1, 40),
    st.booleans(),
)
streams = st.lists(parts | others.map(encode) | requests.map(encode), max_size=4).map(b"".join)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def events(chunks: list[bytes]) -> list[object]:
    """What a stream gives, fragments joined up to each end of a command set or data set."""
    machine = PduStream(pdu_bytes_max=200, associate_bytes_max=4096)
    seen: list[object] = []
    for chunk in chunks:
        for piece in machine.receive(memoryview(chunk)):
            if not isinstance(piece, Run):
                seen.append("invalid" if isinstance(piece, Invalid) else piece)
                continue
            key, data = (piece.context_id, piece.command), b"".join(piece.fragments)
            if seen and isinstance(seen[-1], tuple) and seen[-1][0] == key and not seen[-1][2]:
                seen[-1] = (key, seen[-1][1] + data, piece.last)
            else:
                seen.append((key, data, piece.last))
    if seen and seen[-1] == "invalid":  # what came of a value before the stream broke depends on the reads
        seen = [each for each in seen if not isinstance(each, tuple) or each[2]]
    return seen


@given(requests)
def test_requests_round_trip(request: AssociateRQ) -> None:
    assert decode(1, encode(request)[6:]) == request


@given(streams, st.lists(st.integers(0, 5000), max_size=12))
def test_any_split_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    assert events(split(data, cuts)) == events([data])


@given(streams, st.binary(max_size=40), st.integers(0, 5000), st.lists(st.integers(0, 5000), max_size=8))
def test_so_does_a_damaged_stream(data: bytes, damage: bytes, at: int, cuts: list[int]) -> None:
    at %= len(data) + 1
    data = data[:at] + damage + data[at + len(damage) :]
    assert events(split(data, cuts)) == events([data])


@given(st.integers(1, 7), st.binary(max_size=200))
def test_only_declared_errors(kind: int, body: bytes) -> None:
    if kind != 4:
        try:
            decode(kind, body)
        except InvalidPDU as error:
            assert error.reason in range(1, 7)


@given(st.binary(max_size=200))
def test_a_command_set_or_a_declared_error(data: bytes) -> None:
    with suppress(InvalidCommand):
        commands.check(commands.decode(data))


@given(st.lists(st.binary(max_size=60) | parts | others.map(encode), max_size=6), st.integers(2, 13), st.booleans())
def test_whatever_comes_the_machine_stays_in_its_table(chunks: list[bytes], state: int, requestor: bool) -> None:
    machine = Association(requestor=requestor, pdu_bytes_max=200, associate_bytes_max=4096, artim_seconds=1.0)
    machine.state = state if state != 4 else 5
    for chunk in chunks:
        for indication in machine.receive(memoryview(chunk), 0.0):
            if isinstance(indication, Aborted):
                assert machine.state in (1, 13)
        output = machine.take_output()
        assert output[:1] in (b"", b"\x07")  # nothing is ever sent by itself but A-ABORT
    assert 1 <= machine.state <= 13


@given(st.lists(parts, max_size=8))
def test_messages_or_a_declared_error(chunks: list[bytes]) -> None:
    exchange, stream = Exchange(command_set_bytes_max=100), PduStream(pdu_bytes_max=200, associate_bytes_max=10)
    try:
        for piece in stream.receive(memoryview(b"".join(chunks))):
            assert isinstance(piece, Run)
            if piece.command:
                exchange.command(piece)
            else:
                exchange.data(piece)
    except InvalidCommand:
        pass
