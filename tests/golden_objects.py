"""Synthetic images of each kind, drawn from formulas, as DICOM JSON members and decoded values: what goldens are of.

Each is at most 96 pixels wide; the shapes differ left from right and top from bottom, so that a picture turned or
flipped by mistake does not look the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from images import attributes

from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.over import regions
from sagittal.pixels.rendering.render import Frame, Options, render
from sagittal.pixels.rendering.states import COLOR, GRAYSCALE, PSEUDO_COLOR, state_for

Picture = np.ndarray[Any, np.dtype[np.uint8]]
ROWS, COLUMNS = 64, 96
GRAY = Description(ROWS, COLUMNS)
Y, X = np.mgrid[0:ROWS, 0:COLUMNS].astype(float)
RED_LAB = [34939, 53485, 50171]


def ellipse(row: float, column: float, high: float, wide: float) -> Any:
    return ((Y - row) / high) ** 2 + ((X - column) / wide) ** 2 <= 1


def body(outside: float, soft: float, bone: float, air: float) -> Any:
    """A cross-section: a trunk, a spine below, two lungs of different size, a bright mark up on the left."""
    made = np.full((ROWS, COLUMNS), outside)
    made[ellipse(33, 48, 26, 42)] = soft
    made[ellipse(30, 28, 15, 14)] = air
    made[ellipse(30, 66, 12, 16)] = air
    made[ellipse(50, 48, 7, 6)] = bone
    made[4:9, 6:11] = bone
    return made


def gray(values: Any, described: Description = GRAY, state: Attributes | None = None, **members: Any) -> Picture:
    kind = described.dtype
    frame = Frame(attributes(**members), 1, np.asarray(values).astype(kind), described)
    over = None if state is None else state_for(state, "1.2.3", 1, described)
    return render(frame, Options())[0] if over is None else render(frame, Options(), over)[0]


def ct() -> Picture:
    values = body(-2000, 40, 700, -800) + np.where(ellipse(30, 66, 4, 5), 850, 0)
    return gray(
        values, replace(GRAY, signed=True), t00281053=[1], t00281052=[0], t00281050=[40], t00281051=[400],
        t00280120=[-2000],
    )  # fmt: skip


def mr() -> Picture:
    shading = 1 + 0.5 * np.sin(X / 15)
    return gray(body(0, 900, 300, 60) * shading, replace(GRAY, bits_stored=12, high_bit=11),
                t00281050=[600], t00281051=[1200], t00281056=["SIGMOID"])  # fmt: skip


def cr() -> Picture:
    table = (np.sqrt(np.arange(1024) / 1023) * 4095).astype("<u2").tobytes()
    described = Description(ROWS, COLUMNS, 1, 16, 10, 9, photometric="MONOCHROME1")
    return gray(body(1000, 500, 120, 800), described, t00283010=[{"t00283002": [1024, 0, 12], "t00283006": table}])


def mg() -> Picture:
    breast = ellipse(34, 0, 28, 60)
    values = np.where(breast, 1800 + 600 * np.sin(X / 6) * np.cos(Y / 5), 0)
    described = Description(ROWS, COLUMNS, 1, 16, 12, 11, photometric="MONOCHROME1")
    return gray(values, described, t00280120=[0], t00281050=[2000], t00281051=[1600])


def nm() -> Picture:
    hot = 400 * np.exp(-((X - 30) ** 2 + (Y - 20) ** 2) / 60) + 150 * np.exp(-((X - 70) ** 2 + (Y - 45) ** 2) / 120)
    return gray(hot, GRAY)


def pt() -> Picture:
    activity = 20_000 * np.exp(-((X - 60) ** 2 + (Y - 25) ** 2) / 80) + 3000 * ellipse(33, 48, 26, 42)
    return gray(activity, replace(GRAY, signed=True), t00281053=[0.5], t00281052=[0], t00281050=[4000],
                t00281051=[8000], t00281056=["LINEAR_EXACT"])  # fmt: skip


def parametric_map() -> Picture:
    described = Description(ROWS, COLUMNS, 1, 32, 32, 31, kind="float")
    values = np.where(ellipse(33, 48, 26, 42), np.sin(X / 20) * 1e-3, np.nan)
    return gray(values, described)


def bitmap() -> Picture:
    return gray(body(0, 1, 0, 0), Description(ROWS, COLUMNS, 1, 1, 1, 0))


def us() -> Picture:
    """A fan in YBR, with a patch of colored flow."""
    radius, angle = np.hypot(X - 48, Y), np.arctan2(X - 48, Y)
    fan = (np.abs(angle) < 0.7) & (radius < 60)
    luma = np.where(fan, 90 + 60 * np.sin(radius / 3) * np.cos(angle * 9), 0)
    flow = ellipse(35, 40, 8, 6)
    blue, red = np.where(flow & (X < 40), 200, 128), np.where(flow & (X >= 40), 210, 128)
    stored = np.stack([luma, blue, red], axis=-1).astype(np.uint8)
    frame = Frame(attributes(), 1, stored, Description(ROWS, COLUMNS, 3, 8, 8, 7, photometric="YBR_FULL"))
    return render(frame, Options())[0]


def _tables(first: int, ramps: Any) -> dict[str, Any]:
    count = len(ramps[0])
    made: dict[str, Any] = {}
    for n, ramp in enumerate(ramps, 1):
        made[f"t0028110{n}"] = [count, first, 16]
        made[f"t0028120{n}"] = np.asarray(ramp).astype("<u2").tobytes()
    return made


def palette() -> Picture:
    at = np.linspace(0, 1, 256)
    ramps = [65535 * np.clip(3 * at - n, 0, 1) for n in range(3)]  # black, red, yellow, white
    frame = Frame(attributes(**_tables(0, ramps)), 1, (X * 255 / 95).astype(np.uint8),
                  Description(ROWS, COLUMNS, 1, 8, 8, 7, photometric="PALETTE COLOR"))  # fmt: skip
    return render(frame, Options())[0]


def supplemental_palette() -> Picture:
    values = body(10, 90, 180, 40)
    values[ellipse(30, 66, 6, 8)] = 200 + X[ellipse(30, 66, 6, 8)] - 58
    at = np.linspace(0, 65535, 56)
    members = _tables(200, [at, at * 0, at[::-1]]) | {"t00089205": ["MIXED"]}
    return gray(values, Description(ROWS, COLUMNS, 1, 8, 8, 7), t00281050=[100], t00281051=[200], **members)


def bits(mask: Any) -> bytes:
    return np.packbits(np.asarray(mask, bool).reshape(-1), bitorder="little").tobytes()


def overlay() -> Picture:
    ring = ellipse(30, 30, 20, 20) & ~ellipse(30, 30, 17, 17)
    return gray(
        body(0, 500, 900, 200), t00281050=[500], t00281051=[1000], t60000010=[ROWS], t60000011=[COLUMNS],
        t60000040=["G"], t60000050=[1, 1], t60000100=[1], t60000102=[0], t60003000=bits(ring),
    )  # fmt: skip


def presentation_state() -> Picture:
    """Turned, windowed, with a circular shutter, lines on two layers, a text in its box with a line to its anchor."""
    mark = {"t00700005": ["PIXEL"], "t00700023": ["ELLIPSE"], "t00700022": [52, 30, 80, 30, 66, 19, 66, 41]}
    arrow = {"t00700005": ["PIXEL"], "t00700023": ["POLYLINE"], "t00700022": [20, 50, 40, 50, 36, 47]}
    text = {
        "t00700006": ["L 12"], "t00700003": ["PIXEL"], "t00700010": [4.0, 14.0], "t00700011": [20.0, 58.0],
        "t00700012": ["CENTER"], "t00700004": ["PIXEL"], "t00700014": [52.0, 32.0], "t00700015": ["Y"],
    }  # fmt: skip
    state = attributes(
        t00080016=[GRAYSCALE], t00700042=[90], t00700041=["N"], t20500020=["IDENTITY"],
        t00283110=[{"t00281050": [500], "t00281051": [1000]}],
        t00181600=["CIRCULAR"], t00181610=[32, 48], t00181612=[46], t00181622=[0x3000],
        t0070005a=[{"t00700052": [-3, -3], "t00700053": [100, 68], "t00700100": ["SCALE TO FIT"]}],
        t00700060=[{"t00700002": ["A"], "t00700062": [1], "t00700066": [0xFFFF]},
                   {"t00700002": ["B"], "t00700062": [2], "t00700401": RED_LAB}],
        t00700001=[{"t00700002": ["B"], "t00700009": [mark]},
                   {"t00700002": ["A"], "t00700009": [arrow], "t00700008": [text]}],
    )  # fmt: skip
    return gray(body(0, 500, 900, 200), GRAY, state)


def pseudo_color_state() -> Picture:
    at = np.linspace(0, 1, 256)
    tables = _tables(0, [65535 * at, 65535 * (1 - np.abs(2 * at - 1)), 65535 * (1 - at)])
    state = attributes(t00080016=[PSEUDO_COLOR], t00283110=[{"t00281050": [500], "t00281051": [1000]}], **tables)
    return gray(body(0, 500, 900, 200), GRAY, state)


def color_state() -> Picture:
    """A color image, flipped, its upper left part."""
    rgb = np.stack([X * 255 / 95, Y * 255 / 63, np.where(ellipse(20, 20, 8, 12), 255, 0)], axis=-1).astype(np.uint8)
    area = {"t00700052": [1, 1], "t00700053": [64, 48]}
    state = attributes(t00080016=[COLOR], t00700042=[0], t00700041=["Y"], t0070005a=[area])
    frame = Frame(attributes(), 1, rgb, Description(ROWS, COLUMNS, 3, 8, 8, 7, photometric="RGB"))
    return render(frame, Options(), state_for(state, "1.2.3", 1, frame.description))[0]


def slide_tile() -> Picture:
    """A tile of a stained slide, brought from its optical path's color space to sRGB."""
    from sagittal.pixels.rendering.color import profile

    nuclei = (np.sin(X / 5) * np.cos(Y / 4 + X / 30)) > 0.55
    rgb = np.where(nuclei[..., None], [90, 60, 140], [230, 170, 200]).astype(np.uint8)
    instance = attributes(t00480105=[{"t00282000": profile("adobergb")}])
    frame = Frame(instance, 1, rgb, Description(ROWS, COLUMNS, 3, 8, 8, 7, photometric="RGB"))
    return render(frame, Options(profile="srgb"))[0]


