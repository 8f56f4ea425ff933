"""Any split of a multipart/related payload gives the same parts; only declared errors come out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, pairwise

from hypothesis import given
from hypothesis import strategies as st

from sagittal.errors import SagittalError
from sagittal.limits import WebLimits
from sagittal.web.wire.multipart import Framing, Reader

LIMITS = WebLimits()
BOUNDARY = b"ab-c"
# Contents made of what confuses a boundary search.
PIECES = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"-",
            b"--",
            b"a",
            b"ab-",
            b"ab-c",
            b"\r\n--ab-",
            b"\r\n--ab",
            b"\r\n",
            b"\0",
            b"xyz" * 50,
            b" ",
            b"\t",
        ]
    )
).map(b"".join)
BLANKS = st.sampled_from([b"", b" ", b"\t", b" \t ", b" " * 100])


class Collected:
    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, str], bytearray]] = []
        self.ended = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        self.parts.append((dict(headers), bytearray()))

    def data(self, data: memoryview) -> None:
        self.parts[-1][1].extend(data)

    def end(self) -> None:
        self.ended += 1


def read(payload: bytes, cuts: list[int]) -> Collected:
    got = Collected()
    reader = Reader(BOUNDARY, got, LIMITS)
    places = [0, *sorted({c % (len(payload) + 1) for c in cuts}), len(payload)]
    for a, b in pairwise(places):
        reader.feed(payload[a:b])
    reader.finish()
    return got


def payload(contents: list[bytes], preamble: bytes, blanks: list[bytes]) -> bytes:
    """`blanks` follow the boundaries (RFC 2046 5.1.1, transport-padding), over and over."""
    padding = cycle(blanks)
    headers = b"Content-Type: application/dicom\r\nX-Y:  z\r\n\r\n"
    parts = b"".join(b"--ab-c" + next(padding) + b"\r\n" + headers + c + b"\r\n" for c in contents)
    return preamble + parts + b"--ab-c--" + next(padding) + b"\r\nepilogue"


@given(
    st.lists(PIECES.filter(lambda c: b"\r\n--ab-c" not in b"\r\n" + c), min_size=1, max_size=5),
    st.lists(st.integers(0, 5_000), max_size=12),
    st.sampled_from([b"", b"\r\n", b"This is a multi-part message -- really.\r\n", b"--ab\r\n"]),
    st.lists(BLANKS, min_size=1, max_size=4),
)
def test_any_split_gives_the_same_parts(
    contents: list[bytes], cuts: list[int], preamble: bytes, blanks: list[bytes]
) -> None:
    got = read(payload(contents, preamble, blanks), cuts)
    assert [bytes(data) for _, data in got.parts] == contents
    assert got.ended == len(contents)
    assert all(headers == {"content-type": "application/dicom", "x-y": "z"} for headers, _ in got.parts)


HEADED = st.sampled_from(
    [b"--ab-c", b"--ab-c \r\n\r\n", b"\r\n--ab-c", b"\r\n--ab-c\r\n\r\n", b"\r\n--ab-c--", b"X: y\r\n", b"\r\n"]
)


@given(st.lists(PIECES | HEADED, max_size=20).map(b"".join), st.lists(st.integers(0, 5_000), max_size=8))
def test_only_declared_errors(data: bytes, cuts: list[int]) -> None:
    outcomes = []
    for places in ([], cuts, list(range(len(data)))[:400]):
        try:
            outcomes.append([(h, bytes(d)) for h, d in read(data, places).parts])
        except SagittalError as error:
            outcomes.append(type(error))  # type: ignore[arg-type]
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_what_we_frame_we_read(contents: list[bytes]) -> None:
    framing = Framing("application/dicom")
    body = b"".join(framing.head("application/dicom") + c for c in contents) + framing.close
    got = Collected()
    reader = Reader(framing.boundary.encode(), got, LIMITS)
    reader.feed(body)
    reader.finish()
    assert [bytes(d) for _, d in got.parts] == contents
