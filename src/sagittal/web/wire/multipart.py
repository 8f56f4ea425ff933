"""multipart/related (RFC 2387, RFC 2046 5.1) both ways: reading as a stream, and the framing of what we answer.

Wraps python-multipart's `MultipartParser`, which finds the boundaries; here are the limits, the preamble and the
headers of a part. Parts are handed on as memoryviews of the chunk that was fed and are never joined. It does no I/O,
and doesn't know what a part is.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from sagittal.errors import BadRequest, LimitExceeded, UnsupportedMedia
from sagittal.web.wire.accept import MULTIPART, MediaType, media_type

if TYPE_CHECKING:
    from sagittal.limits import WebLimits

# RFC 2046's bchars, and what clients send besides; CR, LF and the space at the end stay out.
_BOUNDARY = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")


class Parts(Protocol):
    """What takes the parts."""

    def begin(self, headers: Mapping[str, str]) -> None: ...

    def data(self, data: memoryview) -> None: ...

    def end(self) -> None: ...


def content_type(value: str | None) -> MediaType:
    """The media type of a payload; a missing or broken one is unsupported (415)."""
    try:
        return media_type(value or "")
    except BadRequest:
        raise UnsupportedMedia("the request has no valid Content-Type") from None


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
        self._delimiter = b"--" + boundary
        self._preamble: bytearray | None = bytearray()
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._header_bytes = self._header_count = 0
        self.count = 0
        self.ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._field_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": parts.end,
            "on_end": self._end,
        }
        # Its own bounds lie beyond ours: they stop what never becomes a header (a name without end, blanks).
        beyond = limits.multipart_header_bytes_max + 256
        self._parser = MultipartParser(
            boundary, callbacks, max_header_count=limits.multipart_headers_max + 1, max_header_size=beyond
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the payload; `BadRequest` when the framing is broken, `LimitExceeded` past a limit."""
        if self.ended or not data:
            return  # an epilogue means nothing (RFC 2046 5.1.1)
        if self._preamble is not None:
            data = self._skip_preamble(data)
            if not data:
                return
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest(f"the multipart/related payload is malformed: {error}") from None

    def finish(self) -> None:
        """The payload has ended; `BadRequest` when its last part hasn't."""
        if not self.ended:
            raise BadRequest("the multipart/related payload ends without its closing delimiter")

    def _skip_preamble(self, data: bytes) -> bytes:
        held = self._preamble
        assert held is not None
        held += data
        start = 0
        while (at := held.find(self._delimiter, start)) >= 0:
            if at == 0 or held[at - 1] == 0x0A:
                break
            start = at + 1
        # The first line that is a delimiter begins at `preamble_bytes_max` at the latest, however the bytes were split.
        longest = self._limits.multipart_preamble_bytes_max
        if at > longest or (at < 0 and len(held) >= longest + len(self._delimiter)):
            raise LimitExceeded("the preamble is too long (limits.multipart_preamble_bytes_max)")
        if at < 0:
            return b""
        self._preamble = None
        return bytes(held[at:])

    def _begin(self) -> None:
        self.count += 1
        if self.count > self._limits.parts_max:
            raise LimitExceeded(f"more than {self._limits.parts_max} parts (limits.parts_max)")
        self._headers = {}
        self._name = self._value = b""
        self._header_bytes = self._header_count = 0

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._spend(end - start)
        self._name += data[start:end]

    def _field_value(self, data: bytes, start: int, end: int) -> None:
        self._spend(end - start)
        self._value += data[start:end]

    def _spend(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self._limits.multipart_header_bytes_max:
            raise LimitExceeded("the headers of a part are too long (limits.multipart_header_bytes_max)")

    def _header_end(self) -> None:
        self._header_count += 1
        if self._header_count > self._limits.multipart_headers_max:
            raise LimitExceeded("too many headers in a part (limits.multipart_headers_max)")
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        self._parts.begin(self._headers)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._parts.data(memoryview(data)[start:end])

    def _end(self) -> None:
        self.ended = True


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
