"""What pixels are: the Image Pixel module (PS3.3 C.7.6.3, float forms C.7.6.24 and C.7.6.25) as one frozen value.

Read from DICOM JSON members. `check` holds the declared geometry against the limits before anything is allocated or a
codec sees a byte. No numpy here: a description is cheap.

An array that a `Description` describes has the shape (rows, columns) or, with more samples, (rows, columns, samples),
and holds *values*: cells shifted down from the High Bit, bits above Bits Stored masked away, the sign extended. Its
type is the smallest integer of 8, 16, 32 or 64 bits that has Bits Allocated; 1-bit pixels are uint8 of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sagittal.dicom.dictionary import tag_text
from sagittal.dicom.frameindex import (
    BITS,
    COLUMNS,
    DOUBLE_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    FRAMES,
    PHOTOMETRIC,
    PIXEL_DATA,
    ROWS,
    SAMPLES,
    SUBSAMPLED,
    number_of_frames,
)
from sagittal.dicom.models.members import element, text, values
from sagittal.errors import LimitExceeded, PixelsUndecodable
from sagittal.limits import PixelLimits

Kind = Literal["integer", "float", "double"]

PLANAR = 0x00280006
STORED, HIGH_BIT, REPRESENTATION = 0x00280101, 0x00280102, 0x00280103

_KINDS: Mapping[int, Kind] = {FLOAT_PIXEL_DATA: "float", DOUBLE_PIXEL_DATA: "double"}
BITS_OF_OVERLAYS = tuple(f"{group:04X}0100" for group in range(0x6000, 0x6020, 2))  # Overlay Bits Allocated
MONOCHROME = frozenset(("MONOCHROME1", "MONOCHROME2"))


@dataclass(frozen=True, slots=True)
class Description:
    """The attributes that say how to read a frame."""

    rows: int
    columns: int
    samples: int = 1
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    signed: bool = False
    photometric: str = "MONOCHROME2"
    planar: int = 0
    frames: int = 1
    kind: Kind = "integer"
    vr: str = "OW"  # of native Pixel Data: in Big Endian it says how bytes are swapped (PS3.5 8.1.2)
    planes: bool = False  # overlay planes lie in unused bits, as they did until 2004 (PS3.3 C.9.2)

    def __post_init__(self) -> None:
        """PixelsUndecodable when no frame can be of this kind."""
        if min(self.rows, self.columns, self.samples, self.frames) < 1:
            raise PixelsUndecodable("Rows, Columns, Samples per Pixel and Number of Frames are to be positive")
        if self.kind == "integer" and not (
            1 <= self.bits_stored <= self.bits_allocated <= 64
            and self.bits_stored - 1 <= self.high_bit < self.bits_allocated
        ):
            told = f"Bits Allocated {self.bits_allocated}, Bits Stored {self.bits_stored}, High Bit {self.high_bit}"
            raise PixelsUndecodable(f"{told} don't go together (PS3.5 8.1.1)")

    @property
    def subsampled(self) -> bool:
        """Whether native frames hold chrominance for every second column only (PS3.3 C.7.6.3.1.2)."""
        return self.samples == 3 and self.photometric in SUBSAMPLED

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array of one frame."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def values(self) -> int:
        """Numbers in the array of one frame."""
        return self.rows * self.columns * self.samples

    @property
    def container_bits(self) -> int:
        """Bits of one number of the array."""
        return next(size for size in (8, 16, 32, 64) if size >= self.bits_allocated)

    @property
    def dtype(self) -> str:
        """The name of the array's type."""
        if self.kind != "integer":
            return "float32" if self.kind == "float" else "float64"
        return f"{'int' if self.signed else 'uint'}{self.container_bits}"

    @property
    def array_bytes(self) -> int:
        """What the array of one frame takes."""
        return self.values * int(self.dtype[-2:].lstrip("t")) // 8

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame."""
        bits = self.values * self.bits_allocated
        return bits // 3 * 2 if self.subsampled else bits

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame that begins at a byte."""
        return (self.frame_bits + 7) // 8

    @property
    def lowest(self) -> int:
        return -(1 << self.bits_stored - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << self.bits_stored - self.signed) - 1

    def cells(self) -> Description:
        """The same frames as whole cells: nothing masked, shifted or signed, so that unused bits (overlays) survive."""
        if self.kind != "integer":
            return self
        return replace(self, bits_stored=self.bits_allocated, high_bit=self.bits_allocated - 1, signed=False)

    def check(self, limits: PixelLimits) -> None:
        """LimitExceeded when one frame would cost more than the limits allow."""
        if self.rows * self.columns > limits.frame_pixels_max:
            told = f"{self.rows} x {self.columns} pixels, more than pixels.frame_pixels_max ({limits.frame_pixels_max})"
            raise LimitExceeded(f"a frame of {told}")
        if self.array_bytes > limits.frame_bytes_max:
            told = f"{self.array_bytes} bytes, more than pixels.frame_bytes_max ({limits.frame_bytes_max})"
            raise LimitExceeded(f"a decoded frame takes {told}")

    def members(self) -> dict[str, dict[str, Any]]:
        """As DICOM JSON members, without Number of Frames."""
        told: dict[int, int | str] = {
            SAMPLES: self.samples,
            PHOTOMETRIC: self.photometric,
            ROWS: self.rows,
            COLUMNS: self.columns,
            BITS: self.bits_allocated,
        }
        if self.samples > 1:
            told[PLANAR] = self.planar
        if self.kind == "integer":
            told |= {STORED: self.bits_stored, HIGH_BIT: self.high_bit, REPRESENTATION: int(self.signed)}
        return {f"{tag:08X}": element("CS" if tag == PHOTOMETRIC else "US", value) for tag, value in told.items()}


