"""Heads of videos: MPEG-2 (ISO 13818-2), H.264 and HEVC (ITU-T H.264 7.3.2.1, H.265 7.3.2.2) as elementary stream,
MPEG-2 program or transport stream, or MP4 (ISO 14496-12), and which transfer syntaxes take their profile and level
(PS3.5 8.2).

Reads a bounded number of bytes through `read(offset, count)`. It counts no frames and checks no bit stream: a profile
that no transfer syntax has is refused by its head alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sagittal.dicom.streams.stills import Read, boxes
from sagittal.errors import BadRequest

_P = "1.2.840.10008.1.2.4."
MPEG2_MAIN_LEVEL, MPEG2_HIGH_LEVEL = _P + "100", _P + "101"
H264_41, H264_BD, H264_42, H264_STEREO = _P + "102", _P + "103", _P + "104", _P + "106"
HEVC_MAIN, HEVC_MAIN_10 = _P + "107", _P + "108"

_HEAD_BYTES = 1 << 20  # where the first picture of a stream is looked for
_PACKET = 188
_SAMPLE_ENTRY_BYTES_MAX = 1 << 16
_START = re.compile(rb"\0\0\x01([\xb3\xb5]|[\x07\x27\x47\x67]|[\x42\x43]\x01)")
_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_ENTRIES = {b"avc1": b"avcC", b"avc3": b"avcC", b"hvc1": b"hvcC", b"hev1": b"hvcC"}
_VISUAL_ENTRY_BYTES = 78  # ISO 14496-12 12.1.3, before the boxes in it
_CHROMA_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138)  # H.264 7.3.2.1.1


@dataclass(frozen=True, slots=True)
class Video:
    """0: its head does not tell."""

    syntaxes: tuple[str, ...]
    rows: int = 0
    columns: int = 0


def read_video(read: Read, length: int) -> Video:
    """What a video of `length` bytes is. BadRequest when no transfer syntax takes it."""
    head = read(0, 12)
    if head[4:8] == b"ftyp":
        return _read_mp4(read, length)
    octets = read(0, min(length, _HEAD_BYTES))
    if octets[:1] == b"\x47" and octets[_PACKET : _PACKET + 1] in (b"\x47", b""):
        octets = _payload(octets)
    sequence = None
    for match in _START.finditer(octets):
        code, at = match[1][0], match.end()
        if code == 0xB3:
            sequence = octets[at : at + 8]
        elif code == 0xB5 and sequence is not None and octets[at : at + 1] and octets[at] >> 4 == 1:
            return _mpeg2(sequence, octets[at : at + 3])
        elif code in (0x07, 0x27, 0x47, 0x67) and sequence is None:
            return _h264(octets[at : at + 256])
        elif code in (0x42, 0x43) and sequence is None:
            return _hevc(octets[at : at + 256])
    raise BadRequest("neither MPEG-2, H.264 nor HEVC, or without its parameters at the start")


def _payload(octets: bytes) -> bytes:
    """The packets of a transport stream without their heads (ISO 13818-1 2.4.3.2)."""
    parts = []
    for at in range(0, len(octets) - _PACKET + 1, _PACKET):
        control = octets[at + 3] >> 4 & 3
        start = at + 4 + (1 + octets[at + 4] if control & 2 else 0)
        if octets[at] == 0x47 and control & 1:
            parts.append(octets[start : at + _PACKET])
    return b"".join(parts)


def _read_mp4(read: Read, length: int) -> Video:
    for entry, at, size in _sample_entries(read, 0, length, _PATH):
        wanted = _ENTRIES.get(entry)
        if wanted is None or size > _SAMPLE_ENTRY_BYTES_MAX:
            continue
        for kind, start, extent in boxes(read, at + _VISUAL_ENTRY_BYTES, at + size):
            if kind != wanted:
                continue
            record = read(start, extent)
            if kind == b"avcC" and len(record) > 8 and record[5] & 31:
                return _h264(record[9:])  # after the length and the NAL unit header of the first parameter set
            if kind == b"hvcC" and len(record) > 23:
                return _hevc(_hevc_parameters(record))
    raise BadRequest("an MP4 file without a track of H.264 or HEVC")


def _sample_entries(read: Read, start: int, end: int, path: tuple[bytes, ...]) -> list[tuple[bytes, int, int]]:
    """The sample entries of all tracks."""
    if not path:
        return list(boxes(read, start + 8, end))  # after version and count
    found = []
    for kind, at, size in boxes(read, start, end):
        if kind == path[0]:
            found += _sample_entries(read, at, at + size, path[1:])
    return found


def _hevc_parameters(record: bytes) -> bytes:
    """The first sequence parameter set of an hvcC record, after its NAL unit header (ISO 14496-15 8.3.3.1)."""
    at = 23
    for _ in range(record[22]):
        kind, count = record[at] & 63 if at < len(record) else 0, int.from_bytes(record[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(record[at : at + 2], "big")
            if kind == 33:
                return record[at + 4 : at + 2 + size]
            at += 2 + size
    raise BadRequest("an HEVC track without its parameters")


def _mpeg2(sequence: bytes, extension: bytes) -> Video:
    """ISO 13818-2 6.2.2.1, 6.2.2.3; Main Profile is 4, Main Level 8, High 1440 Level 6, High Level 4."""
    if len(sequence) < 3 or len(extension) < 2:
        raise BadRequest("the head of the MPEG-2 video is broken")
    both = (extension[0] << 8 | extension[1]) >> 4 & 0xFF
    columns, rows = sequence[0] << 4 | sequence[1] >> 4, (sequence[1] & 15) << 8 | sequence[2]
    if both >> 4 not in (4, 5):  # Main, or Simple, which a Main decoder takes
        raise BadRequest("MPEG-2 of another profile than Main")
    syntaxes = {8: (MPEG2_MAIN_LEVEL, MPEG2_HIGH_LEVEL), 10: (MPEG2_MAIN_LEVEL, MPEG2_HIGH_LEVEL)}
    return Video(syntaxes.get(both & 15, (MPEG2_HIGH_LEVEL,)), rows, columns)


class _Bits:
    """Bits of a NAL unit from the most significant on, without emulation prevention bytes (H.264 7.4.1)."""

    def __init__(self, octets: bytes) -> None:
        octets = octets.replace(b"\0\0\x03", b"\0\0")
        self._number, self._left = int.from_bytes(octets, "big"), len(octets) * 8

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BadRequest("the parameters of the video are broken")
        return self._number >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """ue(v): H.264 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise BadRequest("the parameters of the video are broken")
        return (1 << zeros) - 1 + self.take(zeros)


