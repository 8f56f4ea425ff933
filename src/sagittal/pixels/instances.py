"""A whole instance in another transfer syntax: its header changed as its pixels are, its frames one at a time.

Frames are encoded first and put aside by the caller, since the offset table and the compression ratio come before them;
native ones go straight out. No more than one frame is held here. Deliberately not here: files, choosing the syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sagittal.dicom.elements import element_header, swapped
from sagittal.dicom.frameindex import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, ITEM_HEADER, PIXEL_DATA, FrameIndex
from sagittal.dicom.models.members import text, values
from sagittal.dicom.partial.edited import FUNCTIONAL_GROUPS, LEFT_OUT, Edited
from sagittal.dicom.partial.frames import Packer
from sagittal.dicom.partial.verbatim import Irregular, before_pixels
from sagittal.dicom.reencode import can_reencode, deflated, reencode, written
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, TransferSyntax, syntax
from sagittal.dicom.walk import Event, Walk
from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.limits import ReaderLimits
from sagittal.pixels import frames as framing
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.images import Image
from sagittal.pixels.transcode import Changes, Plan, changes, embedded_overlays, overlay_bits, overlay_members, plan

_UNDEFINED = 0xFFFFFFFF
_HEADER_BYTES_MAX = 1 << 20  # what may be held of a data set besides a frame
_PIXELS_HEAD = 12  # bytes of the head of an element with native pixels
_LEFT_OUT = tuple(f"{tag:08X}" for tag in LEFT_OUT)
_NATIVE_BITS_MAX = (_UNDEFINED - 1) * 8
_PALETTE = "00281101"  # Red Palette Color Lookup Table Descriptor
_DERIVATION_IMAGE = "00089124"
_ICON = "00880200"  # may be compressed as the frames are, and is made anew by whoever wants one
Open = Callable[[], Iterable[bytes]]  # the data set from its first byte, as often as it is called


class Rewriting(Protocol):
    """The events of a data set on its way to another; `pixels` is the one at which its pixels begin, once met."""

    pixels: Event | None

    def before(self) -> Iterator[Event]: ...

    def after(self) -> Iterator[Event]: ...


class Transcoding:
    """One instance on its way to another syntax. NotAcceptable at once when it can't be.

    `instance_uid`: the new SOP Instance UID, for when the step loses information; without one NotAcceptable then.
    """

    plan: Plan | None  # None: nothing to decode, the data set only has another form
    _takes_runs = True  # what `_edited` gives can do with elements that come together

    def __init__(
        self, image: Image, opened: Open, to_syntax: str, options: Options = Options(), instance_uid: str = "",
        numbers: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """`numbers`: the frames wanted, 1 being the first; all if it is None."""
        self._start(image, opened, to_syntax, instance_uid, numbers)
        if not can_reencode(self._source, self._target):
            if not self._target.written:
                raise NotAcceptable(f"nothing is put into {self._target.name}")
            if not image.count:
                raise NotAcceptable("an object without frames has no other form in a compressed syntax")
            self.plan = way = plan(image.description, image.syntax_uid, to_syntax, options, image.limits)
            self._check(way)

    def _start(
        self, image: Image, opened: Open, to_syntax: str, instance_uid: str, numbers: Sequence[int] | None = None
    ) -> None:
        """What every way has; `plan` is to be made."""
        self._image, self._open, self._limits = image, opened, ReaderLimits()
        self._numbers = range(1, image.count + 1) if numbers is None else numbers
        self._source, self._target = syntax(image.syntax_uid), syntax(to_syntax)
        self._uid = instance_uid
        self.plan = None

    def _check(self, made: Plan) -> None:
        """NotAcceptable for what must not, and what can't be written."""
        if made.loses and not self._uid:
            raise NotAcceptable(f"{self._target.name} would lose information; it has to be asked for")
        if made.loses:
            check_meaning(self._image)
        if not self._target.encapsulated and made.target.frame_bits * len(self._numbers) > _NATIVE_BITS_MAX:
            raise NotAcceptable("uncompressed the pixels would be longer than the 4 GiB that an element can have")

    @property
    def loses(self) -> bool:
        """Whether information is lost, and the instance is another one afterwards."""
        return self.plan is not None and self.plan.loses

    @property
    def first_encodes(self) -> bool:
        """Whether `frames` has to be put aside before `data_set` can be made."""
        return self.plan is not None and self._target.encapsulated

    def frames(self) -> Iterator[bytes]:
        """Every frame in the target syntax."""
        assert self.plan is not None
        for number in self._numbers:
            yield self.plan.frame(self._image.encoded(number))

    def data_set(self, encoded: Iterable[bytes] = (), lengths: Sequence[int] = ()) -> Iterator[bytes]:
        """The data set in the target syntax; `encoded` are the frames put aside, `lengths` their bytes each."""
        if self.plan is None:
            return reencode(self._open(), self._source, self._target, self._limits)
        plain = SYNTAXES[EXPLICIT_LE] if self._target.deflated or self._target.encapsulated else self._target
        pieces = self._pieces(self.plan, plain, encoded, lengths)
        return deflated(pieces) if self._target.deflated else pieces

    def worst_error(self, encoded: Iterable[bytes]) -> float:
        """The largest difference of any value between this instance and the frames that were made of it."""
        assert self.plan is not None
        pairs = zip(self._numbers, encoded, strict=True)
        return max(self.plan.error(self._image.encoded(number), made) for number, made in pairs)

    def _pieces(
        self, made: Plan, plain: TransferSyntax, encoded: Iterable[bytes], lengths: Sequence[int]
    ) -> Iterator[bytes]:
        table = self._table(lengths)
        described = self._changes(made, lengths)
        changed = replace(described, members=described.members | table.members())
        if (verbatim := self._verbatim(changed, plain)) is not None:
            yield from verbatim
            yield from self._pixels(made, plain, encoded, table)
            return
        walk = Walk(self._open(), self._source, self._limits, runs=self._takes_runs)
        edited = self._edited(walk, changed, plain)
        yield from written(walk, edited.before(), plain)
        if edited.pixels is None:
            raise PixelsUndecodable("the object has no pixels")
        yield from self._pixels(made, plain, encoded, table)
        yield from written(walk, edited.after(), plain)

    def _verbatim(self, changed: Changes, plain: TransferSyntax) -> list[bytes] | None:
        """The header copied in as few pieces as can be, where that is right and nothing comes after the pixels."""
        image, source, index = self._image, self._source, self._image.index
        if changed.derived and any(f"{tag:08X}" in image.members for tag in FUNCTIONAL_GROUPS):
            return None
        alike = not source.implicit and source.little_endian and plain.uid == EXPLICIT_LE
        if not (image.sound and alike and self._takes_runs) or index is None or index.offset > _HEADER_BYTES_MAX:
            return None
        held = image.read(0, index.offset)
        if index.kind == "native" and not image.group_lengths and _is_unchanged(changed, image.members):
            pieces, value = [held[:-_PIXELS_HEAD]], index.offset
        else:
            try:
                removed = {int(tag, 16) for tag in changed.removed}
                pieces, value = before_pixels(held, changed.members, removed, self._limits)
            except Irregular:
                return None
        return pieces if _ends_with_pixels(image, index, held[value - 4 : value], value) else None

    def _pixels(
        self, made: Plan, plain: TransferSyntax, encoded: Iterable[bytes], table: framing.Table
    ) -> Iterator[bytes]:
        if self._target.encapsulated:
            yield element_header(PIXEL_DATA, made.vr, _UNDEFINED, plain.implicit, plain.little_endian)
            yield from framing.encapsulated(encoded, table.basic)
        else:
            yield from self._native(made, plain)

    def _table(self, lengths: Sequence[int]) -> framing.Table:
        return framing.table(lengths)

    def _changes(self, made: Plan, lengths: Sequence[int]) -> Changes:
        """What the data set says afterwards, but for its pixels and their offset table."""
        described = changes(self._image.members, made, sum(lengths), self._uid)
        members = {tag: member for tag, member in described.members.items() if tag != f"{PIXEL_DATA:08X}"}
        if made.way == "values":
            members |= self._overlays()
        icon = {_ICON} if self._source.encapsulated else set()
        return replace(described, members=members, removed=described.removed | icon)

    def _edited(self, walk: Walk, changed: Changes, plain: TransferSyntax) -> Rewriting:
        removed = {int(tag, 16) for tag in changed.removed}
        from sagittal.pixels.rendering.over.regions import SEGMENTATIONS

        held = self._image.members
        groups = (item for tag in FUNCTIONAL_GROUPS for item in values(held, f"{tag:08X}"))
        told = any(_DERIVATION_IMAGE in group for group in groups)
        told = told or text(held, "00080016") in SEGMENTATIONS  # which name there the images that they are of
        return Edited(walk, changed.members, removed, self._limits, derived=changed.derived, told=told)

    def _native(self, made: Plan, plain: TransferSyntax) -> Iterator[bytes]:
        target = made.target
        tag = {"float": FLOAT_PIXEL_DATA, "double": DOUBLE_PIXEL_DATA}.get(target.kind, PIXEL_DATA)
        bits = target.frame_bits * len(self._numbers)
        length = (bits + 7) // 8
        yield element_header(tag, made.vr, length + (length & 1), plain.implicit, plain.little_endian)
        word = 1 if plain.little_endian else framing.swapped_word(replace(target, vr=made.vr))
        whole = target.frame_bits % (8 * word) == 0
        for frame in self.frames() if whole else joined(self.frames(), target.frame_bits, word):
            yield swapped(frame, word)
        if length & 1 and word == 1:
            yield b"\0"

    def _overlays(self) -> dict[str, Any]:
        """Overlay planes in unused bits, which no compressed value would keep, as planes of their own."""
        found: dict[str, Any] = {}
        image = self._image
        for group, bit in embedded_overlays(image.members):
            numbers = range(1, image.count + 1)
            planes = [overlay_bits(image.encoded(n), image.description, image.syntax_uid, bit) for n in numbers]
            found |= overlay_members(group, planes)
        return found