def describe(members: Mapping[str, Any], limits: PixelLimits | None = None) -> Description:
    """The description in a data set's DICOM JSON members. PixelsUndecodable when it can't be told.

    What is missing and can be read in one way only is filled in: Bits Stored as Bits Allocated, High Bit as Bits
    Stored - 1.
    """
    held = next(
        (tag for tag in (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA) if f"{tag:08X}" in members), PIXEL_DATA
    )
    vr = (members.get(f"{held:08X}") or {}).get("vr", "")
    kind = _KINDS.get(held, "integer")
    samples = _number(members, SAMPLES, 1)
    allocated = {"float": 32, "double": 64}.get(kind) or _number(members, BITS)
    stored = _number(members, STORED, allocated) if kind == "integer" else allocated
    description = Description(
        rows=_number(members, ROWS),
        columns=_number(members, COLUMNS),
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_number(members, HIGH_BIT, stored - 1) if kind == "integer" else allocated - 1,
        signed=_number(members, REPRESENTATION, 0) == 1,
        photometric=text(members, f"{PHOTOMETRIC:08X}") or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar=_number(members, PLANAR, 0) if samples > 1 else 0,
        frames=number_of_frames(text(members, f"{FRAMES:08X}")),
        kind=kind,
        vr=vr if vr in ("OB", "OW", "OF", "OD") else "OW",
        planes=kind == "integer" and stored < allocated and _has_embedded_overlays(members),
    )
    if limits is not None:
        description.check(limits)
    return description


def _has_embedded_overlays(members: Mapping[str, Any]) -> bool:
    allocated = (values(members, tag)[:1] for tag in BITS_OF_OVERLAYS)
    return any(isinstance(bits, int) and bits > 1 for first in allocated for bits in first)


def _number(members: Mapping[str, Any], tag: int, default: int | None = None) -> int:
    said = text(members, f"{tag:08X}")
    if not said and default is not None:
        return default
    try:
        return int(said)
    except ValueError:
        told = "is missing" if not said else "is no number"
        raise PixelsUndecodable(f"{tag_text(tag)} {told}: the pixels can't be read") from None
