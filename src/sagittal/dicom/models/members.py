"""Members of a DICOM JSON object (PS3.18 F.2.2): the values of an element, and elements made of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagittal.dicom.dictionary import NAME_GROUPS

Members = dict[str, Any]


def values(members: Mapping[str, Any], tag: str) -> list[Any]:
    """The values that an element has."""
    return [value for value in (members.get(tag) or {}).get("Value") or () if value is not None]


def text(members: Mapping[str, Any], tag: str) -> str:
    """The first value as text, "" when there is none."""
    return str(next(iter(values(members, tag)), "")).strip()


def value_text(value: Any) -> str:
    """One value as text: of a person name its component groups with `=` between them (PS3.5 6.2), "" for none."""
    if isinstance(value, Mapping):
        return "=".join(value.get(group) or "" for group in NAME_GROUPS).rstrip("=")
    return "" if value is None else str(value)


def element(vr: str, *given: Any) -> Members:
    """An element with these values."""
    return {"vr": vr, "Value": list(given)} if given else {"vr": vr}


def code(value: str, meaning: str) -> Members:
    """An item of a code sequence, of DCM."""
    return {
        "00080100": element("SH", value),
        "00080102": element("SH", "DCM"),
        "00080104": element("LO", meaning),
    }


def reference(members: Mapping[str, Any]) -> Members:
    """An item that names the instance with these members."""
    return {"00081150": element("UI", text(members, "00080016")), "00081155": element("UI", text(members, "00080018"))}
