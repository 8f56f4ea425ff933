"""Answers whose bytes the system has in memory: read on the loop, in one piece, without waiting for a disk.

For frame after frame of one object a hop to a reader thread would cost more than all the rest. What isn't in memory,
is long or isn't sent as it is stored goes the way of `packaging`. Linux only; elsewhere everything does.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sagittal.dicom.syntaxes import EXPLICIT_BE
from sagittal.web.wire.accept import Choice
from sagittal.web.wire.conditions import Header
from sagittal.web.wire.multipart import Framing
from sagittal.web.wire.stream import Whole

if TYPE_CHECKING:
    from starlette.responses import Response

    from sagittal.archive.archive import Archive
    from sagittal.archive.references import InstanceRef, OpenObject, Ranges

K = TypeVar("K")
V = TypeVar("V")
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_SEEN = 256  # objects remembered to have been opened: so their names are in memory too
_OPEN = 16  # of them that stay open, until something is committed
_PIECES_MAX = 64


class AtHand:
    """Answers of at most `bytes_max` bytes."""

    def __init__(self, archive: Archive, bytes_max: int) -> None:
        self._archive = archive
        self._bytes_max = bytes_max
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._open: OrderedDict[int, OpenObject] = OrderedDict()
        self._commits = 0  # when they were opened

    def close(self) -> None:
        """Let go of the objects that are open."""
        self._open.clear()

    def answer(
        self, ref: InstanceRef, found: Sequence[Ranges], choice: Choice, where: Sequence[str], more: Iterable[Header]
    ) -> Response | None:
        """The frames that lie at `found`, which are at the addresses `where`; None when a thread is to read them."""
        if not self._may(ref, found):
            return None
        content_type, close = choice.offer.type, b""
        heads = [b""] * len(found)
        if choice.multipart:
            framing = Framing(content_type)
            content_type, close = framing.content_type, framing.close
            heads = [framing.head(choice.offer.media_type, address) for address in where]
        body = self._body(ref, found, heads, close)
        if body is None:
            return None
        return Whole(body, content_type, more)

    def _may(self, ref: InstanceRef, found: Sequence[Ranges]) -> bool:
        if _NO_WAIT is None or ref.syntax_uid == EXPLICIT_BE:
            return False
        pieces = [bits for ranges in found for bits in ranges]
        if len(pieces) > _PIECES_MAX or sum(length for _, length in pieces) > self._bytes_max * 8:
            return False
        if any((offset | length) & 7 for offset, length in pieces):
            return False
        known = ref.digest in self._seen
        _put(self._seen, ref.digest, None, _SEEN)
        return known

    def _body(
        self, ref: InstanceRef, found: Sequence[Ranges], heads: Sequence[bytes], close: bytes
    ) -> bytearray | None:
        size = sum(length for ranges in found for _, length in ranges) // 8
        body = bytearray(sum(map(len, heads)) + size + len(close))
        view, at = memoryview(body), 0
        opened = self._opened(ref)
        for head, ranges in zip(heads, found, strict=True):
            view[at : at + len(head)] = head
            at += len(head)
            for offset, length in ranges:
                end = at + length // 8
                if not _read(opened.fd, opened.data_set_offset + offset // 8, view[at:end]):
                    return None
                at = end
        view[at:] = close
        return body

    def _opened(self, ref: InstanceRef) -> OpenObject:
        if self._commits != self._archive.commits:  # it may have repaired or removed files
            self._commits = self._archive.commits
            self._open.clear()
        opened = self._open.get(ref.id) or self._archive.open_object(ref)
        _put(self._open, ref.id, opened, _OPEN)
        return opened


def _put(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """As the one used last."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _read(fd: int, offset: int, into: memoryview) -> bool:
    """Fill `into`; False when the disk would have to be asked."""
    assert _NO_WAIT is not None
    try:
        return os.preadv(fd, [into], offset, _NO_WAIT) == len(into)
    except OSError:  # EAGAIN; EOPNOTSUPP of a file system that can't tell
        return False