def _h264(octets: bytes) -> Video:
    bits = _Bits(octets)
    profile, _, level = bits.take(8), bits.take(8), bits.take(8)
    syntaxes = _h264_syntaxes(profile, level)
    bits.golomb()
    chroma = 1
    if profile in _CHROMA_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        if chroma != 1 or bits.golomb() or bits.golomb():
            raise BadRequest("H.264 of another chroma format or bit depth than 4:2:0 of 8 bits")
        bits.take(1)
        if bits.take(1):
            return Video(syntaxes)  # scaling matrices, after which the size would come
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        return Video(syntaxes)
    bits.golomb()
    bits.take(1)
    wide, high, whole = bits.golomb() + 1, bits.golomb() + 1, bits.take(1)
    if not whole:
        bits.take(1)
    bits.take(1)
    left, right, top, bottom = (bits.golomb() for _ in range(4)) if bits.take(1) else (0, 0, 0, 0)
    lines = 2 - whole
    return Video(syntaxes, high * 16 * lines - 2 * lines * (top + bottom), wide * 16 - 2 * (left + right))


def _h264_syntaxes(profile: int, level: int) -> tuple[str, ...]:
    if profile == 128 and level <= 42:
        return (H264_STEREO,)
    if profile not in (66, 77, 100):  # a High Profile decoder takes Baseline and Main
        raise BadRequest(f"H.264 of profile {profile}, which no transfer syntax has")
    if level <= 41:
        return H264_41, H264_BD, H264_42
    if level == 42:
        return (H264_42,)
    raise BadRequest(f"H.264 of level {level / 10}, above 4.2")


def _hevc(octets: bytes) -> Video:
    bits = _Bits(octets)
    bits.take(4)
    layers = bits.take(3)
    bits.take(1)
    profile = bits.take(8) & 31
    bits.take(32 + 48)
    level = bits.take(8)
    syntaxes = {1: (HEVC_MAIN, HEVC_MAIN_10), 2: (HEVC_MAIN_10,)}.get(profile)
    if syntaxes is None or level > 153:
        raise BadRequest(f"HEVC of profile {profile}, level {level / 30:.1f}; Main and Main 10 up to 5.1 are taken")
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)
    bits.golomb()
    if bits.golomb() == 3:
        bits.take(1)
    columns, rows = bits.golomb(), bits.golomb()
    if bits.take(1):
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        columns, rows = columns - 2 * (left + right), rows - 2 * (top + bottom)
    return Video(syntaxes, rows, columns)
