"""The grayscale transformations: modality, VOI and presentation LUT (PS3.3 C.11.1, C.11.2, C.11.4, C.11.6).

Made once for all values a pixel can have where that is at most 16 bits, then looked up. Deliberately not here: which
state or request decides what applies (`render`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from sagittal.errors import BadRequest
from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes, for_frame, functional_groups
from sagittal.pixels.rendering.tables import Table, lut_of

Floats = np.ndarray[Any, np.dtype[np.float64]]
Octets = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: Mapping[str, Function] = {function: function for function in get_args(Function)}
_PADDING = {"float32": "Float", "float64": "DoubleFloat"}  # C.7.6.24, C.7.6.25, by the type of the values
_AT_ONCE = 1 << 14  # values looked up at once: what numpy makes indexes of stays in the processor's cache


@dataclass(frozen=True, slots=True)
class Modality:
    """Stored values to modality values (PS3.3 C.11.1): a table, or a line."""

    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = None

    def apply(self, stored: np.ndarray[Any, Any]) -> Floats:
        if self.table is not None:
            return self.table.apply(stored).astype(np.float64)
        return stored.astype(np.float64) * self.slope + self.intercept


IDENTITY = Modality()


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: Function = "LINEAR"

    def apply(self, values: Floats) -> Floats:
        """Outputs from 0 to 1."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return 1.0 / (1.0 + np.exp(-4.0 * (values - self.center) / self.width))
        center, width = self.center, self.width
        if self.function == "LINEAR":
            center, width = center - 0.5, width - 1.0
        if width <= 0:
            return (values > center).astype(np.float64)
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)


Voi = Window | Table


def modality_of(item: Attributes, *, signed: bool) -> Modality:
    """The modality transformation of an image, a state or a functional group item."""
    for sequence in item.items("ModalityLUTSequence"):
        table = lut_of(sequence, signed=signed)
        if table is not None:
            return Modality(table=table)
    slope, intercept = item.number("RescaleSlope"), item.number("RescaleIntercept")
    return Modality(slope or 1.0, intercept or 0.0)


def frame_modality(instance: Attributes, frame: int, *, signed: bool) -> Modality:
    """That of a frame: Pixel Value Transformation (C.7.6.16.2.9) of an enhanced image, or of the image."""

    def said() -> Modality:
        macro = functional_groups(instance, frame, "PixelValueTransformationSequence")
        return modality_of(macro if "RescaleSlope" in macro else instance, signed=signed)

    return for_frame(instance, ("modality", signed), said)


def is_signed(description: Description, modality: Modality) -> bool:
    """Whether the first value that a VOI table maps is a signed number, whatever VR it has (C.11.2.1.1): as what comes
    out of the modality transformation is. A table gives unsigned values.
    """
    ends = (end * modality.slope + modality.intercept for end in (description.lowest, description.highest))
    return modality.table is None and min(ends) < 0


def voi_of(item: Attributes, *, signed: bool) -> Voi | None:
    """The first VOI table or window of those an item offers; a table goes before a window."""
    tables = (lut_of(each, signed=signed) for each in item.items("VOILUTSequence"))
    if (table := next(filter(None, tables), None)) is not None:
        return table
    centers, widths = item.numbers("WindowCenter"), item.numbers("WindowWidth")
    if not centers or not widths:
        return None
    function = item.text("VOILUTFunction").upper() or "LINEAR"
    return window(centers[0], widths[0], function if function in FUNCTIONS else "LINEAR", strict=False)


def frame_voi(instance: Attributes, frame: int, *, signed: bool) -> Voi | None:
    """That of a frame: Frame VOI LUT (C.7.6.16.2.10) of an enhanced image, or of the image."""

    def said() -> Voi | None:
        macro = functional_groups(instance, frame, "FrameVOILUTSequence")
        return voi_of(macro, signed=signed) or voi_of(instance, signed=signed)

    return for_frame(instance, ("voi", signed), said)


def window(center: float, width: float, function: str = "LINEAR", *, strict: bool = True) -> Window | None:
    """A window. With `strict` BadRequest where C.11.2.1.2 forbids it, else None."""
    if function not in FUNCTIONS:
        raise BadRequest(f"the VOI LUT function is one of {', '.join(FUNCTIONS)}")
    least = 1.0 if function == "LINEAR" else 0.0
    valid = np.isfinite(center) and np.isfinite(width) and (width >= least if least else width > 0)
    if not valid and strict:
        raise BadRequest("the window width is at least 1 for LINEAR, and more than 0 for the other functions")
    return Window(center, width, FUNCTIONS[function]) if valid else None


