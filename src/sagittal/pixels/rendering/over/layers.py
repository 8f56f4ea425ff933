"""What lies over the picture: overlay planes, graphics, text (PS3.3 C.9, C.10.5; PS3.18 8.3.5.1.1).

Masks are painted in pixels of the image, before it is cut and turned; lines and text after that, so that they stay
sharp and upright. Deliberately not here: where graphics come from (`states`), what is hidden (`shutters`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sagittal.pixels.lettering import fonts
from sagittal.pixels.rendering.color import Ink, as_rgb
from sagittal.pixels.rendering.geometry import Point, near
from sagittal.pixels.rendering.over.annotations import Graphic, Layer

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Map = Callable[[Point], Point]
_CIRCLE_POINTS = 72
_TEXT_MAX = 1e9  # pixels: where a text begins is a number of 32 bits to Pillow
_PLAIN = Layer()


def painted(picture: Picture, mask: Mask, ink: Ink) -> Picture:
    """The picture with a gray value or color where the mask is; it becomes one in color for a color."""
    if isinstance(ink, tuple):
        picture = as_rgb(picture)
    made = picture.copy()
    made[mask] = ink
    return made


def drawn(
    picture: Picture,
    graphics: Iterable[Graphic],
    to_picture: Map,
    named: Mapping[str, Layer],
    corners: Sequence[Sequence[str]] = (),
) -> Picture:
    """The picture with graphics and text, and with lines of text in its upper left and upper right corners."""
    from PIL import Image, ImageDraw

    found = sorted(graphics, key=lambda graphic: named.get(graphic.layer, _PLAIN).order)
    if not found and not any(corners):
        return picture
    inks = [named.get(graphic.layer, _PLAIN).ink if graphic.ink is None else graphic.ink for graphic in found]
    if any(isinstance(ink, tuple) for ink in inks):
        picture = as_rgb(picture)
    image = Image.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for graphic, ink in zip(found, inks, strict=True):
        if graphic.display:
            points = [(x * width, y * height) for x, y in graphic.points]
        else:
            points = [to_picture(point) for point in graphic.points]
        _draw(draw, graphic, points, (ink,) * 3 if picture.ndim == 3 and isinstance(ink, int) else ink)
    _draw_corners(draw, corners, (255,) * 3 if picture.ndim == 3 else 255)
    return np.asarray(image)


def _draw(draw: Any, graphic: Graphic, points: list[Point], ink: Any) -> None:
    """One object; points are in pixels of the picture, whose upper left corner is 0, 0. One that is nowhere is not
    drawn.
    """
    if not np.isfinite(points).all():
        return
    if graphic.kind == "TEXT":
        if np.abs(points).max() < _TEXT_MAX:
            _write(draw, graphic, points, ink)
        return
    width, height = draw.im.size
    line = [(x - 0.5, y - 0.5) for x, y in _line(graphic.kind, points)]  # Pillow counts from a pixel's center
    if len(line) == 1:
        x, y = line[0]
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=ink)
    elif graphic.filled and len(line) > 2:
        draw.polygon(line, fill=ink, outline=ink)
    elif len(line) > 1:
        for part in near(line, width, height):
            draw.line(part, ink, width=max(1, min(width, height) // 512))


def _write(draw: Any, graphic: Graphic, points: list[Point], ink: Any) -> None:
    """Text from a point on, or in its box: as large as fits into it, within reason, and aligned."""
    text, font = fonts.composed(graphic.text), _font(draw)
    left, top = points[0]
    if len(points) > 1:
        (left, right), (top, bottom) = (sorted(ends) for ends in zip(*points[:2], strict=True))
        size = (bottom - top) / (1.3 * (text.count("\n") + 1))
        wide = draw.multiline_textbbox((0, 0), text, _font(draw, size))[2]
        font = _font(draw, size * min(1.0, (right - left) / max(wide, 1)))
        free = right - left - draw.multiline_textbbox((0, 0), text, font)[2]
        if free > 0:
            left += free * {"LEFT": 0.0, "CENTER": 0.5, "RIGHT": 1.0}[graphic.justification]
    draw.multiline_text((left, top), text, ink, font, align=graphic.justification.lower())


def _draw_corners(draw: Any, corners: Sequence[Sequence[str]], white: Any) -> None:
    font, black = _font(draw), (0, 0, 0) if isinstance(white, tuple) else 0
    for place, lines in enumerate(corners):
        text = fonts.composed("\n".join(lines))
        if text:
            left = 4 if not place else draw.im.size[0] - 4 - draw.multiline_textbbox((0, 0), text, font)[2]
            draw.multiline_text((left, 4), text, white, font, stroke_width=1, stroke_fill=black)


def _font(draw: Any, size: float = 0.0) -> Any:
    """Text of our size for the picture, or of another up to four times that; never too small to be read."""
    usual = max(8, min(draw.im.size) // 32)
    return fonts.regular(min(max(8.0, size), usual * 4) if size else usual)


def _line(kind: str, points: list[Point]) -> list[Point]:
    """The points of the line that draws a graphic."""
    if kind == "CIRCLE" and len(points) >= 2:
        (x, y), (edge_x, edge_y) = points[:2]
        radius = float(np.hypot(edge_x - x, edge_y - y))
        return _round((x, y), (radius, 0.0), (0.0, radius))
    if kind == "ELLIPSE" and len(points) >= 4:
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[:4]
        center = (ax + bx) / 2, (ay + by) / 2
        return _round(center, ((bx - ax) / 2, (by - ay) / 2), ((dx - cx) / 2, (dy - cy) / 2))
    if kind == "INTERPOLATED" and len(points) > 2:
        return _spline(points)
    return points


def _round(center: Point, first: Point, second: Point) -> list[Point]:
    angles = np.linspace(0.0, 2 * np.pi, _CIRCLE_POINTS + 1)
    return [
        (
            float(center[0] + np.cos(a) * first[0] + np.sin(a) * second[0]),
            float(center[1] + np.cos(a) * first[1] + np.sin(a) * second[1]),
        )
        for a in angles
    ]


def _spline(points: list[Point]) -> list[Point]:
    """A smooth line through all points (Catmull-Rom)."""
    through = np.array([points[0], *points, points[-1]], float)
    steps = np.linspace(0.0, 1.0, 12, endpoint=False)[:, None]
    parts = []
    for p0, p1, p2, p3 in zip(through, through[1:], through[2:], through[3:], strict=False):
        bent = 2 * p1 + (p2 - p0) * steps + (2 * p0 - 5 * p1 + 4 * p2 - p3) * steps**2
        parts.append(0.5 * (bent + (3 * p1 - p0 - 3 * p2 + p3) * steps**3))
    return [*((float(x), float(y)) for x, y in np.concatenate(parts)), points[-1]]