def check_meaning(image: Image) -> None:
    """NotAcceptable where a pixel that is nearly the same means something else, so that nothing may be lost."""
    from sagittal.pixels.rendering.over.regions import LABEL_MAP, SEGMENTATION

    held = image.attributes
    sop_class, kind = held.text(0x00080016), held.text(0x00620001)
    if sop_class == LABEL_MAP or (sop_class == SEGMENTATION and kind != "FRACTIONAL"):
        raise NotAcceptable("segments would become others by lossy compression")
    if _PALETTE in image.members and held.text(0x00280004) == "MONOCHROME2":
        raise NotAcceptable("colours of the supplemental palette would become others by lossy compression")


def _is_unchanged(changed: Changes, members: Mapping[str, Any]) -> bool:
    """Whether nothing changes before the pixels."""
    return not changed.members and not any(tag in members for tag in (*changed.removed, *_LEFT_OUT))


def _ends_with_pixels(image: Image, index: FrameIndex, length: bytes, value: int) -> bool:
    """Whether nothing comes after the pixels, whose element has that length and its value at `value`."""
    if index.kind == "native":
        return not image.read(value + int.from_bytes(length, "little"), 1)
    end = index.offset + index.pixel_bytes + (len(index.lengths) - 1) * ITEM_HEADER
    return image.read(end, len(framing.DELIMITER) + 1) == framing.DELIMITER


def joined(frames: Iterable[bytes], bits: int, word: int = 1) -> Iterator[bytes]:
    """Frames of so many bits one behind the other without gaps (PS3.5 8.1.1), as words of so many bytes."""
    packer = Packer(bits, word)
    yield from map(packer.add, frames)
    yield packer.rest()
