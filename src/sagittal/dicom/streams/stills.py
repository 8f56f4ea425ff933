"""Heads of compressed images: JPEG, JPEG-LS (ISO 14495-1 C), JPEG 2000 and HTJ2K (ISO 15444-1 A, 15444-15), JPEG XL
(ISO 18181-1), RLE (PS3.5 G), and which transfer syntaxes may hold them (PS3.5 8.2, A.4).

Reads a bounded number of bytes through `read(offset, count)` and decodes no pixel. JP2 and JPH files are looked into:
DICOM holds their codestream only. Whether a reversible JPEG 2000 stream was cut short, and whether JPEG XL is lossless,
its head does not tell.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sagittal.dicom.syntaxes import JPEG_2000, JPEG_2000_LOSSLESS, JPEG_BASELINE, JPEG_LOSSLESS_SV1, RLE_LOSSLESS
from sagittal.dicom.syntaxes import JPEG_LS_LOSSLESS as LS_LOSSLESS
from sagittal.errors import BadRequest

Read = Callable[[int, int], bytes]  # (offset, count) -> that many bytes, fewer at the end only

_SEGMENTS_MAX = 4096
_P = "1.2.840.10008.1.2.4."
JPEG_EXTENDED, JPEG_LOSSLESS, LS_NEAR = _P + "51", _P + "57", _P + "81"
PART_2_LOSSLESS, PART_2 = _P + "92", _P + "93"
HT_LOSSLESS, HT_RPCL, HT = _P + "201", _P + "202", _P + "203"
XL_LOSSLESS, XL_RECOMPRESSED, XL = _P + "110", _P + "111", _P + "112"
_CODESTREAM, _SIGNATURE_JP2, _SIGNATURE_XL = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL "
FRAME_HEADERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}  # SOF0-15; SOF55 of JPEG-LS
_XL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width to height (D.2)


@dataclass(frozen=True, slots=True)
class Still:
    """One compressed image. 0 or "" is what its head does not tell."""

    syntaxes: tuple[str, ...]  # that may hold it, the most fitting first
    rows: int = 0
    columns: int = 0
    samples: int = 0
    bits: int = 0  # of a sample
    photometric: str = ""  # how its samples are meant
    start: int = 0  # of the codestream in what was read
    length: int | None = None  # None: to the end


def read_still(read: Read, length: int) -> Still:
    """What an image of `length` bytes is. BadRequest when it is none of those, or broken."""
    head = read(0, 12)
    if head[:2] == b"\xff\xd8":
        return _read_jpeg(read, length)
    if head[:4] == _CODESTREAM:
        return _read_codestream(read, 0, length)
    if head[:8] == _SIGNATURE_JP2:
        start, size = _find_box(read, length, b"jp2c")
        found = _read_codestream(read, start, size)
        return replace(found, start=start, length=size)
    if head[:2] == b"\xff\x0a" or head[:8] == _SIGNATURE_XL:
        return _read_xl(read, length, head)
    raise BadRequest("neither JPEG, JPEG-LS, JPEG 2000 nor JPEG XL")


def read_rle(read: Read, length: int) -> Still:
    """PS3.5 G.5: 64 bytes of header; `samples` counts segments, one for each byte of each sample."""
    head = read(0, 64)
    if len(head) < 64:
        raise BadRequest("an RLE image is shorter than its header")
    count, *offsets = struct.unpack("<16I", head)
    if not 1 <= count <= 15 or offsets[0] != 64 or any(at >= length for at in offsets[:count]):
        raise BadRequest("the RLE header is broken")
    if list(offsets[:count]) != sorted(offsets[:count]):
        raise BadRequest("the RLE header is broken")
    return Still((RLE_LOSSLESS,), samples=count)


# JPEG, JPEG-LS


def _segments(read: Read, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(marker, where its content starts, length of that) up to the first scan, which comes last."""
    at = start
    for _ in range(_SEGMENTS_MAX):
        head = read(at, 4)
        if len(head) < 4 or head[0] != 0xFF:
            break
        if head[1] == 0xFF:  # a fill byte
            at += 1
            continue
        size = int.from_bytes(head[2:], "big")
        if size < 2 or at + 2 + size > end:
            break
        yield head[1], at + 4, size - 2
        if head[1] in (0xDA, 0x90):  # SOS; SOT of JPEG 2000
            return
        at += 2 + size
    raise BadRequest("the head of the compressed image is broken")


def _read_jpeg(read: Read, length: int) -> Still:
    process, frame, adobe, jfif, scan = 0, b"", -1, False, b""
    for marker, at, size in _segments(read, 2, length):
        content = read(at, min(size, 18))
        if marker in FRAME_HEADERS:
            process, frame = marker, content
        elif marker == 0xE0:
            jfif = jfif or content.startswith(b"JFIF\0")
        elif marker == 0xEE and len(content) >= 12 and content.startswith(b"Adobe"):
            adobe = content[11]
        elif marker == 0xDA:
            scan = content
    if len(frame) < 9:
        raise BadRequest("a JPEG image without a frame header")
    bits, rows, columns, samples = struct.unpack(">BHHB", frame[:6])
    if not scan or len(scan) < 2 * scan[0] + 4 or not rows or not columns:
        raise BadRequest("the head of the JPEG image is broken")
    meant = _meant(process, samples, frame[7] >> 4 > 1, adobe, jfif)
    selection = scan[1 + 2 * scan[0]]  # the predictor of Process 14; NEAR of JPEG-LS
    return Still(_jpeg_syntaxes(process, selection), rows, columns, samples, bits, meant)


