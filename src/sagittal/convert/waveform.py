"""Waveforms as SVG: electrocardiograms on their usual paper, 25 mm a second and 10 mm a millivolt (PS3.3 C.10.9).

Channels lie one under the other, those of each multiplex group under its label: leads that were recorded one after
another are in several. What is not a voltage, as sound, is scaled to the height of its row. Of a recording of hours
the beginning is drawn, which the picture says: no screen has a strip of kilometers. Deliberately not here:
measurements, sound to be heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from sagittal.errors import NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes

MM_A_SECOND, MM_A_MILLIVOLT = 25.0, 10.0
_ROW_MM, _LEFT_MM, _TOP_MM, _LABEL_MM = 30.0, 14.0, 16.0, 6.0
_SECONDS_MAX = 60.0  # of a recording that are drawn
_POINTS_A_MM = 12  # more cannot be seen; extremes of what lies between are kept
# Waveform Sample Interpretation (C.10.9.1.5): mu-law and A-law are octets.
_KINDS = {
    "SB": "i1", "UB": "u1", "MB": "u1", "AB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4", "SV": "i8",
    "UV": "u8",
}  # fmt: skip
_WORD = 2  # of OW, of any kind of samples
_MILLIVOLTS = {"mV": 1.0, "uV": 1e-3, "V": 1e3, "nV": 1e-6}
Samples = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel in its units, shape (samples,); `units` as the object says."""

    label: str
    units: str
    samples: Samples  # those that are drawn
    frequency: float
    recorded: int  # samples that there are


def channels(group: Attributes) -> list[Channel]:
    """The channels of one multiplex group (an item of Waveform Sequence). NotAcceptable without samples."""
    count, samples = group.integer("NumberOfWaveformChannels"), group.integer("NumberOfWaveformSamples")
    interpretation = group.text("WaveformSampleInterpretation")
    if interpretation not in _KINDS:
        raise NotAcceptable(f"waveform samples of kind {interpretation[:4]!r} are not drawn")
    kind = np.dtype(_KINDS[interpretation]).newbyteorder("<")
    data = group.octets("WaveformData", _WORD)
    whole = min(samples, len(data) // max(1, kind.itemsize * count)) if count else 0
    if not whole:
        raise NotAcceptable("the waveform has no samples")
    told = group.number("SamplingFrequency") or 0.0
    frequency = told if 0 < told < np.inf else 1.0
    drawn = int(min(whole, max(1, _SECONDS_MAX * frequency)))
    stored = np.frombuffer(data, kind, drawn * count).reshape(drawn, count)
    held: Samples = _LAWS[interpretation][stored] if interpretation in _LAWS else stored.astype(np.float64)
    padding = group.octets("WaveformPaddingValue", _WORD)
    if len(padding) >= kind.itemsize:
        held[stored == np.frombuffer(padding, kind, 1)[0]] = np.nan
    definitions = group.items("ChannelDefinitionSequence")
    return [
        _channel(definitions[n] if n < len(definitions) else Attributes({}), held[:, n], frequency, n, whole)
        for n in range(count)
    ]


def _mu_law() -> Samples:
    """The value of each mu-law octet, with 16 bits (ITU-T G.711 table 2)."""
    code = ~np.arange(256) & 0xFF
    size = ((code & 15) << 3) + 132 << (code >> 4 & 7)
    return np.where(code & 0x80, 132 - size, size - 132).astype(np.float64)


def _a_law() -> Samples:
    """The value of each A-law octet, with 16 bits (ITU-T G.711 table 1)."""
    code = np.arange(256) ^ 0x55
    part, size = code >> 4 & 7, (code & 15) << 4
    size = np.where(part == 0, size + 8, size + 264 << np.maximum(part, 1) - 1)
    return np.where(code & 0x80, size, -size).astype(np.float64)


_LAWS = {"MB": _mu_law(), "AB": _a_law()}


def _channel(definition: Attributes, samples: Samples, frequency: float, place: int, recorded: int) -> Channel:
    sensitivity = definition.number("ChannelSensitivity")
    scaled = samples
    if sensitivity is not None:
        correction = definition.number("ChannelSensitivityCorrectionFactor")
        scaled = samples * sensitivity * (1.0 if correction is None else correction)
        scaled = scaled + (definition.number("ChannelBaseline") or 0.0)
    source = definition.item("ChannelSourceSequence")
    label = definition.text("ChannelLabel") or source.text("CodeMeaning") or f"channel {place + 1}"
    units = definition.item("ChannelSensitivityUnitsSequence").text("CodeValue") if sensitivity is not None else ""
    return Channel(label.removeprefix("Lead ").partition(" (")[0].strip(), units, scaled, frequency, recorded)


def svg(instance: Attributes) -> str:
    """Every multiplex group whose samples can be drawn, below title and scale. NotAcceptable when there is none."""
    problem, found = NotAcceptable("the object has no waveforms"), []
    for group in instance.items("WaveformSequence"):
        try:
            found.append((group.text("MultiplexGroupLabel"), channels(group)))
        except NotAcceptable as error:
            problem = error
    if not found:
        raise problem
    return _drawing(instance, found)


def _drawing(instance: Attributes, groups: list[tuple[str, list[Channel]]]) -> str:
    rows, height = _rows(groups)
    longest = max((found[0] for _, found in groups), key=lambda channel: channel.recorded / channel.frequency)
    drawn = max(len(found[0].samples) / found[0].frequency for _, found in groups)
    width = _LEFT_MM + drawn * MM_A_SECOND + 4
    name = " ".join(part for part in instance.text("PatientName").split("^") if part)
    about = [name, instance.text("PatientID"), instance.text("AcquisitionDateTime") or instance.text("StudyDate")]
    title = " · ".join(text for text in about if text)
    scale = f"{MM_A_SECOND:g} mm/s, {MM_A_MILLIVOLT:g} mm/mV"
    if longest.recorded > len(longest.samples):
        seconds = len(longest.samples) / longest.frequency
        scale += f"; the first {seconds:.0f} of {longest.recorded / longest.frequency:.0f} seconds"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.1f}mm" height="{height:.1f}mm" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" font-family="sans-serif" font-size="3.2">'
        f"<title>{escape(title)}</title>{_grid(width, height)}"
        f'<text x="2" y="6">{escape(title)}</text>'
        f'<text x="2" y="11">{scale}</text>{rows}</svg>'
    )


