"""Small pictures that were made already, the least used given up first. In memory, and bounded.

Named by entity tags, which say what they were made of: nothing here goes stale.
"""

from __future__ import annotations

from collections import OrderedDict


class Shelf:
    """At most `bytes_max` bytes of pictures."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, tag: str) -> bytes | None:
        """A picture, if it is still there."""
        body = self._held.get(tag)
        if body is not None:
            self._held.move_to_end(tag)
        return body

    def put(self, tag: str, body: bytes) -> None:
        """Keep a picture, unless it alone is too large."""
        if len(body) > self._bytes_max:
            return
        self._bytes += len(body) - len(self._held.pop(tag, b""))
        self._held[tag] = body
        while self._bytes > self._bytes_max:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped)
