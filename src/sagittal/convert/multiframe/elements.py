"""Small things about DICOM JSON members: what both ways between multi-frame and single-frame need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sagittal.dicom.models.members import Members, values
from sagittal.pixels.rendering.attributes import numbers_in

CLASS, INSTANCE, SERIES, STUDY = "00080016", "00080018", "0020000E", "0020000D"
IMAGE_TYPE, FRAME_TYPE, NUMBER = "00080008", "00089007", "00200013"
FRAMES, INCREMENT, SOURCE_IMAGE = "00280008", "00280009", "00082112"
SHARED, PER_FRAME = "52009229", "52009230"
UNASSIGNED_SHARED, UNASSIGNED_PER_FRAME, CONVERSION_SOURCE = "00209170", "00209171", "00209172"
PIXELS = ("7FE00008", "7FE00009", "7FE00010")
# What speaks of the data set or its pixels as they lay there: group lengths, offset tables, signatures, padding.
LEFT_OUT = frozenset({"7FE00001", "7FE00002", "7FE00003", "4FFE0001", "FFFAFFFA", "FFFCFFFC", "00880200"})


def numbers(members: Mapping[str, Any], tag: str) -> list[float]:
    """The values that are finite numbers."""
    return [number for number in numbers_in(values(members, tag)) if math.isfinite(number)]


def whole(members: Mapping[str, Any], tag: str, otherwise: int = 0) -> int:
    """The first value that is a number, as a whole one."""
    return int(next(iter(numbers(members, tag)), otherwise))


def items(members: Mapping[str, Any], tag: str) -> list[Members]:
    """The items of a sequence."""
    if (members.get(tag) or {}).get("vr") != "SQ":
        return []  # person names are objects too
    return [item for item in values(members, tag) if isinstance(item, dict)]


def is_private(tag: str) -> bool:
    """Whether a tag's group is odd."""
    return tag[3] in "13579BDF"
