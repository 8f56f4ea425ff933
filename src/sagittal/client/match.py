"""One match of a query, whoever answered: the DICOM JSON object (PS3.18 F), with its values by keyword."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sagittal.dicom.dictionary import name_of, tag_of
from sagittal.dicom.models.members import value_text
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import syntax
from sagittal.limits import ReaderLimits

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Json = dict[str, Any]
_CONTROL = frozenset({"00080005", "00080052", "00080054", "00080056", "00081190"})


class Match(Mapping[str, Any]):
    """Values by keyword: None when empty, one value plainly, several as a list; names as "Family^Given".

    `json` is the whole DICOM JSON object.
    """

    __slots__ = ("json",)

    def __init__(self, json: Json) -> None:
        self.json = json

    def __getitem__(self, keyword: str) -> Any:
        """KeyError for what the archive did not answer, and for what is no keyword or tag."""
        member = self.json.get(f"{tag_of(keyword):08X}") if isinstance(keyword, str) else None
        if member is None:
            raise KeyError(keyword)
        return value_of(member)

    def __iter__(self) -> Iterator[str]:
        return (name_of(tag) for tag in self.json)

    def __len__(self) -> int:
        return len(self.json)

    def __repr__(self) -> str:
        return f"Match({dict(self)})"

    def data_set(self) -> Dataset:
        """The same as a pydicom data set."""
        from pydicom.dataset import Dataset

        return Dataset.from_json(self.json)


def value_of(member: Mapping[str, Any]) -> Any:
    """The value of one member: None, one value, or a list of several."""
    values = member.get("Value")
    if not values:
        return None
    if member.get("vr") == "SQ":
        return [Match(item or {}) for item in values]
    plain = [value_text(value) if isinstance(value, Mapping) else value for value in values]
    return plain[0] if len(plain) == 1 else plain


def row_of(match: Json, wanted: Iterable[int]) -> dict[str, str]:
    """What a person sees of a match: values by keyword, lists joined, sequences by how many items they have. Tags that
    are `wanted` come first, in their order, and are there in any case: so a column is the same attribute in each row.
    """
    row = {name_of(f"{tag:08X}"): "" for tag in wanted if f"{tag:08X}" not in _CONTROL}
    for tag, member in match.items():
        if tag in _CONTROL:
            continue
        value = value_of(member)
        if member.get("vr") == "SQ":
            row[name_of(tag)] = f"[{len(value or [])}]"
        else:
            values = value if isinstance(value, list) else [] if value is None else [value]
            row[name_of(tag)] = "\\".join("" if one is None else str(one) for one in values)
    return row


def json_of(data: bytes, syntax_uid: str) -> str:
    """A small data set as one DICOM JSON object, sequences included."""
    pieces: list[str] = []
    reader = Reader(syntax(syntax_uid), wanted=frozenset(), limits=ReaderLimits(), metadata=pieces.append)
    reader.feed(data)
    reader.finish()
    return "".join(pieces)
