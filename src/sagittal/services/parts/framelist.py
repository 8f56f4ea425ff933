"""The frames that a FRAME level identifier asks for: PS3.4 Y.3.2.1.

One of three keys says them: a list, sub-ranges with a step, or seconds from the first frame. Which frames that makes of
an instance is told by `chosen`; an instance that tells no times of its frames has no answer to the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from sagittal.dicom.dictionary import tag_text
from sagittal.dicom.elements import Element
from sagittal.dicom.partial.frames import CALCULATED_LIST, SIMPLE_LIST, TIME_RANGE
from sagittal.errors import SagittalError

_LAST = 0xFFFFFFFF  # of a calculated list: up to the last frame
_VRS = {SIMPLE_LIST: "UL", CALCULATED_LIST: "UL", TIME_RANGE: "FD"}


class NoSuchFrames(SagittalError):
    """None of the frames requested were found in the SOP Instance."""

    dimse_status = 0xAA00


class NotDivisible(SagittalError):
    """No new instance with some of the frames can be made of this one."""

    dimse_status = 0xAA01


class NotExtractable(SagittalError):
    """The frames can't be told apart without decoding."""

    dimse_status = 0xAA02


class NotTimed(SagittalError):
    """A time range was asked of an instance that says no times."""

    dimse_status = 0xAA03


class InvalidFrameRequest(SagittalError):
    """The frames are not asked for as PS3.4 Y.3.2.1 has it."""

    dimse_status = 0xAA04


REFUSALS: tuple[type[SagittalError], ...] = (
    NoSuchFrames,
    NotDivisible,
    NotExtractable,
    NotTimed,
    InvalidFrameRequest,
)  # PS3.4 Y


class AskedFrames(NamedTuple):
    """One of the three keys, and its values."""

    tag: int
    values: tuple[int | float, ...]


def frame_list(elements: Mapping[int, Element]) -> AskedFrames:
    """What an identifier asks; InvalidFrameRequest unless it is exactly one key in good order."""
    named = [tag for tag in _VRS if tag in elements and elements[tag].value]
    if len(named) != 1:
        raise InvalidFrameRequest("want one of Simple Frame List, Calculated Frame List, Time Range")
    tag, element = named[0], elements[named[0]]
    if element.vr != _VRS[tag]:
        raise InvalidFrameRequest(f"{tag_text(tag)} is not {_VRS[tag]}")
    asked = AskedFrames(tag, tuple(element.numbers()))
    if not asked.values or not _in_order(asked):
        raise InvalidFrameRequest("frames have to be asked in ascending order, each once")
    return asked


def _in_order(asked: AskedFrames) -> bool:
    tag, values = asked
    if tag == SIMPLE_LIST:
        return values[0] >= 1 and all(before < after for before, after in pairwise(values))
    if tag == TIME_RANGE:
        return len(values) == 2 and 0 <= values[0] <= values[1]
    triples = list(zip(values[::3], values[1::3], values[2::3], strict=False))
    if len(values) % 3 or any(not 1 <= first <= last or step < 1 for first, last, step in triples):
        return False
    return all(before[1] < after[0] for before, after in pairwise(triples))


def chosen(asked: AskedFrames, total: int, times: Sequence[float]) -> Sequence[int]:
    """The numbers of the frames of an instance that has `total`, `times` being those of each ([]: unknown).

    NoSuchFrames when there are none, NotTimed.
    """
    tag, values = asked
    frames: Sequence[int]
    if tag == SIMPLE_LIST:
        frames = [int(number) for number in values if number <= total]
    elif tag == CALCULATED_LIST:
        frames = []
        for first, last, step in zip(values[::3], values[1::3], values[2::3], strict=True):
            end = total if last == _LAST else min(int(last), total)
            frames += range(int(first), end + 1, int(step))
    elif not times:
        raise NotTimed
    else:
        frames = [number for number, time in enumerate(times, 1) if values[0] <= time <= values[1]]
    if not frames:
        raise NoSuchFrames
    return frames