def extent(modality: Modality, stored: np.ndarray[Any, Any], padding: Mask | None) -> list[float]:
    """The least and the greatest value; none where all is padding, which does not count, or no number."""
    counted = stored if padding is None else stored[~padding]
    if counted.size and modality.table is None and stored.dtype.kind in "iu":
        counted = np.array([counted.min(), counted.max()])  # a line leaves its ends where they are
    values = modality.apply(counted)
    values = values[np.isfinite(values)]
    return [float(values.min()), float(values.max())] if values.size else []


def full_range(values: Sequence[float]) -> Window:
    """The window from the least to the greatest of these, when nobody says which. The only one is the least."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    width = high - low or 1.0
    return Window(low + width / 2, width, "LINEAR_EXACT")


def whole_range(description: Description, modality: Modality, stored: np.ndarray[Any, Any]) -> Window:
    """The window of an identity: all values that the modality transformation can give; of floats, those there are."""
    if description.kind != "integer":
        return full_range(extent(modality, stored, None))
    if modality.table is not None:
        ends = [0.0, float((1 << modality.table.bits) - 1)]
    else:
        ends = sorted(modality.apply(np.array([description.lowest, description.highest])).tolist())
    return Window((ends[0] + ends[1]) / 2, max(ends[1] - ends[0], 1e-9), "LINEAR_EXACT")


def padding_of(instance: Attributes, stored: np.ndarray[Any, Any], *, signed: bool) -> Mask | None:
    """Where Pixel Padding Value, or the range up to Pixel Padding Range Limit, is (PS3.3 C.7.5.1.1.2)."""
    padding = _PADDING.get(stored.dtype.name, "") + "PixelPadding"
    value = instance.recall("padding", lambda: instance.number(f"{padding}Value"))
    if value is None:
        return None
    limit = instance.number(f"{padding}RangeLimit")
    ends = sorted(_as_stored(end, stored, signed=signed) for end in (value, value if limit is None else limit))
    return (stored >= ends[0]) & (stored <= ends[1])


def _as_stored(value: float, stored: np.ndarray[Any, Any], *, signed: bool) -> float:
    bits = stored.dtype.itemsize * 8
    return value - (1 << bits) if signed and stored.dtype.kind == "i" and value >= 1 << (bits - 1) else value


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stored values to P-values of 8 bits."""

    modality: Modality
    voi: Voi
    presentation: Table | None = None
    inverse: bool = False

    def apply(self, stored: np.ndarray[Any, Any]) -> Octets:
        """P-values from 0 (black) to 255 for one frame, shape (rows, columns)."""
        if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and stored.size > 4096:
            made = _line if self._is_line() else _every
            places = stored.astype(stored.dtype.newbyteorder("="), copy=False).view(f"u{stored.dtype.itemsize}")
            table, places, found = made(self, stored.dtype.char), places.reshape(-1), np.empty(stored.size, np.uint8)
            for some in (slice(at, at + _AT_ONCE) for at in range(0, stored.size, _AT_ONCE)):
                table.take(places[some], out=found[some], mode="clip")  # all are there; "raise" copies again
            return found.reshape(stored.shape)
        return self.octets_of(stored)

    def _is_line(self) -> bool:
        """Whether it is made of numbers only, so that it can be told from others by them."""
        return self.modality.table is None and isinstance(self.voi, Window) and self.presentation is None

    def shares(self, stored: np.ndarray[Any, Any]) -> Floats:
        """What comes out of the VOI transformation, from 0 to 1."""
        values = self.modality.apply(stored)
        if isinstance(self.voi, Table):
            shown = self.voi.apply(np.round(values)) / float((1 << self.voi.bits) - 1)
        else:
            shown = self.voi.apply(values)
        return np.nan_to_num(np.clip(shown, 0.0, 1.0))

    def octets_of(self, stored: np.ndarray[Any, Any]) -> Octets:
        shown = self.shares(stored)
        if self.presentation is not None:
            table = self.presentation
            places = np.round(shown * (len(table.entries) - 1)).astype(np.int64)
            shown = table.entries[places] / float((1 << table.bits) - 1)
        if self.inverse:
            shown = 1.0 - shown
        octets: Octets = np.round(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8)
        return octets


def _every(pipeline: Pipeline, kind: str) -> Octets:
    """P-values of all values of a type, by their bits as an unsigned number."""
    info = np.iinfo(kind)
    inputs = np.arange(info.max + 1, dtype=np.int64)
    if info.min:
        inputs = np.concatenate((inputs, np.arange(info.min, 0, dtype=np.int64)))
    return pipeline.octets_of(inputs)


@lru_cache(maxsize=16)
def _line(pipeline: Pipeline, kind: str) -> Octets:
    """As `_every`; the images of a series have the same one."""
    return _every(pipeline, kind)
