"""multipart/related (RFC 2387, RFC 2046 5.1) both ways: reading as a stream, and the framing of what we answer.

A payload is read in steps, each of which takes what it can of a chunk. Parts are handed on as memoryviews of the chunk
that was fed and are never joined; what is held between two chunks is bounded, and content that only begins like a
delimiter at the end of one needs no copy, as its bytes are known. Read more kindly than RFC 2046: a preamble may have
bare line feeds, and a line that begins with the boundary and goes on is content. Other lines end with CR and LF, or
nobody could say whether a CR before the next boundary is content. It does no I/O, and doesn't know what a part is.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from sagittal.errors import BadRequest, LimitExceeded, UnsupportedMedia
from sagittal.web.wire.accept import MULTIPART, MediaType, media_type

if TYPE_CHECKING:
    from sagittal.limits import WebLimits

# RFC 2046's bchars, and what clients send besides; CR, LF and the space at the end stay out.
_BOUNDARY = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")
_PADDING = re.compile(rb"[ \t]*")
_BARE_LINE_FEED = "a line ends with LF alone, where CR and LF are needed (RFC 2046 5.1.1)"
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r]*)\r\n\Z")  # RFC 9110 5.1: a name is a token
_FOLDED = re.compile(rb"[ \t]([^\r]*)\r\n\Z")  # RFC 5322 2.2.3: a header that goes on


class Parts(Protocol):
    """What takes the parts."""

    def begin(self, headers: Mapping[str, str]) -> None: ...

    def data(self, data: memoryview) -> None: ...

    def end(self) -> None: ...


def content_type(value: str | None, what: str = "the request") -> MediaType:
    """The media type of a payload or part; a missing or broken one is unsupported (415)."""
    try:
        return media_type(value or "")
    except BadRequest:
        raise UnsupportedMedia(f"{what} has no valid Content-Type") from None


def part_type(headers: Mapping[str, str], default: str | None = None) -> MediaType:
    """The media type of a part, whose content is as it is: HTTP needs no base64 (RFC 2045 6). UnsupportedMedia."""
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise UnsupportedMedia("a part with a Content-Transfer-Encoding is not taken")
    return content_type(headers.get("content-type", default), "a part")


def boundary_of(payload: MediaType, limits: WebLimits) -> bytes:
    """The boundary of a multipart/related payload, quoted or not."""
    if payload.type != MULTIPART:
        raise UnsupportedMedia(f"a {MULTIPART} payload is expected, not {payload.type[:80]}")
    boundary = payload.parameters.get("boundary", "")
    if len(boundary) > limits.multipart_boundary_bytes_max:
        raise LimitExceeded("the boundary is too long (limits.multipart_boundary_bytes_max)")
    if not _BOUNDARY.match(boundary):
        raise BadRequest("multipart/related without a valid boundary parameter")
    return boundary.encode("ascii")


class Reader:
    """feed(bytes) -> calls of `Parts`; `finish()` tells whether the closing delimiter came."""

    def __init__(self, boundary: bytes, parts: Parts, limits: WebLimits) -> None:
        self._parts, self._limits = parts, limits
        self._delimiter = b"\r\n--" + boundary
        self._step: Callable[[bytes, int], int] = self._preamble
        self._held = bytearray()  # of the preamble, or of a header
        self._matched = 0  # bytes of a delimiter that the last chunk, or the headers of a part, ended with
        self._of_headers = 0  # bytes of them that are no content: the line end that headers and delimiter share
        self._padding = 0  # blanks on the line of a delimiter
        self._ending = b""  # its next byte, as long as that does not tell yet
        self._headers: dict[str, str] = {}
        self._named = ""  # the last one of them, which may go on in the next line
        self._header_bytes = self._header_count = 0
        self.count = 0
        self.ended = False

    def feed(self, data: bytes, at: int = 0, parts_max: int = 0) -> int:
        """Take the next bytes of the payload, from `at` on, until so many more parts have begun (0: however many); how
        far that was. `BadRequest` when the framing is broken, `LimitExceeded` past a limit.
        """
        last = self.count + parts_max if parts_max else self._limits.parts_max + 1
        while at < len(data) and not self.ended and self.count < last:
            at = self._step(data, at)
        return len(data) if self.ended else at  # an epilogue means nothing (RFC 2046 5.1.1)

    def finish(self) -> None:
        """The payload has ended; `BadRequest` when its last part hasn't."""
        if not self.ended:
            raise BadRequest("the multipart/related payload ends without its closing delimiter")

    # The steps: each takes bytes of a chunk from a place on, and gives the place where the next one begins.

    def _preamble(self, data: bytes, at: int) -> int:
        """Whatever goes before the first delimiter, which begins at `multipart_preamble_bytes_max` at the latest."""
        held, before, first = self._held, len(self._held), self._delimiter[2:]
        longest = self._limits.multipart_preamble_bytes_max
        held += data[at : at + longest + len(first) + 1 - before]
        found = held.find(first)
        while found > 0 and held[found - 1] != 0x0A:
            found = held.find(first, found + 1)
        if found > longest or (found < 0 and len(held) >= longest + len(first)):
            raise LimitExceeded("the preamble is too long (limits.multipart_preamble_bytes_max)")
        if found < 0:
            return len(data)
        held.clear()
        self._step = self._rest_of_line
        return at + found + len(first) - before

    def _rest_of_line(self, data: bytes, at: int) -> int:
        """What follows a delimiter on its line: `--` after the last part, or blanks (RFC 2046 5.1.1, transport-padding)
        and the end of the line.
        """
        if not self._ending and (end := _end_of_blanks(data, at)) > at:
            self._padding += end - at
            if self._padding > self._limits.multipart_padding_bytes_max:
                raise LimitExceeded("too many blanks after a boundary (limits.multipart_padding_bytes_max)")
            return end
        taken = data[at : at + 2 - len(self._ending)]
        ending = self._ending + taken
        if ending == b"\r\n":
            self._begin()
        elif ending == b"--" and not self._padding:
            self._end()
        elif ending in (b"\r", b"-"):
            self._ending = ending
        elif self._padding or not self.count:
            why = _BARE_LINE_FEED if ending.startswith(b"\n") else "a boundary, and more on its line"
            raise BadRequest(f"the multipart/related payload is malformed: {why}")
        else:
            return self._no_delimiter(at)
        return at + len(taken)

    def _no_delimiter(self, at: int) -> int:
        """It was content all the while."""
        self._hand_on(self._delimiter + self._ending, self._of_headers)
        self._of_headers, self._ending = 0, b""
        self._step = self._content
        return at

    def _header(self, data: bytes, at: int) -> int:
        """A header of a part, or the empty line after the last."""
        end = data.find(b"\n", at) + 1 or len(data)
        self._header_bytes += end - at
        if self._header_bytes > self._limits.multipart_header_bytes_max:
            raise LimitExceeded("the headers of a part are too long (limits.multipart_header_bytes_max)")
        self._held += data[at:end]
        if data[end - 1] == 0x0A:
            self._take_header(bytes(self._held))
            self._held.clear()
        return end

    def _take_header(self, line: bytes) -> None:
        if line == b"\r\n":
            self._step = self._content
            self._matched = self._of_headers = len(line)  # a part may have no body (RFC 2046 5.1.1)
            self._parts.begin(self._headers)
            return
        if self._named and (more := _FOLDED.match(line)):
            self._headers[self._named] = f"{self._headers[self._named]} {more[1].decode('latin-1').strip()}".strip()
            return
        field = _FIELD.match(line)
        if field is None:
            why = "a line that is no header of a part" if line.endswith(b"\r\n") else _BARE_LINE_FEED
            raise BadRequest(f"the multipart/related payload is malformed: {why}")
        self._header_count += 1
        if self._header_count > self._limits.multipart_headers_max:
            raise LimitExceeded("too many headers in a part (limits.multipart_headers_max)")
        self._named = field[1].decode("ascii").lower()
        self._headers[self._named] = field[2].decode("latin-1").strip()

    def _content(self, data: bytes, at: int) -> int:
        """Content of a part up to the next delimiter, which may begin in one chunk and end in another."""
        delimiter = self._delimiter
        if self._matched:
            return self._match_on(data, at)
        if (found := data.find(delimiter, at)) >= 0:
            self._step = self._rest_of_line
            self._hand_on(data, at, found)
            return found + len(delimiter)
        # There is one CR in a delimiter, so only the last one of the chunk can begin one.
        end = data.rfind(b"\r", max(at, len(data) - len(delimiter)))
        if end < 0 or not delimiter.startswith(data[end:]):
            end = len(data)
        self._matched = len(data) - end
        self._hand_on(data, at, end)
        return len(data)

    def _match_on(self, data: bytes, at: int) -> int:
        left = self._delimiter[self._matched :]
        here = data[at : at + len(left)]
        if not left.startswith(here):
            self._hand_on(self._delimiter[: self._matched], self._of_headers)
            self._matched = self._of_headers = 0
            return at
        self._matched += len(here)
        if len(here) == len(left):
            self._matched = 0
            self._step = self._rest_of_line
        return at + len(here)

    def _hand_on(self, data: bytes, start: int, end: int | None = None) -> None:
        if piece := memoryview(data)[start:end]:
            self._parts.data(piece)

    def _begin(self) -> None:
        if self.count:
            self._parts.end()
        self.count += 1
        if self.count > self._limits.parts_max:
            raise LimitExceeded(f"more than {self._limits.parts_max} parts (limits.parts_max)")
        self._headers, self._named = {}, ""
        self._header_bytes = self._header_count = self._padding = self._of_headers = 0
        self._ending = b""
        self._step = self._header

    def _end(self) -> None:
        if self.count:
            self._parts.end()
        self.ended = True


def _end_of_blanks(data: bytes, at: int) -> int:
    found = _PADDING.match(data, at)
    assert found is not None  # none at all match too
    return found.end()


class Framing:
    """The delimiters of one answer; the boundary is random, so no stored content can hold it on purpose."""

    def __init__(self, root: str) -> None:
        self.boundary = secrets.token_hex(16)
        self.content_type = f'{MULTIPART}; type="{root}"; boundary={self.boundary}'
        self.close = f"\r\n--{self.boundary}--\r\n".encode("ascii")
        self._first = True

    def head(self, type_: str, location: str | None = None, more: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """The delimiter and headers before a part."""
        delimiter = f"--{self.boundary}" if self._first else f"\r\n--{self.boundary}"
        self._first = False
        where = f"\r\nContent-Location: {location}" if location else ""
        lines = b"".join(b"\r\n%s: %s" % line for line in more)
        return f"{delimiter}\r\nContent-Type: {type_}{where}".encode("ascii") + lines + b"\r\n\r\n"
