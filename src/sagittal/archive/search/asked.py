"""What can be asked of the archive, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.matching.predicate import Keys, Private, Tag
from sagittal.errors import LimitExceeded

__all__ = ["Keys", "Path", "Private", "Query", "Row", "Rows", "Tag", "check_patterns"]

Path = tuple[Tag, ...]  # an attribute in a sequence, the sequences before it
Row = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: rows of `level` that match `keys`, with the attributes of `include` too."""

    level: str  # "PATIENT" | "STUDY" | "SERIES" | "IMAGE"
    keys: Keys = field(default_factory=dict)  # text as asked, values joined by "\\"; "" universal; a mapping: sequence
    include: frozenset[Tag | Path] = frozenset()  # also returned; a tuple is a path in sequences
    include_all: bool = False  # every attribute of the level's entity but large per-frame sequences
    fuzzy: bool = False  # person names as they sound, or nearly so
    combined_datetime: bool = False  # a date and its time matched as one (PS3.4 C.2.2.2.5)
    timezone: str = ""  # the requestor's offset from UTC, "+0100"; "" as stored
    empty_value: bool = False  # `""` matches what has no value (PS3.4 C.2.2.2.7)
    multiple_value: bool = False  # several values are all to match, and not any of them (PS3.4 C.2.2.2.8)
    order: tuple[tuple[int, bool], ...] = ()  # (tag, descending); then as first stored
    after: str = ""  # `Rows.next` of the page before
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer. `columns` are tags in ascending order; `extra` has the DICOM JSON members of each row that the index
    does not hold, [] when none are asked; `unmatched` are keys with a value that were not matched.
    """

    columns: tuple[int, ...]
    rows: list[Row]
    unmatched: frozenset[Tag] = frozenset()
    extra: list[Mapping[str, Any]] = field(default_factory=list)
    next: str = ""  # for `Query.after`; "" at the end
    more: bool = False


def check_patterns(keys: Keys, characters_max: int) -> None:
    """LimitExceeded for keys whose patterns take long to prepare: that is neither interrupted nor counted as reading.

    A name is a pattern without wildcards, too, and what is private may be one. Lists of UIDs and codes are none.
    """
    if _pattern_characters(keys) > characters_max:
        raise LimitExceeded(
            f"names and patterns of more than {characters_max} characters in one query "
            "(limits.query_pattern_characters_max)"
        )


def _pattern_characters(keys: Keys) -> int:
    count = 0
    for tag, asked in keys.items():
        if not isinstance(asked, str):
            count += _pattern_characters(asked)
        elif "*" in asked or "?" in asked or not isinstance(tag, int) or vr_of(tag) in ("PN", "UN", ""):
            count += len(asked)
    return count
