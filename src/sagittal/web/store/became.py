"""What became of a stored instance, in its item of a store response: a private element of ours, and how to read it.

PS3.18 Annex I tells success and warnings only; whoever imports a folder again wants to know what was held already.
Nothing is added for what was simply stored. Deliberately not here: the rest of the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagittal.dicom.models.jsontext import first_value
from sagittal.dicom.models.members import element

STORED = "stored"
_CREATOR, _BECAME = "00090010", "00091001"
_OURS = "SAGITTAL"


def encode(status: str) -> dict[str, Any]:
    """The elements that tell `status`, one of `Outcome`: none for what was simply stored."""
    if status == STORED:
        return {}
    return {_CREATOR: element("LO", _OURS), _BECAME: element("CS", status.upper())}


def decode(item: Mapping[str, Any]) -> str:
    """What an item tells; "stored" where it tells nothing, as those of other servers."""
    if first_value(item, _CREATOR) != _OURS:
        return STORED
    return str(first_value(item, _BECAME) or STORED).lower()
