"""What the headers of code streams say: size, precision, components, colour marks. Read before a decoder is started.

JPEG and JPEG-LS marker segments (ISO/IEC 10918-1 B.2, 14495-1 C.1), JPEG 2000 SIZ and COD (ISO/IEC 15444-1 A.5, A.6),
the JPEG XL signature and image header (ISO/IEC 18181-1 D.2). Every function is bounded by the bytes it is given and
raises PixelsUndecodable for what is no such header.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sagittal.dicom.streams.stills import FRAME_HEADERS, xl_sides
from sagittal.errors import PixelsUndecodable

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # TEM, RST0-7, SOI: markers without a segment


class Jpeg(NamedTuple):
    """The frame header of a JPEG or JPEG-LS stream."""

    process: int  # the low byte of its SOF marker: C0 baseline, C1 extended, C2 progressive, C3 lossless, F7 JPEG-LS
    precision: int
    rows: int
    columns: int
    components: tuple[int, ...]  # their identifiers
    sampling: tuple[int, ...]  # horizontal << 4 | vertical
    adobe: int  # the colour transform of an Adobe APP14 segment: 0 none, 1 YCbCr; -1 without one
    jfif: bool
    predictor: int  # of lossless streams: the selection value; of others 0


class Jpeg2000(NamedTuple):
    """SIZ and COD."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    reversible: bool
    high_throughput: bool


def jpeg(data: bytes) -> Jpeg:
    """The headers up to the first scan."""
    if data[:2] != b"\xff\xd8":
        raise PixelsUndecodable("not a JPEG code stream: no SOI marker")
    process, frame, adobe, jfif, scan = 0, b"", -1, False, b""
    for marker, body in _segments(data):
        if marker in FRAME_HEADERS and not frame:
            process, frame = marker, body
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == 0xE0 and body[:5] == b"JFIF\0":
            jfif = True
        elif marker == 0xDA:
            scan = body
    count = frame[5] if len(frame) > 5 else 0
    if not count or len(frame) < 6 + 3 * count:
        raise PixelsUndecodable("a JPEG code stream without a frame header")
    rows, columns = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    components, sampling = tuple(frame[6 : 6 + 3 * count : 3]), tuple(frame[7 : 6 + 3 * count : 3])
    predictor = _predictor(scan) if process & 3 == 3 and process != 0xF7 else 0
    return Jpeg(process, frame[0], rows, columns, components, sampling, adobe, jfif, predictor)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the segments up to the first scan, which is the last one, or to the end of the image. What
    lies between segments is passed over, as decoders do.
    """
    at, marker = 2, 0
    while marker not in (0xDA, 0xD9):
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if at < 0 or at + 4 > len(data):
            raise PixelsUndecodable("a JPEG code stream without a frame header or scan")
        marker = data[at + 1]
        if marker == 0 or marker in _STANDALONE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise PixelsUndecodable("a JPEG code stream that ends inside its headers")
        yield marker, body
        at += 2 + length


def _predictor(scan: bytes) -> int:
    """The selection value of a scan's header; 0 where it is cut."""
    at = 1 + 2 * scan[0] if scan else 0
    return scan[at] if len(scan) > at else 0


def jpeg2000(data: bytes) -> Jpeg2000:
    """The main header of a code stream; a JP2 file around it, which PS3.5 8.2.4 forbids, is looked through."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
    size = data[at + 4 : at + 6 + 2 * 256 * 64]
    if at < 0 or len(size) < 41:
        raise PixelsUndecodable("not a JPEG 2000 code stream: no SOC and SIZ markers")
    width, height, left, top = (int.from_bytes(size[4 + 4 * n : 8 + 4 * n], "big") for n in range(4))
    components = int.from_bytes(size[36:38], "big")
    depth = size[38]
    tiles = [int.from_bytes(size[20 + 4 * n : 24 + 4 * n], "big") for n in range(4)]  # width, height, left, top
    steps = size[39 : 38 + 3 * components : 3] + size[40 : 38 + 3 * components : 3]  # XRsiz, YRsiz
    if not (components and tiles[0] and tiles[1] and len(steps) == 2 * components and all(steps)):
        raise PixelsUndecodable("a JPEG 2000 code stream with tiles or components of no size")
    if any(step != 1 for step in steps):  # decoders read such components as if they were as large as the image
        raise PixelsUndecodable("a JPEG 2000 code stream with subsampled components, of which DICOM has no form")
    if width <= left or height <= top or tiles[2] > left or tiles[3] > top:
        raise PixelsUndecodable("a JPEG 2000 code stream whose image lies outside of its grid")
    reversible = _is_reversible(data, at + 4 + int.from_bytes(size[:2], "big"))
    high_throughput = bool(int.from_bytes(size[2:4], "big") & 0x4000)
    return Jpeg2000(
        height - top,
        width - left,
        components,
        (depth & 0x7F) + 1,
        bool(depth & 0x80),
        reversible,
        high_throughput,
    )


def _is_reversible(data: bytes, at: int) -> bool:
    """Of COD: whether the wavelet is the reversible one."""
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0x90:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0x52 and at + 14 <= len(data):
            return data[at + 13] == 1
        at += 2 + max(length, 2)
    raise PixelsUndecodable("a JPEG 2000 code stream without a COD marker")


_JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


def jpegxl(data: bytes) -> tuple[int, int]:
    """(rows, columns) of a code stream, bare or in its container."""
    if data.startswith(_JXL_CONTAINER):
        data = _boxed(data)
    if data[:2] != b"\xff\x0a":
        raise PixelsUndecodable("not a JPEG XL code stream: no signature")
    sides = xl_sides(data[2:16])
    if sides is None:
        raise PixelsUndecodable("a JPEG XL code stream that ends inside its header")
    return sides


def recompressed(data: bytes) -> bool:
    """Whether a JPEG XL container has what makes the JPEG of its code stream again (ISO/IEC 18181-2: jbrd)."""
    return any(kind == b"jbrd" for kind, _ in _boxes(data))


def _boxed(data: bytes) -> bytes:
    """The beginning of the code stream in a container (ISO/IEC 18181-2: jxlc, or the first jxlp)."""
    for kind, at in _boxes(data):
        if kind in (b"jxlc", b"jxlp"):
            return data[at + (4 if kind == b"jxlp" else 0) :][:64]
    raise PixelsUndecodable("a JPEG XL container without a code stream")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind of each box of a container, and where its content begins."""
    at = 12 if data.startswith(_JXL_CONTAINER) else len(data)
    while at + 8 <= len(data):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        yield kind, at + head
        if length < head:  # 0: it is the last
            return
        at += length
