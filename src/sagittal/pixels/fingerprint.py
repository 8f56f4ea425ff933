"""What pixels were before they were transcoded without loss, as a digest: of their bytes, and of what is said of them.

It is the same whatever the order of the bytes and the VRs, so that the original is known again when somebody sends it
otherwise encoded. Pixels that are encoded themselves are known by their fragments. Deliberately not here: decoding.
"""

from __future__ import annotations

import hashlib
import json
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from sagittal.dicom.elements import WORDS, swapped
from sagittal.dicom.frameindex import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from sagittal.dicom.models.sameness import BULK, NO_CONTENT
from sagittal.dicom.syntaxes import syntax
from sagittal.pixels.frames import Read, fragments, pixels_at

_SAID = tuple(
    f"{tag:08X}"
    for tag in (0x00280002, 0x00280004, 0x00280006, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00282110)
)
_HELD = tuple(f"{tag:08X}" for tag in (FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA))
# What may change of a data set when its pixels take another form (PS3.5 8.2).
OF_PIXELS = NO_CONTENT | {*_SAID, *_HELD, "7FE00001", "7FE00002"}

_BLOCK = 1 << 20


def fingerprint(members: Mapping[str, Any], read: Read, syntax_uid: str) -> str:
    """Hexadecimal; "" without pixels.

    `members` is the DICOM JSON of a data set in that syntax, `read` gives its bytes. PixelsUndecodable when fragments
    are cut off.
    """
    held = next((tag for tag in _HELD if tag in members), None)
    if held is None:
        return ""
    digest = hashlib.sha256()
    said = [(tag, members[tag].get("Value")) for tag in _SAID if tag in members]
    digest.update(json.dumps([held, said]).encode())
    for piece in _pieces(members[held], read, syntax_uid):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(element: Mapping[str, Any], read: Read, syntax_uid: str) -> Iterator[bytes]:
    if "InlineBinary" in element:  # Little Endian in any syntax (PS3.18 F.2.7)
        yield b64decode(element["InlineBinary"])
        return
    place = BULK.match(element.get("BulkDataURI", ""))
    if place is not None:
        word = 1 if syntax(syntax_uid).little_endian else WORDS.get(element["vr"], 1)
        at, end = int(place[1]), int(place[1]) + int(place[2])
        for start in range(at, end, _BLOCK):
            yield swapped(read(start, min(_BLOCK, end - start)), word)
        return
    yield syntax_uid.encode()
    for start, length in fragments(read, pixels_at(read, syntax_uid) or 0, sys.maxsize):
        yield length.to_bytes(4, "little")
        yield read(start, length)
