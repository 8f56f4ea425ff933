"""Synthetic objects: CT images and small ones; headers of over 250 elements with nested sequences and private groups.

Headers are encoded once as a template whose varying values have fixed places; an object is a copy with those places
overwritten, so that making thousands costs little. Pixel data is shared by all objects of a kind. Not a DICOM writer:
explicit VR little endian only, values are bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EXPLICIT_LE = "1.2.840.10008.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTIFRAME = "1.2.840.10008.5.1.4.1.1.7.3"  # Multi-frame Grayscale Word Secondary Capture
IMPLEMENTATION = "2.25.302881547318211917043125217418731"
LONG_VRS = {"OB", "OW", "OF", "SQ", "UN", "UT"}
RUN = str(int.from_bytes(os.urandom(6), "big") % 10**14).zfill(14)  # no object of a run was ever sent before


@dataclass(frozen=True)
class Slot:
    """A value that differs from object to object, always of this length."""

    name: str
    length: int
    pad: bytes = b" "


@dataclass(frozen=True)
class Item:
    """One object: its header, then pixel data that others share."""

    sop_class: str
    sop_instance: str
    study: str
    series: str
    patient: str
    date: str
    header: bytes
    pixels: memoryview

    @property
    def size(self) -> int:
        return len(self.header) + len(self.pixels)

    def part10_head(self) -> bytes:
        group = element(0x00020001, "OB", b"\0\1") + element(0x00020002, "UI", padded(self.sop_class))
        group += element(0x00020003, "UI", padded(self.sop_instance)) + element(0x00020010, "UI", padded(EXPLICIT_LE))
        group += element(0x00020012, "UI", padded(IMPLEMENTATION))
        return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(group))) + group


def padded(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def element(tag: int, vr: str, value: bytes) -> bytes:
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in LONG_VRS:
        return start + struct.pack("<HI", 0, len(value)) + value
    return start + struct.pack("<H", len(value)) + value


def even(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return raw + b" " * (len(raw) % 2)


def sequence(*items: bytes) -> bytes:
    return b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)


def code(value: str, scheme: str, meaning: str) -> bytes:
    return (
        element(0x00080100, "SH", even(value))
        + element(0x00080102, "SH", even(scheme))
        + element(0x00080104, "LO", even(meaning))
    )


def reference(sop_class: str, serial: int, purpose: bool = False) -> bytes:
    encoded = element(0x00081150, "UI", padded(sop_class)) + element(0x00081155, "UI", padded(uid(9, serial)))
    if purpose:
        encoded += element(0x0040A170, "SQ", sequence(code("121322", "DCM", "Source image for image processing")))
    return encoded


def uid(kind: int, serial: int) -> str:
    """43 characters, below the largest 2.25 UID."""
    return f"2.25.1{kind}{RUN}{serial:022d}"


UID_SLOT = 44
TEXTS: dict[int, tuple[str, str]] = {
    0x00080005: ("CS", "ISO_IR 100"),
    0x00080008: ("CS", "ORIGINAL\\PRIMARY\\AXIAL"),
    0x00080012: ("DA", "20260102"),
    0x00080013: ("TM", "101112.000000"),
    0x00080021: ("DA", "20260102"),
    0x00080022: ("DA", "20260102"),
    0x00080023: ("DA", "20260102"),
    0x00080030: ("TM", "101010.000000"),
    0x00080031: ("TM", "101012.000000"),
    0x00080064: ("CS", "WSD"),
    0x00080070: ("LO", "Sagittal Bench Works"),
    0x00080080: ("LO", "Hospital of Measurements"),
    0x00080081: ("ST", "1 Clock Street, Stopwatch"),
    0x00080090: ("PN", "Referring^Doctor^A"),
    0x00081010: ("SH", "CT01"),
    0x00081030: ("LO", "CT abdomen with contrast"),
    0x0008103E: ("LO", "Axial 1.25 soft tissue"),
    0x00081040: ("LO", "Radiology"),
    0x00081048: ("PN", "Record^Physician"),
    0x00081050: ("PN", "Performing^Physician"),
    0x00081060: ("PN", "Reading^Physician"),
    0x00081070: ("PN", "Operator^One"),
    0x00081090: ("LO", "Metronome 64"),
    0x00100030: ("DA", "19550505"),
    0x00100040: ("CS", "O"),
    0x00101010: ("AS", "070Y"),
    0x00101020: ("DS", "1.75"),
    0x00101030: ("DS", "75.5"),
    0x001021B0: ("LT", "None that would matter to a benchmark"),
    0x00104000: ("LT", "Synthetic; no person"),
    0x00180010: ("LO", "Iohexol 350"),
    0x00180015: ("CS", "ABDOMEN"),
    0x00180022: ("CS", "HELICAL MODE"),
    0x00180050: ("DS", "1.250000"),
    0x00180060: ("DS", "120"),
    0x00180088: ("DS", "1.250000"),
    0x00180090: ("DS", "500.000000"),
    0x00181000: ("LO", "SN00012345"),
    0x00181020: ("LO", "bench 1.0"),
    0x00181030: ("LO", "5.5 Abdomen portal venous"),
    0x00181040: ("LO", "IV"),
    0x00181100: ("DS", "360.000000"),
    0x00181110: ("DS", "949.147"),
    0x00181111: ("DS", "541.000000"),
    0x00181120: ("DS", "0.000000"),
    0x00181130: ("DS", "133.699997"),
    0x00181140: ("CS", "CW"),
    0x00181150: ("IS", "700"),
    0x00181151: ("IS", "380"),
    0x00181152: ("IS", "266"),
    0x00181160: ("SH", "BODY FILTER"),
    0x00181170: ("IS", "45600"),
    0x00181190: ("DS", "1.2"),
    0x00181210: ("SH", "STANDARD"),
    0x00185100: ("CS", "FFS"),
    0x00200010: ("SH", "ST1"),
    0x00200011: ("IS", "2"),
    0x00200012: ("IS", "1"),
    0x00200037: ("DS", "1.000000\\0.000000\\0.000000\\0.000000\\1.000000\\0.000000"),
    0x00200052: ("UI", "1.2.3.4.5.6.7.8.9"),
    0x00201040: ("LO", "XY"),
    0x00280004: ("CS", "MONOCHROME2"),
    0x00280030: ("DS", "0.703125\\0.703125"),
    0x00281050: ("DS", "40"),
    0x00281051: ("DS", "400"),
    0x00281052: ("DS", "-1024"),
    0x00281053: ("DS", "1"),
    0x00281054: ("LO", "HU"),
    0x00321032: ("PN", "Requesting^Physician"),
    0x00321060: ("LO", "CT abdomen and pelvis"),
    0x00400244: ("DA", "20260102"),
    0x00400245: ("TM", "100900.000000"),
    0x00400253: ("SH", "PPS-1"),
    0x00400254: ("LO", "CT abdomen"),
}
NUMBERS = {0x00280002: 1, 0x00280100: 16, 0x00280101: 16, 0x00280102: 15, 0x00280103: 1}
SLOTS = {
    0x00080018: ("UI", Slot("instance", UID_SLOT, b"\0")),
    0x00080020: ("DA", Slot("date", 8)),
    0x00080032: ("TM", Slot("time", 14)),
    0x00080033: ("TM", Slot("time", 14)),
    0x00080050: ("SH", Slot("accession", 12)),
    0x00080060: ("CS", Slot("modality", 2)),
    0x00100010: ("PN", Slot("name", 20)),
    0x00100020: ("LO", Slot("patient", 12)),
    0x0020000D: ("UI", Slot("study", UID_SLOT, b"\0")),
    0x0020000E: ("UI", Slot("series", UID_SLOT, b"\0")),
    0x00200013: ("IS", Slot("number", 6)),
    0x00200032: ("DS", Slot("position", 34)),
    0x00201041: ("DS", Slot("location", 12)),
}


def sequences() -> dict[int, bytes]:
    scheduled = element(0x00400007, "LO", even("CT abdomen"))
    scheduled += element(0x00400008, "SQ", sequence(code("P5-0808A", "SRT", "CT of abdomen")))
    scheduled += element(0x00400009, "SH", even("SPS1"))
    region = code("T-D4000", "SRT", "Abdomen") + element(
        0x00082220, "SQ", sequence(code("R-FAB56", "SRT", "Whole"), code("G-A138", "SRT", "Coronal"))
    )
    return {
        0x00081032: sequence(code("CTABDPEL", "99BENCH", "CT abdomen and pelvis")),
        0x00081110: sequence(reference("1.2.840.10008.3.1.2.3.1", 1)),
        0x00081111: sequence(reference("1.2.840.10008.3.1.2.3.3", 2)),
        0x00081140: sequence(*(reference(CT_IMAGE, 10 + n, purpose=True) for n in range(3))),
        0x00082112: sequence(*(reference(CT_IMAGE, 20 + n, purpose=True) for n in range(2))),
        0x00082218: sequence(region),
        0x00400275: sequence(scheduled),
        0x00400260: sequence(code("P1", "99BENCH", "Protocol one")),
    }


def private_elements() -> Iterator[tuple[int, str, bytes]]:
    """As vendors do: a creator and a run of numbers and texts in several groups."""
    for group, count in ((0x0009, 12), (0x0019, 40), (0x0021, 10), (0x0027, 20), (0x0043, 36)):
        yield group << 16 | 0x10, "LO", even(f"BENCH_PRIVATE_{group:02X}")
        for n in range(count):
            tag = group << 16 | 0x1000 | n + 1
            kind = n % 4
            if kind == 0:
                yield tag, "DS", even(f"{group + n}.{n:03d}")
            elif kind == 1:
                yield tag, "SL", struct.pack("<i", -group * n)
            elif kind == 2:
                yield tag, "SS", struct.pack("<h", n)
            else:
                yield tag, "LO", even(f"value {n}")


class Template:
    """A header with places to fill."""

    def __init__(self, rows: int, columns: int, frames: int, sop_class: str, pixels: bytes = b"") -> None:
        """Without `pixels`, which are repeated, noise."""
        values: dict[int, tuple[str, Any]] = {tag: (vr, even(text)) for tag, (vr, text) in TEXTS.items()}
        values |= {tag: ("US", struct.pack("<H", number)) for tag, number in NUMBERS.items()}
        values |= {tag: (vr, value) for tag, vr, value in private_elements()}
        values |= {tag: ("SQ", value) for tag, value in sequences().items()}
        values |= SLOTS
        values[0x00080016] = ("UI", padded(sop_class))
        values[0x00280010] = ("US", struct.pack("<H", rows))
        values[0x00280011] = ("US", struct.pack("<H", columns))
        if frames > 1:
            values[0x00280008] = ("IS", even(str(frames)))
        self.sop_class = sop_class
        self.places: list[tuple[int, Slot]] = []
        encoded = bytearray()
        for tag, (vr, value) in sorted(values.items()):
            if isinstance(value, Slot):
                self.places.append((len(encoded) + 8, value))
                value = bytes(value.length)
            encoded += element(tag, vr, value)
        size = rows * columns * 2 * frames
        self.header = encoded + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)
        block = pixels or os.urandom(min(size, 1 << 20))
        self.pixels = memoryview((block * (size // len(block) + 1))[:size])

    def object(self, serial: int, study: int, number: int) -> Item:
        """The object `serial` as the `number`th of a study."""
        patient = f"BP{study:08d}"
        date = f"{2000 + study // 100 // 336 % 25}{study // 100 // 28 % 12 + 1:02d}{study // 100 % 28 + 1:02d}"
        texts = {"instance": uid(1, serial), "study": uid(2, study), "series": uid(3, study), "patient": patient}
        texts |= {"name": f"Bench^{patient}", "date": date, "accession": f"A{study:09d}", "modality": "CT"}
        texts |= {"time": f"101112.{number:06d}", "number": f"{number}", "location": f"{number * 1.25:.3f}"}
        texts["position"] = f"-180.000\\-180.000\\{number * 1.25:.3f}"
        header = bytearray(self.header)
        for start, slot in self.places:
            header[start : start + slot.length] = texts[slot.name].encode().ljust(slot.length, slot.pad)
        return Item(
            self.sop_class,
            texts["instance"],
            texts["study"],
            texts["series"],
            patient,
            date,
            bytes(header),
            self.pixels,
        )


# rows, columns, frames, SOP class
KINDS = {"ct": (512, 512, 1, CT_IMAGE), "small": (32, 48, 1, CT_IMAGE), "multiframe": (256, 256, 200, MULTIFRAME)}


class Factory:
    """Hands out objects that nobody has seen before."""

    def __init__(self) -> None:
        self._templates: dict[str, Template] = {}
        self._serial = self._study = 0

    def study(self, kind: str, count: int) -> list[Item]:
        """One new study of one series."""
        if kind not in self._templates:
            self._templates[kind] = Template(*KINDS[kind])
        self._study += 1
        first, self._serial = self._serial + 1, self._serial + count
        return [self._templates[kind].object(first + n, self._study, n + 1) for n in range(count)]

    def studies(self, kind: str, studies: int, count: int = 1) -> list[Item]:
        return [item for _ in range(studies) for item in self.study(kind, count)]
