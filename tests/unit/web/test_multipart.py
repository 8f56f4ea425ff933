"""The limits of multipart/related at cap-1, cap and cap+1, and hostile payloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sagittal.errors import BadRequest, LimitExceeded, UnsupportedMedia
from sagittal.limits import WebLimits
from sagittal.web.wire.accept import media_type
from sagittal.web.wire.multipart import Reader, boundary_of, content_type

LIMITS = replace(
    WebLimits(), multipart_header_bytes_max=100, multipart_headers_max=3, parts_max=4, multipart_preamble_bytes_max=50,
    multipart_padding_bytes_max=20,
)  # fmt: skip


class Count:
    def __init__(self) -> None:
        self.parts = self.bytes = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        self.parts += 1

    def data(self, data: memoryview) -> None:
        self.bytes += len(data)

    def end(self) -> None:
        pass


def read(payload: bytes, step: int) -> Count:
    count = Count()
    reader = Reader(b"b", count, LIMITS)
    for at in range(0, len(payload), step):
        reader.feed(payload[at : at + step])
    reader.finish()
    return count


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize("over", [-1, 0, 1])
class TestCaps:
    def outcome(self, payload: bytes, step: int, over: int) -> None:
        if over > 0:
            with pytest.raises(LimitExceeded):
                read(payload, step)
        else:
            assert read(payload, step).parts

    def test_header_bytes(self, step: int, over: int) -> None:
        self.outcome(b"--b\r\nA:" + b"x" * (94 + over) + b"\r\n\r\nDATA\r\n--b--", step, over)

    def test_header_bytes_of_all_headers(self, step: int, over: int) -> None:
        self.outcome(b"--b\r\nA:" + b"x" * 45 + b"\r\nB:" + b"x" * (45 + over) + b"\r\n\r\nDATA\r\n--b--", step, over)

    def test_headers(self, step: int, over: int) -> None:
        self.outcome(b"--b\r\n" + b"A:x\r\n" * (3 + over) + b"\r\nDATA\r\n--b--", step, over)

    def test_parts(self, step: int, over: int) -> None:
        self.outcome(b"--b\r\n\r\nDATA\r\n" * (4 + over) + b"--b--", step, over)

    def test_preamble(self, step: int, over: int) -> None:
        self.outcome(b"x" * (48 + over) + b"\r\n--b\r\n\r\nDATA\r\n--b--", step, over)

    @pytest.mark.parametrize("first", [0, 20])
    def test_padding(self, step: int, over: int, first: int) -> None:
        blanks = [b" \t"[at % 2 : at % 2 + 1] * count for at, count in enumerate((first, 20 + over))]
        self.outcome(b"--b%b\r\n\r\nDATA\r\n--b%b\r\n\r\nDATA\r\n--b--" % tuple(blanks), step, over)


@pytest.mark.parametrize(
    "payload",
    [
        b"--b\r\n" + b"A" * 5_000,  # a header name without end
        b"--b\r\nA:" + b" " * 5_000,  # blanks without end
        b"--b\r\nA:" + b"x" * 5_000,
        b"--b\r\n: x\r\n\r\nDATA\r\n--b--",
        b"--b\r\nA\0B: x\r\n\r\nDATA\r\n--b--",
        b"--b\r\n A: x\r\n\r\nDATA\r\n--b--",  # a folded line of no header
        b"--b\r\nA: x\r\n y\n\r\nDATA\r\n--b--",
        b"--b\r\nA: x\r\n y\r\r\n\r\nDATA\r\n--b--",
        b"--b\r\nA: x" + b"\r\n y" * 5_000,
        b"--b\r\nA: x\r\r\n\r\nDATA\r\n--b--",
        b"--bb\r\n\r\nDATA\r\n--b--",
        b"--b \t \n\r\nDATA\r\n--b--",
        b"--b\r\n\r\nDATA\r\n--b \tX\r\n\r\nDATA\r\n--b--",
        b"--b\r\n\r\nDATA\r\n--b --",
        b"--b\r\nA: x\n\r\nDATA\r\n--b--",
        b"--b" + b" " * 5_000,
        b"--b\r\n\r\nDATA\r\n--b" + b"\t" * 5_000,
        b"--b\r\n\r\nDATA",  # never closed
        b"--b\r\n\r\nDATA\r\n--b-",
        b"x" * 5_000,  # preamble without end
        b"--" * 5_000,
        b"\r\n" * 5_000,
        b"",
    ],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_hostile_payloads(payload: bytes, step: int) -> None:
    with pytest.raises((BadRequest, LimitExceeded)):
        read(payload, step)


def test_epilogue_is_nothing() -> None:
    assert read(b"--b\r\n\r\nDATA\r\n--b--\r\nand more" + b"\r\n--b\r\n\r\nDATA" * 9, 3).parts == 1


@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t  \t", b" " * 20])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
def test_blanks_after_a_boundary(blanks: bytes, step: int) -> None:
    """RFC 2046 5.1.1, transport-padding; the closing delimiter may have it, too."""
    part = b"--b" + blanks + b"\r\nA: x\r\n\r\nDATA\r\n"
    count = read(part * 3 + b"--b--" + blanks + b"\r\n", step)
    assert (count.parts, count.bytes) == (3, 12)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_folded_headers(step: int) -> None:
    """RFC 2046 5.1, RFC 5322 2.2.3: as mail libraries write long ones."""
    payload = (
        b"--b\r\nContent-Type: text/x;\r\n\tcharset=utf-8\r\nAt:\r\n  http://x/y\r\n \r\nC: d\r\n\r\nDATA\r\n--b--"
    )
    told: list[Mapping[str, str]] = []

    class Told(Count):
        def begin(self, headers: Mapping[str, str]) -> None:
            told.append(dict(headers))

    reader = Reader(b"b", Told(), LIMITS)
    for at in range(0, len(payload), step):
        reader.feed(payload[at : at + step])
    assert told == [{"content-type": "text/x; charset=utf-8", "at": "http://x/y", "c": "d"}]


def test_content_is_not_copied() -> None:
    """Neither where it ends within a chunk nor where it goes on in the next one."""

    class Views(Count):
        def data(self, data: memoryview) -> None:
            super().data(data)
            seen.append(data.obj)

    seen: list[object] = []
    chunks = [
        b"--b \r\n\r\n" + bytes(1_000),
        bytes(1_000),
        bytes(1_000) + b"\r\n--b\t\r\n\r\n" + bytes(99),
        b"\r\n--b--",
    ]
    views = Views()
    reader = Reader(b"b", views, LIMITS)
    for chunk in chunks:
        reader.feed(chunk)
    assert (views.parts, views.bytes) == (2, 3_099)
    assert [id(each) for each in seen] == [id(chunks[at]) for at in (0, 1, 2, 2)]


@pytest.mark.parametrize("step", [1, 2, 100_000])
@pytest.mark.parametrize(
    "content", [b"\r\n--bb", b"\r\n--b-", b"\r\n--b-\r\n", b"\r\n--b\r\r", b"\r\n--b\r\r\n--", b"\r\n--bc  "]
)
def test_a_line_that_only_begins_with_the_boundary_is_content(content: bytes, step: int) -> None:
    assert read(b"--b\r\n\r\n" + content + b"\r\n--b--", step).bytes == len(content)


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary="0f3cf5c0-70e0-41ef"', "0f3cf5c0-70e0-41ef"),
        ("multipart/related; type=application/dicom; boundary=----WebKitFormBoundary", "----WebKitFormBoundary"),
        ("multipart/related;boundary=a=b", "a=b"),
        ('multipart/related; boundary="gc0p4Jq0M:2Yt08jU534c0p"', "gc0p4Jq0M:2Yt08jU534c0p"),
        ("multipart/related; boundary=" + "x" * 200, "x" * 200),
    ],
)  # fmt: skip
def test_boundaries(text: str, boundary: str) -> None:
    assert boundary_of(media_type(text), WebLimits()) == boundary.encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("multipart/related", BadRequest),
        ('multipart/related; boundary=""', BadRequest),
        ('multipart/related; boundary="a\r\nb"', BadRequest),
        ('multipart/related; boundary="\u00e4"', BadRequest),
        ("multipart/related; boundary=" + "x" * 201, LimitExceeded),
        ("multipart/form-data; boundary=a", UnsupportedMedia),
        ("application/zip", UnsupportedMedia),
        ("", UnsupportedMedia),
    ],
)
def test_what_is_no_boundary(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        boundary_of(content_type(text), WebLimits())


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize(
    "payload", [b"--b\nA: x\n\nDATA\n--b--\n", b"--b \nA: x\r\n\r\nDATA", b"--b\r\nA: x\n\r\nDATA", b"--b\r\n\nDATA"]
)
def test_bare_line_feeds_are_told(payload: bytes, step: int) -> None:
    """They are no part of the content, or are they? A CR before a boundary could be either."""
    with pytest.raises(BadRequest, match="LF alone"):
        read(payload, step)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100_000])
@pytest.mark.parametrize("headers", [b"", b"A: x\r\n"])
@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n", b"\r\n\r\n", b"\r\n--bX", b"\r\nD", b"\r\n--D", b"\r\n\r\n--D", b"\r\n--b-", b"\r\n--b-\r\n"],
)
def test_a_part_may_have_no_body(headers: bytes, body: bytes, step: int) -> None:
    """Then the line end before the next boundary is the one that ends the headers (RFC 2046 5.1.1)."""
    part = b"--b\r\n" + headers + body + b"\r\n"
    count = read(part + b"--b\r\n\r\nDATA\r\n" + part + b"--b--", step)
    assert (count.parts, count.bytes) == (3, 4 + 2 * max(0, len(body) - 2))
