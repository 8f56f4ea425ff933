"""The head of a PNG image (ISO/IEC 15948): what its pixels are, before anything of it is decoded.

Reads the chunks before the first of the image through `read(offset, count)`, and checks where they end. Deliberately
not here: decoding, checksums.
"""

from __future__ import annotations

import struct

from sagittal.dicom.streams.stills import Read, Still
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import BadRequest

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNKS_MAX = 4096
_GREY, _RGB, _PALETTE = 0, 2, 3
_DEPTHS = {_GREY: (8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8)}


def read_png(read: Read, length: int) -> Still:
    """What a PNG image of `length` bytes is when it is decoded. BadRequest when it is none, or no pixel data is."""
    head = read(0, 33)
    if len(head) < 33 or head[:8] != _SIGNATURE or head[8:16] != b"\0\0\0\x0dIHDR":
        raise BadRequest("not a PNG image")
    columns, rows, depth, color, *methods = struct.unpack(">IIBBBBB", head[16:29])
    if not (0 < columns < 1 << 31 and 0 < rows < 1 << 31) or methods[:2] != [0, 0] or methods[2] > 1:
        raise BadRequest("the head of the PNG image is broken")
    if color in (4, 6):
        raise BadRequest("a PNG image with transparency, which pixel data can't have")
    if depth not in _DEPTHS.get(color, ()):
        raise BadRequest(f"a PNG image of color type {color} with {depth} bits is not taken")
    _check_chunks(read, length)
    if color == _GREY:
        return Still((EXPLICIT_LE,), rows, columns, 1, depth, "MONOCHROME2")
    return Still((EXPLICIT_LE,), rows, columns, 3, 8 if color == _PALETTE else depth, "RGB")


def _check_chunks(read: Read, length: int) -> None:
    at = 33
    for _ in range(_CHUNKS_MAX):
        head = read(at, 8)
        if len(head) < 8:
            break
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if at + 12 + size > length:
            break
        if kind == b"IDAT":
            return
        if kind == b"tRNS":
            raise BadRequest("a PNG image with transparency, which pixel data can't have")
        at += 12 + size
    raise BadRequest("the PNG image has no pixels, or ends early")
