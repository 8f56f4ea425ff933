"""The stream of PDUs: fragments in place, runs, and the caps by kind of PDU."""

from __future__ import annotations

import pytest

from sagittal.dimse.exchange import header
from sagittal.ul.codec import encode
from sagittal.ul.pdu import Abort, ReleaseRQ
from sagittal.ul.stream import Invalid, PduStream, Run


def stream(pdu_bytes_max: int = 1024) -> PduStream:
    return PduStream(pdu_bytes_max=pdu_bytes_max, associate_bytes_max=2048)


def value(context_id: int, data: bytes, *, command: bool = False, last: bool = False) -> bytes:
    return header(context_id, len(data), command=command, last=last) + data


def read(data: bytes, pdu_bytes_max: int = 1024) -> list[object]:
    return list(stream(pdu_bytes_max).receive(memoryview(data)))


def bodies(run: object) -> list[bytes]:
    assert isinstance(run, Run)
    return [bytes(part) for part in run.fragments]


def test_neighbours_of_one_data_set_are_one_run() -> None:
    pieces = read(
        value(1, b"cmd", command=True, last=True) + value(1, b"a") + value(1, b"b") + value(1, b"c", last=True)
    )
    assert [(p.context_id, p.command, p.last) for p in pieces] == [(1, True, True), (1, False, True)]  # type: ignore[attr-defined]
    assert bodies(pieces[1]) == [b"a", b"b", b"c"]


def test_fragments_are_views_of_what_was_received() -> None:
    buffer = bytearray(value(1, b"abc"))
    (run,) = stream().receive(memoryview(buffer))
    buffer[-1:] = b"X"
    assert bodies(run) == [b"abX"]


def test_several_values_in_one_pdu() -> None:
    one, two = b"\0\0\0\x05\x01\x00abc", b"\0\0\0\x04\x03\x02de"
    pieces = read(b"\x04\0" + (len(one) + len(two)).to_bytes(4, "big") + one + two)
    assert [(p.context_id, p.last, bodies(p)) for p in pieces] == [(1, False, [b"abc"]), (3, True, [b"de"])]  # type: ignore[attr-defined]


def test_a_partial_pdu_gives_what_has_come() -> None:
    machine, data = stream(), value(1, b"abcdef", last=True)
    (first,) = machine.receive(memoryview(data[:-2]))
    assert (first.last, bodies(first)) == (False, [b"abcd"])  # type: ignore[union-attr]
    assert machine.inside
    (second,) = machine.receive(memoryview(data[-2:]))
    assert (second.last, bodies(second)) == (True, [b"ef"])  # type: ignore[union-attr]
    assert not machine.inside


def test_an_empty_last_fragment_ends_the_run() -> None:
    pieces = read(value(1, b"ab") + value(1, b"", last=True))
    assert [(p.last, bodies(p)) for p in pieces] == [(True, [b"ab"])]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("size", "taken"), [(1023, True), (1024, True), (1025, False), (0x7FFFFFFF, False)])
def test_p_data_up_to_what_was_announced(size: int, taken: bool) -> None:
    head = b"\x04\0" + size.to_bytes(4, "big") + (size - 4).to_bytes(4, "big") + b"\x01\x00"
    pieces = read(head + b"x")
    assert isinstance(pieces[0], Run if taken else Invalid)


@pytest.mark.parametrize(("size", "taken"), [(2047, True), (2048, True), (2049, False), (0xFFFFFFFF, False)])
def test_associate_up_to_its_cap(size: int, taken: bool) -> None:
    pieces = read(b"\x01\0" + size.to_bytes(4, "big"))
    assert (not pieces) == taken


@pytest.mark.parametrize("kind", [3, 5, 6, 7])
@pytest.mark.parametrize(("size", "taken"), [(3, False), (4, True), (5, False)])
def test_the_others_have_four_bytes(kind: int, size: int, taken: bool) -> None:
    (piece,) = read(bytes([kind, 0]) + size.to_bytes(4, "big") + bytes(size))
    assert isinstance(piece, Invalid) != taken


@pytest.mark.parametrize(
    "head",
    [
        "04 00 00000005 00000001 01",
        "04 00 00000006 00000001 01 00",
        "04 00 00000007 00000009 01 00 00",
        "04 00 0000000a 00000003 01 00 00 000000",
    ],
)
def test_values_that_do_not_fit_their_pdu(head: str) -> None:
    assert isinstance(read(bytes.fromhex(head) + bytes(12))[-1], Invalid)


def test_after_an_invalid_pdu_nothing_is_heard() -> None:
    machine = stream()
    pieces = machine.receive(memoryview(encode(Abort(0)) + b"\x08\0\0\0\0\0" + encode(ReleaseRQ())))
    assert [type(piece) for piece in pieces] == [Abort, Invalid]
    assert machine.receive(memoryview(encode(ReleaseRQ()))) == []


@pytest.mark.parametrize(("head", "words"), [(b"GET / HTTP/1.1\r\n", "HTTP"), (b"\x16\x03\x01\0\0\0", "TLS"),
                                             (b"\xff\xff\xff\xff\xff\xff", "not DICOM")])  # fmt: skip
def test_what_it_is_instead_is_told(head: bytes, words: str) -> None:
    (piece,) = read(head)
    assert isinstance(piece, Invalid) and words in str(piece.error)


@pytest.mark.parametrize("length", [0, 1, 4, 5])
def test_a_pdu_too_short_for_a_value_is_refused_by_its_head(length: int) -> None:
    """What is waited for would never come: PS3.8 9.3.5.1 has six bytes before the value itself."""
    pdu = b"\x04\0" + length.to_bytes(4, "big") + bytes(length)
    (invalid,) = read(pdu)
    assert isinstance(invalid, Invalid)
    split = stream()
    pieces = [piece for byte in pdu for piece in split.receive(memoryview(bytes([byte])))]
    assert [type(piece) for piece in pieces][:1] == [Invalid]
