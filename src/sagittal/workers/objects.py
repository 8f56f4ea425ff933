"""The objects that a worker's requests are about: opened from their file and what ingest kept of them.

A worker remembers those it had lately, with what was worked out of them, so that frames of one object, and pictures of
one frame, are not read anew. Deliberately not here: what is made of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from sagittal.dicom.syntaxes import syntax
from sagittal.limits import HEADERS_HELD_BYTES_MAX, ReaderLimits
from sagittal.pixels.images import Image, kept, read_whole
from sagittal.workers.worker import Input

_CORRECTED_BELOW = "0400FFFF"  # the tags that corrections are of
_HEADER_BYTES_MAX = 4 << 20  # of compressed metadata and frame index; larger ones are read each time
_HELD_MIN = 2  # an image, and what lies over it


def opened(inputs: Sequence[Input], digest: str, syntax_uid: str, parts: Sequence[int], index: int) -> Image:
    """The object in `inputs`: its data set, then what ingest kept of it. `parts`: the bytes of each piece of metadata;
    `index`: those of the frame index. It is remembered by its `digest`, which is another one once it is corrected.
    """
    data_set, prepared = inputs[:2]
    if syntax(syntax_uid).deflated:  # nothing in it has a place
        image = read_whole(syntax_uid, data_set.read, ReaderLimits())
        told = _kept(prepared, parts, index, syntax_uid, _Source(prepared)).members  # with corrections, maybe
        return replace(image, members={**image.members, **{tag: told[tag] for tag in told if tag < _CORRECTED_BELOW}})
    name = digest, syntax_uid, tuple(parts), index
    held = _lately.get(name)
    if held is None:
        source = _Source(data_set)
        held = _kept(prepared, parts, index, syntax_uid, source), source
        _lately.put(name, held, prepared.length)
    image, source = held
    source.now = data_set
    return image


class _Source:
    """Bytes of an object, read through the open file that the request at work came with."""

    __slots__ = ("now",)

    def __init__(self, now: Input) -> None:
        self.now = now

    def __call__(self, offset: int, length: int) -> bytes:
        return self.now.read(offset, length)


class Lately:
    """The objects used last, by name, with what they read from. The longest unused goes first, once compressed headers
    take more than `bytes_max` together; two are always kept.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: OrderedDict[Hashable, tuple[Image, _Source, int]] = OrderedDict()
        self._bytes = 0

    def get(self, name: Hashable) -> tuple[Image, _Source] | None:
        held = self._held.get(name)
        if held is None:
            return None
        self._held.move_to_end(name)
        return held[:2]

    def put(self, name: Hashable, held: tuple[Image, _Source], size: int) -> None:
        """`size`: bytes of its compressed header."""
        if size > _HEADER_BYTES_MAX:
            return
        self._held[name] = *held, size
        self._bytes += size
        while self._bytes > self._bytes_max and len(self._held) > _HELD_MIN:
            self._bytes -= self._held.popitem(last=False)[1][2]


_lately = Lately(HEADERS_HELD_BYTES_MAX)  # of this worker


def _kept(prepared: Input, parts: Sequence[int], index: int, syntax_uid: str, source: _Source) -> Image:
    data = prepared.read()
    bodies, at = [], 0
    for length in parts:
        bodies.append(data[at : at + length])
        at += length
    return kept(bodies, data[at : at + index] if index else None, syntax_uid, source)
