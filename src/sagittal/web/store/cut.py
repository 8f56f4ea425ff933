"""A payload of DICOM JSON, an array of objects or one object, cut into the texts of its objects (PS3.18 F.2.1).

In any pieces, and holding one object at a time. Brackets and quotes are all it looks at: what is cut is parsed later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sagittal.errors import BadRequest, LimitExceeded

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _ARRAY, _ARRAY_END = b'"\\{}[]'
_DEPTH_MAX = 1024  # brackets; sequences have their own limit, of which each takes four


class Cutter:
    """`feed` gives the texts of the objects that are complete; `finish` tells whether the payload is."""

    def __init__(self, object_bytes_max: int) -> None:
        self._most = object_bytes_max
        self._held = bytearray()
        self._depth = 0  # of brackets, the outer array not counted
        self._seen = self._array = self._ended = self._in_text = self._escaped = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The next bytes. BadRequest, LimitExceeded."""
        at, start = 0, 0
        while at < len(data):
            if self._escaped:
                self._escaped, at = False, at + 1
                continue
            found = (_INSIDE if self._in_text else _OUTSIDE).search(data, at)
            if found is None:
                break
            at = found.end()
            code = data[found.start()]
            if self._in_text:
                self._in_text, self._escaped = code != _QUOTE, code == _BACKSLASH
            elif self._depth == 0:
                start = found.start()
                self._outermost(code)
            elif code == _QUOTE:
                self._in_text = True
            elif code in (_OPEN, _ARRAY):
                self._depth += 1
                if self._depth > _DEPTH_MAX:
                    raise LimitExceeded("the metadata is nested too deeply")
            else:
                self._depth -= 1
                if not self._depth:
                    yield self._whole(data[start:at])
        if self._depth:
            self._hold(data[start:])

    def finish(self) -> None:
        """BadRequest when an object or the array is not complete."""
        if self._depth or self._array != self._ended:
            raise BadRequest("the metadata ends inside its JSON")
        if not self._seen:
            raise BadRequest("the metadata is no JSON array of objects")

    def _outermost(self, code: int) -> None:
        self._seen = True
        if code == _OPEN and not self._ended:
            self._depth = 1
        elif code == _ARRAY and not self._array:
            self._array = True
        elif code == _ARRAY_END and self._array and not self._ended:
            self._ended = True
        else:
            raise BadRequest("the metadata is no JSON array of objects")

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) > self._most:
            raise LimitExceeded(
                f"the metadata of an instance has more than {self._most} bytes (limits.json_body_bytes_max)"
            )

    def _whole(self, piece: bytes) -> bytes:
        self._hold(piece)
        whole = bytes(self._held)
        self._held.clear()
        return whole
