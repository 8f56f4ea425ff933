"""Whether two data sets say the same, by pydicom, whatever a client may rightly change in encoding one anew.

That is: group lengths, Data Set Trailing Padding and stray command elements dropped, odd values padded, OB and OW of
encapsulated Pixel Data, the order of the bytes in words, UN for a VR that it didn't know.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue

_WORDS = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}
_DATA_SET_TRAILING_PADDING = 0xFFFCFFFC


def differences(file: Dataset, other: Dataset) -> Iterator[str]:
    """Where they differ, element by element."""
    ours, theirs = _tags(file), _tags(other)
    yield from (f"{tag:08X} only in one" for tag in sorted(ours ^ theirs))
    for tag in sorted(ours & theirs):
        before, after = file[tag], other[tag]
        if before.VR == "SQ" and after.VR == "SQ":
            if len(before.value) != len(after.value):
                yield f"{tag:08X} has {len(before.value)} and {len(after.value)} items"
            for item, other_item in zip(before.value, after.value, strict=False):
                yield from differences(item, other_item)
        elif not _same(_value(file, before), _value(other, after)):
            yield f"{tag:08X} {before.VR} {str(before.value)[:40]} | {after.VR} {str(after.value)[:40]}"


def _tags(data_set: Dataset) -> set[int]:
    return {int(tag) for tag in data_set._dict if tag & 0xFFFF and tag >> 16 and tag != _DATA_SET_TRAILING_PADDING}


def _value(data_set: Dataset, element: Any) -> Any:
    value = element.value
    if isinstance(value, bytes) and element.VR in _WORDS and data_set.original_encoding[1] is False:
        size = array(_WORDS[element.VR]).itemsize
        words = array(_WORDS[element.VR], value[: len(value) // size * size])
        words.byteswap()
        return words.tobytes()
    return value


def _same(before: Any, after: Any) -> bool:
    if before == after or (before in (None, "", b"") and after in (None, "", b"")):
        return True
    if isinstance(before, bytes) and isinstance(after, bytes):
        return before + b"\0" == after
    if isinstance(before, MultiValue) and isinstance(after, MultiValue):
        return len(before) == len(after) and all(map(_same, before, after))
    return str(before) == str(after)
