"""The objects that a worker's requests are about: opened from their file and what ingest kept of them.

A worker remembers the last few, so that frames of one object are not read anew. Deliberately not here: what is made of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from sagittal.limits import ReaderLimits
from sagittal.pixels.images import Image, is_deflated, kept, read_whole
from sagittal.workers.worker import Input

_REMEMBERED = 4
_CORRECTED_BELOW = "0400FFFF"  # the tags that corrections are of
_REMEMBERED_BYTES_MAX = 4 << 20  # of compressed metadata and frame index; larger ones are read each time


def opened(inputs: Sequence[Input], digest: str, syntax_uid: str, parts: Sequence[int], index: int) -> Image:
    """The object in `inputs`: its data set, then what was kept of it, `parts` bytes of metadata each and `index` bytes
    of frame index. Its digest is what it is remembered by.
    """
    data_set, prepared = inputs[:2]
    if is_deflated(syntax_uid):
        image = read_whole(syntax_uid, data_set.read, ReaderLimits())
        told = _kept(prepared.read(), tuple(parts), index, syntax_uid).members  # with corrections, maybe
        return replace(image, members={**image.members, **{tag: told[tag] for tag in told if tag < _CORRECTED_BELOW}})
    if prepared.length > _REMEMBERED_BYTES_MAX:
        image = _kept(prepared.read(), tuple(parts), index, syntax_uid)
    else:
        image = _remembered(digest, _Held(prepared), tuple(parts), index, syntax_uid)
    return replace(image, read=data_set.read)


class _Held:
    """Bytes that are read only when they are not remembered; of no account in comparing."""

    def __init__(self, source: Input) -> None:
        self.source = source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=_REMEMBERED)
def _remembered(digest: str, held: _Held, parts: tuple[int, ...], index: int, syntax_uid: str) -> Image:
    return _kept(held.source.read(), parts, index, syntax_uid)


def _kept(data: bytes, parts: tuple[int, ...], index: int, syntax_uid: str) -> Image:
    bodies, at = [], 0
    for length in parts:
        bodies.append(data[at : at + length])
        at += length
    return kept(bodies, data[at : at + index] if index else None, syntax_uid, _unread)


def _unread(offset: int, length: int) -> bytes:
    raise AssertionError("an object is read through the request that it came with")
