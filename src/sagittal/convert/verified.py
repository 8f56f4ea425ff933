"""What a worker does for a rule: a Part 10 file in another transfer syntax, and the proof that nothing else changed.

What was written is read again as any reader would: the bounded reader takes it apart, its frames are decoded and
compared with those of the original value by value, and so is every other element. Only then its digest is told, and
what is stored has to have that. Deliberately not here: when, and what becomes of the original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NoReturn

from sagittal.convert.files import object_in
from sagittal.convert.transcoded import SOP_INSTANCE, Told, write
from sagittal.dicom.models.sameness import is_same
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import DamagedObject, NotAcceptable, PixelsUndecodable
from sagittal.pixels.codecs import codec
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.fingerprint import OF_PIXELS, fingerprint
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Transcoding
from sagittal.pixels.transcode import became_rgb, difference, embedded_overlays, overlay_bits
from sagittal.workers.worker import Input

_CHUNK_BYTES = 1 << 20
_ICON, _SIGNATURES = "00880200", "FFFAFFFA"
_OF_PLANES = frozenset(("0015", "0051", "0100", "0102", "3000"))  # what says where an overlay's planes lie


def verified(
    inputs: Sequence[Input], digest: str, sop_class: str, to_syntax: str, options: Told, instance_uid: str = "",
    error_max: float = -1,
) -> Told:  # fmt: skip
    """The file of `inputs[0]` in another syntax, into the file of `inputs[1]`; `inputs[2]` holds frames meanwhile.

    Tells the `digest` of what was written, the fingerprint of the original's `pixels`, whether it `loses` and by which
    `error` at the most. With `instance_uid` information may be lost: errors up to `error_max`, any when that is
    negative. PixelsUndecodable when what comes back is not the image, NotAcceptable when it can't be, DamagedObject
    when the original has another `digest`.
    """
    image, target = object_in(inputs[0]), inputs[1].fd
    _check_fit(image, lossy=bool(instance_uid))
    made = Transcoding(image, image.chunks, to_syntax, Options(**options), instance_uid)
    uid = instance_uid if made.loses else image.attributes.text(SOP_INSTANCE)
    head = meta_group(sop_class, uid, to_syntax)
    length, _ = write(made, target, verify=False, aside=inputs[2].fd, head=head)
    written = Input(target, 0, len(head) + length)
    again = object_in(written)
    error = worst_error(image, again)
    if not made.loses:
        if error:
            raise PixelsUndecodable(f"the frames came back with errors of up to {error:g}")
        check_same(image, again)
    elif 0 <= error_max < error:
        raise PixelsUndecodable(f"the frames came back with errors of up to {error:g}, more than {error_max:g}")
    if _digest(inputs[0]) != digest:
        raise DamagedObject("the bytes are not those that were received")
    pixels = "" if made.loses else fingerprint(image.members, image.read, image.syntax_uid)
    told = {"digest": _digest(written), "pixels": pixels, "sop_instance_uid": uid}
    return told | {"loses": made.loses, "error": error}


def _check_fit(image: Image, *, lossy: bool) -> None:
    """NotAcceptable for an object of which more than pixels would change."""
    if _SIGNATURES in image.members:
        raise NotAcceptable("the object is signed, and the signature is of its pixels as they are encoded")
    if not lossy and syntax(image.syntax_uid).encapsulated and _ICON in image.members:
        raise NotAcceptable("the icon image would be lost")


def worst_error(original: Image, made: Image) -> float:
    """The largest difference of any value of their frames, decoded. PixelsUndecodable when they are other images."""
    if not original.count and not made.count:
        return 0.0
    one, other = codec(original.syntax_uid), codec(made.syntax_uid)
    ours, theirs = original.description, made.description
    told, said = one.decoded(ours), other.decoded(theirs)
    lossy = syntax(made.syntax_uid).lossless is not True
    alike = told.photometric == said.photometric or (lossy and became_rgb(told, said))
    if not alike or (original.count, told.shape, told.signed) != (made.count, said.shape, said.signed):
        raise PixelsUndecodable("the frames came back as another image")
    if one.cells and other.cells:  # with the bits outside Bits Stored, where both have them
        ours, theirs = ours.cells(), theirs.cells()
    decoded = (
        (one.decode(original.encoded(number), ours), other.decode(made.encoded(number), theirs))
        for number in range(1, original.count + 1)
    )
    return max(difference(first, told, second, said) for first, second in decoded)


def check_same(original: Image, made: Image) -> None:
    """PixelsUndecodable when another element than those of the pixels differs, or an overlay of old got lost."""
    moved = {group for group, _ in embedded_overlays(original.members)}
    removed = {tag for tag in original.members if int(tag[:4], 16) in moved and tag[4:] in _OF_PLANES}
    for tag in sorted((original.members.keys() | made.members.keys()) - OF_PIXELS - removed):
        if int(tag[:4], 16) in moved and tag not in original.members:
            continue  # the plane itself, which is compared below
        one, other = original.members.get(tag), made.members.get(tag)
        if one is None or other is None or not is_same(one, other, original, made):
            _differs(tag)
    for group, bit in embedded_overlays(original.members):
        _check_overlay(original, made, group, bit)


def _check_overlay(original: Image, made: Image, group: int, bit: int) -> None:
    """The plane that lay in unused bits is in them still, or an overlay of its own (PS3.3 C.9.2)."""
    import numpy

    numbers = range(1, original.count + 1)
    planes = [overlay_bits(original.encoded(n), original.description, original.syntax_uid, bit) for n in numbers]
    if f"{group:04X}3000" in made.members:
        packed = numpy.packbits(numpy.frombuffer(b"".join(planes), "u1"), bitorder="little").tobytes()
        same = made.attributes.octets(group << 16 | 0x3000)[: len(packed)] == packed
    else:
        held = [overlay_bits(made.encoded(n), made.description, made.syntax_uid, bit) for n in numbers]
        same = held == planes
    if not same:
        _differs(f"{group:04X}3000")


def _differs(tag: str) -> NoReturn:
    raise PixelsUndecodable(f"({tag[:4]},{tag[4:]}) came back as something else")


def _digest(file: Input) -> str:
    digest, at = hashlib.sha256(), 0
    while data := file.read(at, _CHUNK_BYTES):
        digest.update(data)
        at += len(data)
    return digest.hexdigest()