def _rows(groups: list[tuple[str, list[Channel]]]) -> tuple[str, float]:
    """The channels of all groups, and how high the picture is. One group alone needs no label."""
    parts, top = [], _TOP_MM
    for place, (label, found) in enumerate(groups, start=1):
        if len(groups) > 1:
            parts.append(f'<text x="2" y="{top + 4:.1f}" font-weight="bold">{escape(label or f"group {place}")}</text>')
            top += _LABEL_MM
        parts += [_row(channel, top + n * _ROW_MM) for n, channel in enumerate(found)]
        top += len(found) * _ROW_MM
    return "".join(parts), top + 4


def _grid(width: float, height: float) -> str:
    return (
        '<defs><pattern id="mm" width="1" height="1" patternUnits="userSpaceOnUse"><path d="M1 0H0V1" fill="none" '
        'stroke="#f6cfcf" stroke-width=".1"/></pattern><pattern id="cm" width="5" height="5" '
        'patternUnits="userSpaceOnUse"><rect width="5" height="5" fill="url(#mm)"/><path d="M5 0H0V5" fill="none" '
        'stroke="#eba5a5" stroke-width=".2"/></pattern></defs>'
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="#fff"/>'
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="url(#cm)"/>'
    )


def _row(channel: Channel, top: float) -> str:
    middle = top + _ROW_MM / 2
    factor = _MILLIVOLTS.get(channel.units, 0.0) * MM_A_MILLIVOLT
    values, shift = channel.samples, 0.0
    if not factor:
        counted = values[np.isfinite(values)]
        span = float(np.ptp(counted)) if counted.size else 0.0
        factor = (_ROW_MM - 6) / span if span else 1.0
        shift = float(counted.max() + counted.min()) / 2 if counted.size else 0.0
    x, y = _thinned(values, channel.frequency)
    points, lines = [], []
    for at, value in zip(x, y, strict=True):
        if np.isfinite(value):
            points.append(f"{_LEFT_MM + at:.2f},{middle - (value - shift) * factor:.2f}")
        elif points:
            lines.append(points)
            points = []
    drawn = "".join(
        f'<polyline points="{" ".join(each)}" fill="none" stroke="#000" stroke-width=".25"/>'
        for each in (*lines, points)
        if each
    )
    return f'<text x="2" y="{middle:.1f}">{escape(channel.label[:12])}</text>{drawn}'


def _thinned(values: Samples, frequency: float) -> tuple[Samples, Samples]:
    """Places in mm and values, with the least and greatest of every stretch too short to be seen."""
    x: Samples = np.arange(len(values)) * np.float64(MM_A_SECOND / frequency)
    step = int(frequency / (MM_A_SECOND * _POINTS_A_MM)) // 2 * 2
    if step < 4:
        return x, values
    whole = len(values) // step * step
    parts = values[:whole].reshape(-1, step)
    first = np.arange(0, whole, step)
    lows, highs = first + np.argmin(parts, axis=1), first + np.argmax(parts, axis=1)
    places = np.sort(np.concatenate([lows, highs, np.arange(whole, len(values))]))
    return x[places], values[places]
