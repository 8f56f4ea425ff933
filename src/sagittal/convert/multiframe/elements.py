"""Small things about DICOM JSON members: what both ways between multi-frame and single-frame need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sagittal.dicom.dictionary import member_of
from sagittal.dicom.models.members import Members, values
from sagittal.pixels.rendering.attributes import numbers_in


class _Member:
    """`member.PatientName` is "00100010": the members of DICOM JSON by the keywords of PS3.6."""

    def __getattr__(self, keyword: str) -> str:
        return member_of(keyword)


def named(keywords: str) -> frozenset[str]:
    """The members of some keywords, with white space between."""
    return frozenset(map(member_of, keywords.split()))


member = _Member()
PIXELS = named("FloatPixelData DoubleFloatPixelData PixelData")
# What speaks of the data set or its pixels as they lay there: group lengths, offset tables, signatures, padding.
LEFT_OUT = named("""
    ExtendedOffsetTable ExtendedOffsetTableLengths EncapsulatedPixelDataValueTotalLength MACParametersSequence
    DigitalSignaturesSequence DataSetTrailingPadding IconImageSequence
""")


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
