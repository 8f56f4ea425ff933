"""A data set from one uncompressed transfer syntax to another while it streams by: PS3.5 7 and Annex A.

For a peer that did not accept the stored syntax: implicit VR, explicit VR, big endian and deflate, any to any. Memory
stays flat whatever the object, so sequences and items come out with undefined length: their length in the other syntax
is known only after them, and two passes would read the file twice. Group lengths are left out (retired; they would be
wrong), and so are elements of groups 0000 and 0002, which the reader ignores. Between a syntax and its deflated form
nothing is changed at all.

Pixel data is moved, never decoded: encapsulated syntaxes have no other form here (`pixels.transcode`). What the reader
tolerates is tolerated, and comes out regular: odd lengths, missing and unknown VRs, stray delimiters.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from sagittal.dicom.elements import (
    ITEM,
    ITEM_END,
    LENGTH_SHORT_MAX,
    LONG_VRS,
    SEQUENCE_END,
    STRAY_GROUPS,
    UNDEFINED,
    WORDS,
    element_header,
    encode,
    padding,
    swapped,
)
from sagittal.dicom.frameindex import BITS, PIXEL_DATA
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, TransferSyntax
from sagittal.dicom.walk import PIECE_BYTES, Event, Walk, inflated
from sagittal.errors import NotAcceptable
from sagittal.limits import ReaderLimits


def can_reencode(source: TransferSyntax, target: TransferSyntax) -> bool:
    """Whether a data set in `source` can be put into `target` without touching its pixels."""
    return source.uid == target.uid or (source.native and target.plain)


def reencode(
    chunks: Iterable[bytes], source: TransferSyntax, target: TransferSyntax, limits: ReaderLimits = ReaderLimits()
) -> Iterator[bytes]:
    """The data set in the target syntax. Raises NotAcceptable at once, Malformed or LimitExceeded on the way."""
    if source.uid == target.uid:
        return iter(chunks)
    if not can_reencode(source, target):
        raise NotAcceptable(f"{source.name} can't be re-encoded as {target.name or target.uid} without a codec")
    if (source.implicit, source.little_endian) != (target.implicit, target.little_endian):
        walk = Walk(chunks, source, limits, runs=True)
        plain = written(walk, walk.events(), target)
    else:
        plain = inflated(chunks, limits) if source.deflated else iter(chunks)
    return deflated(plain) if target.deflated else plain


def deflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Raw deflate, padded to even length (PS3.5 A.5)."""
    packer, size = zlib.compressobj(wbits=-15), 0
    for chunk in chunks:
        piece = packer.compress(chunk)
        size += len(piece)
        if piece:
            yield piece
    last = packer.flush()
    yield last + b"\0" if (size + len(last)) & 1 else last


def written(walk: Walk, events: Iterable[Event], target: TransferSyntax, pause: int = 0) -> Iterator[bytes]:
    """Events of a walk in the target syntax (not deflated), in pieces of about PIECE_BYTES.

    Between the walk and here events may be left out, and runs put in. With `pause` a piece, perhaps an empty one, comes
    after so many events at the latest, for those who must not be long at it.
    """
    held: list[bytes] = []
    size = count = allocated = 0
    for event in events:
        if event.kind == "element" and event.tag >> 16 in STRAY_GROUPS:
            continue  # as by the reader
        small = event.length <= PIECE_BYTES or event.kind not in ("element", "fragment")
        part = _small(event, walk, target, allocated) if small else _head(event, target)
        held.append(part)
        size += len(part)
        count += 1
        if size >= PIECE_BYTES or not small or count == pause:
            yield b"".join(held)
            held, size, count = [], 0, 0
        allocated = _allocated(event, part, target) or allocated
        if not small:
            word = _word(event, target, allocated)
            for piece in walk.pieces():
                yield swapped(piece, word)
            held = [padding(event.vr, event.length)]
    if held:
        yield b"".join(held)


def _small(event: Event, walk: Walk, target: TransferSyntax, allocated: int) -> bytes:
    """What an event comes out as, with its value."""
    kind, little = event.kind, target.little_endian
    if kind == "run":
        run = event.run
        if event.little != little:
            run = [(tag, vr, swapped(value, WORDS.get(vr, 1))) for tag, vr, value in run]
        return encode(run, SYNTAXES[EXPLICIT_LE] if target.deflated else target, as_given=True)
    if kind == "element":
        if not event.tag & 0xFFFF and event.length == 4:
            return b""  # a group length
        value = swapped(walk.value(), _word(event, target, allocated))
        return _head(event, target) + value + padding(event.vr, event.length)
    if kind == "fragment":
        return _head(event, target) + walk.value() + padding(event.vr, event.length)
    if kind == "end-item":
        return element_header(ITEM_END, "", 0, True, little)
    if kind == "end-sequence":
        return element_header(SEQUENCE_END, "", 0, True, little)
    return _head(event, target)


def _head(event: Event, target: TransferSyntax) -> bytes:
    little = target.little_endian
    if event.kind == "item":
        return element_header(ITEM, "", UNDEFINED, True, little)
    if event.kind == "fragment":
        return element_header(ITEM, "", event.length + (event.length & 1), True, little)
    if event.kind == "sequence":
        return element_header(event.tag, "SQ", UNDEFINED, target.implicit, little)
    length = event.length if event.kind == "fragments" else event.length + (event.length & 1)
    return element_header(event.tag, event.vr, length, target.implicit, little)


def _allocated(event: Event, part: bytes, target: TransferSyntax) -> int:
    """Bits Allocated, if it is what an event came out as; else 0."""
    if event.depth == 0 and event.kind == "element" and event.tag == BITS:
        return int.from_bytes(part[-2:], "little" if target.little_endian else "big")
    if event.depth == 0 and event.kind == "run":
        found = (value for tag, _, value in event.run if tag == BITS)
        return int.from_bytes(next(found, b""), "little" if event.little else "big")
    return 0


def _word(event: Event, target: TransferSyntax, allocated: int) -> int:
    """The size of the words whose bytes change places, 1 if none do.

    Pixels of 32 bits in OW are swapped whole, as all do who write them in Big Endian.
    """
    if event.tag == PIXEL_DATA and event.vr == "OW" and allocated in (32, 64) and event.little != target.little_endian:
        return allocated // 8
    # What is too long for its VR goes as UN, whose values are little endian (PS3.5 6.2.2).
    unknown = not target.implicit and event.vr not in LONG_VRS and event.length > LENGTH_SHORT_MAX
    return WORDS.get(event.vr, 1) if event.little != (target.little_endian or unknown) else 1
