"""Entity tags, conditional requests and byte ranges: RFC 9110 8.8.3, 13 and 14.

A tag is a digest of what the answer is made of, never of its bytes: so it is there before anything is read. It is
strong where the bytes are the same each time, weak where only a boundary differs. Several ranges in one request are
answered whole, as 14.2 allows. Deliberately not here: dates; revisions and digests say more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response

from sagittal.errors import PreconditionFailed, RangeNotSatisfiable

if TYPE_CHECKING:
    from starlette.requests import Request

Header = tuple[bytes, bytes]
Cut = Callable[[int, int], Iterator[bytes]]  # offset and length -> those bytes of the representation
VARY: Header = (b"vary", b"accept")
_RANGE = re.compile(r"(?i:bytes)=([0-9]{0,18})-([0-9]{0,18})\Z")  # one only


class Span(NamedTuple):
    """The bytes of a representation that are asked for; `whole` without a range."""

    first: int
    length: int
    whole: bool


def entity_tag(*parts: object, weak: bool = False) -> str:
    """The tag of a representation that is made of `parts`."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]
    return f'{"W/" if weak else ""}"{digest}"'


def headers(tag: str) -> list[Header]:
    """What goes with an answer that may be asked for again."""
    return [(b"etag", tag.encode("ascii")), VARY]


def unchanged(request: Request, tag: str) -> Response | None:
    """304 when the client holds this representation already (RFC 9110 13.1.2, compared weakly). PreconditionFailed
    when it wants another one (13.1.1, compared strongly).
    """
    wanted = _tags(request, b"if-match")
    if wanted and "*" not in wanted and (tag not in wanted or tag.startswith("W/")):
        raise PreconditionFailed("another representation is wanted than there is (If-Match)")
    held = {item.removeprefix("W/") for item in _tags(request, b"if-none-match")}
    if "*" not in held and tag.removeprefix("W/") not in held:
        return None
    answer = Response(status_code=304)
    answer.raw_headers = headers(tag)
    return answer


def unconditional(headers: Mapping[bytes, bytes]) -> None:
    """PreconditionFailed for a write with If-Match (RFC 9110 13.1.1): our tags are of answers, and no write is of one
    answer. To ignore the header would delete what the client has not seen.
    """
    if headers.get(b"if-match", b"*").strip() != b"*":
        raise PreconditionFailed("what is stored, corrected or deleted has no entity tag to be matched (If-Match)")


def _tags(request: Request, header: bytes) -> set[str]:
    asked = ",".join(value.decode("latin-1") for name, value in request.scope["headers"] if name == header)
    return {tag for item in asked.split(",") if (tag := item.strip())}


def span(request: Request, length: int, tag: str) -> Span:
    """The range asked for; all of it when there is none, or If-Range names another representation."""
    everything = Span(0, length, True)
    asked = request.headers.get("range")
    if asked is None or request.method != "GET":
        return everything
    condition = request.headers.get("if-range")
    if condition is not None and (condition != tag or tag.startswith("W/")):  # compared strongly (13.1.5)
        return everything
    match = _RANGE.match(asked)
    if match is None or match[0].endswith("=-"):
        return everything  # an invalid header is ignored (14.2)
    first, last = match.groups()
    return _within(first, last, length, everything)


def _within(first: str, last: str, length: int, everything: Span) -> Span:
    if not first:
        count = min(int(last), length)
        start, end = length - count, length
    else:
        start, end = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return everything
    if start >= end:
        raise RangeNotSatisfiable(f"there are {length} bytes")
    return Span(start, end - start, False)


def content_range(of: Span, length: int) -> Header:
    return b"content-range", b"bytes %d-%d/%d" % (of.first, of.first + of.length - 1, length)
