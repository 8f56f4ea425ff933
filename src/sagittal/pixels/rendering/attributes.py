"""Reading an instance's DICOM JSON Model (PS3.18 F), with its bulk data by place in the data set.

Deliberately not here: what attributes mean.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from sagittal.dicom.dictionary import member_of, tag_of
from sagittal.errors import BadRequest

T = TypeVar("T")
Tag = int | str  # or its keyword (PS3.6)
Fetch = Callable[[int, int], bytes]  # (offset, length) of the data set as stored
PER_FRAME = "PerFrameFunctionalGroupsSequence"
_PLACE = re.compile(r"\?offset=(\d+)&length=(\d+)\Z")
tag_of(PER_FRAME)  # has the names read: once, in the process that workers are forked from


def _nothing(offset: int, length: int) -> bytes:
    raise BadRequest("bulk data is not at hand here")


class Attributes:
    """The attributes of an instance or of an item, by tag or keyword. What is absent or empty is "", [] or None."""

    __slots__ = ("_big_endian", "_fetch", "_members", "_recalled")

    def __init__(self, members: Mapping[str, Any], fetch: Fetch = _nothing, *, big_endian: bool = False) -> None:
        self._members, self._fetch, self._big_endian = members, fetch, big_endian
        self._recalled: dict[Hashable, Any] = {}

    def recall(self, name: Hashable, work_out: Callable[[], T]) -> T:
        """What `work_out` gave when this name was first asked for: attributes don't change from frame to frame."""
        try:
            found: T = self._recalled[name]
        except KeyError:
            found = self._recalled[name] = work_out()
        return found

    def __contains__(self, tag: Tag) -> bool:
        return member_of(tag) in self._members

    def _member(self, tag: Tag) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._members.get(member_of(tag), {})
        return found

    def values(self, tag: Tag) -> list[Any]:
        """All values as they are in the JSON."""
        return [value for value in self._member(tag).get("Value", ()) if value is not None]

    def text(self, tag: Tag) -> str:
        """The first value as text; a person name as its first component group that has any."""
        for value in self.values(tag):
            if isinstance(value, dict):
                value = next(iter(value.values()), "")
            return str(value).strip()
        return ""

    def texts(self, tag: Tag) -> list[str]:
        """All values as text."""
        return [str(value).strip() for value in self.values(tag)]

    def numbers(self, tag: Tag) -> list[float]:
        """All values that are numbers; text says NaN and infinities, too."""
        return numbers_in(self.values(tag)) or self._bulk_numbers(tag)

    def number(self, tag: Tag) -> float | None:
        """The first value that is a number."""
        return next(iter(self.numbers(tag)), None)

    def integers(self, tag: Tag) -> list[int]:
        """All values that are finite numbers, as integers."""
        return [int(number) for number in self.numbers(tag) if math.isfinite(number)]

    def integer(self, tag: Tag, otherwise: int = 0) -> int:
        """The first value that is a finite number, as an integer."""
        return next(iter(self.integers(tag)), otherwise)

    def items(self, tag: Tag) -> list[Attributes]:
        """The items of a sequence."""
        return [
            Attributes(item, self._fetch, big_endian=self._big_endian)
            for item in self.values(tag)
            if isinstance(item, dict)
        ]

    def item(self, tag: Tag, place: int = 0) -> Attributes:
        """An item of a sequence, 0 being the first, or one without attributes."""
        held = self._member(tag).get("Value", ())
        found = held[place] if 0 <= place < len(held) else None
        members = found if isinstance(found, dict) else {}
        return Attributes(members, self._fetch, big_endian=self._big_endian)

    def octets(self, tag: Tag, word: int = 1) -> bytes:
        """A value of bytes, wherever it is; its words of `word` bytes in little endian, whatever the data set has.

        Those of OB are octets, so that nothing is swapped.
        """
        member = self._member(tag)
        if "InlineBinary" in member:  # in little endian already (PS3.18 F.2.7); bulk data is as it is stored
            return base64.b64decode(member["InlineBinary"])
        place = _PLACE.search(member.get("BulkDataURI", ""))
        octets = self._fetch(int(place[1]), int(place[2])) if place else b""
        if word == 1 or not self._big_endian or member.get("vr") == "OB":
            return octets
        return np.frombuffer(octets[: len(octets) // word * word], f"u{word}").byteswap().tobytes()

    def words(self, tag: Tag) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """A value of 16-bit words as unsigned numbers, shape (count,): OW, or US and SS as LUT data comes too."""
        if self.values(tag):
            return np.array([number & 0xFFFF for number in self.integers(tag)], np.uint16)
        octets = self.octets(tag, 2)
        return np.frombuffer(octets[: len(octets) // 2 * 2], "<u2").astype(np.uint16)

    def _bulk_numbers(self, tag: Tag) -> list[float]:
        member = self._member(tag)
        kind = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}.get(member.get("vr", ""))
        if "BulkDataURI" not in member:
            return []
        if kind is None:
            texts = self.octets(tag).decode("latin-1").split("\\") if member.get("vr") in ("DS", "IS") else []
            return numbers_in(texts)
        size = int(kind[1:])
        octets = self.octets(tag, size)
        return [float(value) for value in np.frombuffer(octets[: len(octets) // size * size], f"<{kind}")]


def numbers_in(values: Iterable[Any]) -> list[float]:
    """Those values that are numbers, or text that says one: NaN and infinities, too."""
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            continue
    return found


def functional_groups(instance: Attributes, frame: int, macro: Tag) -> Attributes:
    """The first item of a functional group macro as it holds for a frame (1 is the first): its own, or the shared one.

    PS3.3 C.7.6.16.
    """
    own = instance.item(PER_FRAME, frame - 1)
    return (own if macro in own else instance.item("SharedFunctionalGroupsSequence")).item(macro)


def for_frame(instance: Attributes, name: Hashable, work_out: Callable[[], T]) -> T:
    """As `Attributes.recall`, but worked out anew where functional groups may say something else of each frame."""
    return work_out() if PER_FRAME in instance else instance.recall(name, work_out)
