"""Pictures that were made already, the least used given up first. In memory, and bounded.

Named by what they were made of, so that nothing here goes stale. Whoever asks has each of those instances by a verb of
the archive before its picture is looked for.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef

_ENTRY_BYTES = 1 << 10  # what a name and its place take, counted with every picture
_SHARE = 8  # a picture that takes more than this part of all is not kept: it would drive out too many


class Shelf:
    """At most `bytes_max` bytes of pictures and their names."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, name: Hashable) -> bytes | None:
        """A picture, if it is still there."""
        body = self._held.get(name)
        if body is not None:
            self._held.move_to_end(name)
        return body

    def put(self, name: Hashable, body: bytes) -> None:
        """Keep a picture, unless it alone is too large."""
        size = len(body) + _ENTRY_BYTES
        if size > self._bytes_max // _SHARE:
            return
        if name in self._held:
            self._bytes -= len(self._held.pop(name)) + _ENTRY_BYTES
        self._held[name] = body
        self._bytes += size
        while self._bytes > self._bytes_max:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped) + _ENTRY_BYTES


def name_of(refs: Sequence[InstanceRef], *how: object) -> bytes:
    """The same for the same picture: a digest of what it is made of, and how; of one length, whatever was asked."""
    made_of = [(ref.store, ref.digest, ref.corrected_at) for ref in refs]
    return hashlib.sha256(repr((made_of, how)).encode()).digest()
