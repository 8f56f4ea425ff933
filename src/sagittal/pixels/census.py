"""What images are like, counted: by modality, their matrices, bits, frames, colours, syntaxes and compression.

Whoever counts (an archive from its index, a command from files) says what it saw; here are only sums. Images whose
frames can't be told apart, or are not where their bytes could be counted, have no part in the ratios.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sagittal.dicom.frameindex import SUBSAMPLED
from sagittal.dicom.syntaxes import syntax


class Seen(NamedTuple):
    """One instance. Zero and "" stand for what it doesn't say; without rows it is no image, wherever its pixels are."""

    modality: str
    syntax_uid: str
    rows: int = 0
    columns: int = 0
    samples: int = 0
    bits_allocated: int = 0
    bits_stored: int = 0
    photometric: str = ""
    frames: int = 0
    pixel_bytes: int = 0  # of the frames as they are stored; 0: not known

    @property
    def native_bytes(self) -> int:
        """The same frames uncompressed."""
        bits = self.rows * self.columns * (self.samples or 1) * self.bits_allocated * self.frames
        if self.photometric in SUBSAMPLED and self.samples == 3 and syntax(self.syntax_uid).native:
            bits = bits // 3 * 2  # with half of the chrominance, and yet not compressed
        return (bits + 7) // 8


@dataclass(slots=True)
class _Modality:
    instances: int = 0
    images: int = 0
    frames: int = 0
    frames_most: int = 0
    matrices: Counter[tuple[int, int]] = field(default_factory=Counter)
    bits: Counter[tuple[int, int]] = field(default_factory=Counter)
    photometric: Counter[str] = field(default_factory=Counter)
    syntaxes: Counter[str] = field(default_factory=Counter)
    pixel_bytes: Counter[str] = field(default_factory=Counter)
    native_bytes: Counter[str] = field(default_factory=Counter)


class Census:
    """The sums of many instances."""

    def __init__(self) -> None:
        self._modalities: dict[str, _Modality] = {}

    def add(self, seen: Seen) -> None:
        """Count one instance."""
        sums = self._modalities.setdefault(seen.modality, _Modality())
        sums.instances += 1
        sums.syntaxes[seen.syntax_uid] += 1
        if not seen.rows or not seen.columns:
            return
        sums.images += 1
        sums.frames += seen.frames
        sums.frames_most = max(sums.frames_most, seen.frames)
        sums.matrices[seen.rows, seen.columns] += 1
        sums.bits[seen.bits_allocated, seen.bits_stored] += 1
        sums.photometric[seen.photometric] += 1
        if seen.pixel_bytes and seen.native_bytes:
            sums.pixel_bytes[seen.syntax_uid] += seen.pixel_bytes
            sums.native_bytes[seen.syntax_uid] += seen.native_bytes

    def rows(self, above: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
        """A row a modality, the most instances first. `above`: modality → its studies and series."""
        ordered = sorted(self._modalities.items(), key=lambda one: (-one[1].instances, one[0]))
        return [_row(name, sums, *above.get(name, (0, 0))) for name, sums in ordered]


def _row(name: str, sums: _Modality, studies: int, series: int) -> dict[str, Any]:
    return {
        "modality": name,
        "studies": studies,
        "series": series,
        "instances": sums.instances,
        "images": sums.images,
        "frames": sums.frames,
        "frames_most": sums.frames_most,
        "matrices": [{"rows": r, "columns": c, "images": n} for (r, c), n in sums.matrices.most_common()],
        "bits": [{"allocated": a, "stored": s, "images": n} for (a, s), n in sums.bits.most_common()],
        "photometric_interpretations": [{"name": p, "images": n} for p, n in sums.photometric.most_common()],
        "transfer_syntaxes": [_syntax(uid, count, sums) for uid, count in sums.syntaxes.most_common()],
    }


def _syntax(uid: str, count: int, sums: _Modality) -> dict[str, Any]:
    stored, native = sums.pixel_bytes[uid], sums.native_bytes[uid]
    row = {"uid": uid, "name": syntax(uid).name, "instances": count, "pixel_bytes": stored, "native_bytes": native}
    return row | {"compression_ratio": round(native / stored, 2) if stored else None}
