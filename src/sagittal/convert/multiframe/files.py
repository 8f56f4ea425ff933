"""Files split into single frames, and files joined into one: read through the bounded reader, written as Part 10.

Frames are copied, never decoded: encapsulated ones as they are, native ones by their range. Native data sets in Big
Endian or deflated come out in Explicit VR Little Endian. Deliberately not here: where files go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sagittal.convert.files import object_in
from sagittal.convert.multiframe.elements import PIXELS, items, member
from sagittal.convert.multiframe.joining import joined, ordered
from sagittal.convert.multiframe.splitting import Splitting
from sagittal.dicom.models.encode import Bulk, Encapsulated, data_set
from sagittal.dicom.models.members import Members, text
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, syntax
from sagittal.errors import BadRequest, NotAcceptable
from sagittal.limits import ReaderLimits
from sagittal.pixels import frames as framing
from sagittal.pixels.description import Description
from sagittal.pixels.images import Image, read_whole
from sagittal.pixels.instances import joined as joined_bits
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.workers.worker import Input

_PIXELS_HERE, _OTHER = "pixels", "?object="
Frame = tuple[int, Callable[[], bytes]]  # its length, and its bytes when they are wanted


def object_of(file: Input) -> Image:
    """The object of a file, in a Little Endian syntax."""
    image, limits = object_in(file), ReaderLimits()
    if syntax(image.syntax_uid).little_endian:
        return image
    plain = b"".join(reencode(image.chunks(), syntax(image.syntax_uid), SYNTAXES[EXPLICIT_LE], limits))
    return read_whole(EXPLICIT_LE, lambda at, length: plain[at : at + length], limits)


def split(image: Image, *, keep_series: bool = False) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(SOP Instance UID, Part 10 file) of every frame. NotAcceptable when the object has no single-frame form."""
    if syntax(image.syntax_uid).video:
        raise NotAcceptable("the frames of a video can't be taken apart without decoding")
    splitting = Splitting(dict(image.members), image.count, image.attributes.octets, keep_series=keep_series)
    for number in range(1, image.count + 1):
        frame = (_length(image, number), _bytes(image, number))
        yield splitting.uid(number), _file(splitting.members(number), [image], [frame], image)


def join(images: Sequence[Image], *, keep_series: bool = False) -> tuple[str, Iterator[bytes]]:
    """(SOP Instance UID, Part 10 file) of the frames of single-frame objects. NotAcceptable when they don't fit."""
    if not images:
        raise NotAcceptable("there are no files to join")
    if any(syntax(image.syntax_uid).video for image in images):
        raise NotAcceptable("the frame of a video can't be joined with others without decoding")
    if any(image.count != 1 for image in images):
        raise NotAcceptable("only objects of one frame can be joined")
    if len({image.syntax_uid for image in images}) > 1:
        raise NotAcceptable("the objects are in several transfer syntaxes: transcode them into one")
    places: dict[bytes, str] = {}
    found = [_named(image.members, number, image, places) for number, image in enumerate(images)]
    order = ordered(found)
    members = joined([found[at] for at in order], images[0].description, keep_series=keep_series)
    pixels = [(_length(images[at], 1), _bytes(images[at], 1)) for at in order]
    return text(members, member.SOPInstanceUID), _file(members, images, pixels, images[0])


def _length(image: Image, number: int) -> int:
    assert image.index is not None
    return (sum(bits for _, bits in image.index.ranges(number)) + 7) // 8


def _bytes(image: Image, number: int) -> Callable[[], bytes]:
    return lambda: image.encoded(number)


def _named(members: Mapping[str, Any], number: int, image: Image, places: dict[bytes, str]) -> Members:
    """A copy with bulk data by place, which says in which of several objects it is too; the same bytes by the `places`
    where they were met first, so that what is equal is seen to be. What images of a series say alike is one object.
    """
    found: Members = {}
    for tag, one in members.items():
        if "BulkDataURI" in one and tag not in PIXELS:
            place = f"{one['BulkDataURI']}{_OTHER}{number}"
            digest = sha256(_octets(one["BulkDataURI"], image)).digest()
            found[tag] = one | {"BulkDataURI": places.setdefault(digest, place)}
        elif inside := items(members, tag):
            found[tag] = one | {"Value": [_named(item, number, image, places) for item in inside]}
        else:
            found[tag] = one
    return found


def _file(members: Members, images: Sequence[Image], frames: Sequence[Frame], like: Image) -> Iterator[bytes]:
    stored, described = syntax(like.syntax_uid), like.description
    tag = {"float": member.FloatPixelData, "double": member.DoubleFloatPixelData}.get(described.kind, member.PixelData)
    small = described.bits_allocated <= 8 and not stored.implicit
    vr = {"float": "OF", "double": "OD"}.get(described.kind, "OB" if stored.encapsulated or small else "OW")
    members = members | {tag: {"vr": vr, "BulkDataURI": _PIXELS_HERE}}
    table = framing.table([length for length, _ in frames]) if stored.encapsulated else None
    if table is not None:
        members |= table.members()

    def bulk(address: str) -> Bulk | Encapsulated:
        if address != _PIXELS_HERE:
            return _value(address, images)
        if table is None:
            return _native(frames, described)
        return Encapsulated([Bulk(length, _once(read)) for length, read in frames], table.basic)

    yield meta_group(text(members, member.SOPClassUID), text(members, member.SOPInstanceUID), like.syntax_uid)
    yield from data_set(members, stored, bulk)


def _native(frames: Sequence[Frame], described: Description) -> Bulk:
    bits = described.frame_bits
    pieces: Iterable[bytes] = (read() for _, read in frames)
    if any(length * 8 != bits for length, _ in frames):
        if bits % 8 == 0:  # YBR_FULL_422 in name only: by the pixel
            return Bulk(sum(length for length, _ in frames), pieces)
        pieces = joined_bits(pieces, bits)
    return Bulk((bits * len(frames) + 7) // 8, pieces)


def _once(read: Callable[[], bytes]) -> Iterator[bytes]:
    yield read()


def _value(address: str, images: Sequence[Image]) -> Bulk:
    """Bulk data that lies in one of the objects."""
    address, _, number = address.partition(_OTHER)
    image = images[int(number or 0)]
    octets = _octets(address, image)
    if not octets:
        raise BadRequest("bulk data that is not in the file")
    return Bulk(len(octets), [octets])


def _octets(address: str, image: Image) -> bytes:
    return Attributes({member.PixelData: {"vr": "OB", "BulkDataURI": address}}, image.read).octets("PixelData")