def _meant(process: int, samples: int, subsampled: bool, adobe: int, jfif: bool) -> str:
    """How the samples of a JPEG image are meant. Adobe's mark goes before JFIF's (-1: there is none); without any, an
    image with losses is YBR.
    """
    if samples == 1:
        return "MONOCHROME2"
    if samples == 3 and process in (0xC0, 0xC1):
        return "RGB" if adobe == 0 else "YBR_FULL_422" if subsampled else "YBR_FULL"
    return "YBR_FULL" if adobe > 0 or (jfif and adobe < 0) else "RGB"


def _jpeg_syntaxes(process: int, selection: int) -> tuple[str, ...]:
    if process == 0xC0:
        return JPEG_BASELINE, JPEG_EXTENDED
    if process == 0xC1:
        return (JPEG_EXTENDED,)
    if process == 0xC3:
        return (JPEG_LOSSLESS_SV1, JPEG_LOSSLESS) if selection == 1 else (JPEG_LOSSLESS,)
    if process == 0xF7:
        return (LS_NEAR,) if selection else (LS_LOSSLESS,)
    raise BadRequest("a JPEG process that no current transfer syntax has (progressive, hierarchical or arithmetic)")


# JPEG 2000, HTJ2K


def _read_codestream(read: Read, start: int, length: int) -> Still:
    if read(start, 4) != _CODESTREAM:
        raise BadRequest("the JPEG 2000 codestream is broken")
    size, style = b"", b""
    for marker, at, extent in _segments(read, start + 2, start + length):
        if marker == 0x51:
            size = read(at, min(extent, 39))
        elif marker == 0x52:
            style = read(at, min(extent, 10))
    if len(size) < 39 or len(style) < 10:
        raise BadRequest("the head of the JPEG 2000 codestream is broken")
    capabilities, right, bottom, left, top = struct.unpack(">HIIII", size[:18])
    samples, depth = struct.unpack(">HB", size[34:37])
    reversible, mixed = style[9] == 1, bool(style[4])
    meant = "MONOCHROME2" if samples == 1 else "RGB" if not mixed else "YBR_RCT" if reversible else "YBR_ICT"
    if capabilities & 0x4000:
        syntaxes: tuple[str, ...] = (HT_LOSSLESS, HT_RPCL, HT) if reversible else (HT,)
    elif capabilities & 0x8000:
        syntaxes = (PART_2_LOSSLESS, PART_2) if reversible else (PART_2,)
    else:
        syntaxes = (JPEG_2000_LOSSLESS, JPEG_2000) if reversible else (JPEG_2000,)
    return Still(syntaxes, bottom - top, right - left, samples, (depth & 0x7F) + 1, meant)


def boxes(read: Read, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of the content, its length) of the boxes between (ISO 15444-1 I.4, ISO 14496-12 4.2)."""
    at = start
    for _ in range(_SEGMENTS_MAX):
        head = read(at, 16)
        if at >= end or len(head) < 8:
            return
        size, skip = int.from_bytes(head[:4], "big"), 8
        if size == 1 and len(head) == 16:
            size, skip = int.from_bytes(head[8:], "big"), 16
        elif size == 0:
            size = end - at
        if size < skip or at + size > end:
            raise BadRequest("a box of the file is broken")
        yield head[4:8], at + skip, size - skip
        at += size


def _find_box(read: Read, length: int, wanted: bytes) -> tuple[int, int]:
    for kind, at, size in boxes(read, 0, length):
        if kind == wanted:
            return at, size
    raise BadRequest("a JPEG 2000 file without a codestream")


# JPEG XL


def _read_xl(read: Read, length: int, head: bytes) -> Still:
    syntaxes: tuple[str, ...] = (XL, XL_LOSSLESS)
    stream = 0
    if head[:8] == _SIGNATURE_XL:
        kinds = {kind: at for kind, at, _ in reversed(list(boxes(read, 0, length)))}
        if b"jbrd" in kinds:
            syntaxes = (XL_RECOMPRESSED, XL)
        stream = kinds.get(b"jxlc", kinds.get(b"jxlp", -4) + 4)
    octets = read(stream, 16)
    sides = xl_sides(octets[2:])
    if octets[:2] != b"\xff\x0a" or sides is None:
        raise BadRequest("the head of the JPEG XL codestream is broken")
    return Still(syntaxes, *sides)


def xl_sides(octets: bytes) -> tuple[int, int] | None:
    """Rows and columns by what follows a JPEG XL codestream's signature (ISO 18181-1 D.2); None where it is cut."""
    bits = _Bits(octets)
    small = bits.take(1)
    rows = (bits.take(5) + 1) * 8 if small else bits.u32() + 1
    ratio = bits.take(3)
    if ratio:
        wide, high = _XL_RATIOS[ratio]
        columns = rows * wide // high
    else:
        columns = (bits.take(5) + 1) * 8 if small else bits.u32() + 1
    return (rows, columns) if bits.left >= 0 else None


class _Bits:
    """Bits from the least significant on; zeros where there are no more."""

    def __init__(self, octets: bytes) -> None:
        self._number, self.left = int.from_bytes(octets, "little"), len(octets) * 8

    def take(self, count: int) -> int:
        found = self._number & ((1 << count) - 1)
        self._number >>= count
        self.left -= count
        return found

    def u32(self) -> int:
        """A number of one of four lengths (ISO 18181-1 B.2.2), as sides have them."""
        return self.take((9, 13, 18, 30)[self.take(2)])