_PLANE = {"t00200032": [0, 0, 0], "t00200037": [1, 0, 0, 0, 1, 0], "t00280030": [1, 1]}


def structures() -> Picture:
    plane = regions.plane_of(attributes(**_PLANE))
    assert plane is not None
    lung = np.array([[28 + 14 * np.cos(a), 30 + 15 * np.sin(a), 0] for a in np.linspace(0, 6.2, 40)])
    spine = np.array([[42.0, 44, 0], [54, 44, 0], [54, 57, 0], [42, 57, 0]])
    found = [regions.Contour((255, 60, 60), True, lung, ()), regions.Contour((80, 255, 80), True, spine, ())]
    return regions.with_contours(overlay(), plane, "1.2.3", found)


def segmentation() -> Picture:
    found = [
        regions.Segment((255, 200, 0), ellipse(30, 28, 15, 14).astype(float)),
        regions.Segment((0, 160, 255), np.clip(1 - np.hypot(X - 66, Y - 30) / 16, 0, 1)),
    ]
    return regions.with_segments(gray(body(0, 500, 900, 200), t00281050=[500], t00281051=[1000]), found)


def label_map() -> Picture:
    """Three segments as labels, one with a recommended color; what has no label stays as it is."""
    labels = np.select([ellipse(30, 28, 15, 14), ellipse(30, 66, 12, 16), ellipse(50, 48, 7, 6)], [1, 2, 3], 0)
    held = attributes(t00620002=[{"t00620004": [1], "t0062000D": RED_LAB}, {"t00620004": [2]}, {"t00620004": [3]}])
    found = regions.Segment(regions.label_colors(held, labels), (labels > 0).astype(float))
    return regions.with_segments(gray(body(0, 500, 900, 200), t00281050=[500], t00281051=[1000]), [found])


GOLDEN: dict[str, Callable[[], Picture]] = {
    each.__name__: each
    for each in (
        ct, mr, cr, mg, nm, pt, us, parametric_map, bitmap, palette, supplemental_palette, overlay,
        presentation_state, pseudo_color_state, color_state, slide_tile, structures, segmentation,
        label_map,
    )
}  # fmt: skip


def write(folder: Any) -> None:
    """`python -c "import golden_objects as g; g.write('tests/golden')"`; look at them before they are committed."""
    from pathlib import Path

    from PIL import Image

    for name, made in GOLDEN.items():
        Image.fromarray(made()).save(Path(folder) / f"{name}.png", optimize=True)
