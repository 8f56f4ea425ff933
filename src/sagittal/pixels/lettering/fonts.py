"""DejaVu Sans and its bold face: Latin, Greek, Cyrillic, signs, arrows and boxes.

Pillow's own font has the letters of ASCII alone. Deliberately not here: letters that join or run from right to left,
Chinese, Japanese and Korean; what is written with them shows as boxes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"


def path(name: str) -> str:
    """The TrueType file of a face."""
    return str(Path(__file__).with_name(f"{name}.ttf"))


@lru_cache(maxsize=16)
def regular(size: float) -> FreeTypeFont:
    """The plain face for Pillow, `size` in pixels."""
    from PIL import ImageFont

    return ImageFont.truetype(path(REGULAR), size)


def composed(text: str) -> str:
    """Letters with their accents, which the font has, and all ends of lines as one: Pillow fails at any other."""
    return unicodedata.normalize("NFC", "\n".join(text.splitlines()))
