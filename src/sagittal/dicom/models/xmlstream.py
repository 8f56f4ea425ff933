"""The Native DICOM Model of one object out of its DICOM JSON text, which comes in pieces and need never be whole.

The text is walked a member at a time, a large sequence an item at a time, so that memory is that of the largest item
and the caller can pause between two of them. Numbers are written as the text has them. Deliberately not here: JSON
of any other shape; the text is that of our own reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sagittal.dicom.models.xml import HEAD, TAIL, attributes, item, opening
from sagittal.errors import LimitExceeded

_MEMBER = re.compile(r'[{,]?"([0-9A-F]{8})":')
_SEQUENCE = '{"vr":"SQ","Value":['
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)


class XmlStream:
    """`feed(text)` for each piece, then `finish()`; both give what can be written by now."""

    def __init__(self, held_characters_max: int) -> None:
        self._held_max = held_characters_max
        self._text, self._at = "", 0
        self._retry_at = 0  # an incomplete value is looked at again when there is twice as much of it
        self._creators: dict[str, Any] = {}  # private creators of the data set itself
        self._items = -1  # of the sequence that is open, -1 outside
        self._begun = False

    def feed(self, text: str) -> Iterator[bytes]:
        self._text = self._text[self._at :] + text
        self._at = 0
        if not self._begun:
            self._begun = True
            yield HEAD
        if len(self._text) < self._retry_at:
            return
        yield from self._walk()
        self._retry_at = 2 * (len(self._text) - self._at)
        if len(self._text) - self._at > self._held_max:
            raise LimitExceeded(f"a value has more than {self._held_max} characters (limits.json_body_bytes_max)")

    def finish(self) -> Iterator[bytes]:
        """The rest of the document."""
        yield from self._walk()
        if self._items >= 0 or self._text[self._at :] not in ("}", "{}", ""):
            raise ValueError("the metadata ends within a value")
        yield TAIL

    def _walk(self) -> Iterator[bytes]:
        while (written := self._next()) is not None:
            yield written

    def _next(self) -> bytes | None:
        """The next attribute or item; None when it isn't there yet."""
        if self._items >= 0:
            return self._next_item()
        match = _MEMBER.match(self._text, self._at)
        if match is None or len(self._text) - match.end() < len(_SEQUENCE):
            return self._short(match)
        tag = match[1]
        if self._text.startswith(_SEQUENCE, match.end()):
            self._at, self._items = match.end() + len(_SEQUENCE), 0
            return opening(tag, "SQ", self._creators).encode()
        return self._attribute(tag, match.end())

    def _short(self, match: re.Match[str] | None) -> bytes | None:
        """A member near the end of the text: whole, or not yet to be told from a sequence."""
        if match is None or _SEQUENCE.startswith(self._text[match.end() :]):
            return None
        return self._attribute(match[1], match.end())

    def _attribute(self, tag: str, at: int) -> bytes | None:
        try:
            member, end = _DECODER.raw_decode(self._text, at)
        except ValueError:
            return None
        self._at = end
        if int(tag[:4], 16) & 1 and tag[4:6] == "00":
            self._creators[tag] = member
        return b"".join(attributes({**self._creators, tag: member}, only=tag))

    def _next_item(self) -> bytes | None:
        at = self._at + (1 if self._text.startswith(",", self._at) else 0)
        if self._text.startswith("]", at):
            if not self._text.startswith("]}", at):
                return None
            self._at, self._items = at + 2, -1
            return b"</DicomAttribute>"
        try:
            found, end = _DECODER.raw_decode(self._text, at)
        except ValueError:
            return None
        self._at = end
        self._items += 1
        return "".join(item(self._items, found or {})).encode()
