"""What pixels are: the Image Pixel module (PS3.3 C.7.6.3, float forms C.7.6.24 and C.7.6.25) as one frozen value.

Read from DICOM JSON members or from the texts that the reader keeps of the geometry. `check` holds the declared
geometry against the limits before anything is allocated or a codec sees a byte. No numpy here: a description is
cheap.

An array that a `Description` describes has the shape (rows, columns) or, with more samples, (rows, columns, samples),
and holds *values*: cells shifted down from the High Bit, bits above Bits Stored masked away, the sign extended. Its
type is the smallest integer of 8, 16, 32 or 64 bits that has Bits Allocated; 1-bit pixels are uint8 of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sagittal.errors import LimitExceeded, PixelsUndecodable
from sagittal.limits import PixelLimits

Kind = Literal["integer", "float", "double"]

SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS = 0x00280010, 0x00280011
ALLOCATED, STORED, HIGH_BIT, REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
WANTED = frozenset(
    (SAMPLES, PHOTOMETRIC, PLANAR, FRAMES, ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, REPRESENTATION)
)  # fmt: skip

SUBSAMPLED = frozenset(("YBR_FULL_422", "YBR_PARTIAL_422"))  # chrominance of every second column, also in native form
_KINDS: Mapping[int, Kind] = {FLOAT_PIXELS: "float", DOUBLE_PIXELS: "double"}
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
        found = {f"{SAMPLES:08X}": _us(self.samples), f"{PHOTOMETRIC:08X}": {"vr": "CS", "Value": [self.photometric]}}
        if self.samples > 1:
            found[f"{PLANAR:08X}"] = _us(self.planar)
        found |= {f"{ROWS:08X}": _us(self.rows), f"{COLUMNS:08X}": _us(self.columns)}
        found[f"{ALLOCATED:08X}"] = _us(self.bits_allocated)
        if self.kind == "integer":
            found |= {f"{STORED:08X}": _us(self.bits_stored), f"{HIGH_BIT:08X}": _us(self.high_bit)}
            found[f"{REPRESENTATION:08X}"] = _us(int(self.signed))
        return found


def _us(number: int) -> dict[str, Any]:
    return {"vr": "US", "Value": [number]}


def describe(members: Mapping[str, Any], limits: PixelLimits | None = None) -> Description:
    """The description in a data set's DICOM JSON members. PixelsUndecodable when it can't be told."""
    texts = {}
    for tag in WANTED:
        value = (members.get(f"{tag:08X}") or {}).get("Value")
        if value and value[0] is not None:
            texts[tag] = str(value[0])
    held = next((tag for tag in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS) if f"{tag:08X}" in members), PIXELS)
    vr = (members.get(f"{held:08X}") or {}).get("vr", "")
    return describe_texts(texts, held, vr, limits)


def describe_texts(
    texts: Mapping[int, str], held: int = PIXELS, vr: str = "", limits: PixelLimits | None = None
) -> Description:
    """The description in texts by tag. `held`: which of the three pixel elements the data set has; `vr`: its VR.

    What is missing and can be read in one way only is filled in: Bits Stored as Bits Allocated, High Bit as Bits
    Stored - 1.
    """
    kind = _KINDS.get(held, "integer")
    samples = _number(texts, SAMPLES, 1)
    allocated = {"float": 32, "double": 64}.get(kind) or _number(texts, ALLOCATED)
    stored = _number(texts, STORED, allocated) if kind == "integer" else allocated
    description = Description(
        rows=_number(texts, ROWS),
        columns=_number(texts, COLUMNS),
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_number(texts, HIGH_BIT, stored - 1) if kind == "integer" else allocated - 1,
        signed=_number(texts, REPRESENTATION, 0) == 1,
        photometric=texts.get(PHOTOMETRIC, "").strip() or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar=_number(texts, PLANAR, 0) if samples > 1 else 0,
        frames=_frames(texts.get(FRAMES, "").strip()),
        kind=kind,
        vr=vr if vr in ("OB", "OW", "OF", "OD") else "OW",
    )
    if limits is not None:
        description.check(limits)
    return description


def _frames(text: str) -> int:
    """As the reader takes it: 1 when it is no positive number."""
    return max(int(text) if text.removeprefix("+").isdecimal() and len(text) <= 12 else 1, 1)


def _number(texts: Mapping[int, str], tag: int, default: int | None = None) -> int:
    text = texts.get(tag, "").strip()
    if not text and default is not None:
        return default
    try:
        return int(text)
    except ValueError:
        told = "is missing" if not text else "is no number"
        raise PixelsUndecodable(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {told}: the pixels can't be read") from None
