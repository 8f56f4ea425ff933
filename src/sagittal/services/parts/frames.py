"""Some frames of an instance as a new instance (PS3.4 Y.3.3): which, and where its bytes come from.

Frames are ranges of the stored pixels: native ones are sent from the file as they lie, of compressed ones the fragments
are copied, and no pixel is decoded. For a peer that did not accept that, and where frames have no such ranges (deflated
objects, bits in words of Big Endian), a worker makes the new instance, without loss. Videos are refused (AA02), and
whole-slide images whose frames have their places by number (AA01).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from sagittal.archive.references import InstanceRef, OpenObject
from sagittal.archive.transcoding.maker import Made
from sagittal.dicom.elements import ITEM, SEQUENCE_END, UNDEFINED, element_header
from sagittal.dicom.partial.frames import Extraction, Header, Packer, Survey
from sagittal.dicom.reencode import written
from sagittal.dicom.syntaxes import TransferSyntax, syntax
from sagittal.dicom.walk import Walk
from sagittal.dimse.service import FileRegion, Source
from sagittal.errors import DamagedObject, NotFound
from sagittal.net.proposing import choose_syntax
from sagittal.pixels.codecs import decodes
from sagittal.pixels.reach import without_loss
from sagittal.services.parts.framelist import AskedFrames, NotDivisible, NotExtractable, chosen
from sagittal.services.parts.slices import EVENTS_AT_ONCE, chunks, run_out, taking_turns
from sagittal.services.site import Site
from sagittal.services.suboperations import made_source
from sagittal.uid import new_uid

_FRAMES_AT_ONCE = 1000  # whose ranges are held
_FRAMES_MAX = 1 << 20  # of an instance: their times and numbers are lists
_LENGTH_MAX = UNDEFINED - 2


class FramesOf:
    """The rendition of one instance as chosen frames."""

    def __init__(self, extraction: Extraction, survey: Survey, frame_bits: int) -> None:
        self._extraction, self._survey = extraction, survey
        self._frame_bits = frame_bits  # of a native frame; 0: they can't be sent as they lie

    @classmethod
    async def prepared(cls, site: Site, ref: InstanceRef, asked: AskedFrames) -> FramesOf:
        """Find out whether and which frames can be sent. Errors with the statuses AA00 to AA03."""
        if ref.frames is None:
            raise NotDivisible("not a multi-frame instance")
        if ref.frames > _FRAMES_MAX:
            raise NotDivisible(f"{ref.frames} frames, of which no more than {_FRAMES_MAX} are told apart")
        survey, stored = Survey(), syntax(ref.syntax_uid)
        with site.archive.open_object(ref) as opened:
            await run_out(survey.look(Walk(chunks(opened), stored, site.limits)))
        if survey.tiled_full:
            raise NotDivisible("the place of a frame follows from its number (TILED_FULL)")
        frames = chosen(asked, ref.frames, survey.times(ref.frames))
        if survey.placed_by_first and frames[0] != 1:
            raise NotDivisible("the places of the frames follow from the first")
        try:
            bits = await _frame_bits(site, ref, stored, frames)
        except NotExtractable:
            if site.maker is None or not decodes(ref.syntax_uid):
                raise
            bits = 0
        extraction = Extraction(ref.sop_instance_uid, new_uid(), frames, ref.frames, (asked.tag, asked.values))
        return cls(extraction, survey, bits)

    def syntaxes(self, site: Site, ref: InstanceRef, accepted: Iterable[str]) -> Sequence[str]:
        """As stored or another plain one of the same byte order, else those that a worker can bring the frames to."""
        offered = list(accepted)
        if (to := self._as_stored(ref, offered)) is not None:
            return [to]
        if site.maker is None:
            return []
        able = frozenset(uid for uid in offered if syntax(uid).little_endian and not syntax(uid).deflated)
        return without_loss(ref.syntax_uid, able)

    def _as_stored(self, ref: InstanceRef, offered: Iterable[str]) -> str | None:
        stored = syntax(ref.syntax_uid)
        if not self._frame_bits:
            return None
        same = (uid for uid in offered if syntax(uid).little_endian == stored.little_endian)
        return choose_syntax(ref.syntax_uid, [uid for uid in same if not syntax(uid).deflated])

    def uid(self, ref: InstanceRef) -> str:
        """A new one."""
        return self._extraction.uid

    async def opened(self, site: Site, ref: InstanceRef, to: str) -> OpenObject:
        if site.maker is None or self._as_stored(ref, [to]) is not None:
            return site.archive.open_object(ref)
        return await site.maker.extracted(ref, to, self._extraction)

    async def source(self, site: Site, opened: OpenObject, ref: InstanceRef, to: str) -> Source:
        return made_source(opened) if isinstance(opened, Made) else self._pieces(site, opened, ref, syntax(to))

    async def _pieces(
        self, site: Site, opened: OpenObject, ref: InstanceRef, to: TransferSyntax
    ) -> AsyncIterator[bytes | FileRegion]:
        walk = Walk(chunks(opened), syntax(ref.syntax_uid), site.limits)
        header = Header(walk, self._survey, self._extraction, to)
        async for piece in taking_turns(written(walk, header.events(), to, EVENTS_AT_ONCE)):
            yield piece
        pixels = header.pixels
        if pixels is None:
            raise DamagedObject("the object has no pixels where its index has some")
        ranges = self._ranges(site, ref)
        if pixels.kind == "fragments":
            parts = _fragments(ranges, opened, to)
        else:
            parts = _native(ranges, opened, self._frame_bits)
            length = (self._frame_bits * len(self._extraction.frames) + 7) // 8
            yield element_header(pixels.tag, pixels.vr, length + (length & 1), to.implicit, to.little_endian)
        async for part in parts:
            yield part

    async def _ranges(self, site: Site, ref: InstanceRef) -> AsyncIterator[list[tuple[int, int]]]:
        """The pieces of each frame, in bits of the stored data set."""
        frames = self._extraction.frames
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            for pieces in await site.archive.frame_ranges(ref, frames[start : start + _FRAMES_AT_ONCE]):
                yield pieces


async def _frame_bits(site: Site, ref: InstanceRef, stored: TransferSyntax, frames: Sequence[int]) -> int:
    """Bits of a frame. NotExtractable where the frames have no ranges, or none that can be sent as they lie."""
    try:
        ((at, bits), *_) = (await site.archive.frame_ranges(ref, frames[:1]))[0]
    except NotFound:
        raise NotExtractable from None
    if not stored.encapsulated:
        if bits * len(frames) // 8 > _LENGTH_MAX:
            raise NotExtractable("more than 4 GiB of pixels")
        if not stored.little_endian and (bits & 7 or at & 7):
            raise NotExtractable("frames of broken bytes in words of Big Endian")
    return bits


async def _fragments(
    ranges: AsyncIterator[list[tuple[int, int]]], opened: OpenObject, to: TransferSyntax
) -> AsyncIterator[bytes | FileRegion]:
    """Encapsulated pixels, their Basic Offset Table empty (PS3.5 A.4)."""
    little = to.little_endian
    yield element_header(0x7FE00010, "OB", UNDEFINED, to.implicit, little) + element_header(ITEM, "", 0, True, little)
    async for pieces in ranges:
        for at, bits in pieces:
            yield element_header(ITEM, "", bits // 8, True, little)
            yield FileRegion(opened.fd, opened.data_set_offset + at // 8, bits // 8)
    yield element_header(SEQUENCE_END, "", 0, True, little)


async def _native(
    ranges: AsyncIterator[list[tuple[int, int]]], opened: OpenObject, frame_bits: int
) -> AsyncIterator[bytes | FileRegion]:
    """Native pixels: neighbouring frames in one go, frames of broken bytes moved together."""
    packer = Packer(frame_bits)
    start = end = total = 0
    async for ((at, bits),) in ranges:
        total += bits
        if frame_bits & 7:
            first, last = at // 8, (at + bits + 7) // 8
            yield packer.add(opened.read_data_set(first, last - first), at & 7)
        elif at // 8 == end:
            end += bits // 8
        else:
            if end > start:
                yield FileRegion(opened.fd, opened.data_set_offset + start, end - start)
            start, end = at // 8, (at + bits) // 8
    if end > start:
        yield FileRegion(opened.fd, opened.data_set_offset + start, end - start)
    yield packer.rest() + b"\0" * ((total + 7) // 8 & 1)
