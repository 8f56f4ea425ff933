"""DICOM JSON and what commands print as text (PS3.18 F), whatever is in it.

orjson ends at 254 levels, of which a sequence takes three, and at names of files that are no UTF-8. Deliberately not
here: what the reader makes of a data set, which is text from the start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson


def encode_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """What `limits.depth_max` lets in comes out: the standard library goes as deep as its interpreter does."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def first_value(obj: Mapping[str, Any], tag: str) -> Any:
    """Of an element of an object, whoever wrote it; None where there is none."""
    element = obj.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def first_text(obj: Mapping[str, Any], tag: str) -> str:
    """The same where it is a text; "" where there is none."""
    value = first_value(obj, tag)
    return value if isinstance(value, str) else ""
